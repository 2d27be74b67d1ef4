"""A portfolio's run as one JSON document, as tables, and what it was made of."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import msgspec

from backtesting.document import (
    TRADE_FIELDS,
    EquityAt,
    ambiguity_document,
    best_case_document,
    iso_times,
    metrics_document,
    order_document,
    trade_documents,
)
from backtesting.engine import ENGINE_VERSION
from backtesting.manifest import Source, data_hash, feed, iso_time
from backtesting.portfolio import Leg, PortfolioResult
from bots.finest_data import counts_of
from bots.orders import Costs, RulesFrom, TradingRules
from data.timeframes import Timeframe


class LegManifest(msgspec.Struct, frozen=True, kw_only=True):
    """What one leg was made of."""

    symbol: str
    strategy: str
    strategy_hash: str
    parameters: dict[str, float]
    timeframe: Timeframe
    data_hash: str
    candles: int
    starts_at: str
    ends_at: str
    finer_timeframe: Timeframe | None
    finer_hash: str | None
    rules: TradingRules
    later_rules: tuple[RulesFrom, ...]
    missing: tuple[tuple[str, str], ...]
    source: Source
    finer_trades: int = 0
    finer_candles: int = 0


class PortfolioManifest(msgspec.Struct, frozen=True, kw_only=True):
    """Equal legs in the same order and equal terms in, equal `result_hash` out."""

    engine_version: str
    legs: tuple[LegManifest, ...]
    capital: Decimal
    costs: Costs
    rounding: bool
    close_at_end: bool
    seed: int | None  # None: nothing in a run is random
    result_hash: str


def portfolio_manifest(
    result: PortfolioResult,
    sources: list[Source],
    missing: list[tuple[tuple[str, str], ...]],
    *,
    rounding: bool,
) -> PortfolioManifest:
    """The manifest of a finished run; `sources` and `missing` stretches in the order of its legs."""
    parts = zip(result.legs, sources, missing, strict=True)
    return PortfolioManifest(
        engine_version=ENGINE_VERSION,
        legs=tuple(_leg_manifest(part.leg, source, spans) for part, source, spans in parts),
        capital=result.capital,
        costs=result.costs,
        rounding=rounding,
        close_at_end=result.close_at_end,
        seed=None,
        result_hash=portfolio_hash(result),
    )


def _leg_manifest(leg: Leg, source: Source, missing: tuple[tuple[str, str], ...]) -> LegManifest:
    ohlcv = leg.ohlcv
    trades, candles = counts_of(leg.finer)
    return LegManifest(
        symbol=leg.symbol,
        strategy=leg.strategy.name,
        strategy_hash=leg.strategy.version,
        parameters=dict(leg.strategy.parameters),
        timeframe=ohlcv.timeframe,
        data_hash=data_hash(ohlcv),
        candles=len(ohlcv),
        starts_at=iso_time(int(ohlcv.opened_at_us[0])),
        ends_at=iso_time(int(ohlcv.opened_at_us[-1]) + ohlcv.timeframe.us),
        finer_timeframe=leg.finer.timeframe if leg.finer is not None and candles else None,
        finer_hash=None if leg.finer is None else data_hash(leg.finer),
        finer_trades=trades,
        finer_candles=candles,
        rules=leg.rules,
        later_rules=leg.later_rules,
        missing=missing,
        source=source,
    )


def portfolio_hash(result: PortfolioResult) -> str:
    """SHA-256 of every fill, every refused order and the equity curve's bytes."""
    refused = [leg.refused for leg in result.legs]
    digest = hashlib.sha256(msgspec.json.encode((result.fills, refused)))
    feed(digest, result.equity)
    return digest.hexdigest()


def portfolio_differences(expected: PortfolioManifest, found: PortfolioManifest) -> list[str]:
    """What makes a repeated run another one, in sentences; empty where it is proved equal."""
    told = []
    if expected.engine_version != found.engine_version:
        told.append(f"the engine's version was {expected.engine_version} and is {found.engine_version}")
    for was, now in zip(expected.legs, found.legs, strict=True):
        for field in ("strategy_hash", "data_hash", "finer_hash"):
            if getattr(was, field) != getattr(now, field):
                told.append(f"{was.symbol}: {field} was {getattr(was, field)} and is {getattr(now, field)}")
    if expected.result_hash != found.result_hash:
        told.append(f"the result's hash was {expected.result_hash} and is {found.result_hash}")
    return told


def portfolio_document(result: PortfolioResult, manifest: PortfolioManifest) -> dict[str, Any]:
    """`metrics`, `trades` (with their `symbol` and `strategy`), `legs`, `ambiguity`, `equity` and `manifest`.

    Where nothing decided which came first in some candle, `equity_best_case` is there too.
    """
    times = iso_times(result.at_us)
    return {
        "metrics": metrics_document(result.metrics),
        "trades": _trades(result),
        "legs": [
            {
                "symbol": part.leg.symbol,
                "strategy": part.leg.strategy.name,
                "metrics": metrics_document(part.metrics),
                "open_quantity": part.ledger.quantity,
                "refused_orders": [order_document(order) for order in part.refused],
                "gain": float(part.gain[-1]),
            }
            for part in result.legs
        ],
        "ambiguity": ambiguity_document(result),
        "equity": [
            EquityAt(time, equity) for time, equity in zip(times, result.equity.tolist(), strict=True)
        ],
        **best_case_document(result.at_us, result.best_case_equity),
        "manifest": manifest,
    }


def _trades(result: PortfolioResult) -> list[dict[str, Any]]:
    rows = []
    for part in result.legs:
        told = trade_documents(part.trades)
        rows += [{"symbol": part.leg.symbol, "strategy": part.leg.strategy.name, **row} for row in told]
    return sorted(rows, key=lambda row: row["exit_time"])


def portfolio_trades_csv(result: PortfolioResult) -> str:
    """The trades as CSV with a head line."""
    text = io.StringIO()
    names = ("symbol", "strategy", *TRADE_FIELDS)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    for row in _trades(result):
        writer.writerow([f"{row[name]:f}" if isinstance(row[name], Decimal) else row[name] for name in names])
    return text.getvalue()


def portfolio_equity_csv(result: PortfolioResult) -> Iterator[str]:
    """The account's equity at every close as lines of CSV."""
    yield "time,equity\n"
    for time, equity in zip(iso_times(result.at_us), result.equity.tolist(), strict=True):
        yield f"{time},{equity!r}\n"
