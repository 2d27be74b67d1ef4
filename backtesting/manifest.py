"""What a run was made of, so that it can be repeated and proved equal."""

from __future__ import annotations

import hashlib
from decimal import Decimal

import msgspec
import numpy as np

from backtesting.engine import ENGINE_VERSION, BacktestResult
from bots.finest_data import counts_of
from bots.orders import Costs, RulesFrom, TradingRules
from bots.risk.limits import NO_LIMITS, Limits
from data.models import FloatArray, IntArray, Ohlcv
from data.timeframes import Timeframe, to_datetime


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where the inputs lay. Not part of any hash: a file may move."""

    strategy: str
    candles: str | None = None  # a file, or
    venue: str | None = None  # a market of the store
    symbol: str | None = None
    start: str | None = None  # ISO 8601, as asked for
    end: str | None = None
    finer: str | None = None  # a file; None where folded candles' own parts served, or nothing


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """Equal hashes and terms in, equal `result_hash` out."""

    engine_version: str
    strategy: str
    strategy_hash: str  # of the definition and the parameter values
    parameters: dict[str, float]
    timeframe: Timeframe
    data_hash: str  # of the candles that were run
    candles: int
    starts_at: str  # ISO 8601: open of the first candle, close of the last
    ends_at: str
    finer_timeframe: Timeframe | None  # the smallest one of candles that were read of candles' insides
    finer_hash: str | None  # of all that was read of them; None where nothing was or nothing needed it
    capital: Decimal
    costs: Costs
    rules: TradingRules
    rounding: bool  # whether prices and quantities were put on a tick and a lot
    close_at_end: bool
    seed: int | None  # None: nothing in a run is random
    finer_trades: int = 0  # that were read to tell what came first inside candles
    finer_candles: int = 0
    later_rules: tuple[RulesFrom, ...] = ()  # that replaced `rules` within the run
    missing: tuple[tuple[str, str], ...] = ()  # stretches the store did not know, run all the same
    limits: Limits = NO_LIMITS  # that entries were held to
    source: Source
    result_hash: str


def manifest_of(
    result: BacktestResult,
    source: Source,
    missing: tuple[tuple[str, str], ...] = (),
    limits: Limits = NO_LIMITS,
) -> Manifest:
    """The manifest of a finished run; `missing` are the stretches without data that it was allowed."""
    ohlcv, finer = result.ohlcv, result.finer
    trades, candles = counts_of(finer)
    return Manifest(
        engine_version=ENGINE_VERSION,
        strategy=result.strategy.name,
        strategy_hash=result.strategy.version,
        parameters=dict(result.strategy.parameters),
        timeframe=ohlcv.timeframe,
        data_hash=data_hash(ohlcv),
        candles=len(ohlcv),
        starts_at=iso_time(int(ohlcv.opened_at_us[0])),
        ends_at=iso_time(int(ohlcv.opened_at_us[-1]) + ohlcv.timeframe.us),
        finer_timeframe=finer.timeframe if finer is not None and candles else None,
        finer_hash=None if finer is None else data_hash(finer),
        finer_trades=trades,
        finer_candles=candles,
        capital=result.capital,
        costs=result.costs,
        rules=result.rules,
        rounding=result.rules.tick_size is not None or result.rules.lot_size is not None,
        close_at_end=result.close_at_end,
        seed=None,
        later_rules=result.later_rules,
        limits=limits,
        missing=missing,
        source=source,
        result_hash=result_hash(result),
    )


def data_hash(ohlcv: Ohlcv) -> str:
    """SHA-256 of the time frame and the columns' bytes, little-endian."""
    digest = hashlib.sha256(ohlcv.timeframe.encode())
    feed(digest, ohlcv.opened_at_us)
    for column in (ohlcv.open, ohlcv.high, ohlcv.low, ohlcv.close, ohlcv.volume):
        feed(digest, column)
    return digest.hexdigest()


def result_hash(result: BacktestResult) -> str:
    """SHA-256 of every fill, every order that was refused or waits, and the equity curve's bytes."""
    digest = hashlib.sha256(msgspec.json.encode((result.fills, result.refused, result.pending)))
    feed(digest, result.equity)
    return digest.hexdigest()


def differences(expected: Manifest, found: Manifest) -> list[str]:
    """What makes a repeated run another one, in sentences; empty where it is proved equal."""
    told = []
    for field, meaning in (
        ("engine_version", "the engine's version"),
        ("strategy_hash", "the strategy's hash"),
        ("data_hash", "the candles' hash"),
        ("finer_hash", "the hash of what lies inside candles"),
        ("result_hash", "the result's hash"),
    ):
        was, now = getattr(expected, field), getattr(found, field)
        if was != now:
            told.append(f"{meaning} was {was} and is {now}")
    return told


def iso_time(at_us: int) -> str:
    """As files and JSON write a time: "2024-08-08T23:55:00Z"."""
    return to_datetime(at_us).isoformat().replace("+00:00", "Z")


def feed(digest: hashlib._Hash, column: FloatArray | IntArray) -> None:
    """Add a column's bytes, little-endian, to a hash."""
    # As it lies in memory: a copy of a million candles takes as long as some of their indicators.
    digest.update(np.ascontiguousarray(column, dtype=column.dtype.newbyteorder("<")).data)
