"""What each kind of job is told: JSON values, checked before anything is queued. None of them is ever run."""

from __future__ import annotations

import math
import re
import typing
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from backtesting.search.space import axis_of
from backtesting.search.spans import Scheme
from backtesting.search.spec import DEFAULT_TRIALS, METRICS, Method
from data.errors import InvalidInput, Problem
from data.exchanges.registry import EXCHANGES
from data.models import Market
from data.timeframes import Timeframe, to_us
from jobs.model import JobKind

_SYMBOL = re.compile(r"[A-Z0-9]+-[A-Z0-9]+(-[A-Z0-9]+)?")
_LONGEST_NAME = 200
_EXPORT_ENDINGS = (".csv", ".csv.gz", ".parquet")


class _Arguments(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all kinds can do."""

    def title(self) -> str:
        """The job in one line."""
        raise NotImplementedError

    def lock(self) -> str | None:
        """Jobs of equal lock run one after the other; None: beside any other."""
        return None

    def problems(self) -> list[Problem]:
        """What is wrong beyond the types of single fields."""
        return []


class _Trading(_Arguments, frozen=True, kw_only=True):
    """A strategy, candles of the store, and the terms of trading."""

    strategy: str  # "trend", "trend@2" or "trend@4be1c0" as it is saved, else the name of a file on the shelf
    venue: str
    timeframe: Timeframe | None = None  # instead of the strategy's
    start: str | None = msgspec.field(name="from", default=None)  # ISO 8601, UTC where it names no zone
    end: str | None = msgspec.field(name="to", default=None)
    capital: Decimal = Decimal(10_000)
    fee_bps: Decimal = Decimal(10)
    maker_fee_bps: Decimal = Decimal(10)
    slippage_bps: Decimal = Decimal(0)
    tick_size: Decimal | None = None  # instead of the instrument's
    lot_size: Decimal | None = None
    min_notional: Decimal | None = None
    rounding: bool = True
    close_at_end: bool = False
    allow_missing: bool = False

    @property
    def overrides(self) -> dict[str, Decimal]:
        """The steps that are given instead of the instrument's."""
        steps = {
            "tick_size": self.tick_size,
            "lot_size": self.lot_size,
            "min_notional": self.min_notional,
        }
        return {name: step for name, step in steps.items() if step is not None}

    def problems(self) -> list[Problem]:
        found = [*_name("strategy", self.strategy), *_venue(self.venue), *_span(self.start, self.end)]
        for name in ("capital", "tick_size", "lot_size"):
            found += _number(name, getattr(self, name), above_zero=True)
        for name in ("fee_bps", "maker_fee_bps", "slippage_bps", "min_notional"):
            found += _number(name, getattr(self, name), above_zero=False)
        return found


class BacktestArguments(_Trading, frozen=True, kw_only=True):
    """One run; several symbols share the capital."""

    symbols: tuple[str, ...]
    parameters: dict[str, float] = {}

    def title(self) -> str:
        return f"{self.strategy} on {self.venue}:{', '.join(self.symbols)}"

    def problems(self) -> list[Problem]:
        found = super().problems()
        if not self.symbols or len(set(self.symbols)) < len(self.symbols):
            found.append(_problem("symbols", _shown(list(self.symbols)), "give at least one, each once"))
        return [*found, *(one for symbol in self.symbols for one in _symbol("symbols", symbol))]


class SweepArguments(_Trading, frozen=True, kw_only=True):
    """A search over parameters. Ranges are written as on the command line: "5:50:1", "5,8,13", "12"."""

    symbol: str
    parameters: dict[str, str] = {}  # without a range: what the strategy declares
    method: Method = Method.GRID
    trials: Annotated[int, Meta(ge=1, le=5_000_000)] = DEFAULT_TRIALS
    seed: Annotated[int, Meta(ge=0, le=2**32 - 1)] = 0
    metric: str = "sharpe"
    top: Annotated[int, Meta(ge=1, le=1_000)] = 20
    scheme: Scheme = Scheme.WHOLE  # anchored and rolling walk forward
    folds: Annotated[int, Meta(ge=1, le=1_000)] = 5
    test_fraction: Annotated[float, Meta(gt=0, lt=1)] = 0.3

    def title(self) -> str:
        walk = "walk-forward" if self.scheme in (Scheme.ANCHORED, Scheme.ROLLING) else self.method
        return f"{walk} search of {self.strategy} on {self.venue}:{self.symbol}"

    def problems(self) -> list[Problem]:
        found = [*super().problems(), *_symbol("symbol", self.symbol)]
        if self.metric not in METRICS:
            found.append(_problem("metric", _shown(self.metric), f"expected one of {', '.join(METRICS)}"))
        for name, text in self.parameters.items():
            try:
                axis_of(f"{name}={text}")
            except InvalidInput:
                expected = "give FIRST:LAST:STEP, values with commas between them, or one value"
                found.append(_problem(f"parameters.{name}", _shown(text), expected))
        return found


class BackfillArguments(_Arguments, frozen=True, kw_only=True):
    """A market's history, from the venue."""

    venue: str
    symbol: str
    start: str = msgspec.field(name="from")
    end: str | None = msgspec.field(name="to", default=None)
    trades: bool = False
    timeframes: tuple[Timeframe, ...] = ()  # none: all but 1s

    def title(self) -> str:
        return f"history of {self.venue}:{self.symbol} since {self.start}"

    def lock(self) -> str:
        # Two at once would each take the whole share of the venue's limits.
        return f"backfill {self.venue}"

    def problems(self) -> list[Problem]:
        return [*_venue(self.venue), *_symbol("symbol", self.symbol), *_span(self.start, self.end)]


class ExportArguments(_Arguments, frozen=True, kw_only=True):
    """Stored candles or trades, into a file in the folder `exports`, which is replaced if it is there."""

    venue: str
    symbol: str
    timeframe: Timeframe | None = None
    trades: bool = False
    start: str | None = msgspec.field(name="from", default=None)
    end: str | None = msgspec.field(name="to", default=None)
    file: str  # a name ending in .csv, .csv.gz or .parquet

    def title(self) -> str:
        what = "trades" if self.timeframe is None else f"{self.timeframe} candles"
        return f"{what} of {self.venue}:{self.symbol} to {self.file}"

    def lock(self) -> str:
        return f"export {self.file}"

    def problems(self) -> list[Problem]:
        found = [*_venue(self.venue), *_symbol("symbol", self.symbol), *_span(self.start, self.end)]
        if (self.timeframe is None) != self.trades:
            found.append(_problem("timeframe", "", "give either timeframe or trades"))
        found += _file(self.file)
        if not self.file.endswith(_EXPORT_ENDINGS):
            expected = f"the name ends in {', '.join(_EXPORT_ENDINGS)}"
            found.append(_problem("file", _shown(self.file), expected))
        return found


class ImportArguments(_Arguments, frozen=True, kw_only=True):
    """A file of the folder `imports`, into the store."""

    venue: str
    symbol: str
    file: str
    content: Literal["candles", "trades"]  # raw frames are trades
    timeframe: Timeframe | None = None  # of candles, where the file's smallest step is not it
    contract_size: Decimal | None = None

    def title(self) -> str:
        return f"{self.content} of {self.venue}:{self.symbol} from {self.file}"

    def lock(self) -> str:
        return f"import {self.venue}:{self.symbol}"

    def problems(self) -> list[Problem]:
        return [
            *_venue(self.venue),
            *_symbol("symbol", self.symbol),
            *_file(self.file),
            *_number("contract_size", self.contract_size, above_zero=True),
        ]


class ProofArguments(_Arguments, frozen=True, kw_only=True):
    """The look-ahead proof of a strategy."""

    strategy: str

    def title(self) -> str:
        return f"look-ahead proof of {self.strategy}"

    def problems(self) -> list[Problem]:
        return _name("strategy", self.strategy)


JobArguments = (
    BacktestArguments
    | SweepArguments
    | BackfillArguments
    | ExportArguments
    | ImportArguments
    | ProofArguments
)

_TYPES: Mapping[JobKind, type[JobArguments]] = {
    JobKind.BACKTEST: BacktestArguments,
    JobKind.SWEEP: SweepArguments,
    JobKind.BACKFILL: BackfillArguments,
    JobKind.EXPORT: ExportArguments,
    JobKind.IMPORT: ImportArguments,
    JobKind.PROOF: ProofArguments,
}


def parse_arguments(kind: JobKind, arguments: Mapping[str, Any]) -> JobArguments:
    """The arguments of a job of that kind. Raises InvalidInput with everything that is wrong."""
    wanted = _TYPES[kind]
    fields = {field.encode_name: field for field in msgspec.structs.fields(wanted)}
    hints = typing.get_type_hints(wanted, include_extras=True)
    problems = [
        _problem(str(name), "", f"is unknown; expected some of {', '.join(fields)}")
        for name in arguments
        if name not in fields
    ]
    values = {}
    for name, field in fields.items():
        if name not in arguments:
            if field.required:
                problems.append(_problem(name, "", "is missing"))
            continue
        try:
            values[field.name] = msgspec.convert(arguments[name], hints[field.name], strict=True)
        except msgspec.ValidationError as error:
            problems += _unfit(name, arguments[name], hints[field.name], error)
    # What could not be read stands empty or at its default below: everything that is wrong is told at once.
    unread = {one.field for one in problems}
    blanks: dict[str, Any] = {
        field.name: "" for field in fields.values() if field.required and field.name not in values
    }
    parsed = wanted(**values, **blanks)
    problems += [one for one in parsed.problems() if one.field.partition(".")[0] not in unread]
    if problems:
        raise InvalidInput(*problems)
    return parsed


def as_document(arguments: JobArguments) -> dict[str, Any]:
    """The arguments as JSON values, those left out with their defaults."""
    document: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(arguments))
    return document


