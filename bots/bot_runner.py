"""Runs many bots in one process: reads their candles, lets them decide, stores every step before it is told.

The store is the truth; messages only wake the runner up, and everything works without them, a second later.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import msgspec
import structlog

from bots.bot_life import BotLife, Series
from bots.bot_loading import BotLoader, StrategyLoader
from bots.crash_note import MOST_DEATHS, CrashNote
from bots.emergency import EmergencyWatch
from bots.entry_gates import EntryGate
from bots.feed_watch import FeedWatch
from bots.lifecycle import ACTIVE, BotState, next_state
from bots.messages import CONTROL_TOPIC
from bots.rehearsal import rehearse
from bots.risk.desk_rules import DeskRules
from bots.roster import Roster
from bots.shards import WHOLE, Shard
from bots.step_writer import StepWriter, internal_error
from bots.stores import MOST_FRESH, BotBus, BotRecord, BotStep, BotStore, FreshCandleReader, RunnerClaim, Wish
from data.errors import TradingError, TransientError
from data.messages import CandleUpdate, FeedNews
from data.models import Candle, Market, Ohlcv
from data.stores import CandleReader
from data.topics import ALL_FEEDS, candles_topic, feeds_topic

T = TypeVar("T")
_log = structlog.get_logger(__name__)

POLL_S = 1.0
# All markets close at the same instant, and their news comes one by one: what comes within this time is one
# turn's work instead of two's, and nobody waits for a turn that was begun for the first of them.
_GATHER_S = 0.004
_GROUP = 64  # bots that decide while those before them are stored
_BACKOFF_S = (0.2, 0.5, 1.0, 2.0, 5.0)
_LONG_AGO_S = -1e9


class BotRunner:
    """The bots of a shard. Only one runner of it works at a time; others stand by and take over."""

    def __init__(
        self,
        store: BotStore,
        candles: CandleReader,
        *,
        load_strategy: StrategyLoader,
        clock: Callable[[], int],
        bus: BotBus | None = None,
        poll_s: float = POLL_S,
        fresh: FreshCandleReader | None = None,
        feeds: FeedWatch | None = None,
        gates: Sequence[EntryGate] = (),
        emergency: EmergencyWatch | None = None,
        rules: DeskRules | None = None,
        shard: Shard = WHOLE,
        note: CrashNote | None = None,
    ) -> None:
        """`clock` gives now in microseconds: it stamps steps and starts; candles keep the venue's time.

        `feeds` hears what collectors say of feeds and is asked before any entry, as is the `emergency` stop,
        and then each of `gates`, and last the accounts of `rules`, which also have the limits of each bot.
        """
        self._store = store
        self._shard = shard
        self._note = note
        self._loader = BotLoader(candles, load_strategy, fresh)
        self._feeds = FeedWatch() if feeds is None else feeds
        self._emergency = EmergencyWatch() if emergency is None else emergency
        self._rules = DeskRules() if rules is None else rules
        self._clock = clock
        self._bus = bus
        self._poll_s = poll_s
        # One thread: a bot is handed to it and back, never shared, and the reader keeps one connection.
        self._worker = ThreadPoolExecutor(1, "bots")
        # Another that stores the steps of some bots while the next are deciding.
        self._storing = ThreadPoolExecutor(1, "bot steps")
        self._writer = StepWriter(store, work=self._store_work, clock=clock, bus=bus)
        refused = self._writer.refused
        self._gates: tuple[EntryGate, ...] = (self._emergency, refused, self._feeds, *gates, self._rules)
        self._bots = Roster()
        self._met: set[int] = set()  # bots that were seen since they became ours
        self._forming: dict[Series, Candle] = {}
        self._dirty: set[Series] = set()
        self._asked = False
        self._awake = asyncio.Event()
        self._polled_at_s = _LONG_AGO_S

    async def run(self, stop: asyncio.Event, *, before: Callable[[], None] | None = None) -> None:
        """Run bots until `stop` is set. `before` is called, in a thread, each time the bots become ours."""
        alarm = asyncio.create_task(self._wake_at(stop))
        try:
            await self._work(rehearse)
            while not stop.is_set():
                claim = await self._claim(stop)
                if claim is None:
                    break
                try:
                    await self._serve(claim, stop, before)
                finally:
                    await self._work(claim.release)
        finally:
            alarm.cancel()
            self._worker.shutdown(wait=False)
            self._storing.shutdown(wait=False)

    async def _wake_at(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._awake.set()

    async def _claim(self, stop: asyncio.Event) -> RunnerClaim | None:
        """The right to run the bots, once it is free; None if stopped before."""
        failures = 0
        told = False
        while not stop.is_set():
            try:
                claim = await self._work(partial(self._store.claim, self._shard))
            except TransientError as error:
                await self._back_off(error, failures, stop)
                failures += 1
                continue
            failures = 0
            if claim is not None:
                _log.info("bots_claimed")
                return claim
            if not told:
                told = True
                _log.info("bots_run_elsewhere", action="standing by")
            await _sleep(stop, self._poll_s)
        return None

    async def _serve(
        self, claim: RunnerClaim, stop: asyncio.Event, before: Callable[[], None] | None
    ) -> None:
        """Turn after turn, until told to stop or the claim is lost."""
        self._bots.clear()
        self._met.clear()
        self._writer.clear()
        self._polled_at_s = _LONG_AGO_S
        failures = 0
        isolating = self._note is not None
        async with _Ears(self._bus, self._hear) as ears:
            while not stop.is_set():
                self._awake.clear()
                try:
                    if before is not None:
                        await self._work(before)
                        before = None
                    if isolating:
                        await self._isolate()
                        isolating = False
                    if self._poll_is_due() and not await self._work(claim.held):
                        _log.warning("bots_claim_lost", action="claiming again")
                        return
                    await self._turn()
                except TransientError as error:
                    await self._back_off(error, failures, stop)
                    failures += 1
                    continue
                failures = 0
                await ears.listen_to(self._topics())
                rest_s = self._polled_at_s + self._poll_s - time.monotonic()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._awake.wait(), max(0.0, rest_s))
                if self._dirty and not stop.is_set():
                    await asyncio.sleep(_GATHER_S)

    async def _isolate(self) -> None:
        """Set the bot aside that was in hand each of the last times this shard's process died."""
        found = None if self._note is None else self._note.culprit()
        if self._note is None or found is None:
            return
        bot_id, deaths = found
        _log.warning("process_died_with_bot", bot_id=bot_id, deaths=deaths)
        if deaths < MOST_DEATHS:
            return
        record = await self._work(partial(self._store.record, bot_id))
        if record is not None and record.state in ACTIVE:
            words = (
                f"set aside: its process died {deaths} times in a row while this bot was at work; "
                "the log of the process may say why; start it to try again"
            )
            await self._fail(bot_id, words)
            await self._store_steps()
        self._note.forgive()

    async def _turn(self) -> None:
        await self._store_steps()
        polling = self._poll_is_due()
        stopped = False
        if polling or self._asked:
            self._asked = False
            stopped = await self._work(self._emergency.refresh)
            await self._work(self._rules.refresh)
            await self._obey(await self._work(partial(self._store.wishes, self._shard)))
        series = set(self._dirty)
        if polling or stopped:
            series |= self._bots.series()
        if polling:
            self._polled_at_s = time.monotonic()
            await self._work(self._feeds.refresh)
        self._dirty -= series
        await self._advance(series)

    def _poll_is_due(self) -> bool:
        """Whether to ask the database what people want. Candles that have just closed go first, once."""
        since_s = time.monotonic() - self._polled_at_s
        return since_s >= self._poll_s and (not self._dirty or since_s >= 2 * self._poll_s)

    async def _back_off(self, error: TransientError, failures: int, stop: asyncio.Event) -> None:
        pause_s = _BACKOFF_S[min(failures, len(_BACKOFF_S) - 1)]
        _log.warning("bots_wait_for_database", error=str(error), retry_in_s=pause_s)
        await _sleep(stop, pause_s)

    # What people want

    async def _obey(self, wishes: Sequence[Wish]) -> None:
        self._bots.keep({wish.bot_id for wish in wishes})
        for wish in wishes:
            if self._note is not None:
                self._note.take(wish.bot_id)
            try:
                bot = await self._obeying(wish)
            except TransientError:
                raise
            except TradingError as error:
                await self._fail(wish.bot_id, str(error))
            except Exception as error:  # noqa: BLE001 one bot's bug must not stop the others
                _log.exception("bot_broke", bot=wish.name)
                await self._fail(wish.bot_id, internal_error(error))
            else:
                if bot is not None:
                    self._bots.add(bot)
                    self._writer.add(bot)
        if self._note is not None:
            self._note.rest()
        await self._store_steps()
        # Strategies and histories are here to stay: looking through them for garbage would hold up a close.
        gc.freeze()

    async def _obeying(self, wish: Wish) -> BotLife | None:
        """The bot after it went where a person wants it; None for one that stands still and may."""
        bot = self._bots.get(wish.bot_id)
        if bot is not None and bot.number != wish.step:
            _log.warning("bot_moved_elsewhere", bot=wish.name, step=wish.step, expected=bot.number)
            bot = None
        if bot is None and wish.state in ACTIVE:
            record = await self._record(wish)
            # A claim that was lost for a moment is no restart, unless another runner moved the bot meanwhile:
            # that one is gone too, and where it left the bot, `on_restart` says how to go on.
            again = wish.bot_id in self._met or self._writer.made(wish.bot_id, wish.step)
            bot = await self._work(
                partial(self._loader.restore, record)
                if again
                else partial(self._loader.restart, record, self._clock())
            )
            self._writer.refused.call_off(bot, at_us=self._clock())
        self._met.add(wish.bot_id)
        if (
            bot is not None
            and bot.state in ACTIVE
            and bot.version != wish.version
            and bot.is_between_candles
            and not bot.has_news
        ):
            record = await self._record(wish)
            bot = await self._work(partial(self._loader.reconfigure, bot, record, self._clock()))
        if bot is not None and bot.state not in ACTIVE:
            return bot  # frozen: what was wished before its process ended no longer counts
        if bot is None and wish.flatten:
            bot = await self._work(partial(self._loader.as_stored, await self._record(wish)))
            if not bot.has_position:
                bot.fulfil_stop()
        state = wish.state if bot is None else bot.state
        must_flatten = wish.flatten and bot is not None and bot.has_position
        # It may pass through a state on its way: asked to start, and at once to pause.
        while (target := next_state(state, wish.desired, must_flatten=must_flatten)) is not None:
            bot = await self._moved(wish, bot, target)
            state = bot.state
        return bot

    async def _moved(self, wish: Wish, bot: BotLife | None, target: BotState) -> BotLife:
        now = self._clock()
        if target is BotState.RUNNING and (bot is None or bot.state is not BotState.PAUSED):
            bot = await self._work(partial(self._loader.start, await self._record(wish), now))
        elif bot is None:
            bot = await self._work(partial(self._loader.as_stored, await self._record(wish)))
        if bot.state not in ACTIVE and target is BotState.STOPPING:
            bot.restart_clock(now)  # what happened while it stood still is not traded on
        health = "closes its position at the next open" if target is BotState.STOPPING else ""
        bot.move(target, at_us=now, why=f"asked to be {wish.desired}", health=health)
        if bot.state in ACTIVE and not bot.is_warm:
            await self._work(partial(self._loader.begin, bot, now))
        return bot

    async def _record(self, wish: Wish) -> BotRecord:
        record = await self._work(lambda: self._store.record(wish.bot_id))
        if record is None:
            raise TransientError(f"bot {wish.name} was deleted this moment")
        return record

    async def _fail(self, bot_id: int, health: str) -> None:
        self._bots.remove(bot_id)
        await self._writer.fail(bot_id, health)

    # Candles

    async def _advance(self, series: set[Series]) -> None:
        """Let the bots of these series take the candles that are stored and not taken yet.

        While one group of bots is being stored the next one decides.
        """
        due = {
            bot.bot_id: bot
            for one in series
            for bot in self._bots.reading(one)
            if bot.bot_id not in self._writer
        }
        wanted: dict[Series, int] = {}
        for bot in due.values():
            taken = bot.taken_until_us
            if taken is not None:
                # A bot of several markets is shown all of them, whichever had news.
                for one in bot.series:
                    wanted[one] = min(taken, wanted.get(one, taken))
        # Taken before the store is read: what closed before a forming candle opened is stored by then.
        forming = {
            one: candle
            for bot in due.values()
            for one in bot.series
            if (candle := self._forming.get(one)) is not None
        }
        fresh = await self._work(partial(self._loader.candles_since, wanted)) if wanted else {}
        for one, candles in fresh.items():
            if len(candles) >= MOST_FRESH:
                # Read from where the slowest bot is, and perhaps not to the end: more of it may be stored.
                forming.pop(one, None)
        turns = [
            _Turn(
                bot,
                {
                    market: fresh[market, timeframe]
                    for market, timeframe in bot.series
                    if (market, timeframe) in fresh
                },
                {
                    market: forming[market, timeframe]
                    for market, timeframe in bot.series
                    if (market, timeframe) in forming
                },
            )
            for bot in due.values()
        ]
        storing: asyncio.Task[None] | None = None
        try:
            for start in range(0, len(turns), _GROUP):
                await self._take_turns(turns[start : start + _GROUP])
                if storing is not None:
                    await storing
                storing = asyncio.create_task(self._store_steps())
        finally:
            if storing is not None:
                await storing
        await self._store_steps()

    async def _take_turns(self, turns: Sequence[_Turn]) -> None:
        away: TransientError | None = None
        for bot, result in await self._work(lambda: [(turn.bot, self._fed(turn)) for turn in turns]):
            if isinstance(result, TransientError):
                # Half a step in memory: back to the last stored one.
                self._bots.remove(bot.bot_id)
                away = result
            elif isinstance(result, Exception):
                _log.error("bot_broke", bot=bot.name, exc_info=result)
                words = str(result) if isinstance(result, TradingError) else internal_error(result)
                await self._fail(bot.bot_id, words)
            else:
                if result.step is not None:
                    self._writer.take(bot.name, result.step)
                if result.more:
                    self._dirty.update(bot.series)
                    self._awake.set()
        if away is not None:
            raise away

    def _fed(self, turn: _Turn) -> _Fed | Exception:
        """Give one bot its candles, at most a step's worth."""
        if self._note is not None:
            self._note.take(turn.bot.bot_id)
        try:
            self._rules.apply(turn.bot)
            if self._emergency.state.engaged:
                self._emergency.stop(turn.bot, turn.forming, at_us=self._clock())
            more = self._feed(turn)
            step = turn.bot.step(self._clock()) if turn.bot.has_news else None
            if self._note is not None and step is not None:
                self._note.worked(turn.bot.bot_id)
        except Exception as error:  # noqa: BLE001 one bot's bug must not stop the others
            return error
        finally:
            if self._note is not None:
                self._note.rest()
        return _Fed(step=step, more=more)

    def _feed(self, turn: _Turn) -> bool:
        bot = turn.bot
        if not bot.is_warm:
            self._loader.begin(bot, self._clock())
            return bot.is_warm
        return bot.feed(turn.fresh, turn.forming, self._loader.finer, self._gates)

    async def _store_steps(self) -> None:
        for bot_id in await self._writer.flush():
            self._bots.remove(bot_id)
        self._bots.drop_idle()

    # Listening

    def _topics(self) -> frozenset[str]:
        series = self._bots.series()
        return frozenset(
            {
                CONTROL_TOPIC,
                *(candles_topic(*one) for one in series),
                *(feeds_topic(market) for market, _ in series),
            }
        )

    def _hear(self, topic: str, payload: bytes) -> None:
        if topic == CONTROL_TOPIC:
            self._asked = True
            self._awake.set()
            return
        if topic.startswith(_FEEDS):
            self._feeds.hear([_feed_news.decode(payload).feed])
            return
        update = _candle_updates.decode(payload)
        candle = update.candle
        series = (Market(candle.exchange, candle.symbol), candle.timeframe)
        if update.covered and not update.closed:
            self._forming[series] = candle
            if not any(bot.waits_for_an_open for bot in self._bots.reading(series)):
                return
        elif not update.closed:
            return
        self._dirty.add(series)
        self._awake.set()

    async def _work(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._worker, work)

    async def _store_work(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._storing, work)


