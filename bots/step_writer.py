"""Stores the steps of many bots in one transaction and tells of them afterwards, never before."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

import msgspec
import structlog

from bots.bot_life import BotLife
from bots.gates import PASSED
from bots.lifecycle import BotState
from bots.messages import BOTS_TOPIC, BotUpdate, BotUpdates, SignalsSaid, signals_topic
from bots.refused_steps import RefusedSteps
from bots.stores import BotBus, BotEvent, BotStep, BotStore, DecisionMade
from bots.views import SignalView
from data.errors import TransientError
from data.models import Market

T = TypeVar("T")
_log = structlog.get_logger(__name__)
_ACTIONS = ("long_entry", "long_exit", "short_entry", "short_exit")


class Worker(Protocol):
    """Runs blocking work in a thread."""

    def __call__(self, work: Callable[[], T], /) -> Awaitable[T]: ...


class StepWriter:
    """Steps on their way into the store. A bot has at most one; it waits there while the database is away."""

    def __init__(
        self, store: BotStore, *, work: Worker, clock: Callable[[], int], bus: BotBus | None
    ) -> None:
        self._store = store
        self._work = work
        self._clock = clock
        self._bus = bus
        self._waiting: dict[int, tuple[str, BotStep]] = {}
        self._made: dict[int, int] = {}  # the newest step of each bot that was ever handed in here
        self.refused = RefusedSteps()

    def __contains__(self, bot_id: int) -> bool:
        """Whether a step of that bot is not stored yet."""
        return bot_id in self._waiting

    def clear(self) -> None:
        """Forget what waits: another process may have the bots now."""
        self._waiting.clear()

    def made(self, bot_id: int, stored_step: int) -> bool:
        """Whether a bot's last stored step came from here, so that no other process moved it since.

        The newest step handed in need not be stored: then the one before it is.
        """
        newest = self._made.get(bot_id)
        return newest is not None and newest - 1 <= stored_step <= newest

    def add(self, bot: BotLife) -> None:
        """Take the bot's next step, if there is anything new."""
        if bot.has_news:
            self.take(bot.name, bot.step(self._clock()))

    async def fail(self, bot_id: int, health: str) -> None:
        """Mark one bot as failed, on top of its last stored step: what it began since is forgotten."""
        record = await self._work(lambda: self._store.record(bot_id))
        if record is None:
            self._waiting.pop(bot_id, None)
            return
        now = self._clock()
        _log.error("bot_failed", bot=record.name, why=health)
        step = BotStep(
            bot_id=bot_id,
            step=record.step + 1,
            at_us=now,
            state=BotState.FAILED,
            health=health,
            settle=(record.desired, BotState.FAILED),
            events=[BotEvent(at_us=now, who="runner", what="failed", why=health)],
        )
        self.take(record.name, step)

    def take(self, name: str, step: BotStep) -> None:
        """Take the next step of the bot called `name`."""
        self._waiting[step.bot_id] = (name, step)
        self._made[step.bot_id] = step.step

    async def flush(self) -> frozenset[int]:
        """Store and tell all that waits; the bots that must be loaded again, because their step did not fit.

        Raises TransientError while the database cannot answer; what waits then goes on waiting.
        """
        lost: set[int] = set()
        while self._waiting:
            steps = dict(self._waiting)
            applied, broken = await self._commit([step for _, step in steps.values()])
            told: list[tuple[str, BotStep]] = []
            for bot_id, (name, step) in steps.items():
                if bot_id in broken:
                    # On top of what is stored; it replaces the step that cannot be.
                    lost.add(bot_id)
                    await self.fail(bot_id, internal_error(broken[bot_id]))
                    continue
                if bot_id in applied or await self._was_stored(step):
                    told.append((name, step))
                else:
                    await self._note_why_not(name, step)
                    lost.add(bot_id)
                del self._waiting[bot_id]
            await self._tell(told)
        return frozenset(lost)

    async def _commit(self, steps: Sequence[BotStep]) -> tuple[frozenset[int], dict[int, Exception]]:
        """Which steps were stored, and which never can be, and why."""
        try:
            return await self._work(lambda: self._store.commit(steps)), {}
        except TransientError:
            raise
        except Exception as error:
            if len(steps) == 1:
                if steps[0].state is BotState.FAILED and steps[0].account is None:
                    raise  # not even that can be stored: nothing is wrong with the bot, but with us
                _log.exception("bot_step_refused", bot_id=steps[0].bot_id)
                return frozenset(), {steps[0].bot_id: error}
        # One of them spoils the transaction of all; apart, the others go through.
        applied: frozenset[int] = frozenset()
        broken: dict[int, Exception] = {}
        for step in steps:
            stored, refused = await self._commit([step])
            applied |= stored
            broken |= refused
        return applied, broken

    async def _was_stored(self, step: BotStep) -> bool:
        """Whether a step was refused because it is stored already: the answer to its commit got lost."""
        record = await self._work(lambda: self._store.record(step.bot_id))
        return record is not None and record.step == step.step

    async def _note_why_not(self, name: str, step: BotStep) -> None:
        """A step was not stored: what it enters is forbidden, or else another process moved the bot."""
        verdict = await self._work(lambda: self._store.verdict(step)) if step.grows else PASSED
        if verdict.passes:
            _log.warning("bot_moved_elsewhere", bot=name, step=step.step)
            return
        _log.warning("bot_entry_refused", bot=name, step=step.step, gate=verdict.gate, why=verdict.detail)
        self.refused.note(step, verdict)

    async def _tell(self, told: Sequence[tuple[str, BotStep]]) -> None:
        """Signals first: somebody may be waiting to act on them, the rest is for screens."""
        if self._bus is None or not told:
            return
        said: dict[Market, list[SignalView]] = {}
        for _, step in told:
            for signal in _signals_of(step):
                said.setdefault(signal.market, []).append(signal)
        for market, signals in said.items():
            await self._bus.publish(signals_topic(market), msgspec.json.encode(SignalsSaid(signals=signals)))
        updates = [
            BotUpdate(
                bot=name,
                state=step.state,
                health=step.health,
                summary=step.summary,
                last_candle_us=step.last_candle_us,
                fills=list(step.fills),
            )
            for name, step in told
        ]
        news = BotUpdates(bots=updates, sent_at_us=self._clock())
        await self._bus.publish(BOTS_TOPIC, msgspec.json.encode(news))


def internal_error(error: Exception) -> str:
    """What a person is told of a bug; the log has the rest."""
    return f"an error inside Candlewick, please report it: {type(error).__name__}: {error}"


def _signals_of(step: BotStep) -> list[SignalView]:
    market, timeframe = step.market, step.timeframe
    if market is None or timeframe is None:
        return []
    return [
        SignalView(
            strategy=made.decision.strategy,
            version=made.decision.version,
            market=Market(market.exchange, symbol),
            timeframe=timeframe,
            opened_at_us=made.decision.opened_at_us,
            action=action,
            close=close,
            record=made.decision.record,
        )
        for made in step.decisions
        for symbol, action, close in _said_of(made, market.symbol)
    ]


def _said_of(made: DecisionMade, symbol: str) -> list[tuple[str, str, float]]:
    """(symbol, action, close) of each signal of a decision."""
    if made.parts:
        return [(part.symbol, part.action, part.close) for part in made.parts]
    decision = made.decision
    return [(symbol, action, decision.close) for action in _ACTIONS if getattr(decision, action)]
