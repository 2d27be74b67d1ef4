"""Candles and signals for tests, and what the reference engine reads of them."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import numpy as np

from bots.orders import Costs, RulesFrom, TradingRules
from data.models import BoolArray, Candle, Ohlcv
from data.timeframes import Timeframe
from strategies.base import AddOns, Overlay, Protection, Signals, Sizing, StrategyStream
from tests.backtesting.reference_engine import Adds, Bar, Say, Terms


@dataclass(frozen=True, kw_only=True)
class GivenSignals:
    """A strategy whose signals were written down beforehand."""

    given: Signals
    timeframe: Timeframe = Timeframe.H1
    protection: Protection = field(default_factory=Protection)
    sizing: Sizing = field(default_factory=Sizing)
    name: str = "given"
    version: str = "v1"
    warmup: int = 0
    parameters: Mapping[str, float] = field(default_factory=dict)

    def signals(self, ohlcv: Ohlcv) -> Signals:
        assert len(self.given.long_entry) == len(ohlcv)
        return self.given

    def stream(self) -> StrategyStream:
        raise NotImplementedError("written down signals are read as arrays")

    def overlays(self, ohlcv: Ohlcv) -> list[Overlay]:
        return []


def ohlcv_of(
    rows: Iterable[tuple[float, float, float, float]],
    timeframe: Timeframe = Timeframe.H1,
    start_us: int = 1_704_067_200_000_000,
) -> Ohlcv:
    """Candles (open, high, low, close) one after the other."""
    columns = np.array(list(rows), dtype=np.float64).reshape(-1, 4)
    return Ohlcv(
        timeframe=timeframe,
        opened_at_us=start_us + np.arange(len(columns), dtype=np.int64) * timeframe.us,
        open=columns[:, 0].copy(),
        high=columns[:, 1].copy(),
        low=columns[:, 2].copy(),
        close=columns[:, 3].copy(),
        volume=np.ones(len(columns)),
    )


def signals_at(
    count: int,
    *,
    long_entry: Iterable[int] = (),
    long_exit: Iterable[int] = (),
    short_entry: Iterable[int] = (),
    short_exit: Iterable[int] = (),
) -> Signals:
    """Signals that are true on the given rows alone."""

    def column(rows: Iterable[int]) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        values = np.zeros(count, dtype=np.bool_)
        values[list(rows)] = True
        return values

    return Signals(
        long_entry=column(long_entry),
        long_exit=column(long_exit),
        short_entry=column(short_entry),
        short_exit=column(short_exit),
    )


def bars_of(ohlcv: Ohlcv) -> list[Bar]:
    columns = (ohlcv.open, ohlcv.high, ohlcv.low, ohlcv.close)
    prices = zip(*([Decimal(repr(price)) for price in column.tolist()] for column in columns), strict=True)
    return [Bar(at_us, *row) for at_us, row in zip(ohlcv.opened_at_us.tolist(), prices, strict=True)]


def says_of(signals: Signals) -> list[Say]:
    columns: list[BoolArray] = [
        signals.long_entry,
        signals.long_exit,
        signals.short_entry,
        signals.short_exit,
    ]
    never = np.zeros(len(signals.long_entry), dtype=np.bool_)
    for adds in (signals.long_add, signals.short_add):
        columns.append(never if adds is None else adds)
    return [Say(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]


def reference_terms(
    costs: Costs,
    rules: TradingRules,
    protection: Protection,
    sizing: Sizing,
    later_rules: Sequence[RulesFrom] = (),
) -> Terms:
    def exact(value: float | None) -> Decimal | None:
        return None if value is None else Decimal(repr(value))

    return Terms(
        fee=costs.fee_bps / 10_000,
        maker_fee=costs.maker_fee_bps / 10_000,
        slip=costs.slippage_bps / 10_000,
        tick=rules.tick_size,
        lot=rules.lot_size,
        min_notional=rules.min_notional,
        stop_loss=exact(protection.stop_loss),
        take_profit=exact(protection.take_profit),
        trailing_stop=exact(protection.trailing_stop),
        size=sizing.value,
        targets=tuple((Decimal(repr(one.at)), Decimal(repr(one.fraction))) for one in protection.targets),
        adds=None if sizing.add_ons is None else _adds(sizing.add_ons),
        later=tuple(
            (later.valid_from_us, later.rules.tick_size, later.rules.lot_size, later.rules.min_notional)
            for later in later_rules
        ),
    )


def _adds(add_ons: AddOns) -> Adds:
    return Adds(
        most=add_ons.most,
        size=Decimal(repr(add_ons.size)),
        every=None if add_ons.every is None else Decimal(repr(add_ons.every)),
        on_signal=add_ons.by_rule,
        average=add_ons.levels == "average",
    )


def candle_of(ohlcv: Ohlcv, row: int) -> Candle:
    return Candle(
        exchange="test",
        symbol="A-B",
        timeframe=ohlcv.timeframe,
        opened_at_us=int(ohlcv.opened_at_us[row]),
        open=float(ohlcv.open[row]),
        high=float(ohlcv.high[row]),
        low=float(ohlcv.low[row]),
        close=float(ohlcv.close[row]),
        volume=1.0,
        trades=1,
    )


def recorded(path: Path, timeframe: Timeframe, rows: int | None = None) -> Ohlcv:
    """A recorded candle file, or its first rows."""
    with gzip.open(path, "rt") as file:
        lines = list(csv.DictReader(file))[:rows]
    names = ("open", "high", "low", "close", "volume")
    columns = {name: np.array([float(line[name]) for line in lines]) for name in names}
    opened_at_us = np.array([int(line["ts_ms"]) * 1000 for line in lines], dtype=np.int64)
    return Ohlcv(timeframe=timeframe, opened_at_us=opened_at_us, **columns)