def moment_of(text: str | None) -> int | None:
    """The time that ISO 8601 text names, in microseconds; UTC where it names no zone. Raises ValueError."""
    if text is None:
        return None
    at = datetime.fromisoformat(text)
    return to_us(at if at.tzinfo is not None else at.replace(tzinfo=UTC))


def market_of(arguments: BackfillArguments | ExportArguments | ImportArguments) -> Market:
    return Market(arguments.venue, arguments.symbol)


def check_file_name(name: str) -> None:
    """Raise InvalidInput for what is no plain name of a file."""
    if found := _file(name):
        raise InvalidInput(*found)


def _venue(venue: str) -> list[Problem]:
    if venue in EXCHANGES:
        return []
    return [_problem("venue", _shown(venue), f"expected one of {', '.join(sorted(EXCHANGES))}")]


def _symbol(field: str, symbol: str) -> list[Problem]:
    if _SYMBOL.fullmatch(symbol):
        return []
    return [_problem(field, _shown(symbol), "expected one like BTC-USDT or BTC-USDT-PERP")]


def _name(field: str, name: str) -> list[Problem]:
    # A path would let a page read any file of this machine.
    if 1 <= len(name) <= _LONGEST_NAME and name.isprintable() and not set(name) & {"/", "\\"}:
        return []
    return [_problem(field, _shown(name), "give the name of a saved strategy or of one on the shelf")]


