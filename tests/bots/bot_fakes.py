"""A store, candles, a bus and a scripted strategy in memory, for tests of the bots."""

from __future__ import annotations

import asyncio
import fnmatch
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np

from bots.config import BotConfig, as_document, parse_bot
from bots.gates import PASSED, GateVerdict
from bots.journal import paid_at
from bots.lifecycle import TRANSITIONS, BotState
from bots.shards import WHOLE, Shard, slot_of
from bots.stores import BotEvent, BotRecord, BotStep, Checkpoint, RunnerClaim, Wish
from bots.views import (
    AuditView,
    BotView,
    DecisionView,
    EquityCurve,
    FillView,
    OrderView,
    SignalView,
    TradeView,
    VersionView,
)
from data.errors import TransientError
from data.models import Candle, Instrument, Market, Ohlcv
from data.timeframes import Timeframe
from strategies.base import Decision, Overlay, Protection, Signals, Sizing, StrategyStream

BTC = Market("binance", "BTC-USDT")
MINUTE = 60_000_000
T0 = 1_760_000_040_000_000  # on the minute


def bot_config(name: str = "trend", **changes: Any) -> BotConfig:
    document = {
        "name": name,
        "venue": "binance",
        "symbol": "BTC-USDT",
        "strategy": "scripted",
        "capital": 10_000,
        **changes,
    }
    return parse_bot(document, where="test")


def minutes(
    closes: Sequence[float], *, start_us: int = T0, spread: float = 0.0, timeframe: Timeframe = Timeframe.M1
) -> Ohlcv:
    """Candles one after the other; each opens at the close before it, `spread` is added above and below."""
    close = np.array(closes, dtype=np.float64)
    opened = np.concatenate([close[:1], close[:-1]])
    return Ohlcv(
        timeframe=timeframe,
        opened_at_us=start_us + timeframe.us * np.arange(len(close), dtype=np.int64),
        open=opened,
        high=np.maximum(opened, close) + spread,
        low=np.minimum(opened, close) - spread,
        close=close,
        volume=np.ones(len(close)),
    )


class ScriptedStrategy:
    """Says what a script tells it for a candle; its record shows how many candles its stream has seen."""

    def __init__(
        self,
        script: Mapping[int, str],
        *,
        protection: Protection | None = None,
        version: str = "v1",
        broken_at_us: int | None = None,
        timeframe: Timeframe = Timeframe.M1,
    ) -> None:
        self.script = dict(script)
        self.name = "scripted"
        self.version = version
        self.timeframe = timeframe
        self.parameters: Mapping[str, float] = {}
        self.protection = protection or Protection()
        self.sizing = Sizing(value=Decimal(1))
        self.warmup = 3
        self.broken_at_us = broken_at_us

    def signals(self, ohlcv: Ohlcv) -> Signals:
        said = [self.script.get(int(opened_at), "") for opened_at in ohlcv.opened_at_us]
        return Signals(
            **{action: np.array([action in words for words in said], dtype=np.bool_) for action in ACTIONS}
        )

    def stream(self) -> StrategyStream:
        return _ScriptedStream(self)

    def overlays(self, ohlcv: Ohlcv) -> Sequence[Overlay]:
        return ()


ACTIONS = ("long_entry", "long_exit", "short_entry", "short_exit")


class _ScriptedStream:
    def __init__(self, strategy: ScriptedStrategy) -> None:
        self._strategy = strategy
        self._seen: list[int] = []

    def update(self, candle: Candle) -> Decision:
        if candle.opened_at_us == self._strategy.broken_at_us:
            raise ZeroDivisionError("a bug in a strategy")
        assert not self._seen or candle.opened_at_us > self._seen[-1], "candles must ascend"
        self._seen.append(candle.opened_at_us)
        words = self._strategy.script.get(candle.opened_at_us, "")
        return Decision(
            strategy=self._strategy.name,
            version=self._strategy.version,
            opened_at_us=candle.opened_at_us,
            close=candle.close,
            record={"seen": len(self._seen), "first": self._seen[0]},
            **{action: action in words for action in ACTIONS},
        )


