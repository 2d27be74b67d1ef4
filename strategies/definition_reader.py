"""Reads a strategy document and names everything that is wrong with it, each at its own field."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

from data.errors import InvalidInput, Problem
from data.timeframes import Timeframe
from strategies.base import (
    MOST_ADD_ONS,
    MOST_TARGETS,
    AddOns,
    LevelBase,
    Protection,
    Sizing,
    SizingType,
    Target,
)
from strategies.definition import (
    COMPARISONS,
    CROSSES,
    GROUPS,
    MAX_DEPTH,
    MAX_LOOK_BACK,
    OPERATORS,
    PRICE_SERIES,
    SLOPES,
    Comparison,
    Condition,
    Constant,
    Cross,
    Group,
    IndicatorUse,
    Operand,
    ParameterRange,
    Series,
    SideRules,
    Slope,
    StrategyDefinition,
)
from strategies.indicators.registry import INDICATORS
from strategies.indicators.spec import IndicatorSpec, ParameterKind, finite_number, meant, shown

STRATEGY_KEYS = (
    "name",
    "description",
    "timeframe",
    "parameters",
    "indicators",
    "long",
    "short",
    "protection",
    "sizing",
    "add_ons",
)
PARAMETER_KEYS = ("default", "min", "max", "step")
SIDE_KEYS = ("entry", "exit", "add")
PROTECTION_KEYS = ("stop_loss", "take_profit", "trailing_stop")
SIZING_KEYS = ("type", "value")
TARGET_KEYS = ("at", "fraction")
ADD_ON_KEYS = ("most", "size", "every", "levels")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
NAME_EXPECTED = "a name begins with a letter and has letters, digits, _ and - only"
CONDITION_EXPECTED = 'expected a condition such as {"gt": ["close", "trend"]}'
OPERAND_EXPECTED = (
    'expected a number, the name of a price or an indicator, {"of": name, "shift": n} or {"parameter": name}'
)


def read_definition(
    document: object,
    where: str,
    parameters: Mapping[str, float | str] | None = None,
    timeframe: Timeframe | str | None = None,
) -> StrategyDefinition:
    """The strategy that `document` describes, with `parameters` in place of the defaults of the same names.

    `timeframe` replaces the document's own. `where` names the file in problems. Raises InvalidInput with
    every problem found.
    """
    return _Reader(where, parameters or {}, timeframe).read(document)


def version_of(document: Mapping[str, Any], values: Mapping[str, float]) -> str:
    """SHA-256, in hex, of the canonical JSON of `{"definition": document, "parameters": values}`.

    Canonical: keys sorted, no spaces, UTF-8, whole numbers without a fraction (70.0 is 70); the description,
    which decides nothing, is left out. `document` carries the time frame in force.
    """
    decisive = {key: value for key, value in document.items() if key != "description"}
    canonical = _canonical({"definition": decisive, "parameters": dict(values)})
    text = json.dumps(canonical, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _canonical(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


class _Reader:
    """One reading of one document. Each method returns None where it has noted a problem."""

    def __init__(
        self, where: str, overrides: Mapping[str, float | str], timeframe: Timeframe | str | None
    ) -> None:
        self._where = where
        self._overrides = overrides
        self._timeframe_given = timeframe
        self._problems: list[Problem] = []
        self._values: dict[str, float] = {}
        # None where the whole section is no object: what refers into it is then not to blame.
        self._declared_parameters: set[str] | None = set()
        self._declared_indicators: set[str] | None = set()
        self._indicators: dict[str, IndicatorUse] = {}
        self._used: set[str] = set()  # parameters and indicators that something refers to

    def read(self, document: object) -> StrategyDefinition:
        if not isinstance(document, dict):
            self._wrong("", document, "expected a JSON object with name, timeframe, and long or short")
            raise InvalidInput(*self._problems)
        self._known_keys(document, "", STRATEGY_KEYS, required=("name", "timeframe"))
        name = self._text(document, "name", longest=100)
        description = self._text(document, "description", longest=1000) or ""
        timeframe = self._own_timeframe(document)
        ranges = self._parameters(document.get("parameters", {}))
        self._read_indicators(document.get("indicators", {}), timeframe)
        if "long" not in document and "short" not in document:
            self._wrong("", None, 'no side to trade; give "long" or "short" with an "entry"')
        long, short = (
            self._side(document[side], side) if side in document else None for side in ("long", "short")
        )
        protection = self._protection(document.get("protection", {}))
        sizing = self._sizing(document.get("sizing", {}))
        if sizing is not None:
            sizing = self._with_add_ons(sizing, document, [side for side in (long, short) if side])
        if self._problems or name is None or timeframe is None or protection is None or sizing is None:
            raise InvalidInput(*self._problems)
        in_force = {**document, "timeframe": timeframe.value}
        return StrategyDefinition(
            name=name,
            description=description,
            timeframe=timeframe,
            parameters=ranges,
            values=self._values,
            indicators=self._indicators,
            long=long,
            short=short,
            protection=protection,
            sizing=sizing,
            version=version_of(in_force, self._values),
            warnings=tuple(self._warnings(ranges, long, short, protection)),
            document=in_force,
        )

    # --- problems

    def _wrong(self, at: str, value: object, expected: str) -> None:
        found = "" if value is None else shown(value)
        self._problems.append(Problem(where=self._where, field=at, value=found, expected=expected))

    def _missing(self, at: str, expected: str) -> None:
        self._problems.append(Problem(where=self._where, field=at, value="missing", expected=expected))

    def _known_keys(
        self, raw: Mapping[str, object], at: str, known: Iterable[str], required: Iterable[str] = ()
    ) -> None:
        known = tuple(known)
        for key in raw:
            if key not in known:
                self._wrong(_inside(at, key), raw[key], f"unknown key{meant(key, known)}")
        for key in required:
            if key not in raw:
                self._missing(_inside(at, key), f"it is required in {at or 'every strategy'}")

    def _object(self, raw: object, at: str, expected: str) -> dict[str, Any] | None:
        if isinstance(raw, dict):
            return raw
        self._wrong_type(at, raw, expected)
        return None

    def _wrong_type(self, at: str, raw: object, expected: str) -> None:
        # `null` is a value as found, not an absent one.
        self._problems.append(Problem(where=self._where, field=at, value=shown(raw), expected=expected))

    # --- the parts

    def _text(self, document: Mapping[str, object], key: str, *, longest: int) -> str | None:
        if key not in document:
            return None
        raw = document[key]
        if isinstance(raw, str) and raw.strip() and len(raw) <= longest and raw.isprintable():
            return raw
        self._wrong_type(key, raw, f"expected one line of text, 1 to {longest} characters")
        return None

    def _own_timeframe(self, document: Mapping[str, object]) -> Timeframe | None:
        written = None
        if "timeframe" in document:
            written = self._timeframe(document["timeframe"], "timeframe")
        if self._timeframe_given is None:
            return written
        return self._timeframe(str(self._timeframe_given), "timeframe")

    def _timeframe(self, raw: object, at: str) -> Timeframe | None:
        if isinstance(raw, str) and raw in list(Timeframe):
            return Timeframe(raw)
        self._wrong_type(at, raw, f"expected one of {', '.join(Timeframe)}")
        return None

    def _parameters(self, raw: object) -> dict[str, ParameterRange]:
        declared = self._object(raw, "parameters", 'expected an object such as {"fast": {"default": 12}}')
        if declared is None:
            self._declared_parameters = None
            return {}
        self._declared_parameters = set(declared)
        ranges: dict[str, ParameterRange] = {}
        for name, body in declared.items():
            at = f"parameters.{name}"
            if not NAME.fullmatch(name):
                self._wrong_type(at, name, NAME_EXPECTED)
            elif (found := self._parameter(body, at)) is not None:
                ranges[name] = found
                self._values[name] = found.default
        for name, given in self._overrides.items():
            if name not in declared:
                self._wrong_type(f"parameters.{name}", given, f"no such parameter{meant(name, declared)}")
            elif name in ranges and (value := self._override(given, ranges[name], name)) is not None:
                self._values[name] = value
        return ranges

    def _parameter(self, raw: object, at: str) -> ParameterRange | None:
        body = self._object(
            raw, at, 'expected an object such as {"default": 12, "min": 5, "max": 50, "step": 1}'
        )
        if body is None:
            return None
        before = len(self._problems)
        self._known_keys(body, at, PARAMETER_KEYS, required=("default",))
        numbers: dict[str, float] = {}
        for key in PARAMETER_KEYS:
            if key not in body:
                continue
            number = finite_number(body[key])
            if number is None:
                self._wrong_type(f"{at}.{key}", body[key], "expected a number")
            else:
                numbers[key] = number
        minimum, maximum, step = numbers.get("min"), numbers.get("max"), numbers.get("step")
        if step is not None and step <= 0:
            self._wrong_type(f"{at}.step", body["step"], "expected a number above 0")
        if minimum is not None and maximum is not None and minimum > maximum:
            self._wrong_type(f"{at}.min", body["min"], f"expected at most max, {maximum:g}")
        if len(self._problems) > before:
            return None
        found = ParameterRange(default=numbers["default"], minimum=minimum, maximum=maximum, step=step)
        if expected := _outside(found.default, found):
            self._wrong_type(f"{at}.default", body["default"], expected)
            return None
        return found

    def _override(self, given: float | str, allowed: ParameterRange, name: str) -> float | None:
        at = f"parameters.{name}"
        number = finite_number(given)
        if isinstance(given, str):
            try:
                number = finite_number(float(given))
            except ValueError:
                number = None
        if number is None:
            self._wrong_type(at, given, "expected a number")
            return None
        if expected := _outside(number, allowed) or _off_step(number, allowed):
            self._wrong_type(at, given, expected)
            return None
        return number

    def _read_indicators(self, raw: object, base: Timeframe | None) -> None:
        declared = self._object(
            raw, "indicators", 'expected an object such as {"fast": {"type": "ema", "period": 12}}'
        )
        if declared is None:
            self._declared_indicators = None
            return
        self._declared_indicators = set(declared)
        for name, body in declared.items():
            at = f"indicators.{name}"
            if name in PRICE_SERIES:
                self._wrong_type(at, name, "that name is a price of the candle; choose another")
            elif not NAME.fullmatch(name):
                self._wrong_type(at, name, NAME_EXPECTED)
            elif (found := self._indicator(body, at, base)) is not None:
                self._indicators[name] = found

    def _indicator(self, raw: object, at: str, base: Timeframe | None) -> IndicatorUse | None:
        body = self._object(raw, at, 'expected an object such as {"type": "ema", "period": 12}')
        if body is None:
            return None
        kind = body.get("type")
        if "type" not in body:
            self._missing(f"{at}.type", f"expected one of {', '.join(INDICATORS)}")
            return None
        if not isinstance(kind, str) or kind not in INDICATORS:
            self._wrong_type(f"{at}.type", kind, f"no such indicator{meant(str(kind), INDICATORS)}")
            return None
        spec = INDICATORS[kind]
        before = len(self._problems)
        timeframe = None
        if "timeframe" in body:
            timeframe = self._higher_timeframe(body["timeframe"], f"{at}.timeframe", base)
        params = self._indicator_params(spec, body, at)
        if params is None or len(self._problems) > before:
            return None
        return IndicatorUse(spec=spec, params=params, timeframe=timeframe)

    def _indicator_params(
        self, spec: IndicatorSpec, body: Mapping[str, object], at: str
    ) -> dict[str, int | float | str] | None:
        kinds = {parameter.name: parameter.kind for parameter in spec.parameters}
        given: dict[str, object] = {}
        for key, value in body.items():
            if key in ("type", "timeframe"):
                continue
            if isinstance(value, dict) and kinds.get(key, ParameterKind.CHOICE) is not ParameterKind.CHOICE:
                resolved = self._parameter_value(value, f"{at}.{key}")
                if resolved is None:
                    continue
                value = resolved
            given[key] = value
        try:
            return spec.resolve(given, where=self._where, at=at)
        except InvalidInput as invalid:
            self._problems.extend(invalid.problems)
            return None

    def _higher_timeframe(self, raw: object, at: str, base: Timeframe | None) -> Timeframe | None:
        found = self._timeframe(raw, at)
        if found is None or base is None:
            return found
        if found.us <= base.us or found.us % base.us:
            higher = [tf for tf in Timeframe if tf.us > base.us and tf.us % base.us == 0]
            allowed = f"expected one of {', '.join(higher)}" if higher else "there is none, leave it out"
            self._wrong_type(
                at, raw, f"a higher time frame is a multiple of the strategy's {base}; {allowed}"
            )
            return None
        return found

    def _parameter_value(self, raw: Mapping[str, object], at: str) -> float | None:
        """The value in force of `{"parameter": name}`."""
        if set(raw) != {"parameter"}:
            self._wrong_type(at, raw, 'expected a number or {"parameter": name}')
            return None
        name, declared = raw["parameter"], self._declared_parameters
        if declared is None:
            return None
        if not isinstance(name, str) or name not in declared:
            expected = f"no such parameter{meant(str(name), sorted(declared))}"
            self._wrong_type(f"{at}.parameter", name, expected)
            return None
        self._used.add(f"parameter {name}")
        return self._values.get(name)  # None when the parameter itself is wrong, which is noted already

    def _number(self, raw: object, at: str, fits: Callable[[float], bool], expected: str) -> float | None:
        """A number or a parameter's value that `fits`."""
        number = finite_number(raw)
        if isinstance(raw, dict):
            number = self._parameter_value(raw, at)
            if number is None:
                return None
            if not fits(number):
                self._wrong_type(at, number, f"{expected} (the value of parameter {raw['parameter']})")
                return None
            return number
        if number is None or not fits(number):
            self._wrong_type(at, raw, expected)
            return None
        return number

    def _count(self, raw: object, at: str, least: int, why: str) -> int | None:
        expected = f"expected a whole number of candles from {least} to {MAX_LOOK_BACK}{why}"
        number = self._number(raw, at, lambda n: n.is_integer() and least <= n <= MAX_LOOK_BACK, expected)
        return None if number is None else int(number)

    def _protection(self, raw: object) -> Protection | None:
        body = self._object(raw, "protection", 'expected an object such as {"stop_loss": 0.02}')
        if body is None:
            return None
        self._known_keys(body, "protection", PROTECTION_KEYS)
        fractions: dict[str, float | None] = {}
        targets: tuple[Target, ...] = ()
        for key in PROTECTION_KEYS:
            if body.get(key) is None:
                continue
            if key == "take_profit" and isinstance(body[key], list):
                targets = self._targets(body[key], "protection.take_profit")
            elif key == "take_profit":
                fractions[key] = self._number(
                    body[key],
                    f"protection.{key}",
                    lambda n: 0 < n <= 1000,
                    "expected a fraction of the entry price above 0, 0.04 for 4%",
                )
            else:
                fractions[key] = self._number(
                    body[key],
                    f"protection.{key}",
                    lambda n: 0 < n < 1,
                    "expected a fraction of the entry price above 0 and below 1, 0.02 for 2%",
                )
        return Protection(**fractions, targets=targets)

    def _targets(self, raw: list[object], at: str) -> tuple[Target, ...]:
        """Take-profits for parts of the position: nearest first, together at most the whole of it."""
        if not 1 <= len(raw) <= MOST_TARGETS:
            self._wrong_type(at, raw, f"expected 1 to {MOST_TARGETS} targets")
            return ()
        found: list[Target] = []
        together = Decimal(0)
        for number, item in enumerate(raw):
            place = f"{at}[{number}]"
            body = self._object(item, place, 'expected a target such as {"at": 0.02, "fraction": 0.5}')
            if body is None:
                continue
            self._known_keys(body, place, TARGET_KEYS, required=TARGET_KEYS)
            if set(body) != set(TARGET_KEYS):
                continue
            least = found[-1].at if found else 0.0
            distance = self._number(
                body["at"],
                f"{place}.at",
                lambda n, least=least: least < n <= 1000,  # type: ignore[misc]
                f"expected a fraction of the entry price above {least:g}: targets stand nearest first",
            )
            share = self._number(
                body["fraction"],
                f"{place}.fraction",
                lambda n: 0 < n <= 1 and round(n, 9) == n,
                "expected a fraction of the position above 0, at most 1, with at most 9 decimals",
            )
            if distance is None or share is None:
                continue
            together += Decimal(repr(share))
            if together > 1:
                self._wrong_type(
                    f"{place}.fraction", share, f"the targets take {together} of the position together"
                )
                continue
            found.append(Target(at=distance, fraction=share))
        return tuple(found)

    def _sizing(self, raw: object) -> Sizing | None:
        body = self._object(
            raw, "sizing", 'expected an object such as {"type": "fraction_of_equity", "value": 1}'
        )
        if body is None:
            return None
        self._known_keys(body, "sizing", SIZING_KEYS)
        kind = body.get("type", SizingType.FRACTION_OF_EQUITY.value)
        if not isinstance(kind, str) or kind not in list(SizingType):
            self._wrong_type("sizing.type", kind, f"expected one of {', '.join(SizingType)}")
            return None
        value = self._number(
            body.get("value", 1),
            "sizing.value",
            lambda n: 0 < n <= 1,
            "expected a fraction of the equity above 0, at most 1",
        )
        # The decimal a person wrote, not the double nearest to it.
        return None if value is None else Sizing(type=SizingType(kind), value=Decimal(f"{value!r}"))

    def _with_add_ons(
        self, sizing: Sizing, document: Mapping[str, object], sides: Iterable[SideRules]
    ) -> Sizing | None:
        """The sizing with the document's add-ons, which need a distance, a rule, or both."""
        by_rule = any(side.add is not None for side in sides)
        if "add_ons" not in document:
            if by_rule:
                self._missing("add_ons", 'a side has an "add" rule; say {"most": 3, "size": 0.5}')
            return sizing
        body = self._object(document["add_ons"], "add_ons", 'expected {"most": 3, "size": 0.5}')
        if body is None:
            return None
        self._known_keys(body, "add_ons", ADD_ON_KEYS, required=("most", "size"))
        if not {"most", "size"} <= set(body):
            return None
        most = self._number(
            body["most"],
            "add_ons.most",
            lambda n: n.is_integer() and 1 <= n <= MOST_ADD_ONS,
            f"expected a whole number of add-ons from 1 to {MOST_ADD_ONS}",
        )
        size = self._number(
            body["size"],
            "add_ons.size",
            lambda n: 0 < n <= 10,
            "expected a share of the entry's quantity above 0, at most 10",
        )
        every = None
        if body.get("every") is not None:
            every = self._number(
                body["every"],
                "add_ons.every",
                lambda n: 0 < abs(n) < 1,
                "expected a distance from the fill before: 0.01 is 1% in our favour, -0.01 against us",
            )
        elif not by_rule:
            self._missing("add_ons.every", 'give a distance, or an "add" rule to a side')
        levels = body.get("levels", LevelBase.AVERAGE.value)
        if not isinstance(levels, str) or levels not in list(LevelBase):
            self._wrong_type("add_ons.levels", levels, f"expected one of {', '.join(LevelBase)}")
            return None
        if most is None or size is None:
            return None
        made = AddOns(most=int(most), size=size, every=every, by_rule=by_rule, levels=LevelBase(levels))
        return Sizing(type=sizing.type, value=sizing.value, add_ons=made)

    # --- rules

    def _side(self, raw: object, at: str) -> SideRules | None:
        body = self._object(raw, at, 'expected an object with "entry" and "exit"')
        if body is None:
            return None
        self._known_keys(body, at, SIDE_KEYS, required=("entry",))
        entry = self._condition(body["entry"], f"{at}.entry") if "entry" in body else None
        leave = self._condition(body["exit"], f"{at}.exit") if "exit" in body else None
        add = self._condition(body["add"], f"{at}.add") if "add" in body else None
        return None if entry is None else SideRules(entry=entry, exit=leave, add=add)

    def _condition(self, raw: object, at: str, depth: int = 1) -> Condition | None:
        body = self._object(raw, at, CONDITION_EXPECTED)
        if body is None:
            return None
        if depth > MAX_DEPTH:
            self._wrong(at, body, f"conditions may lie at most {MAX_DEPTH} deep in each other")
            return None
        unknown = [key for key in body if key not in OPERATORS]
        for key in unknown:
            self._wrong_type(f"{at}.{key}", body[key], f"no such operator{meant(key, OPERATORS)}")
        if unknown:
            return None
        if len(body) != 1:
            self._wrong_type(
                at, body, 'expected exactly one operator; join several conditions with "all" or "any"'
            )
            return None
        ((operator, content),) = body.items()
        inside = f"{at}.{operator}"
        if operator in GROUPS:
            return self._group(operator, content, inside, depth)
        if operator in SLOPES:
            return self._slope(operator, content, inside)
        return self._pair(operator, content, inside)

    def _group(self, operator: str, content: object, at: str, depth: int) -> Group | None:
        if operator == "not":
            if not isinstance(content, dict):
                self._wrong_type(at, content, f"{CONDITION_EXPECTED}, one and not in a list")
                return None
            only = self._condition(content, at, depth + 1)
            return None if only is None else Group(operator, (only,))
        if not isinstance(content, list) or not content:
            self._wrong_type(at, content, "expected a list of at least one condition")
            return None
        conditions = [self._condition(item, f"{at}[{i}]", depth + 1) for i, item in enumerate(content)]
        known = tuple(condition for condition in conditions if condition is not None)
        return Group(operator, known) if len(known) == len(conditions) else None

    def _pair(self, operator: str, content: object, at: str) -> Comparison | Cross | None:
        if not isinstance(content, list) or len(content) != 2:
            self._wrong_type(at, content, 'expected a list of two operands, such as ["close", 100]')
            return None
        left, right = (self._operand(item, f"{at}[{i}]") for i, item in enumerate(content))
        if left is None or right is None:
            return None
        if operator in CROSSES:
            if isinstance(left, Constant) and isinstance(right, Constant):
                self._wrong_type(
                    at, content, "two numbers never cross; one operand must be a price or an indicator"
                )
                return None
            return Cross(operator, left, right)
        assert operator in COMPARISONS
        return Comparison(operator, left, right)

    def _slope(self, operator: str, content: object, at: str) -> Slope | None:
        if isinstance(content, list) and len(content) == 2:
            of_at, over_at = f"{at}[0]", f"{at}[1]"
            raw_of, raw_over = content
        elif isinstance(content, dict) and set(content) == {"of", "over"}:
            of_at, over_at = f"{at}.of", f"{at}.over"
            raw_of, raw_over = content["of"], content["over"]
        else:
            self._wrong_type(
                at, content, 'expected [name, candles], such as ["fast", 3], or {"of": "fast", "over": 3}'
            )
            return None
        of = self._operand(raw_of, of_at)
        over = self._count(raw_over, over_at, 1, "")
        if isinstance(of, Constant):
            self._wrong_type(of_at, raw_of, "a number neither rises nor falls; name a price or an indicator")
            return None
        return None if of is None or over is None else Slope(operator, of, over)

    def _operand(self, raw: object, at: str) -> Operand | None:
        if isinstance(raw, str):
            return self._series(raw, at, 0)
        if isinstance(raw, dict):
            return self._composed_operand(raw, at)
        number = finite_number(raw)
        if number is None:
            self._wrong_type(at, raw, OPERAND_EXPECTED)
            return None
        return Constant(number)

    def _composed_operand(self, raw: Mapping[str, object], at: str) -> Operand | None:
        if set(raw) == {"parameter"}:
            value = self._parameter_value(raw, at)
            return None if value is None else Constant(value)
        if "of" not in raw or "parameter" in raw:
            self._wrong_type(at, raw, OPERAND_EXPECTED)
            return None
        self._known_keys(raw, at, ("of", "shift"), required=("shift",))
        if set(raw) != {"of", "shift"}:
            return None
        shift = self._count(raw["shift"], f"{at}.shift", 0, "; a negative shift would look ahead")
        name = raw["of"]
        if not isinstance(name, str):
            self._wrong_type(f"{at}.of", name, "expected the name of a price or an indicator")
            return None
        series = self._series(name, f"{at}.of", shift or 0)
        return None if shift is None else series

    def _series(self, name: str, at: str, shift: int) -> Series | None:
        if name in PRICE_SERIES:
            return Series(name, shift)
        indicator, dot, output = name.partition(".")
        if self._declared_indicators is None:
            return None
        if indicator not in self._declared_indicators:
            self._unknown_operand(name, at, sorted(self._declared_indicators))
            return None
        self._used.add(f"indicator {indicator}")
        if indicator not in self._indicators:
            return None  # the indicator itself is wrong, which is noted already
        outputs = self._indicators[indicator].spec.outputs
        if not dot:
            if len(outputs) == 1:
                return Series(name, shift)
            choices = ", ".join(f"{indicator}.{known}" for known in outputs)
            self._wrong_type(at, name, f"it has several outputs; name one of {choices}")
            return None
        if output not in outputs:
            self._wrong_type(at, name, f"{indicator} has no such output{meant(output, outputs)}")
            return None
        return Series(indicator if len(outputs) == 1 else name, shift)

    def _unknown_operand(self, name: str, at: str, indicators: list[str]) -> None:
        if name in (self._declared_parameters or ()):
            self._wrong_type(at, name, f'that is a parameter; write {{"parameter": "{name}"}}')
            return
        try:
            float(name)
        except ValueError:
            known = [*PRICE_SERIES]
            for indicator in indicators:
                use = self._indicators.get(indicator)
                outputs = use.spec.outputs if use else ()
                known.extend(
                    [f"{indicator}.{output}" for output in outputs] if len(outputs) > 1 else [indicator]
                )
            self._wrong_type(at, name, f"no such price or indicator{meant(name, known)}")
        else:
            self._wrong_type(at, name, "write a number without quotes")

    # --- what is allowed but likely not meant

    def _warnings(
        self,
        ranges: Mapping[str, ParameterRange],
        long: SideRules | None,
        short: SideRules | None,
        protection: Protection,
    ) -> Iterable[str]:
        for name in ranges:
            if f"parameter {name}" not in self._used:
                yield f"parameters.{name} is used nowhere"
        for name in self._indicators:
            if f"indicator {name}" not in self._used:
                yield f"indicators.{name} is used by no rule"
        protected = protection != Protection()
        for side, rules in (("long", long), ("short", short)):
            if rules is not None and rules.exit is None and not protected:
                yield f"{side}.exit is missing and there is no protection: a position stays open to the end"
        stop, trail = protection.stop_loss, protection.trailing_stop
        if stop is not None and trail is not None and trail <= stop:
            yield f"protection.stop_loss {stop:g} is never reached: trailing_stop {trail:g} is as near"


def _inside(at: str, key: str) -> str:
    return f"{at}.{key}" if at else key


def _outside(value: float, allowed: ParameterRange) -> str:
    """What would be right where `value` is out of bounds, else nothing."""
    low = -math.inf if allowed.minimum is None else allowed.minimum
    high = math.inf if allowed.maximum is None else allowed.maximum
    if low <= value <= high:
        return ""
    if math.isinf(low):
        return f"expected at most {high:g}"
    return f"expected at least {low:g}" if math.isinf(high) else f"expected a number from {low:g} to {high:g}"


def _off_step(value: float, allowed: ParameterRange) -> str:
    """What would be right where `value` lies between two steps, else nothing. The default may."""
    if allowed.step is None or value == allowed.default:
        return ""
    start = allowed.default if allowed.minimum is None else allowed.minimum
    steps = (value - start) / allowed.step
    if abs(steps - round(steps)) <= 1e-9 * max(1.0, abs(steps)):
        return ""
    below = start + math.floor(steps) * allowed.step
    return f"expected {start:g} plus whole steps of {allowed.step:g}: {below:g} or {below + allowed.step:g}"
