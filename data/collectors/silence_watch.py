"""Doubting silence: a quiet market and a deaf stream look alike, and REST knows which of the two it is."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import NoReturn

import structlog

from data.collectors.gap_filler import GapFiller
from data.collectors.market_recorder import MarketRecorder
from data.collectors.rest import VenueRest
from data.collectors.stream_set import StreamSet
from data.collectors.tuning import CollectorTuning
from data.collectors.venue_stream import VenueStream
from data.errors import BadDataError, TransientError
from data.exchanges.base import Channel
from data.models import Trade

log = structlog.get_logger()

# Called with trades that REST has and the stream has not brought, and whether the stream is to be believed.
TakeUnseen = Callable[[MarketRecorder, Sequence[Trade], bool], None]


class SilenceWatch:
    """Compares quiet markets with REST, takes what is new there, and mends streams that lacked it.

    One symbol that does not come is subscribed to anew, alone; a stream from which nothing comes is replaced.
    """

    def __init__(
        self,
        rest: VenueRest,
        recorders: Mapping[str, MarketRecorder],
        streams: StreamSet,
        filler: GapFiller,
        tuning: CollectorTuning,
        *,
        take: TakeUnseen,
        start: Callable[[Coroutine[object, object, None]], None],
    ) -> None:
        """`recorders` are the venue's, by symbol, and may change; `start` runs a coroutine beside."""
        self._rest, self._recorders, self._streams, self._filler = rest, recorders, streams, filler
        self._tuning, self._take, self._start = tuning, take, start
        self._checking: set[MarketRecorder] = set()

    async def run(self) -> NoReturn:
        """Watch until cancelled."""
        while True:
            await asyncio.sleep(min(1.0, self._tuning.unverified_s))
            for stream in self._streams.of_trades:
                if stream.live:
                    await self._look_at(stream)

    async def _look_at(self, stream: VenueStream) -> None:
        clock = asyncio.get_running_loop().time
        recorders = [self._recorders[symbol] for symbol in stream.symbols if symbol in self._recorders]
        if not recorders:
            return
        for recorder in recorders:
            if recorder.live_messages != recorder.noticed_messages:
                recorder.noticed_messages, recorder.heard_s = recorder.live_messages, clock()
        loudest = max(recorders, key=lambda recorder: recorder.heard_s)
        is_silent = clock() - loudest.heard_s > self._tuning.silence_s
        if is_silent:
            # Without trades it tells no time either, and candles end all the same.
            with contextlib.suppress(TransientError, BadDataError):
                stream.venue_time_us = max(stream.venue_time_us, await self._rest.server_time_us())
        for recorder in recorders:
            waited_s = clock() - max(recorder.heard_s, recorder.checked_s)
            if (
                waited_s > self._patience_s(recorder, stream, is_silent and recorder is loudest)
                and recorder not in self._checking
                and not self._filler.is_filling(recorder)
            ):
                recorder.checked_s = clock()
                self._start(self._check(recorder, stream))

    def _patience_s(self, recorder: MarketRecorder, stream: VenueStream, is_silent: bool) -> float:
        tuning = self._tuning
        if recorder.failed_checks:
            # A market that REST does not answer for, a dead one perhaps, must not cost the others' requests.
            return float(min(tuning.quiet_s, tuning.unverified_s * 2.0 ** min(recorder.failed_checks, 16)))
        if recorder.deaf or not stream.hears(recorder.market.symbol):
            return tuning.poll_s
        if not recorder.verified:
            return tuning.unverified_s
        return tuning.silence_s if is_silent else tuning.quiet_s

    async def _check(self, recorder: MarketRecorder, stream: VenueStream) -> None:
        self._checking.add(recorder)
        try:
            await self._compare(recorder, stream)
        finally:
            self._checking.discard(recorder)

    async def _compare(self, recorder: MarketRecorder, stream: VenueStream) -> None:
        """Take what REST has more of a market, and doubt a stream that lacked it."""
        symbol = recorder.market.symbol
        connection, live_messages = stream.connections, recorder.live_messages
        others = self._messages_of_others(recorder, stream)
        try:
            newest = await self._rest.newest_trades(symbol)
        except (TransientError, BadDataError) as error:
            recorder.failed_checks += 1
            log.warning("check_failed", market=str(recorder.market), error=str(error))
            return
        recorder.failed_checks = 0
        if not stream.live or stream.connections != connection or recorder.leaving:
            return
        next_id, was_verified = recorder.sequencer.next_id, recorder.verified
        unseen = [trade for trade in newest if next_id is None or trade.trade_id >= next_id]
        self._take(recorder, unseen, stream.hears(symbol) and not recorder.deaf)
        if not unseen or not (was_verified or recorder.deaf):
            return
        await asyncio.sleep(self._tuning.deaf_s)
        if stream.connections != connection or recorder.live_messages != live_messages:
            return
        why = f"it did not bring trades of {symbol} that REST has"
        if self._messages_of_others(recorder, stream) == others:
            stream.reconnect(why)
        else:
            self._renew(recorder, stream, why)

    def _messages_of_others(self, recorder: MarketRecorder, stream: VenueStream) -> int:
        return sum(
            self._recorders[symbol].live_messages
            for symbol in stream.symbols
            if symbol in self._recorders and symbol != recorder.market.symbol
        )

    def _renew(self, recorder: MarketRecorder, stream: VenueStream, why: str) -> None:
        """Ask for one symbol again, now and then: the others on the stream do come."""
        now_s = asyncio.get_running_loop().time()
        recorder.verified = False
        if recorder.deaf and now_s - recorder.renewed_s < self._tuning.resubscribe_s:
            return
        recorder.deaf, recorder.renewed_s = True, now_s
        log.warning("subscription_renewed", market=str(recorder.market), why=why)
        stream.renew((recorder.market.symbol, Channel.TRADES))
