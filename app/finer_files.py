"""The file of `--finer`: trades or smaller candles, which tell what came first inside a candle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bots.finest_data import FinestReader, FinestRows, merged, trade_rows
from data.errors import InvalidInput
from data.files.candle_files import read_candles
from data.files.tables import refusal
from data.files.trade_columns import TradeColumns
from data.files.trade_files import read_trades
from data.models import Ohlcv


def read_finer_file(path: Path, tell: Callable[[str], None]) -> Ohlcv | TradeColumns:
    """What the file holds: a file without candles' columns is read as one of trades.

    `tell` hears what was left out. Raises InvalidInput as the reader of that kind of file does.
    """
    try:
        return read_candles(path, tell=tell)
    except InvalidInput as not_candles:
        if not path.is_file() or not any(one.field == "columns" for one in not_candles.problems):
            raise
    try:
        read = read_trades(path)
    except InvalidInput as not_trades:
        if not any(one.field == "columns" for one in not_trades.problems):
            raise
        found = next(one.value for one in not_trades.problems if one.field == "columns")
        expected = (
            "columns of candles (opened_at,open,high,low,close,volume) or of trades "
            "(trade_id,traded_at,price,quantity)"
        )
        raise refusal(path, "columns", found, expected) from None
    if read.duplicates:
        tell(f"{path}: {read.duplicates:,} trades stand there twice; one of each is used")
    if read.refused:
        tell(f"{path}: {read.refused:,} trades are left out: a double does not hold their price or quantity")
    return read.columns


def trades_then(columns: TradeColumns, otherwise: FinestReader | None) -> FinestReader:
    """Reads from these trades; candles that they do not cover wholly are left to `otherwise`."""

    def read(ohlcv: Ohlcv) -> FinestRows | None:
        of_trades, told = trade_rows(columns, ohlcv)
        found = [] if of_trades is None else [of_trades]
        if otherwise is not None and not told.all():
            left = otherwise(ohlcv.taken((~told).nonzero()[0]))
            if left is not None:
                found.append(left)
        return merged(found)

    return read