class MemoryCandles:
    """Satisfies CandleReader. `away` makes every read fail as a database that cannot answer."""

    def __init__(self, *series: tuple[Market, Ohlcv]) -> None:
        self._series = {(market, ohlcv.timeframe): ohlcv for market, ohlcv in series}
        self._instrument: Instrument | None = None
        self.away = False

    def put(self, market: Market, ohlcv: Ohlcv) -> None:
        self._series[market, ohlcv.timeframe] = ohlcv

    def learn(self, instrument: Instrument) -> None:
        self._instrument = instrument

    def candles(
        self,
        market: Market,
        timeframe: Timeframe,
        *,
        start_us: int | None = None,
        end_us: int | None = None,
        limit: int | None = None,
    ) -> Ohlcv:
        if self.away:
            raise TransientError("the database cannot answer now")
        ohlcv = self._series.get((market, timeframe)) or minutes([], timeframe=timeframe)
        first = 0 if start_us is None else int(ohlcv.opened_at_us.searchsorted(start_us))
        last = len(ohlcv) if end_us is None else int(ohlcv.opened_at_us.searchsorted(end_us))
        return ohlcv.rows(first if limit is None else max(first, last - limit), last)

    def instrument(self, market: Market) -> Instrument | None:
        return self._instrument

    def markets(self) -> list[Market]:
        return sorted({market for market, _ in self._series})


class _Row:
    def __init__(self, record: BotRecord, asked_at_us: int) -> None:
        self.record = record
        self.asked_at_us = asked_at_us
        self.steps: list[BotStep] = []
        self.versions: list[VersionView] = []


