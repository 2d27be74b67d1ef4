"""Whether each market's trades still come as they usually do, told to whoever relies on them.

A feed is doubted when it has been silent for several times its usual pause. A quiet market is not stale
because it is quiet: the venue is asked whether there are trades that the stream did not bring. Without a
connection nobody can know, so all feeds of a venue that is down are stale.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import NoReturn

import structlog

from data.collectors.feed_rhythm import FeedRhythm
from data.collectors.tuning import CollectorTuning
from data.errors import BadDataError, TransientError
from data.messages import FeedNews
from data.models import FeedState, Market
from data.stores import ChannelWriter, MarketPublisher
from data.topics import feeds_topic

log = structlog.get_logger()

_LOOK_S = 1.0

# Whether the venue has trades of a market that its stream did not bring. Raises TransientError, BadDataError.
HasUnseen = Callable[[Market], Awaitable[bool]]


class _Feed:
    def __init__(self, market: Market, now_s: float) -> None:
        self.market = market
        self.rhythm = FeedRhythm()
        self.heard_s = now_s  # loop time of the last trades, or of the beginning
        self.heard = 0  # messages
        self.noticed = 0  # of those, at the last look
        self.down_since_s: float | None = now_s
        self.accepted_s = 0.0  # its silence is accepted until this loop time
        self.doubted = False  # the venue is being asked
        self.ask_again_s = 0.0  # loop time when the venue is asked whether a stale feed still is
        self.state: FeedState | None = None
        self.told_s = 0.0


class FeedWatch:
    """Judges the feeds of one venue's markets, about once a second.

    A feed is declared stale at the latest `feed_most_s` after its last trade, plus a second for looking,
    `deaf_s` for a trade that may be under way, and the time that REST takes to answer.
    """

    def __init__(
        self,
        publisher: MarketPublisher,
        writer: ChannelWriter | None,
        has_unseen: HasUnseen,
        clock_us: Callable[[], int],
        tuning: CollectorTuning,
    ) -> None:
        """Without a `writer` the states are only published."""
        self._publisher, self._writer, self._has_unseen = publisher, writer, has_unseen
        self._clock_us, self._tuning = clock_us, tuning
        self._feeds: dict[str, _Feed] = {}  # by symbol: of one venue
        self._unsaved: dict[Market, FeedState] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._saving: asyncio.Task[None] | None = None

    @property
    def stale_symbols(self) -> tuple[str, ...]:
        return tuple(
            feed.market.symbol for feed in self._feeds.values() if feed.state is not None and feed.state.stale
        )

    def note(self, symbol: str, traded_at_us: int) -> None:
        """The symbol's stream brought trades, the last of them at that time by the venue's clock."""
        feed = self._feeds.get(symbol)
        if feed is not None:
            feed.rhythm.note(traded_at_us)
            feed.heard += 1

    async def run(self, lines: Callable[[], Mapping[Market, bool]]) -> NoReturn:
        """Watch until cancelled. `lines` tells each recorded market, and whether a stream brings it now."""
        try:
            while True:
                self.look(lines())
                await asyncio.sleep(_LOOK_S)
        finally:
            for task in self._tasks:
                task.cancel()

    def look(self, lines: Mapping[Market, bool]) -> None:
        """Judge every feed once; markets that `lines` no longer has are forgotten."""
        now_s = asyncio.get_running_loop().time()
        recorded = {market.symbol for market in lines}
        for symbol in [symbol for symbol in self._feeds if symbol not in recorded]:
            del self._feeds[symbol]
        for market, is_live in lines.items():
            feed = self._feeds.get(market.symbol)
            if feed is None:
                feed = self._feeds[market.symbol] = _Feed(market, now_s)
            self._judge(feed, is_live, now_s)
        self._tell_again(now_s)
        self._save()

    def _judge(self, feed: _Feed, is_live: bool, now_s: float) -> None:
        if not is_live:
            if feed.down_since_s is None:
                feed.down_since_s = now_s
            if now_s - feed.down_since_s >= self._tuning.feed_down_s:
                self._set(feed, stale=True, detail="no stream brings its trades now")
            return
        if feed.down_since_s is not None:
            feed.down_since_s = None
            feed.ask_again_s = now_s
        if feed.heard != feed.noticed:
            feed.noticed, feed.heard_s, feed.accepted_s = feed.heard, now_s, 0.0
            self._set(feed, stale=False)
            return
        is_stale = feed.state is not None and feed.state.stale
        if is_stale:
            doubts_from_s = feed.ask_again_s
        else:
            doubts_from_s = max(feed.heard_s + self._patience_s(feed), feed.accepted_s)
        if now_s >= doubts_from_s and not feed.doubted:
            feed.doubted = True
            task = asyncio.create_task(self._ask_venue(feed))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _ask_venue(self, feed: _Feed) -> None:
        heard = feed.heard
        try:
            has_unseen = await self._has_unseen(feed.market)
            if has_unseen:
                # They may be under way: REST and the stream do not tell at the same moment.
                await asyncio.sleep(self._tuning.deaf_s)
        except (TransientError, BadDataError) as error:
            if feed.heard == heard:
                self._set(feed, stale=True, detail=f"it is silent, and the venue cannot be asked: {error}")
            return
        finally:
            feed.doubted = False
            feed.ask_again_s = asyncio.get_running_loop().time() + self._patience_s(feed)
        if feed.heard != heard:
            return
        if has_unseen:
            self._set(feed, stale=True, detail="the venue has trades that its stream does not bring")
            return
        now_s = asyncio.get_running_loop().time()
        feed.accepted_s = now_s + min(
            max(now_s - feed.heard_s, self._patience_s(feed)), self._tuning.feed_asked_s
        )
        self._set(feed, stale=False)

    def _patience_s(self, feed: _Feed) -> float:
        pause_s = feed.rhythm.usual_pause_s()
        if pause_s is None:
            return self._tuning.feed_unknown_s
        wanted_s = self._tuning.feed_pauses * pause_s
        return min(max(wanted_s, self._tuning.feed_least_s), self._tuning.feed_most_s)

    def _set(self, feed: _Feed, *, stale: bool, detail: str = "") -> None:
        if feed.state is not None and feed.state.stale == stale:
            return
        feed.state = FeedState(
            market=feed.market,
            stale=stale,
            since_us=self._clock_us(),
            last_trade_at_us=feed.rhythm.last_at_us,
            usual_pause_s=feed.rhythm.usual_pause_s() or 0.0,
            detail=detail,
        )
        if stale:
            log.warning("feed_stale", market=str(feed.market), detail=detail)
        self._unsaved[feed.market] = feed.state
        self._tell([feed])

    def _tell_again(self, now_s: float) -> None:
        self._tell(
            [
                feed
                for feed in self._feeds.values()
                if feed.state is not None
                and feed.state.stale
                and now_s - feed.told_s >= self._tuning.feed_repeat_s
            ]
        )

    def _tell(self, feeds: Iterable[_Feed]) -> None:
        for feed in feeds:
            assert feed.state is not None
            feed.told_s = asyncio.get_running_loop().time()
            news = FeedNews(feed=feed.state)
            task = asyncio.create_task(self._publish(feeds_topic(feed.market), news))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _publish(self, topic: str, news: FeedNews) -> None:
        await self._publisher.publish(topic, news)

    def _save(self) -> None:
        """Store what has changed, if the store is not still busy with what changed before."""
        if self._writer is None or not self._unsaved or self._saving is not None:
            return
        states, self._unsaved = self._unsaved, {}
        self._saving = asyncio.create_task(self._save_states(self._writer, states))
        self._tasks.add(self._saving)
        self._saving.add_done_callback(self._tasks.discard)

    async def _save_states(self, writer: ChannelWriter, states: dict[Market, FeedState]) -> None:
        try:
            await writer.save_feeds(list(states.values()))
        except TransientError as error:
            log.warning("feeds_not_saved", error=str(error), waiting=len(states))
            self._unsaved = states | self._unsaved
        finally:
            self._saving = None
