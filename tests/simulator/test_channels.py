"""Every channel of every product from the simulated venue's socket through the adapter, against its truth."""

from __future__ import annotations

import asyncio
import math
import time
from typing import Any

import pytest

from data.exchanges.base import (
    AckMessage,
    BookMessage,
    Channel,
    DerivativesAdapter,
    ExchangeAdapter,
    FundingMessage,
    KlineMessage,
    MarkMessage,
    OtherMessage,
    QuotesMessage,
    RestRequest,
    TradesMessage,
    VenueMessage,
)
from data.exchanges.registry import adapter_for, product_of
from data.models import Candle, Trade
from data.timeframes import Timeframe
from simulator.venue import MarketState, SimulatedVenue, VenueOptions
from tests.simulator.venues import RunningVenue, VenueOf

_WS_BASE = {"okx": "", "spot": "", "usdm": "/fstream"}
_REST_BASE = {"okx": "", "spot": "/api/v3/", "usdm": "/fapi/v1/"}
_MARKETS = (
    ("okx", "BTC-USDT"),
    ("okx", "BTC-USDT-PERP"),
    ("binance", "BTC-USDT"),
    ("binance", "BTC-USDT-PERP"),
)


@pytest.fixture
async def venue(start_venue: VenueOf) -> RunningVenue:
    """Busy markets on this machine's time, listed five minutes ago."""
    state = MarketState(seed=3, listed_at_ms=time.time_ns() // 1_000_000 - 300_000, rate=20.0)
    made = SimulatedVenue.made_up(
        state, symbols=("BTC-USDT", "BTC-USDT-PERP"), options=VenueOptions(limited=False)
    )
    return await start_venue(made)


async def asked(venue: RunningVenue, adapter: ExchangeAdapter, request: RestRequest) -> Any:
    query = "&".join(f"{name}={value}" for name, value in request.params.items())
    answer = await venue.get(f"{_REST_BASE[adapter.product]}{request.path}?{query}")
    assert answer.status == 200, answer.body
    return answer.body


async def ready(venue: RunningVenue, exchange: str, symbol: str) -> ExchangeAdapter:
    adapter = adapter_for(exchange, product_of(exchange, symbol))
    for request in adapter.instruments_requests([symbol]):
        adapter.use(adapter.parse_instruments(await asked(venue, adapter, request)))
    return adapter


async def heard(
    venue: RunningVenue, adapter: ExchangeAdapter, symbol: str, channel: Channel, count: int
) -> list[VenueMessage]:
    """The first `count` messages of a channel that say something; all else must be acknowledgements."""
    (request,) = adapter.subscribe_requests([(symbol, channel)])
    assert request.endpoint == adapter.endpoint_of(channel, symbol)
    messages: list[VenueMessage] = []
    base = _WS_BASE[adapter.product]
    async with asyncio.timeout(90), venue.socket(base + request.endpoint) as socket:
        await socket.send(request.text)
        while len(messages) < count:
            message = adapter.parse(await socket.recv(decode=False), received_at_us=time.time_ns() // 1_000)
            if not isinstance(message, AckMessage | OtherMessage):
                messages.append(message)
    return messages


async def truth(venue: RunningVenue, exchange: str, symbol: str, kind: str, **query: object) -> Any:
    named = "&".join(f"{name}={value}" for name, value in query.items())
    return (await venue.get(f"/sim/truth/{kind}?exchange={exchange}&symbol={symbol}&{named}")).body


@pytest.mark.parametrize(("exchange", "symbol"), _MARKETS)
async def test_trades_from_socket_and_history_are_the_true_ones(
    venue: RunningVenue, exchange: str, symbol: str
) -> None:
    adapter = await ready(venue, exchange, symbol)
    messages = await heard(venue, adapter, symbol, Channel.TRADES, 30)
    streamed = [
        trade for message in messages if isinstance(message, TradesMessage) for trade in message.trades
    ]
    first, last = streamed[0].trade_id, streamed[-1].trade_id
    assert [trade.trade_id for trade in streamed] == list(range(first, last + 1))
    rows = await truth(venue, exchange, symbol, "trades", from_id=first, to_id=last)
    assert [(trade.price, trade.quantity, trade.traded_at_us) for trade in streamed] == [
        (float(row["price"]), float(row["base_qty"]), row["time"] * 1000) for row in rows
    ]
    reply = await asked(venue, adapter, adapter.history_request(symbol, first))
    history: dict[int, Trade] = {trade.trade_id: trade for trade in adapter.parse_history(symbol, reply)}
    assert [history[trade.trade_id] for trade in streamed] == streamed


@pytest.mark.parametrize(("exchange", "symbol"), _MARKETS)
async def test_quotes_bracket_the_last_price_and_books_are_sorted(
    venue: RunningVenue, exchange: str, symbol: str
) -> None:
    adapter = await ready(venue, exchange, symbol)
    tick = float(adapter.instrument(symbol).tick_size)
    for message in await heard(venue, adapter, symbol, Channel.QUOTES, 3):
        assert isinstance(message, QuotesMessage)
        (quote,) = message.quotes
        assert quote.at_us > 0
        assert 0 < quote.ask_price - quote.bid_price <= 1.5 * tick
    rows = await truth(venue, exchange, symbol, "trades", start=quote.at_us // 1_000 - 5_000)
    assert any(float(row["price"]) in (quote.bid_price, quote.ask_price) for row in rows)

    for channel in (Channel.BOOK5, Channel.BOOK20):
        if not adapter.supports(symbol, channel):
            continue
        (message,) = await heard(venue, adapter, symbol, channel, 1)
        assert isinstance(message, BookMessage)
        assert message.book is not None
        bids, asks = message.book.bids, message.book.asks
        assert len(bids) == len(asks) == (5 if channel is Channel.BOOK5 else 20)
        assert [level.price for level in bids] == sorted((level.price for level in bids), reverse=True)
        assert [level.price for level in asks] == sorted(level.price for level in asks)
        assert bids[0].price < asks[0].price


@pytest.mark.parametrize(("exchange", "symbol"), _MARKETS)
async def test_klines_are_candles_of_the_true_trades(venue: RunningVenue, exchange: str, symbol: str) -> None:
    adapter = await ready(venue, exchange, symbol)
    (message,) = await heard(venue, adapter, symbol, Channel.KLINES, 1)
    assert isinstance(message, KlineMessage)
    (kline,) = message.klines
    assert kline.candle.timeframe is Timeframe.M1
    assert not kline.closed or kline.candle.closes_at_us <= time.time_ns() // 1_000

    reply = await asked(venue, adapter, adapter.klines_request(symbol, Timeframe.M1))
    now = adapter.parse_server_time(await asked(venue, adapter, adapter.server_time_request()))
    candles: list[Candle] = adapter.parse_klines(symbol, Timeframe.M1, reply, now)
    rows = await truth(venue, exchange, symbol, "candles", timeframe="1m")
    true = {row["opened_at"] * 1000: row for row in rows}
    assert len(candles) >= 3
    for candle in candles:
        row = true[candle.opened_at_us]
        assert [candle.open, candle.high, candle.low, candle.close] == [
            float(row[name]) for name in ("open", "high", "low", "close")
        ]
        assert math.isclose(candle.volume, float(row["base_volume"]), rel_tol=1e-9)


@pytest.mark.parametrize("exchange", ["okx", "binance"])
async def test_marks_and_funding_are_the_same_by_socket_by_rest_and_in_truth(
    venue: RunningVenue, exchange: str
) -> None:
    symbol = "BTC-USDT-PERP"
    adapter = await ready(venue, exchange, symbol)
    assert isinstance(adapter, DerivativesAdapter)
    (message,) = await heard(venue, adapter, symbol, Channel.MARK, 1)
    assert isinstance(message, MarkMessage)
    assert message.mark is not None
    row = await truth(venue, exchange, symbol, "marks", at=message.mark.at_us // 1_000)
    assert message.mark.mark_price == float(row["mark"])
    asked_mark = adapter.parse_mark_price(
        symbol, await asked(venue, adapter, adapter.mark_price_request(symbol))
    )
    assert asked_mark.mark_price == pytest.approx(message.mark.mark_price, rel=0.01)

    (message,) = await heard(venue, adapter, symbol, Channel.FUNDING, 1)
    if isinstance(message, MarkMessage):
        assert message.funding is not None
        expected = message.funding
    else:
        assert isinstance(message, FundingMessage)
        assert [rate.settled for rate in message.rates] == [True, False]
        expected = message.rates[-1]
    assert (expected.funding_at_us // 1_000, expected.rate) == (row["funding_at"], float(row["funding_rate"]))
    assert not expected.settled


@pytest.mark.parametrize(("exchange", "symbol"), _MARKETS)
async def test_what_is_given_up_comes_no_more(venue: RunningVenue, exchange: str, symbol: str) -> None:
    adapter = await ready(venue, exchange, symbol)
    (wanted,) = adapter.subscribe_requests([symbol])
    (given_up,) = adapter.unsubscribe_requests([symbol], first_number=2)
    async with asyncio.timeout(90), venue.socket(_WS_BASE[adapter.product] + wanted.endpoint) as socket:
        await socket.send(wanted.text)
        while not isinstance(adapter.parse(await socket.recv(decode=False)), TradesMessage):
            continue
        await socket.send(given_up.text)
        while True:
            answer = adapter.parse(await socket.recv(decode=False))
            if isinstance(answer, AckMessage) and (answer.unsubscribed or answer.request_id == "2"):
                break
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(socket.recv(), 0.5)