class MemoryBotStore:
    """Satisfies BotStore; keeps every applied step for tests to look at."""

    def __init__(self) -> None:
        self._rows: dict[str, _Row] = {}
        self._claimed = False
        self.claims = 0
        self.claim_breaks = False  # the next look finds the claim lost
        self.elsewhere = False  # another process has the claim
        self.events: list[AuditView] = []
        self.away = 0  # so many calls of `commit` fail
        self.lose_answers = 0  # so many commits are stored, and then fail
        self.refuse: set[str] = set()  # bots whose steps with fills cannot be stored: as a broken constraint
        self.guard: Callable[[BotStep], GateVerdict] = lambda step: PASSED  # what steps that grow are asked
        self.guarded: list[BotStep] = []  # steps that it has refused

    # For tests

    def steps(self, name: str) -> list[BotStep]:
        return self._rows[name].steps

    def add(self, config: BotConfig, *, desired: BotState = BotState.RUNNING, source: str = "") -> None:
        document = as_document(config)
        event = BotEvent(at_us=T0, who="test", what="created")
        assert self.create(document, name=config.name, source=source, desired=desired, health="", event=event)

    # BotStore

    def claim(self, shard: Shard = WHOLE) -> RunnerClaim | None:
        if self._claimed or self.elsewhere:
            return None
        self._claimed = True
        self.claims += 1
        return _Claim(self)

    def wishes(self, shard: Shard = WHOLE) -> list[Wish]:
        rows = self._rows.values()
        return [_wish_of(row) for row in rows if slot_of(row.record.bot_id) in shard.slots]

    def wish(self, name: str) -> Wish | None:
        row = self._rows.get(name)
        return None if row is None else _wish_of(row)

    def record(self, bot_id: int) -> BotRecord | None:
        return next((row.record for row in self._rows.values() if row.record.bot_id == bot_id), None)

    def commit(self, steps: Sequence[BotStep]) -> frozenset[int]:
        if self.away:
            self.away -= 1
            raise TransientError("the database cannot answer now")
        rows = {row.record.bot_id: row for row in self._rows.values()}
        if any(rows[step.bot_id].record.name in self.refuse and step.fills for step in steps):
            raise RuntimeError("a constraint is broken")
        applied = set()
        for step in steps:
            row = rows[step.bot_id]
            if not self.verdict(step).passes:
                self.guarded.append(step)
            elif row.record.step == step.step - 1:
                self._apply(row, step)
                applied.add(step.bot_id)
        if self.lose_answers:
            self.lose_answers -= 1
            raise TransientError("the connection broke")
        return frozenset(applied)

    def verdict(self, step: BotStep) -> GateVerdict:
        return self.guard(step) if step.grows else PASSED

    def _apply(self, row: _Row, step: BotStep) -> None:
        record = row.record
        settled = step.settle is not None and step.settle[0] is record.desired
        known = {
            name: getattr(step, name)
            for name in (
                "config",
                "account",
                "last_candle_us",
                "opened_candle_us",
                "started_at_us",
                "strategy_version",
            )
            if getattr(step, name) is not None
        }
        changed = {
            **known,
            "step": step.step,
            "state": step.state,
            "health": step.health,
            "desired": step.settle[1] if settled and step.settle else record.desired,
            "flatten": record.flatten and not settled,
        }
        if step.state is not record.state:
            assert step.state in TRANSITIONS[record.state] or "stopping" in [
                event.what for event in step.events
            ]
        if step.from_file:
            number = record.version + 1
            changed |= {"version": number, "applied": number, "wanted": step.config}
            row.versions.append(
                VersionView(
                    bot=record.name,
                    version=number,
                    at_us=step.at_us,
                    who="runner",
                    why="its file had changed",
                    from_file=True,
                    reverts_to=None,
                    applied_at_us=step.at_us,
                    config=step.config or {},
                )
            )
        elif step.applied is not None:
            changed["applied"] = step.applied
            row.versions = [
                msgspec.structs.replace(one, applied_at_us=one.applied_at_us or step.at_us)
                if one.version == step.applied
                else one
                for one in row.versions
            ]
        if step.strategy_version is not None:
            kept = step.definition or self.definition(step.strategy_version)
            changed["definition"] = kept
        row.record = msgspec.structs.replace(record, **changed)
        row.steps.append(step)
        self._note(record.name, step.events)

    def _note(self, name: str, events: Sequence[BotEvent]) -> None:
        for event in events:
            self.events.insert(
                0, AuditView(bot=name, at_us=event.at_us, who=event.who, what=event.what, why=event.why)
            )

    def create(
        self,
        config: dict[str, Any],
        *,
        name: str,
        source: str,
        desired: BotState,
        health: str,
        event: BotEvent,
        reads_file: bool = True,
    ) -> bool:
        if name in self._rows:
            return False
        record = BotRecord(
            bot_id=len(self.events) + 1,
            name=name,
            config=config,
            source=source,
            state=BotState.FAILED if health else BotState.CREATED,
            desired=desired,
            flatten=False,
            step=0,
            account=None,
            strategy_version="",
            last_candle_us=None,
            opened_candle_us=None,
            started_at_us=None,
            health=health,
            wanted=config,
            reads_file=bool(source) and reads_file,
        )
        self._rows[name] = row = _Row(record, event.at_us)
        row.versions.append(_version(record, event))
        self._note(name, [event])
        return True

    def ask(self, seen: Wish, desired: BotState, *, flatten: bool, event: BotEvent) -> bool:
        row = self._rows[seen.name]
        if (row.record.state, row.record.desired) != (seen.state, seen.desired):
            return False
        row.record = msgspec.structs.replace(row.record, desired=desired, flatten=flatten)
        row.asked_at_us = event.at_us
        self._note(seen.name, [event])
        return True

    def edit(
        self, seen: Wish, config: dict[str, Any], *, reverts_to: int | None = None, event: BotEvent
    ) -> bool:
        row = self._rows[seen.name]
        if row.record.version != seen.version:
            return False
        row.record = msgspec.structs.replace(
            row.record, version=seen.version + 1, wanted=config, reads_file=False
        )
        row.versions.append(_version(row.record, event, reverts_to))
        self._note(seen.name, [event])
        return True

    def versions(self, name: str) -> list[VersionView]:
        return self._rows[name].versions[::-1]

    def checkpoints(self, name: str, *, start_us: int, end_us: int) -> list[Checkpoint]:
        return [
            kept
            for step in self.steps(name)
            for kept in step.checkpoints
            if start_us <= kept.opened_at_us < end_us
        ]

    def decisions_between(self, name: str, *, start_us: int, end_us: int) -> list[DecisionView]:
        made = (one for step in self.steps(name) for one in step.decisions)
        return [
            DecisionView(
                bot=name,
                strategy_version=one.decision.version,
                opened_at_us=one.decision.opened_at_us,
                close=one.decision.close,
                long_entry=one.decision.long_entry,
                long_exit=one.decision.long_exit,
                short_entry=one.decision.short_entry,
                short_exit=one.decision.short_exit,
                outcome=one.outcome,
                record=one.decision.record,
                gate=one.gate,
                orders=one.orders,
                seen=one.seen,
            )
            for one in made
            if start_us <= one.decision.opened_at_us < end_us
        ]

    def fills_between(self, name: str, *, start_us: int, end_us: int) -> list[FillView]:
        config = parse_bot(self._rows[name].record.config, where=name)
        return [
            FillView(
                bot=name,
                market=Market(config.venue, fill.symbol or config.symbol),
                **{key: value for key, value in msgspec.structs.asdict(fill).items() if key != "symbol"},
            )
            for step in self.steps(name)
            for fill in step.fills
            if start_us <= fill.filled_at_us < end_us
        ]

    def equity_between(self, name: str, *, start_us: int, end_us: int) -> dict[int, Decimal]:
        points = (point for step in self.steps(name) for point in step.equity)
        return {point.at_us: point.equity for point in points if start_us <= point.at_us < end_us}

    def funding_between(self, name: str, *, start_us: int, end_us: int) -> dict[int, Decimal]:
        paid = paid_at(entry for step in self.steps(name) for entry in step.entries)
        return {at_us: amount for at_us, amount in paid.items() if start_us <= at_us < end_us}

    def definition(self, strategy_version: str) -> str | None:
        return next(
            (
                step.definition
                for row in self._rows.values()
                for step in row.steps
                if step.strategy_version == strategy_version and step.definition is not None
            ),
            None,
        )

    def delete(self, seen: Wish, *, event: BotEvent) -> bool:
        if self.wish(seen.name) != seen:
            return False
        del self._rows[seen.name]
        self._note(seen.name, [event])
        return True

    def views(self) -> list[BotView]:
        return [view for name in sorted(self._rows) if (view := self.view(name))]

    def view(self, name: str) -> BotView | None:
        row = self._rows.get(name)
        if row is None:
            return None
        record = row.record
        capital = Decimal(record.config.get("capital", 0))
        return BotView(
            name=name,
            strategy=record.config.get("strategy", ""),
            strategy_version=record.strategy_version,
            market=BTC,
            timeframe=Timeframe.M1,
            mode="paper",
            state=record.state,
            desired_state=record.desired,
            capital=capital,
            equity=capital,
            cash=capital,
            position=None,
            realised_pnl=Decimal(0),
            unrealised_pnl=Decimal(0),
            fees_paid=Decimal(0),
            trades=0,
            wins=0,
            last_candle_us=record.last_candle_us,
            last_price=None,
            last_signal="",
            last_signal_us=None,
            health=record.health,
            created_at_us=T0,
            started_at_us=record.started_at_us,
            updated_at_us=T0,
        )

    def audit(self, name: str | None, *, limit: int) -> list[AuditView]:
        return [event for event in self.events if name in (None, event.bot)][:limit]

    def fills(self, name: str | None, *, limit: int) -> list[FillView]:
        raise NotImplementedError

    def orders(self, name: str | None, *, limit: int) -> list[OrderView]:
        raise NotImplementedError

    def orders_numbered(self, name: str, sequences: Sequence[int]) -> list[OrderView]:
        raise NotImplementedError

    def trades(self, name: str | None, *, limit: int) -> list[TradeView]:
        raise NotImplementedError

    def equity(self, name: str, *, start_us: int | None, end_us: int | None, max_points: int) -> EquityCurve:
        raise NotImplementedError

    def decisions(self, name: str, *, limit: int, saying_something: bool) -> list[DecisionView]:
        raise NotImplementedError

    def decision(self, name: str, opened_at_us: int) -> DecisionView | None:
        raise NotImplementedError

    def signals(
        self, market: Market, timeframe: Timeframe, *, start_us: int | None, end_us: int | None, limit: int
    ) -> list[SignalView]:
        raise NotImplementedError


