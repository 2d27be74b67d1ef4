from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import pytest

from data.collectors.instrument_watch import InstrumentWatch
from data.collectors.rest import VenueRest
from data.collectors.tuning import CollectorTuning
from data.errors import TransientError
from data.exchanges.base import RestRequest
from data.exchanges.registry import adapter_for
from data.messages import MarketEventNews
from data.models import Instrument, InstrumentStatus, Market, MarketEvent, MarketEventKind
from tests.data.collectors.fakes import MemoryPublisher, MemoryStore
from tests.data.collectors.test_channel_recorder import MemoryChannels


class ListedSymbols:
    """Satisfies `RestTransport`: Binance's `exchangeInfo` with these symbols and their status."""

    def __init__(self, **status: str) -> None:
        self.status = status
        self.fails = False

    async def get(self, request: RestRequest) -> object:
        if self.fails:
            raise TransientError("the venue is away")
        return {
            "symbols": [
                {
                    "symbol": f"{base}USDT",
                    "status": status,
                    "baseAsset": base,
                    "quoteAsset": "USDT",
                    "filters": [{"filterType": "PRICE_FILTER", "tickSize": "0.01"}],
                }
                for base, status in self.status.items()
            ]
        }

    async def close(self) -> None:
        return


class Watching:
    def __init__(self, venue: ListedSymbols) -> None:
        self.store, self.channels, self.bus = MemoryStore(), MemoryChannels(), MemoryPublisher()
        rest = VenueRest(adapter_for("binance", "spot"), venue)
        self.watch = InstrumentWatch(
            rest, self.store, self.channels, self.bus, lambda: 7, CollectorTuning(instruments_retry_s=60)
        )

    def traded(self, symbols: Sequence[str]) -> list[str]:
        return [instrument.symbol for instrument in self.watch.traded(symbols)]


async def test_a_symbol_listed_later_becomes_known_and_the_venue_is_asked_for_it_sooner() -> None:
    venue = ListedSymbols(BTC="TRADING")
    watching = Watching(venue)
    symbols = ("BTC-USDT", "NEW-USDT")
    await watching.watch.refresh(symbols)
    assert watching.watch.unknown(symbols) == ["NEW-USDT"]
    assert watching.traded(symbols) == ["BTC-USDT"]
    assert not watching.watch.is_due
    venue.status["NEW"] = "TRADING"
    watching.watch.ask_soon()
    await watching.watch.refresh_if_due(symbols)
    assert watching.traded(symbols) == ["BTC-USDT", "NEW-USDT"]
    assert set(watching.store.instruments) == {Market("binance", symbol) for symbol in symbols}


async def test_a_halted_symbol_is_told_and_stays_and_one_that_is_gone_twice_is_delisted() -> None:
    venue = ListedSymbols(BTC="HALT", ETH="TRADING")
    watching = Watching(venue)
    symbols = ("BTC-USDT", "ETH-USDT")
    await watching.watch.refresh(symbols)
    assert watching.traded(symbols) == ["BTC-USDT", "ETH-USDT"]
    assert watching.watch.worries(symbols) == ["binance has halted BTC-USDT."]
    del venue.status["ETH"]
    await watching.watch.refresh(symbols)
    assert watching.traded(symbols) == ["BTC-USDT", "ETH-USDT"]
    await watching.watch.refresh(symbols)
    assert watching.traded(symbols) == ["BTC-USDT"]
    assert "binance has delisted ETH-USDT." in watching.watch.worries(symbols)
    newest = watching.channels.versions[-1].instrument
    assert (newest.symbol, newest.status) == ("ETH-USDT", InstrumentStatus.DELISTED)
    venue.status["ETH"] = "TRADING"
    await watching.watch.refresh(symbols)
    assert watching.traded(symbols) == ["BTC-USDT", "ETH-USDT"]


async def test_what_happened_to_a_market_is_told() -> None:
    watching = Watching(ListedSymbols(BTC="TRADING"))
    event = MarketEvent(market=Market("binance", "BTC-USDT"), kind=MarketEventKind.LISTED, at_us=7)
    watching.channels.events = [event]
    await watching.watch.refresh(("BTC-USDT",))
    assert watching.bus.news == [("events.binance.BTC-USDT", MarketEventNews(event=event))]
    (version,) = watching.channels.versions
    assert (version.valid_from_us, version.instrument.tick_size) == (7, Decimal("0.01"))


async def test_a_venue_that_cannot_answer_changes_nothing() -> None:
    venue = ListedSymbols(BTC="TRADING")
    watching = Watching(venue)
    await watching.watch.refresh(("BTC-USDT",))
    venue.fails = True
    watching.watch.ask_soon()
    await watching.watch.refresh_if_due(("BTC-USDT",))
    known: Instrument = watching.watch.known["BTC-USDT"]
    assert known.status is InstrumentStatus.TRADING
    with pytest.raises(TransientError):
        await watching.watch.refresh(("BTC-USDT",))
