"""From the bus to the browser tabs: one subscription to the bus, one WebSocket per tab, nothing ever waits.

Messages only mark their topic as changed; every BATCH_S the changed topics that somebody watches are decoded,
each once, whatever the rate of the feed. A tab holds the newest patch per key: a slow one skips, never grows.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

import msgspec
import structlog

from bots.messages import CONTROL_TOPIC
from dashboard.forming_candles import BegunIntervals, Completed, step_of
from dashboard.live_views import (
    BOTS,
    BUS_PATTERNS,
    CHART,
    DESK,
    HEALTH,
    JOBS,
    QUOTES,
    SIGNALS,
    Body,
    ChartView,
    Patch,
    candle_patches,
    health_patch,
    job_patch,
    nudge_patch,
    parse_chart_view,
    quote_patch,
    tick_patches,
)
from dashboard.market_day import MarketDay
from dashboard.market_tape import MarketTapes, TapeStart, parse_tape_topic, tape_patches, unread_patch
from dashboard.readers import HealthReader, LiveBus
from dashboard.theme import theme_named
from data.errors import BadDataError, TradingError, TransientError
from data.messages import CandleUpdate, CollectorHealth
from data.models import Market
from data.stores import CandleReader
from data.timeframes import Timeframe
from data.topics import candles_topic, repairs_topic
from data.venue_health import venue_health
from jobs.messages import JobUpdate

BATCH_S = 0.02
TAB_INTERVAL_S = 0.1  # a tab gets ten messages a second at most
HEARTBEAT_S = 5.0  # the browser takes a longer silence for a broken connection
MAX_PATCHES = 1_000  # a tab that does not read loses its oldest ones beyond that
MAX_TOPICS = 16  # a tab watches
MAX_OVERLAY_ROWS = 200  # sent at once, after a long time without an answer of the store
RECENT_CANDLES = 6  # kept per topic for tabs that come later
MAX_JOBS = 500  # whose last word is kept for tabs that come later

_ONE_JOB = re.compile(r"jobs\.[0-9]{1,18}")

log = structlog.get_logger(__name__)

OverlaySource = Callable[[ChartView, int], list[Body]]
RecentSource = Callable[[ChartView], list[Body]]
TapeSource = Callable[[Market], TapeStart]


class Tab:
    """What one tab watches and what it has yet to be told."""

    def __init__(self) -> None:
        self.topics: frozenset[str] = frozenset()
        self.dropped = 0
        self._patches: dict[tuple[str | int, ...], Body] = {}
        self._news = asyncio.Event()

    def offer(self, patches: Sequence[Patch]) -> None:
        """Take patches for sending; the newest of a key replaces the older one in its place."""
        for patch in patches:
            if patch.key not in self._patches and len(self._patches) >= MAX_PATCHES:
                self._patches.pop(next(iter(self._patches)))
                self.dropped += 1
            self._patches[patch.key] = patch.body
        if self._patches:
            self._news.set()

    def drain(self) -> list[Body]:
        """Everything not sent yet, oldest first."""
        bodies = list(self._patches.values())
        self._patches.clear()
        self._news.clear()
        return bodies

    async def news(self, timeout_s: float) -> None:
        """Return when there is something to send, or after the time is up."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), timeout_s)


