"""What a collector does when as many trades wait for missing ones as may."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import msgspec

from data.collectors.market_recorder import MarketRecorder
from data.collectors.rate_limit import TokenBucket
from data.collectors.rest import VenueRest
from data.collectors.settings import VenueSettings
from data.collectors.trade_collector import TradeCollector
from data.collectors.tuning import CollectorTuning
from data.collectors.venue_connection import VenueConnection
from data.collectors.venue_stream import VenueStream
from data.exchanges.base import Channel, RestBudget
from data.exchanges.binance import BinanceAdapter
from data.models import Instrument, InstrumentKind
from data.timeframes import Timeframe
from tests.data.collectors.fakes import BinanceHistory, MemoryPublisher, MemoryStore
from tests.data.trade_series import SECOND_US, START_US

BTC_USDT = Instrument(
    exchange="binance",
    symbol="BTC-USDT",
    venue_symbol="BTCUSDT",
    kind=InstrumentKind.SPOT,
    base="BTC",
    quote="USDT",
    tick_size=Decimal("0.01"),
    lot_size=Decimal("0.00001"),
    min_quantity=Decimal("0.00001"),
    min_notional=Decimal(5),
)


def message(trade_id: int) -> bytes:
    at_ms = (START_US + trade_id * SECOND_US) // 1_000
    event = {
        "e": "trade",
        "E": at_ms,
        "s": "BTCUSDT",
        "t": trade_id,
        "p": "100.5",
        "q": "0.25",
        "T": at_ms,
        "m": True,
    }
    return msgspec.json.encode({"stream": "btcusdt@trade", "data": event})


async def test_ids_given_up_for_want_of_room_are_not_laid_at_the_venues_door(tmp_path: Path) -> None:
    adapter, store, tuning = BinanceAdapter(), MemoryStore(), CollectorTuning(max_waiting=1)
    adapter.use([BTC_USDT])
    collector = TradeCollector(
        adapter,
        VenueRest(adapter, BinanceHistory([])),
        store,
        MemoryPublisher(),
        VenueSettings(exchange="binance", symbols=("BTC-USDT",), channel="trade", timeframes=(Timeframe.S1,)),
        ws_url="ws://localhost",
        malformed_folder=tmp_path,
        clock_us=lambda: START_US,
        tuning=tuning,
    )
    collector._recorders["BTC-USDT"] = MarketRecorder(
        BTC_USDT.market, (Timeframe.S1,), collector._unsaved, max_waiting=tuning.max_waiting
    )
    stream = VenueStream(
        adapter,
        "ws://localhost",
        "/stream",
        [("BTC-USDT", Channel.TRADES)],
        collector,
        tuning,
        connects=TokenBucket(RestBudget(per_s=1.0, burst=1.0)),
    )
    connection = VenueConnection(adapter, stream.url, stream.topics, stream, tuning)

    for trade_id in (1, 5):
        stream.on_messages(connection, [message(trade_id)])
    await collector._flusher.finish()

    assert [(gap.first_id, gap.last_id, gap.reason) for _, gap in store.gaps] == [(2, 4, "too_many_waiting")]
    assert list(store.trades[BTC_USDT.market]) == [1, 5]
