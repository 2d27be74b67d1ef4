"""Trades and equity as Parquet: columns that other programs read without parsing texts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from backtesting.course import Course
from backtesting.drawdowns import underwater

_TIME = pa.timestamp("us", tz="UTC")


def trades_parquet(course: Course) -> bytes:
    """One row a closed trade: its exact amounts as doubles, and how far it was down and up (MAE, MFE)."""
    trades = course.trades
    columns: dict[str, Any] = {
        "symbol": pa.array(course.owners, pa.string()),
        "side": pa.array([trade.side.value for trade in trades], pa.string()),
        "entry_time": pa.array([trade.entry_at_us for trade in trades], pa.int64()).cast(_TIME),
        "entry_price": pa.array([float(trade.entry_price) for trade in trades], pa.float64()),
        "exit_time": pa.array([trade.exit_at_us for trade in trades], pa.int64()).cast(_TIME),
        "exit_price": pa.array([float(trade.exit_price) for trade in trades], pa.float64()),
        "quantity": pa.array([float(trade.quantity) for trade in trades], pa.float64()),
        "fees": pa.array([float(trade.fees) for trade in trades], pa.float64()),
        "pnl": pa.array([float(trade.pnl) for trade in trades], pa.float64()),
        "return": pa.array([float(trade.return_rate) for trade in trades], pa.float64()),
        "exit_reason": pa.array([trade.exit_reason.value for trade in trades], pa.string()),
        "mae": pa.array(course.adverse, pa.float64()),
        "mfe": pa.array(course.favourable, pa.float64()),
    }
    return _written(pa.table(columns))


def equity_parquet(course: Course) -> bytes:
    """One row a candle's close: equity, buying and holding, and the drawdown as a fraction of at most 0."""
    columns = {
        "time": pa.array(np.ascontiguousarray(course.closes_at_us), pa.int64()).cast(_TIME),
        "equity": pa.array(np.ascontiguousarray(course.equity)),
        "buy_and_hold": pa.array(course.held),
        "drawdown": pa.array(underwater(course.curve)[1:]),
    }
    return _written(pa.table(columns))


def _written(table: Any) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    content: bytes = sink.getvalue().to_pybytes()
    return content