@dataclass(frozen=True, slots=True)
class _Turn:
    """A bot and what may be new to it."""

    bot: BotLife
    fresh: Mapping[Market, Ohlcv]
    forming: Mapping[Market, Candle]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fed:
    step: BotStep | None  # to be stored; None where nothing changed
    more: bool  # whether more candles are waiting


class _Ears:
    """Listens to topics that change as bots come and go."""

    def __init__(self, bus: BotBus | None, hear: Callable[[str, bytes], None]) -> None:
        self._bus = bus
        self._hear = hear
        self._topics: frozenset[str] = frozenset()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> _Ears:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._rest()

    async def listen_to(self, topics: frozenset[str]) -> None:
        """From now on to these. What is said during a change is missed; the poll makes up for it."""
        if self._bus is None or topics == self._topics:
            return
        await self._rest()
        self._topics = topics
        self._task = asyncio.create_task(self._listen(self._bus, sorted(topics)))

    async def _listen(self, bus: BotBus, topics: Sequence[str]) -> None:
        async for topic, payload in bus.subscribe(topics):
            try:
                self._hear(topic, payload)
            except msgspec.MsgspecError as error:
                _log.warning("message_unreadable", topic=topic, error=str(error))

    async def _rest(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None


_candle_updates = msgspec.json.Decoder(CandleUpdate)
_feed_news = msgspec.json.Decoder(FeedNews)
_FEEDS = ALL_FEEDS.rstrip("*")


async def _sleep(stop: asyncio.Event, seconds: float) -> None:
    """Sleep, but wake up to stop."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
