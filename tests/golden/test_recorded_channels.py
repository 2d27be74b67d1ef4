"""Recorded quotes, books, candles, funding rates and marks, parsed by the adapters of today."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from data.exchanges.base import (
    BookMessage,
    ExchangeAdapter,
    FundingMessage,
    KlineMessage,
    MarkMessage,
    QuotesMessage,
    TradesMessage,
    VenueMessage,
)
from data.exchanges.registry import adapter_for
from data.models import Instrument, InstrumentKind


def instrument(exchange: str, symbol: str, venue_symbol: str, contract_size: str = "1") -> Instrument:
    spot = symbol.count("-") == 1
    return Instrument(
        exchange=exchange,
        symbol=symbol,
        venue_symbol=venue_symbol,
        kind=InstrumentKind.SPOT if spot else InstrumentKind.PERPETUAL,
        base=symbol.split("-")[0],
        quote=symbol.split("-")[1],
        tick_size=Decimal("0.1"),
        lot_size=Decimal("0.001"),
        min_quantity=Decimal("0.001"),
        min_notional=Decimal(0),
        contract_size=Decimal(contract_size),
    )


def adapter_of(exchange: str, product: str, *markets: Instrument) -> ExchangeAdapter:
    adapter = adapter_for(exchange, product)
    adapter.use(markets)
    return adapter


def recorded(path: Path, adapter: ExchangeAdapter) -> Iterator[VenueMessage]:
    """What each line with an envelope says."""
    with gzip.open(path, "rt") as lines:
        for line in lines:
            _, _, text = line.strip().partition(" ")
            if text.startswith('{"stream"'):
                yield adapter.parse(text, received_at_us=1)


def single(shared_data: Path, exchange: str, kind: str, market: str) -> str:
    path = shared_data / "frames" / exchange / "single_messages_crypto_msg_parser.jsonl.gz"
    with gzip.open(path, "rt") as lines:
        rows = [json.loads(line) for line in lines]
    return next(str(row["raw"]) for row in rows if (row["kind"], row["market"]) == (kind, market))


# Counts of the recordings' own description.
@pytest.mark.parametrize(
    ("name", "product", "symbol", "quotes", "marks"),
    [
        ("usdm_btcusdt_20230404", "usdm", "BTC-USDT-PERP", 6765, 99),
        ("spot_btcusdt_20230405", "spot", "BTC-USDT", 8015, 0),
    ],
)
def test_every_recorded_quote_and_mark_is_read(
    shared_data: Path, name: str, product: str, symbol: str, quotes: int, marks: int
) -> None:
    adapter = adapter_of("binance", product, instrument("binance", symbol, "BTCUSDT"))
    found: Counter[type[VenueMessage]] = Counter()
    for message in recorded(shared_data / "frames" / "binance" / f"{name}.log.gz", adapter):
        found[type(message)] += 1
        if isinstance(message, QuotesMessage):
            (quote,) = message.quotes
            assert 0 < quote.bid_price < quote.ask_price
        if isinstance(message, MarkMessage):
            assert message.refused == 0
            assert message.funding is not None
    assert (found[QuotesMessage], found[MarkMessage]) == (quotes, marks)


def test_every_recorded_trade_kline_and_quote_of_four_futures_is_read(shared_data: Path) -> None:
    names = ("DENTUSDT", "KSMUSDT", "YFIUSDT", "XMRUSDT")
    markets = [instrument("binance", f"{name[:-4]}-USDT-PERP", name) for name in names]
    adapter = adapter_of("binance", "usdm", *markets)
    path = shared_data / "frames" / "binance" / "cryptofeed_usdm_20210417.log.gz"
    trades = klines = quotes = 0
    with gzip.open(path, "rt") as lines:
        texts = [match[0] for line in lines if (match := re.search(r'\{"stream".*\}', line))]
    for text in texts:
        message = adapter.parse(text)
        trades += len(message.trades) if isinstance(message, TradesMessage) else 0
        klines += len(message.klines) if isinstance(message, KlineMessage) else 0
        quotes += len(message.quotes) if isinstance(message, QuotesMessage) else 0
    assert (trades, klines, quotes) == (185, 99, 1959)


def test_recorded_okx_books_and_quotes_in_base_currency(shared_data: Path) -> None:
    adapter = adapter_of(
        "okx",
        "okx",
        instrument("okx", "BTC-USDT", "BTC-USDT"),
        instrument("okx", "BTC-USDT-PERP", "BTC-USDT-SWAP", "0.01"),
    )
    book = adapter.parse(single(shared_data, "okx", "l2_topk", "spot"))
    assert isinstance(book, BookMessage)
    assert book.book is not None
    assert [(level.price, level.quantity) for level in book.book.bids[:2]] == [
        (30221.7, 0.30608367),
        (30220.9, 0.01321829),
    ]
    assert book.book.at_us == 1652671418459_000

    for kind, price, contracts in (("bbo", 20386.7, 50), ("ticker", 29959.9, 431)):
        message = adapter.parse(single(shared_data, "okx", kind, "linear_swap"))
        assert isinstance(message, QuotesMessage)
        (quote,) = message.quotes
        assert (quote.bid_price, quote.bid_quantity) == (price, contracts / 100)


def test_a_recorded_side_nobody_offers_makes_no_quote(shared_data: Path) -> None:
    adapter = adapter_of("okx", "okx", instrument("okx", "BTC-USD-OPTION", "BTC-USD-220624-50000-C"))
    message = adapter.parse(single(shared_data, "okx", "ticker", "option"))
    assert message == QuotesMessage([], 1654166283149_000)


def test_a_recorded_funding_rate_is_held_exactly(shared_data: Path) -> None:
    adapter = adapter_of("okx", "okx", instrument("okx", "BTC-USD-PERP", "BTC-USD-SWAP"))
    message = adapter.parse(single(shared_data, "okx", "funding_rate", "inverse_swap"))
    assert isinstance(message, FundingMessage)
    (rate,) = message.rates
    assert (rate.rate, rate.funding_at_us, rate.settled) == (0.0000734174532791, 1646323200000_000, False)


def test_recorded_partial_books_of_spot_and_futures(shared_data: Path) -> None:
    spot = adapter_of("binance", "spot", instrument("binance", "ETH-USDT", "ETHUSDT"))
    message = spot.parse(single(shared_data, "binance", "l2_topk", "spot"), received_at_us=42)
    assert isinstance(message, BookMessage)
    assert message.book is not None
    assert (message.book.at_us, message.book.bids[0].price, message.book.asks[1].quantity) == (
        42,
        1782.0,
        0.0078,
    )

    usdm = adapter_of("binance", "usdm", instrument("binance", "ETH-USDT-220624", "ETHUSDT_220624"))
    message = usdm.parse(single(shared_data, "binance", "l2_topk", "linear_future"))
    assert isinstance(message, BookMessage)
    assert message.book is not None
    assert (message.book.at_us, len(message.book.asks)) == (1653864801453_000, 3)
