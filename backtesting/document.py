"""A run as one JSON document and as tables. Numbers are JSON numbers with all their digits."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from backtesting.engine import BacktestResult
from backtesting.equity_json import equity_json
from backtesting.manifest import Manifest, iso_time
from backtesting.metrics import Metrics
from bots.ledger import EXACT, exact_price
from bots.orders import ClosedTrade, LimitOrder, Order, PositionSide
from data.models import FloatArray, IntArray

if TYPE_CHECKING:
    from backtesting.portfolio import PortfolioResult

TRADE_FIELDS = (
    "side",
    "entry_time",
    "entry_price",
    "exit_time",
    "exit_price",
    "quantity",
    "fees",
    "pnl",
    "return",
    "exit_reason",
)
_ONE = Decimal(1)
_ENCODER = msgspec.json.Encoder(decimal_format="number")


class EquityAt(msgspec.Struct, frozen=True, gc=False):
    """One point of the equity curve, as JSON writes it."""

    time: str  # of the candle's close
    equity: float


def document_of(result: BacktestResult, manifest: Manifest) -> dict[str, Any]:
    """`metrics`, `trades`, `open_trade`, orders, `ambiguity`, `equity` and `manifest`.

    `equity` is the JSON text of a list of `{"time", "equity"}`, one at each candle's close. Undefined metrics
    are null. Where nothing decided which came first in some candle, `equity_best_case` is there too.
    """
    closes_at_us = result.ohlcv.opened_at_us + result.ohlcv.timeframe.us
    return {
        "metrics": metrics_document(result.metrics),
        "trades": trade_documents(result.trades),
        "open_trade": open_trade_document(result),
        "pending_orders": [order_document(order) for order in result.pending],
        "refused_orders": [order_document(order) for order in result.refused],
        "ambiguity": ambiguity_document(result),
        "equity": equity_json(closes_at_us, result.equity),
        **best_case_document(closes_at_us, result.best_case_equity),
        "manifest": manifest,
    }


def best_case_document(at_us: IntArray, best_case: FloatArray | None) -> dict[str, Any]:
    """`equity_best_case`, of the same form as `equity`; empty where there is but one reading."""
    return {} if best_case is None else {"equity_best_case": equity_json(at_us, best_case)}


def encoded(document: Any) -> bytes:
    """The document as JSON, UTF-8."""
    return _ENCODER.encode(document)


def metrics_document(metrics: Metrics) -> dict[str, float | int | str | None]:
    """The metrics with null for what is not defined."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in asdict(metrics).items()
    }


def trade_documents(trades: Sequence[ClosedTrade]) -> list[dict[str, Any]]:
    """Round trips; `return` is the pnl over the entry's notional."""
    entered = iso_times(np.array([trade.entry_at_us for trade in trades], dtype=np.int64))
    left = iso_times(np.array([trade.exit_at_us for trade in trades], dtype=np.int64))
    return [
        {
            "side": trade.side,
            "entry_time": entry_time,
            "entry_price": _shortest(trade.entry_price),
            "exit_time": exit_time,
            "exit_price": _shortest(trade.exit_price),
            "quantity": _shortest(trade.quantity),
            "fees": _shortest(trade.fees),
            "pnl": _shortest(trade.pnl),
            "return": _shortest(trade.return_rate),
            "exit_reason": trade.exit_reason,
        }
        for trade, entry_time, exit_time in zip(trades, entered, left, strict=True)
    ]


def ambiguity_document(result: BacktestResult | PortfolioResult) -> dict[str, float | int]:
    """How many exits nothing decided, and the run's end were each of them the stop or the target."""
    worst = float(result.equity[-1])
    best = worst if result.best_case_equity is None else float(result.best_case_equity[-1])
    capital = float(result.capital)
    return {
        "exits": result.metrics.ambiguous_exits,
        "worst_case_equity": worst,
        "best_case_equity": best,
        "worst_case_return": worst / capital - 1.0,
        "best_case_return": best / capital - 1.0,
    }


def open_trade_document(result: BacktestResult) -> dict[str, Any] | None:
    """The position that is still open after the last candle, marked at its close."""
    books = result.ledger
    if books.quantity == 0:
        return None
    mark = exact_price(float(result.ohlcv.close[-1]))
    cost = EXACT.multiply(books.quantity, books.entry_price) if books.cost is None else books.cost
    gain = EXACT.subtract(EXACT.multiply(books.quantity, mark), cost)
    return {
        "side": PositionSide.LONG if books.quantity > 0 else PositionSide.SHORT,
        "entry_time": iso_time(books.entry_at_us),
        "entry_price": _shortest(books.entry_price),
        "mark_price": _shortest(mark),
        "quantity": _shortest(books.quantity.copy_abs()),
        "fees": _shortest(books.entry_fee),
        "unrealised_pnl": _shortest(EXACT.subtract(gain, books.entry_fee)),
    }


def order_document(order: Order) -> dict[str, Any]:
    """An order that waits for a fill, or was refused and why; a resting one has a `limit_price`."""
    rests = {"limit_price": order.limit_price} if isinstance(order, LimitOrder) else {}
    return {
        "side": order.side,
        "position_side": order.position_side,
        "reason": order.reason,
        "status": order.status,
        "decided_at": iso_time(order.decided_at_us),
        "refusal": order.refusal,
        **rests,
    }


def close_times(result: BacktestResult) -> list[str]:
    """ISO 8601 of each candle's close, UTC."""
    return iso_times(result.ohlcv.opened_at_us + result.ohlcv.timeframe.us)


def iso_times(at_us: IntArray) -> list[str]:
    """What `iso_time` says of each, a million whole seconds in a fraction of one."""
    days, seconds = np.divmod(at_us // 1_000_000, 86_400)
    dates = {day: str(np.datetime64(day, "D")) for day in np.unique(days).tolist()}
    clocks = {
        second: f"T{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}Z"
        for second in np.unique(seconds).tolist()
    }
    times = [dates[day] + clocks[second] for day, second in zip(days.tolist(), seconds.tolist(), strict=True)]
    # A fill that a stored trade has placed has that trade's time.
    for row in np.flatnonzero(at_us % 1_000_000).tolist():
        times[row] = iso_time(int(at_us[row]))
    return times


def trades_csv(result: BacktestResult) -> str:
    """The trades as CSV with a head line."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(TRADE_FIELDS)
    for row in trade_documents(result.trades):
        writer.writerow(
            [f"{row[name]:f}" if isinstance(row[name], Decimal) else row[name] for name in TRADE_FIELDS]
        )
    return text.getvalue()


def equity_csv(result: BacktestResult) -> Iterator[str]:
    """The equity at each close as lines of CSV."""
    yield "time,equity\n"
    for time, equity in zip(close_times(result), result.equity.tolist(), strict=True):
        yield f"{time},{equity!r}\n"


def _shortest(value: Decimal) -> Decimal:
    """The same number without zeros at its end."""
    text = str(value)
    if "E" not in text and (text[-1] != "0" or "." not in text):
        return value
    shortened = value.normalize(EXACT)
    # 100 is 1E+2 when normalised, and nobody writes a price so.
    return shortened.quantize(_ONE, context=EXACT) if "E+" in str(shortened) else shortened