class _Claim:
    def __init__(self, store: MemoryBotStore) -> None:
        self._store = store

    def held(self) -> bool:
        held = not self._store.claim_breaks
        self._store.claim_breaks = False
        return held

    def release(self) -> None:
        self._store._claimed = False


class MemoryBus:
    """Satisfies BotBus."""

    def __init__(self) -> None:
        self.published: list[tuple[str, bytes]] = []
        self._queues: list[tuple[Sequence[str], asyncio.Queue[tuple[str, bytes]]]] = []

    async def publish(self, topic: str, payload: bytes) -> None:
        self.published.append((topic, payload))
        for patterns, queue in self._queues:
            if any(fnmatch.fnmatchcase(topic, pattern) for pattern in patterns):
                queue.put_nowait((topic, payload))

    async def subscribe(self, patterns: Sequence[str]) -> AsyncIterator[tuple[str, bytes]]:
        queue: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
        listener = (patterns, queue)
        self._queues.append(listener)
        try:
            while True:
                yield await queue.get()
        finally:
            self._queues.remove(listener)

    def hears(self, topic: str) -> bool:
        return any(topic in patterns for patterns, _ in self._queues)


def _wish_of(row: _Row) -> Wish:
    record = row.record
    return Wish(
        bot_id=record.bot_id,
        name=record.name,
        state=record.state,
        desired=record.desired,
        flatten=record.flatten,
        step=record.step,
        asked_at_us=row.asked_at_us,
        version=record.version,
    )


def _version(record: BotRecord, event: BotEvent, reverts_to: int | None = None) -> VersionView:
    return VersionView(
        bot=record.name,
        version=record.version,
        at_us=event.at_us,
        who=event.who,
        why=event.why,
        from_file=record.reads_file,
        reverts_to=reverts_to,
        applied_at_us=None,
        config=record.wanted or record.config,
    )
