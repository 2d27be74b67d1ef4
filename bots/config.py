"""A bot's file: what a person writes, checked field by field."""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec

from bots.ladders.parsing import parse_settings, settings_document
from bots.ladders.settings import AnySettings, LadderType, RebalanceSettings, type_of
from bots.orders import Costs
from bots.risk.limits import BotLimits, parse_bot_limits
from data.errors import InvalidInput, Problem
from data.models import Market
from data.timeframes import Timeframe

VENUES = ("binance", "okx")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_SYMBOL = re.compile(r"[A-Z0-9]+-[A-Z0-9]+(-[A-Z0-9]+)*")
_MOST_BPS = Decimal(1_000)  # 10 %: more is a slip of the pen, most often a percentage
_MOST_CAPITAL = Decimal(10) ** 30


class OnRestart(StrEnum):
    """What a bot does after its process ended, however it ended."""

    RESUME = "resume"  # catch up through the stored candles, exactly as if it had never stopped
    FLATTEN = "flatten"  # no new entries in what it missed; close the position at the next open, then go on
    FREEZE = "freeze"  # stop where it was, keep the position, wait for a person


class FillRule(StrEnum):
    """What a paper bot's market orders are filled at; see docs/decisions/0014-fills-by-recorded-depth.md."""

    CANDLE = "candle"  # the open of the next candle and `slippage_bps`, as in a backtest
    DEPTH = "depth"  # the levels of the order book recorded before that open, as deep as the order needs


