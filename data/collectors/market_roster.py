"""Which markets a collector records, from its first one to changes while it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import NoReturn

import structlog

from data.collectors.gap_filler import GapFiller
from data.collectors.instrument_watch import InstrumentWatch
from data.collectors.market_recorder import MarketRecorder
from data.collectors.restoring import restored_cascade
from data.collectors.settings import VenueSettings
from data.collectors.settings_file import SettingsSource
from data.collectors.stream_set import StreamSet
from data.collectors.tuning import CollectorTuning
from data.collectors.unsaved import UnsavedBatches
from data.collectors.venue_history import HistoryKeeper
from data.collectors.venue_stream import VenueStream
from data.errors import InvalidInput, Problem, TransientError
from data.exchanges.base import Channel, ExchangeAdapter, Subscription
from data.models import Instrument
from data.stores import MarketWriter

log = structlog.get_logger()

# Calls until venue and store can answer.
Patiently = Callable[[Callable[[], Awaitable[None]]], Awaitable[None]]


class MarketRoster:
    """Admits markets that are wanted and traded, lets go those that are not, and has their topics streamed.

    A market that stays is not disturbed by others that come or go.
    """

    def __init__(
        self,
        adapter: ExchangeAdapter,
        writer: MarketWriter,
        recorders: dict[str, MarketRecorder],
        unsaved: UnsavedBatches,
        streams: StreamSet,
        instruments: InstrumentWatch,
        filler: GapFiller,
        history: HistoryKeeper,
        settings: VenueSettings,
        tuning: CollectorTuning,
        *,
        source: SettingsSource | None,
        with_channels: bool,
        end_stream: Callable[[VenueStream], None],
    ) -> None:
        """`recorders`, by symbol, is kept here for all. Without `with_channels` trades alone are streamed.

        `end_stream` ends what is left over when the last of a stream's topics is dropped.
        """
        self._adapter, self._writer, self._recorders, self._unsaved = adapter, writer, recorders, unsaved
        self._streams, self._instruments, self._filler, self._history = streams, instruments, filler, history
        self._settings, self._tuning, self._source = settings, tuning, source
        self._with_channels, self._end_stream = with_channels, end_stream

    @property
    def settings(self) -> VenueSettings:
        return self._settings

    def worries(self) -> list[str]:
        """What a person should know about the choice of markets, in sentences."""
        name = self._adapter.name
        said = self._instruments.worries(self._settings.symbols)
        if self._recorders and (unknown := self._instruments.unknown(self._settings.symbols)):
            said.append(f"{name} does not trade {', '.join(unknown)}.")
        if self._source is not None and self._source.problem:
            said.append(self._source.problem)
        return said

    async def prepare(self, patiently: Patiently) -> None:
        """Admit the first markets. Raises InvalidInput when the venue trades none of the symbols."""
        symbols = self._settings.symbols
        await patiently(lambda: self._instruments.refresh(symbols))
        unknown = self._instruments.unknown(symbols)
        if len(unknown) == len(symbols):
            raise InvalidInput(
                *(
                    Problem(
                        where="the collectors' settings",
                        field=f"{self._adapter.name}.symbols[{number}]",
                        value=symbol,
                        expected=f"{self._adapter.name} trades no such thing; name one that it does",
                    )
                    for number, symbol in enumerate(unknown)
                )
            )
        await patiently(self._admit)
        self._follow()

    async def run(self) -> NoReturn:
        """Follow the settings and the venue's list of instruments until cancelled."""
        while True:
            await asyncio.sleep(self._tuning.reload_s)
            changed = None if self._source is None else self._source.changed()
            if changed is not None:
                self._adopt(changed)
            await self._instruments.refresh_if_due(self._settings.symbols)
            self._let_go()
            try:
                await self._admit()
            except TransientError as error:
                log.warning("market_not_admitted", exchange=self._adapter.name, error=str(error))
            self._follow()

    def _adopt(self, settings: VenueSettings) -> None:
        before, self._settings = self._settings, settings
        log.info("collector_follows_settings", exchange=settings.exchange, symbols=len(settings.symbols))
        self._history.set_count(settings.history_candles)
        if before.timeframes != settings.timeframes:
            # Their candles begin anew from what is stored.
            for recorder in self._recorders.values():
                recorder.leaving = True
        if self._instruments.unknown(settings.symbols):
            self._instruments.ask_soon()

    async def _admit(self) -> None:
        """Recorders for what is wanted, traded and has none, each going on where the store ends."""
        wanted = self._instruments.traded(self._settings.symbols)
        self._adapter.use(wanted)
        fresh = [each for each in wanted if each.symbol not in self._recorders]
        for instrument in fresh:
            self._recorders[instrument.symbol] = await self._recorder(instrument)
        for timeframe in self._settings.timeframes if fresh else ():
            # Each market's first chart before any market's last.
            for instrument in fresh:
                run = self._recorders[instrument.symbol].stored_run
                self._history.ask(instrument.symbol, timeframe, 0 if run is None else run.last_at_us)

    async def _recorder(self, instrument: Instrument) -> MarketRecorder:
        market, timeframes = instrument.market, self._settings.timeframes
        run = await self._writer.last_run(market)
        cascade = None
        if run is not None:
            cascade = await restored_cascade(self._writer, market, timeframes, run)
        recorder = MarketRecorder(
            market,
            timeframes,
            self._unsaved,
            run=run,
            cascade=cascade,
            max_waiting=self._tuning.max_waiting,
        )
        recorder.heard_s = recorder.checked_s = asyncio.get_running_loop().time()
        return recorder

    def _let_go(self) -> None:
        """Forget markets that are not wanted or not traded any more, once all of theirs is stored."""
        stay = {each.symbol for each in self._instruments.traded(self._settings.symbols)}
        for symbol, recorder in self._recorders.items():
            if symbol not in stay:
                recorder.leaving = True
        leaving = [recorder for recorder in self._recorders.values() if recorder.leaving]
        if leaving:
            self._follow()
        for recorder in leaving:
            waiting, has_gap = self._unsaved.of_market(recorder.market)
            if not (waiting or has_gap or self._unsaved.is_spilled or self._filler.is_filling(recorder)):
                log.info("market_let_go", market=str(recorder.market))
                del self._recorders[recorder.market.symbol]

    def _follow(self) -> None:
        """Have streamed what is wanted of the markets that are recorded, and nothing else."""
        wanted = {topic for symbol in self._staying() for topic in self._topics_of(symbol)}
        current = self._streams.topics
        for stream in self._streams.drop(current - wanted):
            self._end_stream(stream)
        # In the order of the settings: streams are filled one after the other.
        self._streams.add(
            [topic for symbol in self._staying() for topic in self._topics_of(symbol) if topic not in current]
        )

    def _staying(self) -> Sequence[str]:
        return [symbol for symbol, recorder in self._recorders.items() if not recorder.leaving]

    def _topics_of(self, symbol: str) -> list[Subscription]:
        topics: list[Subscription] = [(symbol, Channel.TRADES)]
        if self._with_channels:
            topics += [
                (symbol, channel)
                for channel in self._settings.channels.get(symbol, ())
                if self._adapter.supports(symbol, channel)
            ]
        return topics