class LiveHub:
    """The tabs of one server process and the last known values they start from."""

    def __init__(
        self,
        bus: LiveBus,
        health: HealthReader,
        *,
        candles: CandleReader,
        day: Callable[[Market], MarketDay | None],
        overlay_ticks: OverlaySource,
        recent_ticks: RecentSource,
        known_overlay: Callable[[str], bool],
        tape: TapeSource | None = None,
    ) -> None:
        """`day` answers from memory; the others read the store and are called in a thread.

        `overlay_ticks` gives a chart's newest so many rows of every overlay, `recent_ticks` its newest closed
        candles with theirs, `tape` a market's last trades (None: tapes are not told). All raise TradingError.
        """
        self._bus = bus
        self._health_reader = health
        self._day = day
        self._overlay_ticks = overlay_ticks
        self._recent_ticks = recent_ticks
        self._known_overlay = known_overlay
        self._tape = tape
        self._tapes = MarketTapes(self._refuse)
        self._tabs: set[Tab] = set()
        self._watched: Counter[str] = Counter()
        self._charts: dict[str, ChartView] = {}
        self._trades: dict[str, bytes] = {}  # newest batch by topic
        self._candles: dict[str, deque[bytes]] = {}  # newest few by topic
        self._pending_candles: dict[str, deque[bytes]] = {}
        self._changed: set[str] = set()
        self._something = asyncio.Event()
        self._health: dict[str, CollectorHealth] = {}  # by exchange, its shards together
        self._shards: dict[str, dict[str, CollectorHealth]] = {}  # by exchange and name
        self._jobs: dict[str, JobUpdate] = {}  # by topic, the newest heard of last
        self._shown: dict[Market, float] = {}
        self._closed: Counter[str] = Counter()  # candles that closed since a chart's overlays were computed
        self._overlay_tasks: dict[str, asyncio.Task[None]] = {}
        self._catching_up: set[asyncio.Task[None]] = set()
        self._begun = BegunIntervals(candles, known=self._show_completed)
        self.refused = 0  # messages that did not parse

    def health(self) -> Mapping[str, CollectorHealth]:
        """The last thing each venue's collector said, by exchange."""
        return self._health

    def last_price(self, market: Market) -> float | None:
        """The price last sent to tabs, or None."""
        return self._shown.get(market)

    async def run(self) -> None:
        """Listen to the bus until cancelled."""
        try:
            for health in await self._health_reader.last_health():
                self._shards.setdefault(health.exchange, {}).setdefault(health.shard, health)
                self._join_shards(health.exchange)
        except (TransientError, BadDataError) as error:
            # Collectors speak every second or two; the pages say "unknown" until then.
            log.warning("last_health_unknown", why=str(error))
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._listen())
                tasks.create_task(self._flush_changes())
        finally:
            computing = list(self._overlay_tasks.values())
            for task in computing:
                task.cancel()
            for task in self._catching_up:
                task.cancel()
            await asyncio.gather(*computing, *self._catching_up, return_exceptions=True)
            await self._begun.close()

    @asynccontextmanager
    async def tab(self) -> AsyncIterator[Tab]:
        """A tab that is connected as long as the context lasts."""
        tab = Tab()
        self._tabs.add(tab)
        try:
            yield tab
        finally:
            self.watch(tab, [])
            self._tabs.discard(tab)

    def watch(self, tab: Tab, topics: Sequence[str]) -> None:
        """Let the tab watch these topics and no others, beginning with the last known values.

        What is no topic of ours is ignored: the list comes from a browser.
        """
        wanted: set[str] = set()
        for topic in list(topics)[:MAX_TOPICS]:
            chart = parse_chart_view(topic)
            if topic in (QUOTES, HEALTH, BOTS, SIGNALS, JOBS, DESK) or _ONE_JOB.fullmatch(topic):
                wanted.add(topic)
            elif chart is not None and self._known_overlay(chart.overlay):
                self._charts[topic] = chart
                wanted.add(topic)
            elif self._tape is not None and (market := parse_tape_topic(topic)) is not None:
                self._tapes.watch(topic, market)
                wanted.add(topic)
        before, tab.topics = tab.topics, frozenset(wanted)
        self._watched.update(wanted - before)
        for topic in before - wanted:
            self._watched[topic] -= 1
            if not self._watched[topic]:
                del self._watched[topic]
                self._charts.pop(topic, None)
                self._tapes.forget(topic)
        for topic in sorted(wanted):
            tab.offer(self._snapshot(topic))
            if topic in self._charts:
                self._begin(self._catch_up(tab, topic, self._charts[topic]))
            elif self._tape is not None and (market := parse_tape_topic(topic)) is not None:
                self._begin(self._begin_tape(tab, topic, market, self._tape))

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._catching_up.add(task)
        task.add_done_callback(self._catching_up.discard)

    async def _listen(self) -> None:
        async for topic, payload in self._bus.subscribe(BUS_PATTERNS):
            kind = topic.partition(".")[0]
            if kind == "trades":
                self._trades[topic] = payload
                self._tapes.traded(topic, payload)
            elif kind == "quotes":
                self._tapes.quoted(topic, payload)
            elif kind == "candles":
                self._candles.setdefault(topic, deque(maxlen=RECENT_CANDLES)).append(payload)
                self._pending_candles.setdefault(topic, deque(maxlen=RECENT_CANDLES)).append(payload)
            elif kind == "health":
                self._heard(payload)
            elif kind == "jobs":
                self._heard_of_job(topic, payload)
            self._changed.add(topic)
            self._something.set()

    async def _flush_changes(self) -> None:
        while True:
            await self._something.wait()
            await asyncio.sleep(BATCH_S)
            self._something.clear()
            self._flush()

    def _heard(self, payload: bytes) -> None:
        try:
            health = msgspec.json.decode(payload, type=CollectorHealth)
        except msgspec.DecodeError as error:
            self._refuse("health", error)
            return
        before = self._health.get(health.exchange)
        self._shards.setdefault(health.exchange, {})[health.shard] = health
        health = self._join_shards(health.exchange)
        self._tell(HEALTH, [health_patch(health)])
        if before is None or (before.state, before.detail) != (health.state, health.detail):
            self._tell(HEALTH, [nudge_patch(HEALTH)])

    def _heard_of_job(self, topic: str, payload: bytes) -> None:
        try:
            update = msgspec.json.decode(payload, type=JobUpdate)
        except msgspec.DecodeError as error:
            self._refuse(topic, error)
            return
        before = self._jobs.pop(topic, None)
        self._jobs[topic] = update
        if len(self._jobs) > MAX_JOBS:
            self._jobs.pop(next(iter(self._jobs)))
        patches = [job_patch(update)]
        if before is None or before.state is not update.state:
            patches.append(nudge_patch(JOBS))
        for name in (JOBS, topic):
            self._tell(name, patches)

    def _join_shards(self, exchange: str) -> CollectorHealth:
        joined = venue_health(self._shards[exchange].values())
        assert joined is not None  # one has just been heard of
        self._health[exchange] = joined
        return joined

    def _flush(self) -> None:
        changed, self._changed = self._changed, set()
        pending, self._pending_candles = self._pending_candles, {}
        kinds = {topic.partition(".")[0] for topic in changed}
        for name in (BOTS, SIGNALS):
            if name in kinds:
                self._tell(name, [nudge_patch(name)])
        if CONTROL_TOPIC in changed:
            self._tell(DESK, [nudge_patch(DESK)])
        if self._watched[QUOTES]:
            for topic in changed:
                if topic.startswith("trades."):
                    self._tell(QUOTES, self._quote(topic))
        for view_topic, view in self._charts.items():
            if repairs_topic(view.market) in changed:
                self._tell(view_topic, [nudge_patch(CHART)])
            for update in self._decoded(view.candle_topic, pending.get(view.candle_topic, ())):
                self._tell(view_topic, self._drawn(update, view))
                if update.closed:
                    self._extend_overlays(view_topic, view)
        for tape_topic, patches in self._tapes.news():
            self._tell(tape_topic, patches)

    def _quote(self, topic: str) -> list[Patch]:
        _, exchange, symbol = topic.split(".", 2)
        market = Market(exchange, symbol)
        try:
            made = quote_patch(self._trades[topic], self._day(market), self._shown.get(market))
        except msgspec.DecodeError as error:
            self._refuse(topic, error)
            return []
        if made is None:
            return []
        patch, self._shown[market] = made
        return [patch]

    async def _catch_up(self, tab: Tab, view_topic: str, view: ChartView) -> None:
        """Tell a tab the candles that closed between reading its chart and watching it."""
        try:
            ticks = await asyncio.to_thread(self._recent_ticks, view)
        except TradingError as error:
            log.warning("chart_not_caught_up", view=view_topic, why=str(error))
            return
        if view_topic in tab.topics:
            tab.offer(tick_patches(ticks, view))

    async def _begin_tape(self, tab: Tab, topic: str, market: Market, read: TapeSource) -> None:
        """Tell a tab what is stored of a tape; what comes meanwhile it hears as any other."""
        try:
            patches = tape_patches(await asyncio.to_thread(read, market), market)
        except TradingError as error:
            log.warning("tape_not_read", market=str(market), why=str(error))
            patches = [unread_patch(market, str(error))]
        if topic in tab.topics:
            tab.offer([*patches, *self._tapes.heard(market)])

    def _extend_overlays(self, view_topic: str, view: ChartView) -> None:
        """Compute the overlays' newest values in a thread, for every candle closed since the last time."""
        self._closed[view_topic] += 1
        if view_topic in self._overlay_tasks:
            return  # it looks again when it is done

        async def work() -> None:
            try:
                while closed := self._closed.pop(view_topic, 0):
                    rows = min(MAX_OVERLAY_ROWS, closed + 2)
                    ticks = await asyncio.to_thread(self._overlay_ticks, view, rows)
                    self._tell(view_topic, tick_patches(ticks, view))
            except TradingError as error:
                log.warning("overlays_not_extended", view=view_topic, why=str(error))
            finally:
                del self._overlay_tasks[view_topic]

        self._overlay_tasks[view_topic] = asyncio.create_task(work())

    def _tell(self, topic: str, patches: Sequence[Patch]) -> None:
        if patches and self._watched[topic]:
            for tab in self._tabs:
                if topic in tab.topics:
                    tab.offer(patches)

    def _snapshot(self, topic: str) -> list[Patch]:
        if topic == HEALTH:
            return [health_patch(health) for health in self._health.values()]
        if topic == QUOTES:
            return [patch for known in list(self._trades) for patch in self._quote(known)]
        if topic in self._jobs:
            return [job_patch(self._jobs[topic])]
        view = self._charts.get(topic)
        if view is None:
            return []
        return [
            patch
            for update in self._decoded(view.candle_topic, self._candles.get(view.candle_topic, ()))
            for patch in self._drawn(update, view)
        ]

    def _drawn(self, update: CandleUpdate, view: ChartView) -> list[Patch]:
        """The ticks of a candle; none of a begun one before it is known what of it is stored."""
        drawn: Completed | None = Completed(update.candle)
        if not update.closed and not update.covered:
            step = step_of(view.timeframe)
            topic = candles_topic(view.market, step) if step else ""
            newest = self._decoded(topic, list(self._candles.get(topic, ()))[-1:])
            drawn = self._begun.completed(update.candle, newest[0] if newest else None)
        return candle_patches(drawn, view, theme_named(view.scheme)) if drawn else []

    def _show_completed(self, market: Market, timeframe: Timeframe) -> None:
        for topic, view in self._charts.items():
            if (view.market, view.timeframe) == (market, timeframe):
                self._tell(topic, self._snapshot(topic))

    def _decoded(self, topic: str, payloads: Iterable[bytes]) -> list[CandleUpdate]:
        updates = []
        for payload in payloads:
            try:
                updates.append(msgspec.json.decode(payload, type=CandleUpdate))
            except msgspec.DecodeError as error:
                self._refuse(topic, error)
        return updates

    def _refuse(self, topic: str, error: msgspec.DecodeError) -> None:
        """Count and skip a message that another version of us must have sent."""
        self.refused += 1
        log.warning("message_refused", topic=topic, why=str(error), refused=self.refused)