class BotConfig(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """A bot as its file describes it. `capital` is quote currency."""

    name: str
    venue: str
    symbol: str  # of a basket the first of its weights
    strategy: str  # a file name in the strategies folder, or a path; empty for a ladder
    capital: Decimal
    ladder: AnySettings | None = None  # of a bot with several orders: `type` and `settings` of its file
    parameters: dict[str, float] = {}
    timeframe: Timeframe | None = None  # None: the strategy's own
    mode: str = "paper"
    fee_bps: Decimal = Decimal(10)  # taker
    maker_fee_bps: Decimal = Decimal(10)
    slippage_bps: Decimal = Decimal(0)
    limits: BotLimits = BotLimits()
    account: str | None = None  # of several bots, from the risk file; None: one of its own
    on_restart: OnRestart = OnRestart.RESUME
    fill: FillRule = FillRule.CANDLE

    @property
    def market(self) -> Market:
        return Market(self.venue, self.symbol)

    @property
    def symbols(self) -> tuple[str, ...]:
        """All that it trades: one, or those of a basket's weights."""
        return tuple(self.ladder.weights) if isinstance(self.ladder, RebalanceSettings) else (self.symbol,)

    @property
    def costs(self) -> Costs:
        return Costs(fee_bps=self.fee_bps, maker_fee_bps=self.maker_fee_bps, slippage_bps=self.slippage_bps)


def as_document(config: BotConfig) -> dict[str, Any]:
    """The config as plain JSON values, money as strings; `parse_bot` reads it back unchanged."""
    document: dict[str, Any] = msgspec.to_builtins(config)
    limits = document["limits"]
    document["limits"] = {**limits.pop("own", {}), **limits}
    del document["ladder"]
    if config.fill is FillRule.CANDLE:
        del document["fill"]  # as it is of bots from before there was a choice
    if config.ladder is not None:
        del document["strategy"], document["parameters"]
        document["type"] = str(type_of(config.ladder))
        document["settings"] = settings_document(config.ladder)
    if isinstance(config.ladder, RebalanceSettings):
        del document["symbol"]
    return document


def symbols_in(document: Mapping[str, Any]) -> tuple[str, ...]:
    """The symbols of a document of `as_document`: one, several of a basket, or none of a broken file."""
    weights = (document.get("settings") or {}).get("weights") or ()
    several = tuple(str(pair[0]) for pair in weights)
    return several or tuple(str(one) for one in (document.get("symbol"),) if one)


def is_bot_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


def load_bot(path: Path) -> BotConfig:
    """The bot that a file describes. Raises InvalidInput for a file that cannot be read or used."""
    return parse_bot(read_document(path), where=str(path))


def read_document(path: Path) -> dict[str, Any]:
    """The JSON object in a file, decimals kept exact. Raises InvalidInput naming line and column."""
    where = str(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidInput(
            Problem(where=where, field="", value="", expected=f"cannot be read: {error.strerror}")
        ) from error
    except UnicodeDecodeError as error:
        raise InvalidInput(
            Problem(where=where, field="", value="", expected="must be text in UTF-8")
        ) from error
    try:
        document = json.loads(text, parse_float=Decimal, object_pairs_hook=_without_repeats)
    except json.JSONDecodeError as error:
        raise InvalidInput(
            Problem(
                where=where,
                field=f"line {error.lineno}, column {error.colno}",
                value="",
                expected=f"is not JSON: {error.msg}",
            )
        ) from error
    except _RepeatedKey as error:
        raise InvalidInput(
            Problem(where=where, field=str(error), value="given twice", expected="write it once")
        ) from error
    if not isinstance(document, dict):
        raise InvalidInput(
            Problem(where=where, field="", value=_shown(document), expected="must be a JSON object, {...}")
        )
    return document


def parse_bot(document: Mapping[str, Any], *, where: str) -> BotConfig:
    """Check every field of a bot. Raises InvalidInput with all problems at once."""
    return _Reader(document, where).config()


class _RepeatedKey(ValueError):
    pass


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _RepeatedKey(key)
        found[key] = value
    return found


class _Reader:
    """Reads one document and gathers what is wrong with it."""

    def __init__(self, document: Mapping[str, Any], where: str) -> None:
        self._document = document
        self._where = where
        self._problems: list[Problem] = []

    def config(self) -> BotConfig:
        known = (*(name for name in BotConfig.__struct_fields__ if name != "ladder"), "type", "settings")
        for key in self._document:
            if key not in known:
                near = difflib.get_close_matches(str(key), known, n=1)
                hint = f"did you mean {near[0]}?" if near else f"known keys are {', '.join(known)}"
                self._wrong(str(key), "an unknown key", hint)
        kind = self._kind()
        fields = {
            "name": self._text("name", _NAME, "letters, digits, _ and -, at most 64, as in trend_btc"),
            "venue": self._one_of("venue", VENUES),
            "symbol": self._symbol(kind),
            "strategy": self._strategy(kind),
            "capital": self._capital(),
            "parameters": self._numbers("parameters"),
            "timeframe": self._timeframe(),
            "mode": self._one_of("mode", ("paper",), "paper"),
            "fee_bps": self._bps("fee_bps", Decimal(10)),
            "maker_fee_bps": self._bps("maker_fee_bps", Decimal(10)),
            "slippage_bps": self._bps("slippage_bps", Decimal(0)),
            "limits": parse_bot_limits(self._document.get("limits", {}), wrong=self._wrong),
            "account": self._account(),
            "on_restart": self._one_of("on_restart", [policy.value for policy in OnRestart], "resume"),
            "fill": self._fill(kind),
        }
        ladder = None if kind is None else self._ladder(kind, fields)
        if self._problems:
            raise InvalidInput(*self._problems)
        config = msgspec.structs.replace(msgspec.convert(fields, BotConfig), ladder=ladder)
        return msgspec.structs.replace(config, symbol=config.symbols[0])

    def _kind(self) -> LadderType | None:
        """The kind of a bot with several orders; None for one that follows a strategy."""
        value = self._document.get("type", "strategy")
        if value == "strategy":
            if self._document.get("settings") is not None:
                self._wrong("settings", "given", f"needs a type: one of {', '.join(LadderType)}")
            return None
        if isinstance(value, str) and value in [kind.value for kind in LadderType]:
            return LadderType(value)
        self._wrong("type", _shown(value), f"must be one of strategy, {', '.join(LadderType)}")
        return None

    def _fill(self, kind: LadderType | None) -> str:
        fill = self._one_of("fill", [rule.value for rule in FillRule], "candle")
        if kind not in (None, LadderType.REBALANCE) and fill == FillRule.DEPTH:
            self._wrong("fill", _shown(fill), f"a {kind} has limit orders; leave it out")
        return fill

    def _strategy(self, kind: LadderType | None) -> str:
        if kind is None:
            return self._text(
                "strategy", re.compile(r".*\S.*"), "the name of a strategy file, as in ema_crossover.json"
            )
        for field in ("strategy", "parameters"):
            if self._document.get(field):
                self._wrong(field, _shown(self._document[field]), f"a {kind} has settings instead")
        return ""

    def _ladder(self, kind: LadderType, fields: Mapping[str, Any]) -> AnySettings | None:
        return parse_settings(
            kind,
            self._document.get("settings"),
            capital=fields["capital"],
            costs=Costs(**{name: fields[name] for name in Costs.__struct_fields__}),
            wrong=self._wrong,
        )

    def _wrong(self, field: str, value: str, expected: str) -> None:
        self._problems.append(Problem(where=self._where, field=field, value=value, expected=expected))

    def _text(self, field: str, pattern: re.Pattern[str], expected: str) -> str:
        value = self._document.get(field)
        if value is None:
            self._wrong(field, "missing", f"give {expected}")
        elif not isinstance(value, str) or not pattern.fullmatch(value):
            self._wrong(field, _shown(value), f"must be {expected}")
        else:
            return value
        return ""

    def _one_of(self, field: str, known: Sequence[str], default: str | None = None) -> str:
        value = self._document.get(field, default)
        if isinstance(value, str) and value in known:
            return value
        choices = known[0] if len(known) == 1 else f"one of {', '.join(known)}"
        self._wrong(field, "missing" if value is None else _shown(value), f"must be {choices}")
        return known[0]

    def _symbol(self, kind: LadderType | None) -> str:
        if kind is LadderType.REBALANCE:
            if self._document.get("symbol") is not None:
                self._wrong("symbol", _shown(self._document["symbol"]), "a basket has weights instead")
            return ""
        symbol = self._text("symbol", re.compile(r".+"), "a symbol as in BTC-USDT or BTC-USDT-PERP")
        if symbol and not _SYMBOL.fullmatch(symbol):
            upper = symbol.upper().replace("/", "-").replace("_", "-")
            hint = f"did you mean {upper}?" if _SYMBOL.fullmatch(upper) else "BASE-QUOTE, as in BTC-USDT"
            self._wrong("symbol", _shown(symbol), f"must be BASE-QUOTE in capitals; {hint}")
        return symbol

    def _timeframe(self) -> str | None:
        value = self._document.get("timeframe")
        return None if value is None else self._one_of("timeframe", [frame.value for frame in Timeframe])

    def _capital(self) -> Decimal:
        capital = self._decimal("capital", None)
        if capital is not None and capital <= 0:
            self._wrong("capital", str(capital), "must be above 0, in quote currency")
        elif capital is not None and capital >= _MOST_CAPITAL:
            self._wrong("capital", str(capital), "must be below 1e30, which is what fills can count")
        return capital or Decimal(1)

    def _bps(self, field: str, default: Decimal) -> Decimal:
        value = self._decimal(field, default)
        if value is not None and not 0 <= value <= _MOST_BPS:
            self._wrong(field, str(value), f"must lie in 0 to {_MOST_BPS} basis points (10 is 0.1 %)")
        return value or Decimal(0)

    def _decimal(self, field: str, default: Decimal | None) -> Decimal | None:
        """An exact number, written as a JSON number or as a string of one."""
        value = self._document.get(field, default)
        if value is None:
            self._wrong(field, "missing", "give a number")
            return None
        if isinstance(value, int | float | Decimal | str) and not isinstance(value, bool):
            try:
                # repr of a float is the decimal a person wrote, for up to 15 digits
                number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
            except InvalidOperation:
                number = Decimal("NaN")
            if number.is_finite():
                return number
        self._wrong(field, _shown(value), "must be a number")
        return None

    def _numbers(self, field: str) -> dict[str, float]:
        value = self._document.get(field, {})
        if not isinstance(value, Mapping):
            self._wrong(field, _shown(value), 'must be an object of numbers, as in {"fast": 12}')
            return {}
        numbers: dict[str, float] = {}
        for key, number in value.items():
            if isinstance(number, bool) or not isinstance(number, int | float | Decimal):
                self._wrong(f"{field}.{key}", _shown(number), "must be a number")
            elif not math.isfinite(number):
                self._wrong(f"{field}.{key}", _shown(number), "must be a finite number")
            else:
                numbers[str(key)] = float(number)
        return numbers

    def _account(self) -> str | None:
        if self._document.get("account") is None:
            return None
        return self._text("account", _NAME, "the name of an account in the risk file") or None


def _shown(value: object) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:57] + "..."
