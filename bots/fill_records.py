"""What the fill kernel reads and writes: terms, state, candles and events as flat records.

Everything counted is an exact decimal: a mantissa `_m` and its number of decimals `_d`, so that 43963.73 is
(4396373, 2). Cash is a whole number of 1e-40 in four limbs.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bots.orders import Costs, OrderReason, RulesFrom, TradingRules
from bots.wide_integers import Wide
from data.errors import InvalidInput, Problem, RejectedError
from data.models import FloatArray, IntArray, Ohlcv
from strategies.base import (
    MOST_ADD_ONS,
    MOST_TARGETS,
    AddOns,
    Decision,
    LevelBase,
    Protection,
    Signals,
    Sizing,
    Target,
)

CASH_DECIMALS: Final = 40  # cash is counted in 1e-40 of the quote currency
QUANTITY_DIGITS: Final = 15  # of a quantity that no lot size rounds
MOST_FRACTION_DECIMALS: Final = 18  # of distances and shares: 10**18 is the largest power in an int64
PRICE_DIGITS: Final = 17  # of a price that no tick size rounds

LONG: Final = 1
SHORT: Final = -1

REASONS: Final = (
    OrderReason.ENTRY,
    OrderReason.EXIT_SIGNAL,
    OrderReason.STOP_LOSS,
    OrderReason.TAKE_PROFIT,
    OrderReason.TRAILING_STOP,
    OrderReason.END,
    OrderReason.FLATTEN,
    OrderReason.ADD_ON,
)
ENTRY: Final = 0
EXIT_SIGNAL: Final = 1
STOP_LOSS: Final = 2
TAKE_PROFIT: Final = 3
TRAILING_STOP: Final = 4
ADD_ON: Final = 7
REASON_NUMBERS: Final = {reason: number for number, reason in enumerate(REASONS)}

# Why an entry was refused, in EVENT.refusal.
ACCEPTED: Final = 0
REFUSED_NO_CASH: Final = 1
REFUSED_QUANTITY: Final = 2
REFUSED_NOTIONAL: Final = 3
REFUSED_BOTH_SIDES: Final = 4

ERROR_RANGE: Final = 1  # STATE.error: an amount left the range of the arithmetic

_INT_FIELDS = (
    "tick_m tick_d lot_m lot_d fee_m maker_fee_m fee_d slip_m slip_d stop_m stop_d "
    "trail_m trail_d size_m size_d min_quantity_m min_quantity_d min_notional_m min_notional_d "
    # From when these terms hold; whether a target comes before a stop where nothing tells (0 or 1).
    "valid_from_us target_first "
    # Targets in order, the share of the position that each and those before it take together.
    "targets share_d "
    # Add-ons: at most so many, of this share of the entry; how far from the fill before, in which direction
    # (0: anywhere); whether a signal is needed; whether levels move to the average price.
    "most_adds add_m add_d every_m every_d every_sign add_on_signal average"
)
TERMS: Final = np.dtype(
    [(name, np.int64) for name in _INT_FIELDS.split()]
    + [(name, np.int64, (MOST_TARGETS,)) for name in ("target_m", "target_d", "share_m")]
)
BEGINNING_US: Final = -(2**62)  # before every candle
STATE: Final = np.dtype(
    [
        ("side", np.int64),  # 1 long, -1 short, 0 flat
        ("cash_0", np.uint64),  # in 1e-40 quote currency, lowest limb first
        ("cash_1", np.uint64),
        ("cash_2", np.uint64),
        ("cash_3", np.uint64),
        ("cash", np.float64),  # the same, rounded, for marking
        ("quantity", np.float64),
        ("quantity_m", np.int64),
        ("quantity_d", np.int64),
        ("entry_m", np.int64),  # the price that levels hang on
        ("entry_d", np.int64),
        ("start_m", np.int64),  # the first fill's price, where the trailing stop starts
        ("start_d", np.int64),
        ("last_m", np.int64),  # the newest entry's or add-on's price
        ("last_d", np.int64),
        ("first_m", np.int64),  # quantities, all with `quantity_d` decimals: of the entry,
        ("bought_m", np.int64),  # of entry and add-ons,
        ("sold_m", np.int64),  # of what targets have taken
        ("targets_done", np.int64),
        ("adds_done", np.int64),
        ("extreme", np.float64),  # best price of completed candles since entry, for the trailing stop
        ("extreme_is_entry", np.int64),
        ("fixed_guard", np.float64),  # the stop-loss level and
        ("stop_guard", np.float64),  # the tighter stop and the target, each a little too near
        ("target_guard", np.float64),
        ("pending_exit", np.int64),
        ("pending_entry", np.int64),  # 1 long, -1 short
        ("pending_add", np.int64),
        ("opened", np.int64),  # open_candle was called for the candle to come
        ("exposed", np.int64),  # candles in which a position was held after the open
        ("error", np.int64),
    ]
)
assert STATE.fields is not None
_CASH_AT: Final = int(STATE.fields["cash_0"][1])  # the place of its four limbs, which follow each other
EVENT: Final = np.dtype(
    [
        ("row", np.int64),  # of the candle, counted from the first of the call
        ("at_us", np.int64),
        ("side", np.int64),  # 1 bought, -1 sold
        ("position", np.int64),  # 1 long, -1 short
        ("reason", np.int64),  # index into REASONS
        ("refusal", np.int64),
        ("price_m", np.int64),
        ("price_d", np.int64),
        ("quantity_m", np.int64),
        ("quantity_d", np.int64),
        ("reference", np.float64),  # price before slippage and rounding
        ("maker", np.int64),
        ("ambiguous", np.int64),
    ]
)
EVENTS_PER_CANDLE: Final = 4 + 2 * MOST_TARGETS  # exit, entry or add-on, protective exit, refusal, targets

# What a strategy says at a close, as bits of one byte.
SAYS_LONG_ENTRY: Final = 1
SAYS_LONG_EXIT: Final = 2
SAYS_SHORT_ENTRY: Final = 4
SAYS_SHORT_EXIT: Final = 8
SAYS_LONG_ADD: Final = 16
SAYS_SHORT_ADD: Final = 32

Records: TypeAlias = NDArray[np.void]
Exact: TypeAlias = tuple[int, int]  # mantissa and decimals: (4396373, 2) is 43963.73


class Finer(NamedTuple):
    """Columns of candles of a smaller time frame, or of none."""

    opened_at_us: IntArray
    open: FloatArray
    high: FloatArray
    low: FloatArray


class Columns(NamedTuple):
    """Candles and what was said at their closes, each of shape (n,); `rows` are those where something was."""

    opened_at_us: IntArray
    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    says: NDArray[np.uint8]
    rows: IntArray


def mantissa_of(value: Decimal, where: str, field: str) -> Exact:
    """A value of at least 0 as the kernel counts it. Raises InvalidInput for more than 18 digits."""
    sign, digits, exponent = value.as_tuple()
    if isinstance(exponent, int) and not sign and len(digits) + max(exponent, 0) <= 18:
        mantissa = int("".join(map(str, digits))) * 10 ** max(exponent, 0)
        if exponent >= -CASH_DECIMALS:
            return mantissa, max(-exponent, 0)
    expected = "give a number of at least 0 with at most 18 digits"
    raise InvalidInput(Problem(where=where, field=field, value=str(value), expected=expected))


def _fraction(value: float, field: str, below: float) -> tuple[int, int]:
    number = Decimal(repr(value))
    if not 0 < number < Decimal(repr(below)):
        expected = f"give a fraction above 0 and below {below:g}: 0.02 is 2 %"
        raise InvalidInput(Problem(where="protection", field=field, value=repr(value), expected=expected))
    return _with_few_decimals(number, "protection", field)


def _with_few_decimals(number: Decimal, where: str, field: str) -> Exact:
    exact = mantissa_of(number, where, field)
    if exact[1] > MOST_FRACTION_DECIMALS:
        expected = f"give a number with at most {MOST_FRACTION_DECIMALS} decimals"
        raise InvalidInput(Problem(where=where, field=field, value=str(number), expected=expected))
    return exact


def terms_of(
    costs: Costs,
    rules: TradingRules,
    protection: Protection,
    sizing: Sizing,
    *,
    later_rules: Sequence[RulesFrom] = (),
) -> Records:
    """What the kernel needs to know of an account, as `TERMS` records, shape (1 + len(later_rules),).

    `later_rules` replace `rules` from their times on. Raises InvalidInput for costs, steps, exits or a size
    that make no sense.
    """
    terms = np.zeros(1 + len(later_rules), dtype=TERMS)
    _set_terms(terms[0], costs, rules, protection, sizing)
    terms[0]["valid_from_us"] = before_us = BEGINNING_US
    for row, later in zip(terms[1:], later_rules, strict=True):
        if later.valid_from_us <= before_us:
            expected = "give rules in the order of the times from which they hold"
            value = str(later.valid_from_us)
            raise InvalidInput(Problem(where="rules", field="valid_from_us", value=value, expected=expected))
        _set_terms(row, costs, later.rules, protection, sizing)
        row["valid_from_us"] = before_us = later.valid_from_us
    return terms


def terms_at(terms: Records, at_us: int) -> Records:
    """The one record of `terms` that holds at a time, shape (1,)."""
    if len(terms) == 1:
        return terms
    row = int(np.searchsorted(terms["valid_from_us"], at_us, side="right")) - 1
    return terms[max(row, 0) : max(row, 0) + 1]


def _set_terms(
    row: np.void, costs: Costs, rules: TradingRules, protection: Protection, sizing: Sizing
) -> None:
    rates = {}
    for field in ("fee_bps", "maker_fee_bps", "slippage_bps"):
        bps: Decimal = getattr(costs, field)
        if not (bps.is_finite() and 0 <= bps < 10_000):
            expected = "give basis points of at least 0 and below 10000"
            raise InvalidInput(Problem(where="costs", field=field, value=str(bps), expected=expected))
        rates[field] = mantissa_of(bps.scaleb(-4).normalize(), "costs", field)
    fee_decimals = max(rates["fee_bps"][1], rates["maker_fee_bps"][1])
    if fee_decimals > 10 or rates["slippage_bps"][1] > 10:
        value = f"{costs.fee_bps}, {costs.maker_fee_bps}, {costs.slippage_bps}"
        expected = "give fees and slippage with at most 6 decimals"
        raise InvalidInput(Problem(where="costs", field="", value=value, expected=expected))
    row["fee_d"] = fee_decimals
    row["fee_m"] = rates["fee_bps"][0] * 10 ** (fee_decimals - rates["fee_bps"][1])
    row["maker_fee_m"] = rates["maker_fee_bps"][0] * 10 ** (fee_decimals - rates["maker_fee_bps"][1])
    row["slip_m"], row["slip_d"] = rates["slippage_bps"]

    for field, step in (("tick", rules.tick_size), ("lot", rules.lot_size)):
        if step is not None and not (step.is_finite() and step > 0):
            expected = "give a step above 0, or none"
            raise InvalidInput(
                Problem(where="rules", field=f"{field}_size", value=str(step), expected=expected)
            )
        row[f"{field}_m"], row[f"{field}_d"] = (
            (0, 0) if step is None else mantissa_of(step.normalize(), "rules", f"{field}_size")
        )
    if row["tick_d"] + row["lot_d"] + fee_decimals > CASH_DECIMALS:
        value = f"{rules.tick_size}, {rules.lot_size}"
        expected = f"tick, lot and fee may have {CASH_DECIMALS} decimals together"
        raise InvalidInput(
            Problem(where="rules", field="tick_size, lot_size", value=value, expected=expected)
        )
    for field, least in (("min_quantity", rules.min_quantity), ("min_notional", rules.min_notional)):
        row[f"{field}_m"], row[f"{field}_d"] = mantissa_of(least.normalize(), "rules", field)

    if protection.stop_loss is not None:
        row["stop_m"], row["stop_d"] = _fraction(protection.stop_loss, "stop_loss", 1)
    _set_targets(row, protection)
    if protection.trailing_stop is not None:
        row["trail_m"], row["trail_d"] = _fraction(protection.trailing_stop, "trailing_stop", 1)

    if not (sizing.value.is_finite() and 0 < sizing.value <= 1):
        expected = "give a fraction above 0 and at most 1"
        raise InvalidInput(Problem(where="sizing", field="value", value=str(sizing.value), expected=expected))
    row["size_m"], row["size_d"] = mantissa_of(sizing.value.normalize(), "sizing", "value")
    if sizing.add_ons is not None:
        _set_add_ons(row, sizing.add_ons)


def _set_targets(row: np.void, protection: Protection) -> None:
    targets = protection.targets
    if protection.take_profit is not None:
        if targets:
            expected = "give either one take_profit or a list of targets"
            value = repr(protection.take_profit)
            raise InvalidInput(
                Problem(where="protection", field="take_profit", value=value, expected=expected)
            )
        targets = (Target(at=protection.take_profit, fraction=1.0),)
    if len(targets) > MOST_TARGETS:
        expected = f"give at most {MOST_TARGETS} targets"
        raise InvalidInput(
            Problem(where="protection", field="take_profit", value=str(len(targets)), expected=expected)
        )
    together, shares = Decimal(0), []
    for number, target in enumerate(targets):
        field = f"take_profit[{number}]"
        row["target_m"][number], row["target_d"][number] = _fraction(target.at, f"{field}.at", 1000)
        if number and target.at <= targets[number - 1].at:
            expected = "give targets in the order in which the price reaches them"
            raise InvalidInput(
                Problem(where="protection", field=f"{field}.at", value=repr(target.at), expected=expected)
            )
        share = Decimal(repr(target.fraction))
        together += share
        if not (share > 0 and together <= 1 and together.as_tuple().exponent >= -9):  # type: ignore[operator]
            expected = "give fractions above 0 with at most 9 decimals that are 1 together at most"
            raise InvalidInput(
                Problem(
                    where="protection",
                    field=f"{field}.fraction",
                    value=repr(target.fraction),
                    expected=expected,
                )
            )
        shares.append(together)
    row["targets"] = len(targets)
    row["share_d"] = 9
    for number, share in enumerate(shares):
        row["share_m"][number] = int(share.scaleb(9))


def _set_add_ons(row: np.void, add_ons: AddOns) -> None:
    for field, value, fits, expected in (
        ("most", add_ons.most, 1 <= add_ons.most <= MOST_ADD_ONS, f"give 1 to {MOST_ADD_ONS} add-ons"),
        ("size", add_ons.size, 0 < add_ons.size <= 10, "give a share of the entry above 0, at most 10"),
        (
            "every",
            add_ons.every,
            add_ons.every is None or 0 < abs(add_ons.every) < 1,
            "give a distance between -1 and 1 that is not 0: 0.01 is 1 %",
        ),
    ):
        if not fits:
            raise InvalidInput(Problem(where="add_ons", field=field, value=repr(value), expected=expected))
    row["most_adds"] = add_ons.most
    row["add_m"], row["add_d"] = _with_few_decimals(
        Decimal(repr(float(add_ons.size))).normalize(), "add_ons", "size"
    )
    if add_ons.every is not None:
        every = Decimal(repr(add_ons.every))
        row["every_sign"] = 1 if every > 0 else -1
        row["every_m"], row["every_d"] = _with_few_decimals(abs(every), "add_ons", "every")
    row["add_on_signal"] = add_ons.by_rule
    row["average"] = add_ons.levels is LevelBase.AVERAGE


def flat_state(cash: Decimal) -> Records:
    """A `STATE` record without a position, shape (1,). Raises InvalidInput as `set_cash` does."""
    state = np.zeros(1, dtype=STATE)
    set_cash(state, cash)
    return state


def set_cash(state: Records, cash: Decimal) -> None:
    """Put the account's cash into the record. Raises InvalidInput where the kernel cannot count it."""
    sign, digits, exponent = cash.as_tuple()
    if not isinstance(exponent, int) or exponent < -CASH_DECIMALS or len(digits) + exponent > 30:
        expected = f"give an amount below 1e30 with at most {CASH_DECIMALS} decimals"
        raise InvalidInput(Problem(where="account", field="cash", value=str(cash), expected=expected))
    units = int("".join(map(str, digits))) * 10 ** (exponent + CASH_DECIMALS) * (-1 if sign else 1)
    units %= 2**256
    for limb in range(4):
        state[f"cash_{limb}"] = (units >> (64 * limb)) & (2**64 - 1)
    state["cash"] = _nearest_cash(state)


