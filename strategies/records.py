"""Decision records in few bytes: small enough to keep one for every candle.

A record is stored as one byte that names the layout, and raw DEFLATE over MessagePack with a dictionary known
to both sides. Values keep all their bits, operators become numbers, and a name is written once. All that is
needed to read a record is in it and in this module: no strategy has to be looked up. Records that were stored
as JSON text, before this layout, are read as well.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any, Final

import msgspec

_JSON: Final = ord("{")  # how a record stored as JSON text begins
_PACKED: Final = 1

# Stored records refer to both by position: append only, never reorder.
_OPERATORS: Final = (
    "all",
    "any",
    "not",
    "gt",
    "gte",
    "lt",
    "lte",
    "crosses_above",
    "crosses_below",
    "rising",
    "falling",
)
_RULES: Final = ("long.entry", "long.exit", "short.entry", "short.exit")
_OPERATOR_NUMBERS: Final = {name: number for number, name in enumerate(_OPERATORS)}
_RULE_NUMBERS: Final = {name: number for number, name in enumerate(_RULES)}
_GROUPS: Final = frozenset({"all", "any", "not"})
_SLOPES: Final = frozenset({"rising", "falling"})

# DEFLATE finds names of stored records in here. A changed dictionary is another layout, with another byte.
_DICTIONARY: Final = (
    b"valuesrulesordersgatedetailnonelimitbudgetcooldownpausedstoppingstale_datamissing_datamin_notional"
    b"no_positionposition_openvolumehighlowopenclose@1close@2histogram.macdsignalkijuntenkanratio.k.d"
    b"fast_kslow_kstochadxatrccimfiobvrsi@1vwap@1upper@1lower@1middle@1percentwidthdonchian.upperdonchian.lower"
    b"channel.upperchannel.lowerkeltner.upperbands.upperbands.middlebands.lowersupertrend.direction"
    b"supertrend.direction@1supertrend.valuetrend_fasttrend_slowmomentum@1hourly@1daily@1trend@1fast@1slow@1"
    b"exit@1entry@1macd.histogrammacd.histogram@1macd.signalmacd.signal@1macd.macdmacd.macd@1fastslowtrendrsi"
)
# Room for records, which are short: to clear what megabytes need took eight times as long as to pack one.
_WINDOW: Final = -12  # 4 KiB, without a header; readers take any
_MEMORY: Final = 5
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder()


def pack(record: Mapping[str, Any]) -> bytes:
    """`record` as it is stored: plain JSON values by name, among them what a rule strategy's stream wrote."""
    shape = None
    rest = dict(record)
    if "rules" in record and "values" in record:
        shape = _shape(rest.pop("values"), rest.pop("rules"))
    content = _encoder.encode((shape, rest) if rest else (shape,))
    squeeze = zlib.compressobj(9, zlib.DEFLATED, _WINDOW, _MEMORY, zlib.Z_DEFAULT_STRATEGY, _DICTIONARY)
    return bytes((_PACKED,)) + squeeze.compress(content) + squeeze.flush()


def unpack(stored: bytes) -> dict[str, Any]:
    """The record that `pack` was given. Raises ValueError for bytes that are none."""
    if stored[:1] == bytes((_JSON,)):
        found: dict[str, Any] = msgspec.json.decode(stored)
        return found
    if stored[:1] != bytes((_PACKED,)):
        raise ValueError(f"a decision record of an unknown layout: {stored[:1]!r}")
    expand = zlib.decompressobj(-15, zdict=_DICTIONARY)
    content = _decoder.decode(expand.decompress(stored[1:]))
    rest = content[1] if len(content) > 1 else {}
    if content[0] is None:
        return dict(rest)
    numbers, names, rules = content[0]
    return {
        "values": dict(zip(names, numbers, strict=True)),
        "rules": {_rule_name(rule): _node_of(node, names) for rule, node in rules.items()},
        **rest,
    }


def _shape(values: Mapping[str, float | None], rules: Mapping[str, list[Any]]) -> list[Any] | None:
    names = {name: number for number, name in enumerate(values)}
    packed = {_RULE_NUMBERS.get(rule, rule): _packed_node(node, names) for rule, node in rules.items()}
    return [[_packed_number(value) for value in values.values()], list(names), packed]


def _packed_node(node: list[Any], names: Mapping[str, int]) -> list[Any]:
    operator = node[1]
    packed = [node[0], _OPERATOR_NUMBERS[operator]]
    if operator in _GROUPS:
        packed += [_packed_node(inner, names) for inner in node[2:]]
        return packed
    slope = operator in _SLOPES
    for operand in node[2:3] if slope else node[2:]:
        # A name as its position, or as itself where it has no value of its own; a number in a list.
        packed.append(names.get(operand, operand) if isinstance(operand, str) else [_packed_number(operand)])
    if slope:
        packed.append(node[3])
    return packed


def _packed_number(value: float | None) -> float | int | None:
    """Small whole numbers take one byte instead of nine; which of the two it was makes no difference."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**31:
        return int(value)
    return value


def _rule_name(rule: int | str) -> str:
    return _RULES[rule] if isinstance(rule, int) else rule


def _node_of(node: list[Any], names: list[str]) -> list[Any]:
    outcome, number, *content = node
    operator = _OPERATORS[number]
    if operator in _GROUPS:
        return [outcome, operator, *(_node_of(inner, names) for inner in content)]
    if operator in _SLOPES:
        return [outcome, operator, _operand_of(content[0], names), content[1]]
    return [outcome, operator, *(_operand_of(operand, names) for operand in content)]


def _operand_of(operand: Any, names: list[str]) -> str | float:
    if isinstance(operand, list):
        number: float = operand[0]
        return number
    return names[operand] if isinstance(operand, int) else operand