def _file(name: str) -> list[Problem]:
    path = PurePosixPath(name)
    if 1 <= len(name) <= _LONGEST_NAME and name.isprintable() and path.name == name and "\\" not in name:
        return [] if not name.startswith(".") else [_problem("file", _shown(name), "give no hidden file")]
    return [_problem("file", _shown(name), "give the name of a file, without any folder")]


def _span(start: str | None, end: str | None) -> list[Problem]:
    found, times = [], []
    for field, text in (("from", start), ("to", end)):
        try:
            times.append(moment_of(text))
        except (ValueError, OverflowError):
            expected = "expected a time like 2024-08-08 or 2024-08-08T23:55:00Z"
            found.append(_problem(field, _shown(text), expected))
    if not found and None not in times and times[0] >= times[1]:  # type: ignore[operator]
        found.append(_problem("to", _shown(end), f"expected a time after {start}"))
    return found


def _number(field: str, value: Decimal | None, *, above_zero: bool) -> list[Problem]:
    if value is None:
        return []
    if value.is_finite() and math.isfinite(float(value)) and (value > 0 if above_zero else value >= 0):
        return []
    return [_problem(field, str(value), f"expected a number {'above' if above_zero else 'of at least'} 0")]


def _unfit(name: str, value: object, hint: Any, error: msgspec.ValidationError) -> list[Problem]:
    """A value of the wrong kind; of several under one name each that is wrong."""
    kinds = typing.get_args(hint)
    if typing.get_origin(hint) is dict and isinstance(value, Mapping):
        found = []
        for key, one in value.items():
            try:
                msgspec.convert(one, kinds[1], strict=True)
            except msgspec.ValidationError as inner:
                found += _unfit(f"{name}.{key}", one, kinds[1], inner)
        return found
    expected = str(error).lower()
    if {hint, *kinds} & {Decimal, float}:
        expected = "expected a number"
    elif Timeframe in kinds:
        expected = f"expected one of {', '.join(Timeframe)}"
    return [_problem(name, _shown(value), expected)]


def _shown(value: object) -> str:
    return msgspec.json.encode(value, enc_hook=str).decode()[:100]


def _problem(field: str, value: str, expected: str) -> Problem:
    return Problem(where="job", field=field, value=value, expected=expected)