def wide_cash(cash: Decimal) -> Wide:
    """An amount as the kernel counts it. Raises InvalidInput as `set_cash` does."""
    row = flat_state(cash)[0]
    return row["cash_0"], row["cash_1"], row["cash_2"], row["cash_3"]


def copy_of(state: Records) -> Records:
    """The same record in memory of its own, to try something out."""
    # As bytes: numpy copies records field by field, which takes four times as long.
    return state.view(np.uint8).copy().view(state.dtype)


def cash_of(state: Records) -> Decimal:
    """The cash in the record, exactly."""
    limbs = state.view(np.uint8)[_CASH_AT : _CASH_AT + 32].tobytes()
    return Decimal(f"{int.from_bytes(limbs, 'little', signed=True)}e-{CASH_DECIMALS}")


def _nearest_cash(state: Records) -> float:
    # Step by step as the kernel does it, so that a restored account marks as one that never stopped.
    units = int(sum(int(state[f"cash_{limb}"][0]) << (64 * limb) for limb in range(4)))
    negative = units >= 2**255
    if negative:
        units = 2**256 - units
    nearest = 0.0
    for limb in (3, 2, 1, 0):
        nearest = nearest * 2.0**64 + float(units >> (64 * limb) & (2**64 - 1))
    return (-nearest if negative else nearest) / 1e40


