"""One market's trades out of files of raw frames, parsed by the venue's own adapter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np

from data.errors import InvalidInput, MalformedMessage, Problem
from data.exchanges.base import ExchangeAdapter, TradesMessage
from data.exchanges.registry import EXCHANGES, adapter_for, product_of, products
from data.files.frames import FrameCounts, list_frame_files, read_frames
from data.files.tables import refusal
from data.files.trade_columns import BUY, SELL, TradeColumns, without_repetitions
from data.models import Instrument, InstrumentKind, Market, Side, Trade

_PERPETUAL = "-PERP"


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameTrades:
    """What frames hold of one market."""

    columns: TradeColumns
    duplicates: int  # trades left out because an equal one stood before
    malformed: int  # lines or messages that do not parse
    refused: int  # trades whose value a double cannot hold exactly


def read_frame_trades(path: Path, market: Market, *, contract_size: Decimal | None = None) -> FrameTrades:
    """The trades of `market` in a frame file or a folder of them, in order of id.

    Of Binance's two channels the one that collectors of this market follow is read (`trade` on spot,
    `aggTrade` of futures), and the other one only where it stands alone: together they tell all twice.
    `contract_size` is base currency of one contract, needed for OKX perpetuals. Raises InvalidInput for an
    unknown venue, for files without a trade of the market, and for OKX's merged rows, whose single trades the
    file does not have.
    """
    venue_symbol, adapters = _adapters(path, market, contract_size)
    for adapter in adapters:
        found, malformed, refused = _told(path, adapter, venue_symbol)
        if found:
            break
    else:
        raise refusal(path, "", f"without a trade of {venue_symbol}", f"trades of {market}")
    try:
        columns, duplicates = without_repetitions(_columns(found))
    except ValueError as error:
        raise refusal(path, "", str(error), "one trade for each id") from error
    return FrameTrades(columns=columns, duplicates=duplicates, malformed=malformed, refused=refused)


def _told(path: Path, adapter: ExchangeAdapter, venue_symbol: str) -> tuple[list[Trade], int, int]:
    """The trades that the adapter's channel tells, messages that do not parse, and trades refused."""
    counts = FrameCounts()
    found: list[Trade] = []
    malformed = refused = 0
    for file in list_frame_files(path):
        for frame in read_frames(file, counts):
            # Other markets' messages are no concern of ours, and the adapter knows this one alone.
            if f'"{venue_symbol}"' not in frame.text:
                continue
            try:
                message = adapter.parse(frame.text)
            except MalformedMessage:
                malformed += 1
                continue
            if not isinstance(message, TradesMessage):
                continue
            if message.merged is not None:
                _, first_id, last_id = message.merged
                raise refusal(
                    file,
                    f"line {counts.lines}",
                    f"one row for the trades {first_id} to {last_id}",
                    "one row for each trade, as the channel trades-all has them",
                )
            found += message.trades
            refused += message.refused
    return found, malformed + counts.malformed, refused


def is_frame_file(path: Path) -> bool:
    """Whether the name is that of frames: a folder, or a file that is no CSV, Parquet or JSON table."""
    name = path.name.lower().removesuffix(".gz")
    return path.is_dir() or not name.endswith((".csv", ".parquet", ".pq", ".json"))


def _adapters(path: Path, market: Market, contract_size: Decimal | None) -> tuple[str, list[ExchangeAdapter]]:
    """The venue's name of the market, and what may read its trades, best first."""
    if market.exchange not in EXCHANGES:
        raise InvalidInput(
            Problem(
                where="--exchange",
                field="",
                value=market.exchange,
                expected=f"expected {' or '.join(EXCHANGES)}",
            )
        )
    base, _, quote = market.symbol.removesuffix(_PERPETUAL).partition("-")
    perpetual = market.symbol.endswith(_PERPETUAL)
    if market.exchange == "okx":
        venue_symbol = f"{base}-{quote}-SWAP" if perpetual else f"{base}-{quote}"
        if perpetual and contract_size is None:
            raise refusal(
                path,
                "",
                f"of {venue_symbol}, which OKX trades in contracts",
                "the contract size to be given: how much base currency one contract is",
            )
    else:
        venue_symbol = f"{base}{quote}"
    unknown = Decimal(0)
    instrument = Instrument(
        exchange=market.exchange,
        symbol=market.symbol,
        venue_symbol=venue_symbol,
        kind=InstrumentKind.PERPETUAL if perpetual else InstrumentKind.SPOT,
        base=base,
        quote=quote,
        # Parsing trades does not ask for these.
        tick_size=unknown,
        lot_size=unknown,
        min_quantity=unknown,
        min_notional=unknown,
        contract_size=Decimal(1) if contract_size is None else contract_size,
    )
    own = product_of(market.exchange, market.symbol)
    adapters = []
    for product in sorted(products(market.exchange), key=lambda product: product != own):
        adapter = adapter_for(market.exchange, product)
        adapter.use([instrument])
        adapters.append(adapter)
    return venue_symbol, adapters


def _columns(trades: Sequence[Trade]) -> TradeColumns:
    return TradeColumns(
        trade_id=np.array([trade.trade_id for trade in trades], dtype=np.int64),
        traded_at_us=np.array([trade.traded_at_us for trade in trades], dtype=np.int64),
        price=np.array([trade.price for trade in trades], dtype=np.float64),
        quantity=np.array([trade.quantity for trade in trades], dtype=np.float64),
        taker_side=np.array(
            [BUY if trade.taker_side is Side.BUY else SELL for trade in trades], dtype=np.int8
        ),
    )
