"""What a venue says of its instruments, asked now and then: their rules, and which of them are traded."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence

import msgspec
import structlog

from data.collectors.rest import VenueRest
from data.collectors.tuning import CollectorTuning
from data.errors import BadDataError, TransientError
from data.messages import MarketEventNews
from data.models import Instrument, InstrumentStatus, InstrumentVersion
from data.stores import ChannelWriter, MarketPublisher, MarketWriter
from data.topics import events_topic

log = structlog.get_logger()

# One answer that lacks a symbol may be the venue's mistake.
_ANSWERS_WITHOUT = 2


class InstrumentWatch:
    """Knows the instruments of the wanted symbols, keeps their versions and tells what happened to them."""

    def __init__(
        self,
        rest: VenueRest,
        writer: MarketWriter,
        channel_writer: ChannelWriter | None,
        publisher: MarketPublisher,
        clock_us: Callable[[], int],
        tuning: CollectorTuning,
    ) -> None:
        self._rest, self._writer, self._channel_writer = rest, writer, channel_writer
        self._publisher, self._clock_us, self._tuning = publisher, clock_us, tuning
        self._absences: dict[str, int] = {}  # answers in a row without a known symbol
        self._due_s = 0.0  # loop time
        self.known: dict[str, Instrument] = {}  # by symbol

    @property
    def is_due(self) -> bool:
        return asyncio.get_running_loop().time() >= self._due_s

    def ask_soon(self) -> None:
        """Something is wanted that is not known yet."""
        self._due_s = 0.0

    def unknown(self, symbols: Iterable[str]) -> list[str]:
        """Those the venue has never listed while this was watching."""
        return [symbol for symbol in symbols if symbol not in self.known]

    def traded(self, symbols: Iterable[str]) -> list[Instrument]:
        """Those that can be recorded; a halted one can, for it may resume at any moment."""
        found = (self.known.get(symbol) for symbol in symbols)
        return [
            instrument
            for instrument in found
            if instrument is not None and instrument.status is not InstrumentStatus.DELISTED
        ]

    def worries(self, symbols: Iterable[str]) -> list[str]:
        """What a person should know of them, in sentences."""
        said = []
        for symbol in symbols:
            instrument = self.known.get(symbol)
            if instrument is not None and instrument.status is InstrumentStatus.HALTED:
                said.append(f"{instrument.exchange} has halted {symbol}.")
            elif instrument is not None and instrument.status is InstrumentStatus.DELISTED:
                said.append(f"{instrument.exchange} has delisted {symbol}.")
        return said

    async def refresh(self, symbols: Sequence[str]) -> None:
        """Ask the venue for these and store what it says. Raises TransientError, BadDataError."""
        self._schedule(self._tuning.instruments_retry_s)
        listed = {
            instrument.symbol: instrument
            for instrument in await self._rest.instruments(symbols)
            if instrument.symbol in set(symbols)
        }
        for symbol in symbols:
            if symbol in listed:
                self._absences.pop(symbol, None)
            elif symbol in self.known:
                self._absences[symbol] = self._absences.get(symbol, 0) + 1
                listed[symbol] = self.known[symbol]
                if self._absences[symbol] >= _ANSWERS_WITHOUT:
                    listed[symbol] = msgspec.structs.replace(
                        self.known[symbol], status=InstrumentStatus.DELISTED
                    )
        await self._save(list(listed.values()))
        self.known.update(listed)
        if not self.unknown(symbols) and not self._absences:
            self._schedule(self._tuning.instruments_s)

    async def refresh_if_due(self, symbols: Sequence[str]) -> None:
        """As `refresh`, when it is time; what fails is logged and tried again."""
        if not self.is_due or not symbols:
            return
        try:
            await self.refresh(symbols)
        except (TransientError, BadDataError) as error:
            log.warning("instruments_not_refreshed", error=str(error))

    async def _save(self, instruments: Sequence[Instrument]) -> None:
        now_us = self._clock_us()
        if self._channel_writer is not None:
            events = await self._channel_writer.save_instrument_versions(
                [InstrumentVersion(instrument=each, valid_from_us=now_us) for each in instruments]
            )
            for event in events:
                log.info("market_event", market=str(event.market), kind=event.kind, detail=event.detail)
                await self._publisher.publish(events_topic(event.market), MarketEventNews(event=event))
        await self._writer.save_instruments(instruments)

    def _schedule(self, in_s: float) -> None:
        # Shards that began together do not ask together.
        self._due_s = asyncio.get_running_loop().time() + in_s * random.uniform(0.8, 1.2)
