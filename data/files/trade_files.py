"""Files of one market's trades: CSV (also gzipped), Parquet, or a JSON list of objects.

Columns, whatever their case; the first spelling found is taken:
- `trade_id`, `id`, `agg_trade_id`;
- `traded_at`, `timestamp`, `created_time`, `time`, `ts_ms`, `ts`: ISO 8601 (UTC where it names no zone) or a
  number since 1970 in s, ms, us or ns, told by its size;
- `price`, `px`;
- `quantity`, `qty`, `amount`, `size`, `sz`: base currency, or contracts where the market trades them;
- `taker_side`, `side`: "buy" or "sell", whose order crossed the spread; or `is_buyer_maker`, `isbuyermaker`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from data.errors import InvalidInput
from data.files.tables import SourceTable, read_table, refusal, time_column, write_table
from data.files.trade_columns import BUY, SELL, ContradictoryTrades, TradeColumns, without_repetitions
from data.models import BoolArray, FloatArray, Side

_NAMES: Mapping[str, Sequence[str]] = {
    "trade_id": ("trade_id", "id", "agg_trade_id"),
    "traded_at": ("traded_at", "timestamp", "created_time", "time", "ts_ms", "ts"),
    "price": ("price", "px"),
    "quantity": ("quantity", "qty", "amount", "size", "sz"),
    "taker_side": ("taker_side", "side"),
    "buyer_made": ("is_buyer_maker", "isbuyermaker"),
    "symbol": ("instrument_name", "instid", "symbol"),
}
_CONTRACT_ENDINGS = ("-SWAP", "-FUTURES")
_SIDES = {"buy": BUY, "sell": SELL}


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeFile:
    """What a file of trades holds."""

    columns: TradeColumns
    duplicates: int  # rows left out because an equal one stood before
    refused: int  # rows left out because a double cannot hold their price or quantity exactly


def read_trades(path: Path, *, contract_size: Decimal | None = None) -> TradeFile:
    """The file's trades in order of id; of equal rows one is kept and the others are counted.

    Rows whose price or quantity would not print back as the same decimal are left out and counted, too.
    `contract_size` is how much base currency one unit of the file's quantity is; 1 if not given. Raises
    InvalidInput, naming the line and the column, for a price or quantity that is not finite and above 0, a
    side that is none, two different trades with one id, several symbols in one file, and a file that counts
    contracts (its symbols end in -SWAP) while `contract_size` is not given.
    """
    source = read_table(
        path,
        _NAMES,
        required=("trade_id", "traded_at", "price", "quantity"),
        floats=("price", "quantity"),
        keep_texts=True,
    )
    if len(source) == 0:
        raise refusal(path, "", "no rows", "at least one trade")
    _check_symbol(source, contract_size)
    exact = source.exact("price") & source.exact("quantity")
    refused = int(np.count_nonzero(~exact))
    if refused:
        source = source.where(exact)
    columns = TradeColumns(
        trade_id=source.ints("trade_id"),
        traded_at_us=source.times_us("traded_at"),
        price=_positive(source, "price"),
        quantity=_positive(source, "quantity"),
        taker_side=_taker_sides(source),
    )
    columns, duplicates = _ascending(source, columns)
    if contract_size is not None and contract_size != 1:
        quantity, exact = _times_exactly(columns.quantity, contract_size)
        columns = replace(columns, quantity=quantity).taken(np.flatnonzero(exact))
        refused += int(np.count_nonzero(~exact))
    if len(columns) == 0:
        expected = (
            "at least one trade with a price and a quantity that a double can hold (15 digits always can)"
        )
        raise refusal(path, "", f"{refused} rows", expected)
    return TradeFile(columns=columns, duplicates=duplicates, refused=refused)


def write_trades(path: Path, columns: TradeColumns) -> None:
    """Write `trade_id,traded_at,price,quantity,taker_side`; the file's ending tells the kind."""
    sides = np.where(columns.taker_side == BUY, Side.BUY.value, Side.SELL.value).astype(object)
    write_table(
        path,
        {
            "trade_id": pa.array(columns.trade_id),
            "traded_at": time_column(path, columns.traded_at_us),
            "price": pa.array(columns.price),
            "quantity": pa.array(columns.quantity),
            "taker_side": pa.array(sides, pa.string()),
        },
    )


def _check_symbol(source: SourceTable, contract_size: Decimal | None) -> None:
    if not source.has("symbol"):
        return
    symbols = [str(value) for value in source.table.column("symbol").unique().to_pylist()]
    place = f"column {source.spelled['symbol']}"
    if len(symbols) > 1:
        shown = ", ".join(symbols[:3]) + (", ..." if len(symbols) > 3 else "")
        raise refusal(source.path, place, shown, "the trades of one symbol alone")
    if symbols[0].upper().endswith(_CONTRACT_ENDINGS) and contract_size is None:
        raise refusal(
            source.path,
            place,
            symbols[0],
            "the contract size to be given, because that is traded in contracts: how much base currency one "
            "is, or 1 where the file counts base currency already",
        )


def _positive(source: SourceTable, column: str) -> FloatArray:
    values = source.floats(column)
    _refuse(source, column, ~(np.isfinite(values) & (values > 0)), "a finite number above 0")
    return values


def _taker_sides(source: SourceTable) -> NDArray[np.int8]:
    if source.has("taker_side"):
        column, sides = "taker_side", _SIDES
    elif source.has("buyer_made"):
        # The buyer's order lay in the book, so the seller's crossed the spread.
        column, sides = "buyer_made", {"true": SELL, "false": BUY, "1": SELL, "0": BUY}
    else:
        raise refusal(source.path, "columns", "", "also taker_side or side, or is_buyer_maker")
    encoded = source.table.column(column).cast(pa.string()).combine_chunks().dictionary_encode()
    meaning = [sides.get(str(text).strip().lower(), 0) for text in encoded.dictionary.to_pylist()]
    index = encoded.indices.fill_null(len(meaning)).to_numpy(zero_copy_only=False)
    found: NDArray[np.int8] = np.array([*meaning, 0], dtype=np.int8)[index]
    _refuse(source, column, found == 0, " or ".join(sides))
    return found


def _ascending(source: SourceTable, columns: TradeColumns) -> tuple[TradeColumns, int]:
    try:
        return without_repetitions(columns)
    except ContradictoryTrades as error:
        column = {"traded_at_us": "traded_at"}.get(error.column, error.column)
        if column == "taker_side" and not source.has(column):
            column = "buyer_made"
        raise InvalidInput(
            source.problem(
                error.row,
                column,
                f"the same as in {source.line(error.other)}, which has the same "
                f"{source.spelled['trade_id']}, or one of the two lines gone",
            )
        ) from error


def _times_exactly(quantities: FloatArray, size: Decimal) -> tuple[FloatArray, BoolArray]:
    """Multiplied as decimals (3 contracts of 0.1 are 0.3), and whether doubles hold the products."""
    distinct, index = np.unique(quantities, return_inverse=True)
    products = [Decimal(repr(float(value))) * size for value in distinct]
    rounded = np.array([float(product) for product in products])
    exact = np.array(
        [Decimal(repr(float(value))) == product for value, product in zip(rounded, products, strict=True)],
        dtype=np.bool_,
    )
    return rounded[index], exact[index]


def _refuse(source: SourceTable, column: str, bad: BoolArray, expected: str) -> None:
    if bad.any():
        raise InvalidInput(source.problem(int(np.argmax(bad)), column, expected))