def raise_error(state: Records) -> None:
    """Raise RejectedError where the kernel stopped because an amount left its range."""
    if state["error"][0] == ERROR_RANGE:
        raise RejectedError(
            "an amount has more digits than can be counted: prices, lots and cash do not fit together"
        )


def columns_of(ohlcv: Ohlcv, signals: Signals) -> Columns:
    """Candles and signals as the kernel reads them."""
    says = said(signals)
    return Columns(
        _plain(ohlcv.opened_at_us, np.int64),
        _plain(ohlcv.open, np.float64),
        _plain(ohlcv.high, np.float64),
        _plain(ohlcv.low, np.float64),
        _plain(ohlcv.close, np.float64),
        says,
        np.flatnonzero(says.view(np.bool_)),
    )


def said(signals: Signals) -> NDArray[np.uint8]:
    """What is said on each candle as one byte of `SAYS_...` bits, shape (n,)."""
    says = np.zeros(len(signals.long_entry), dtype=np.uint8)
    for bit, column in (
        (SAYS_LONG_ENTRY, signals.long_entry),
        (SAYS_LONG_EXIT, signals.long_exit),
        (SAYS_SHORT_ENTRY, signals.short_entry),
        (SAYS_SHORT_EXIT, signals.short_exit),
        (SAYS_LONG_ADD, signals.long_add),
        (SAYS_SHORT_ADD, signals.short_add),
    ):
        # Most strategies never say some of these, which is found out sooner than it is written down.
        if column is not None and column.any():
            says |= column.view(np.uint8) * np.uint8(bit)
    return says


def said_of(decision: Decision) -> int:
    """What a decision says as `SAYS_...` bits."""
    return (
        SAYS_LONG_ENTRY * decision.long_entry
        | SAYS_LONG_EXIT * decision.long_exit
        | SAYS_SHORT_ENTRY * decision.short_entry
        | SAYS_SHORT_EXIT * decision.short_exit
        | SAYS_LONG_ADD * decision.long_add
        | SAYS_SHORT_ADD * decision.short_add
    )


def finer_columns(finer: Ohlcv | None) -> Finer:
    """The columns of finer candles that the kernel reads; empty ones where there are none."""
    if finer is None:
        return _NOTHING_FINER
    return Finer(
        _plain(finer.opened_at_us, np.int64),
        _plain(finer.open, np.float64),
        _plain(finer.high, np.float64),
        _plain(finer.low, np.float64),
    )


_NOTHING_FINER = Finer(np.empty(0, dtype=np.int64), np.empty(0), np.empty(0), np.empty(0))


def _plain(column: NDArray[Any], kind: type[np.generic]) -> NDArray[Any]:
    # Numba compiles once more, for many seconds, for arrays that are read-only, strided or of another kind.
    return np.require(column, dtype=kind, requirements=("C", "W"))
