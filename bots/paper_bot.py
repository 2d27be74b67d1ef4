"""One paper bot without its surroundings: candles and wishes in, steps to store out. No clock, no I/O.

The same candles give the same orders, fills and equity whether they come one by one as they close, in a heap
after an outage, or with a `kill -9` between any two steps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import msgspec

from bots.accounts import SubLedger
from bots.config import BotConfig, as_document
from bots.definitions import definition_of
from bots.entry_gates import EntryGate, EntryWish, ask
from bots.gates import PASSED, Gate, GateVerdict
from bots.journal import JournalEntry
from bots.ledger import EXACT
from bots.lifecycle import ACTIVE, BotState, checked
from bots.orders import (
    GROWING,
    ClosedTrade,
    Fill,
    Order,
    OrderReason,
    OrderStatus,
    PositionSide,
    TradingRules,
)
from bots.paper_account import AccountState, AccountStep, PaperAccount
from bots.risk.gate import Proposal, pass_gate
from bots.risk.state import RiskState, begin, observe
from bots.stores import (
    AccountSummary,
    BotEvent,
    BotRecord,
    BotStep,
    Checkpoint,
    DecisionMade,
    LimitBroken,
)
from bots.views import EquityPoint, PositionView
from data.models import Candle, Instrument, Market, Ohlcv
from data.timeframes import Timeframe, floor_to
from strategies.base import Decision, Strategy

# Recursive averages have forgotten where they began, to the last bit of a double, within this many warm-ups.
_WARMUPS = 20
_LEAST_HISTORY = 200
MOST_HISTORY = 50_000  # candles replayed into a strategy; about a second
_DAY_US = 86_400_000_000

# The wish to stop is fulfilled, and with it the wish to close the position.
_STAY_STOPPED = (BotState.STOPPED, BotState.STOPPED)

FinerCandles = Callable[[Candle], Ohlcv | None]


class SavedAccount(msgspec.Struct, frozen=True, kw_only=True):
    """What a bot keeps beside its row's columns: the account, and where its strategy's history begins."""

    rules: TradingRules  # as they were at the last start
    state: AccountState
    trades: int
    wins: int
    profit: Decimal  # of closed trades, net of fees, in quote currency
    warm_from_us: int | None = None  # open of the first candle the strategy saw
    trade_from_us: int | None = None  # candles that open before this only warm up
    checkpoint_us: int | None = None  # open of the candle before which the newest checkpoint was taken
    risk: RiskState | None = None  # what limits remember; None in states of old
    promised: Decimal = Decimal(0)  # notional of the newest entry or add-on that was ordered


@dataclass(slots=True)
class _News:
    """What has happened since the last step."""

    changed: bool = False
    settle: tuple[BotState, BotState] | None = None
    opened_candle_us: int | None = None
    orders: dict[int, Order] = field(default_factory=dict)  # by sequence: only the newest word counts
    fills: list[Fill] = field(default_factory=list)
    closed: list[ClosedTrade] = field(default_factory=list)
    equity: list[EquityPoint] = field(default_factory=list)
    decisions: list[DecisionMade] = field(default_factory=list)
    events: list[BotEvent] = field(default_factory=list)
    checkpoints: list[Checkpoint] = field(default_factory=list)
    entries: list[JournalEntry] = field(default_factory=list)
    violations: list[LimitBroken] = field(default_factory=list)


def rules_of(instrument: Instrument | None) -> TradingRules:
    """What orders on that instrument obey; nothing is rounded where it is unknown."""
    if instrument is None:
        return TradingRules()
    return TradingRules(
        tick_size=instrument.tick_size,
        lot_size=instrument.lot_size,
        min_quantity=instrument.min_quantity,
        min_notional=instrument.min_notional,
    )


def history_wanted(strategy: Strategy) -> int:
    """How many candles to replay before a bot's first decision."""
    return min(MOST_HISTORY, strategy.warmup * _WARMUPS + _LEAST_HISTORY)


def first_traded(newest_us: int, timeframe: Timeframe, started_us: int) -> int:
    """The earliest open of a candle that a bot started at `started_us` may trade on.

    `newest_us` is the open of the newest stored candle. Where stored candles keep up with our clock, that is
    the first that closes after the start; those before it may still be on their way into the store. A store
    that lags days behind holds another time (a recording, replayed): there, the candle after the newest.
    """
    newest_close = newest_us + timeframe.us
    if abs(started_us - newest_close) <= max(_DAY_US, 2 * timeframe.us):
        return floor_to(started_us, timeframe)
    return newest_close


class PaperBot:
    """A bot between two commits. Every method may add to the step that `step` then hands out."""

    saved_type: type[SavedAccount] = SavedAccount

    def __init__(self, record: BotRecord, config: BotConfig, strategy: Strategy) -> None:
        """Go on from `record`, or begin. Raises InvalidInput for terms that make no sense to the account."""
        self.bot_id = record.bot_id
        self.name = record.name
        self.config = config
        self.strategy = strategy
        self.state = record.state
        self.health = record.health
        self.number = record.step
        self.last_candle_us = record.last_candle_us
        self.started_us = record.started_at_us
        saved = None if record.account is None else msgspec.json.decode(record.account, type=self.saved_type)
        self._rules = TradingRules() if saved is None else saved.rules
        self._account = self._new_account(None if saved is None else saved.state)
        # In force from the next candle on; whoever runs the bot sets them.
        self.limits = config.limits.own
        self.limits_problem = ""  # why none were found: nothing is entered then
        self.together: tuple[str, ...] = ()  # symbols that move with its own
        self.ruled_by: object = None  # what these came from
        self.risk = None if saved is None else saved.risk
        self._promised = Decimal(0) if saved is None else saved.promised
        self._trades = 0 if saved is None else saved.trades
        self._wins = 0 if saved is None else saved.wins
        self._profit = Decimal(0) if saved is None else saved.profit
        self.warm_from_us = None if saved is None else saved.warm_from_us
        self.trade_from_us = None if saved is None else saved.trade_from_us
        self._stream = strategy.stream()
        self._last_price: float | None = None
        self._seen: tuple[float, float, float, float] | None = None
        self._entries_after_us: int | None = None
        self._flatten_at_open = False
        # None: the next open takes one, because something else than candles has changed the account.
        is_as_before = saved is not None and record.strategy_version == strategy.version
        self._checkpoint_us = saved.checkpoint_us if saved is not None and is_as_before else None
        self.version = record.applied  # of its settings; one that was refused counts as seen
        self._applied: int | None = None
        self._from_file = False
        self._is_described = False  # whether a step was handed out that holds the config
        self._news = _News()

    @property
    def market(self) -> Market:
        return self.config.market

    @property
    def timeframe(self) -> Timeframe:
        return self.strategy.timeframe

    @property
    def has_position(self) -> bool:
        return self._account.position_side is not None

    @property
    def waits_for_an_open(self) -> bool:
        """Whether something happens at the next candle's first trade, before that candle closes."""
        return self.state in ACTIVE and bool(self._account.pending or self._must_flatten)

    @property
    def taken_until_us(self) -> int | None:
        """Candles that open later are news to the bot; None while it has not begun."""
        if self.last_candle_us is None:
            return None if self.trade_from_us is None else self.trade_from_us - 1
        return self.last_candle_us

    @property
    def is_warm(self) -> bool:
        return self.warm_from_us is not None

    @property
    def has_news(self) -> bool:
        """Whether there is anything to store."""
        return self._news.changed

    # Beginning

    def begin(self, history: Ohlcv, rules: TradingRules, at_us: int) -> None:
        """Start afresh on `history`, the newest stored candles: what closed before the start only warms up.

        `rules` hold from now on. `at_us` is the start, where the bot does not know of one.
        """
        self._rules = rules
        self._account = self._new_account(self._account.state)
        self._checkpoint_us = None
        self._stream = self.strategy.stream()
        started_us = at_us if self.started_us is None else self.started_us
        self.trade_from_us = first_traded(int(history.opened_at_us[-1]), self.timeframe, started_us)
        if self.last_candle_us is not None:
            # A candle that was traded on once is never traded on again.
            self.trade_from_us = max(self.trade_from_us, self.last_candle_us + self.timeframe.us)
        known = int(history.opened_at_us.searchsorted(self.trade_from_us))
        seen = history.rows(max(0, known - history_wanted(self.strategy)), known)
        self.warm_from_us = int(seen.opened_at_us[0]) if len(seen) else self.trade_from_us
        self.replay(seen)
        if len(seen):
            newest = int(seen.opened_at_us[-1])
            self.last_candle_us = newest if self.last_candle_us is None else max(self.last_candle_us, newest)
        self._news.changed = True

    def replay(self, history: Ohlcv) -> None:
        """Show the strategy candles again that it has decided on before; nothing is traded."""
        for candle in candles_of(history, self.market):
            self._stream.update(candle)
            self._last_price = candle.close

    def restart_clock(self, at_us: int) -> None:
        """Start anew at `at_us`, with the account as it is: what was missed until then is not traded."""
        self.started_us = at_us
        self.warm_from_us = self.trade_from_us = None
        self._abandon_open_candle()
        self._news.changed = True

    def hold_entries_until(self, opened_at_us: int) -> None:
        """After an outage: no new entries on candles up to that one, and then close the position."""
        self._entries_after_us = opened_at_us
        taken = self.taken_until_us
        if taken is not None and taken >= opened_at_us:
            self._after_outage()

    # Settings

    @property
    def is_between_candles(self) -> bool:
        """Whether no candle's open was traded on whose close is still to come."""
        return self._account.state.opened_at_us is None

    def settings_applied(self, version: int, *, at_us: int | None = None) -> None:
        """From now on by this version of its settings; with `at_us` while it runs, between two candles.

        An entry that waits for the next open was decided by the old settings: it is called off. The position
        stays, under the new strategy's levels.
        """
        self.version, self._applied = version, version
        self._checkpoint_us = None
        self._news.changed = True
        if at_us is not None:
            self.note("settings applied", at_us=at_us, why=f"version {version}")
            self._cancel("the bot was edited", exits=False)

    def settings_from_file(self, version: int) -> None:
        """Its file was read, and differs from the settings that were in force."""
        self.version, self._from_file = version, True
        self._news.changed = True

    def settings_refused(self, version: int, *, at_us: int, why: str) -> None:
        """A version of its settings cannot be used: it goes on with those it has."""
        self.version = version
        self.note("settings refused", at_us=at_us, why=why)
        self.report(f"goes on with its old settings: {why}")

    def rewarm(self, history: Ohlcv) -> None:
        """Show a new strategy the candles up to the last one taken; trading goes on behind it."""
        self.warm_from_us = int(history.opened_at_us[0]) if len(history) else self.last_candle_us
        self.replay(history)
        self._news.changed = True

    # Trading

    def take(self, candle: Candle, finer: FinerCandles, gates: Sequence[EntryGate] = ()) -> None:
        """The next closed candle. `finer` is asked where stop and target both lie inside it.

        `gates` are asked before an entry is ordered; see `bots.entry_gates`.
        """
        self._news.changed = True
        if self.trade_from_us is None or candle.opened_at_us < self.trade_from_us:
            self._stream.update(candle)
            self._last_price, self.last_candle_us = candle.close, candle.opened_at_us
            return
        self.open(candle.opened_at_us, candle.open)
        if self.state not in ACTIVE:
            return  # its position was closed at this open, and with that it has stopped
        self._book(self._account.close_candle(candle, finer(candle) if self._is_ambiguous(candle) else None))
        point = self._point(candle.closes_at_us, candle.close)
        self._news.equity.append(point)
        self.risk = observe(self._risk_state, candle.closes_at_us, point.equity, self.limits)
        before_us = self.last_candle_us
        self._last_price, self.last_candle_us = candle.close, candle.opened_at_us
        decision = self._stream.update(candle)
        self._seen = (candle.open, candle.high, candle.low, candle.volume)
        if self.state is BotState.STOPPING:
            self._settle_stop(candle.closes_at_us)
        else:
            self._decide(decision, None if before_us is None else before_us + self.timeframe.us, gates)
        if self._entries_after_us is not None and candle.opened_at_us >= self._entries_after_us:
            self._after_outage()

    def open(self, opened_at_us: int, price: float) -> None:
        """The first trade of a candle: orders that waited for it are filled. Harmless to repeat."""
        opened = self._account.state.opened_at_us
        if opened == opened_at_us:
            return
        self._news.changed = True
        if opened is not None:
            # The candle that was begun live was never stored: its interval had a hole. What it filled stays.
            self._abandon_open_candle()
        self._news.opened_candle_us = opened_at_us
        if self._must_flatten:
            self._book(self._account.flatten(opened_at_us, price))
            self._flatten_at_open = False
            self._checkpoint_us = None
        self._take_checkpoint(opened_at_us)
        self._book(self._account.open_candle(opened_at_us, price))
        if self.state is BotState.STOPPING and not self.has_position:
            self._news.equity.append(self._point(opened_at_us, price))
            self._settle_stop(opened_at_us)

    def _take_checkpoint(self, opened_at_us: int) -> None:
        """Keep how the bot stood before this candle: each UTC day, and after each change from outside."""
        taken = self._checkpoint_us
        if taken is not None and taken // _DAY_US == opened_at_us // _DAY_US:
            return
        self._checkpoint_us = opened_at_us
        self._news.checkpoints.append(
            Checkpoint(
                opened_at_us=opened_at_us,
                config=as_document(self.config),
                strategy_version=self.strategy.version,
                account=msgspec.json.encode(self._saved()),
            )
        )

    # A person's wishes

    def halt(self, why: str) -> None:
        """Call off what would open or enlarge a position at the next open; exits stay."""
        if any(order.reason in GROWING for order in self._account.pending):
            self._cancel(why, exits=False)
            self._news.changed = True

    def flatten_at_open(self) -> None:
        """Close the position at the next open."""
        self._flatten_at_open = self.has_position

    def flatten_now(
        self, opened_at_us: int, open_price: float, price: float, *, why: str, at_us: int
    ) -> None:
        """Close the position at once at `price`, inside the candle that opened at `opened_at_us`."""
        if self.last_candle_us is not None and opened_at_us <= self.last_candle_us:
            return
        self.open(opened_at_us, open_price)
        if not self.has_position:
            return
        self._book(self._account.flatten(opened_at_us, price))
        self._checkpoint_us = None
        self._news.equity.append(self._point(opened_at_us, price))
        self.note("flattened", at_us=at_us, why=why)

    def move(
        self,
        target: BotState,
        *,
        at_us: int,
        why: str,
        health: str = "",
        settle: tuple[BotState, BotState] | None = None,
    ) -> None:
        """Go to another state. Raises IllegalTransition where the table does not lead there."""
        self.state = checked(self.state, target)
        self.health = health
        if target is BotState.STOPPED:
            settle = settle or _STAY_STOPPED
        self._news.settle = settle or self._news.settle
        self._news.changed = True
        self._news.events.append(BotEvent(at_us=at_us, who="runner", what=str(target), why=why))
        if target is not BotState.RUNNING:
            # A bot that stands still must not trade on an old decision when it is started again.
            self._cancel(f"the bot was {target}", exits=target not in ACTIVE)
        if target is BotState.STOPPING and not self.has_position:
            self._settle_stop(at_us)

    def fulfil_stop(self) -> None:
        """The bot stands still and has no position: nothing is left to do of a wish to stop."""
        self._news.settle = _STAY_STOPPED
        self._news.changed = True

    def note(self, what: str, *, at_us: int, why: str) -> None:
        """Write something into the audit."""
        self._news.events.append(BotEvent(at_us=at_us, who="runner", what=what, why=why))
        self._news.changed = True

    def report(self, health: str) -> None:
        """Say how the bot is, if that is news."""
        if health != self.health:
            self.health = health
            self._news.changed = True

    # Storing

    def step(self, at_us: int) -> BotStep:
        """Everything since the last step, to be stored as one."""
        self.number += 1
        step = BotStep(
            bot_id=self.bot_id,
            step=self.number,
            at_us=at_us,
            state=self.state,
            health=self.health,
            settle=self._news.settle,
            config=None if self._is_described else as_document(self.config),
            applied=self._applied,
            from_file=self._from_file,
            strategy=self.strategy.name,
            strategy_version=self.strategy.version,
            market=self.market,
            timeframe=self.timeframe,
            started_at_us=self.started_us,
            account=msgspec.json.encode(self._saved()),
            summary=self.summary(),
            last_candle_us=self.last_candle_us,
            last_price=self._last_price,
            opened_candle_us=self._news.opened_candle_us,
            orders=tuple(self._news.orders.values()),
            fills=tuple(self._news.fills),
            trades=tuple(self._news.closed),
            equity=tuple(self._news.equity),
            decisions=tuple(self._news.decisions),
            events=tuple(self._news.events),
            checkpoints=tuple(self._news.checkpoints),
            definition=None if self._is_described else definition_of(self.strategy),
            entries=tuple(self._news.entries),
            violations=tuple(self._news.violations),
            sub_ledger=self._sub_ledger(),
        )
        self._news = _News()
        self._is_described = True
        self._applied, self._from_file = None, False
        return step

    def summary(self) -> AccountSummary:
        """The account's figures, the position marked at the last processed close."""
        ledger = self._account.ledger
        at_us = 0 if self.last_candle_us is None else self.last_candle_us + self.timeframe.us
        price = float(ledger.entry_price) if self._last_price is None else self._last_price
        return AccountSummary(
            point=self._point(at_us, price),
            position=self._position(price),
            realised_pnl=self._profit,
            fees_paid=ledger.state.fees,
            trades=self._trades,
            wins=self._wins,
        )

    def _saved(self) -> SavedAccount:
        return SavedAccount(
            rules=self._rules,
            state=self._account.state,
            trades=self._trades,
            wins=self._wins,
            profit=self._profit,
            warm_from_us=self.warm_from_us,
            trade_from_us=self.trade_from_us,
            checkpoint_us=self._checkpoint_us,
            risk=self.risk,
            promised=self._promised,
        )

    @property
    def _risk_state(self) -> RiskState:
        return begin(self.config.capital) if self.risk is None else self.risk

    def _sub_ledger(self) -> SubLedger | None:
        """What the bot has in use of its account, where it has one together with others."""
        if self.config.account is None:
            return None
        ledger = self._account.ledger
        state = ledger.state
        held = EXACT.multiply(state.quantity, state.entry_price) if state.cost is None else state.cost
        waits = any(order.reason in GROWING for order in self._account.pending)
        risk = self._risk_state
        return SubLedger(
            account=self.config.account,
            in_use=EXACT.add(held.copy_abs(), self._promised if waits else Decimal(0)),
            gained=EXACT.subtract(EXACT.add(ledger.cash, held), self.config.capital),
            equity_gained=EXACT.subtract(risk.equity, self.config.capital),
            at_us=0 if self.last_candle_us is None else self.last_candle_us + self.timeframe.us,
            ordered_at_us=risk.ordered_at_us,
            together=self.together,
        )

    def _new_account(self, state: AccountState | None) -> PaperAccount:
        return PaperAccount(
            capital=self.config.capital,
            costs=self.config.costs,
            rules=self._rules,
            protection=self.strategy.protection,
            sizing=self.strategy.sizing,
            state=state,
        )

    def _abandon_open_candle(self) -> None:
        state = self._account.state
        if state.opened_at_us is not None:
            self._account = self._new_account(msgspec.structs.replace(state, opened_at_us=None))

    @property
    def _must_flatten(self) -> bool:
        return self.has_position and (self._flatten_at_open or self.state is BotState.STOPPING)

    def _decide(self, decision: Decision, seen_until_us: int | None, gates: Sequence[EntryGate]) -> None:
        proposal = self._account.proposal(decision)

        def others() -> GateVerdict:
            assert proposal is not None
            return ask(gates, self._entry_wish(decision, proposal, seen_until_us))

        passage = pass_gate(
            decision,
            proposal,
            limits=self.limits,
            state=self._risk_state,
            rules=self._rules,
            own=self._own_verdict(decision, proposal),
            others=others if gates else None,
        )
        self.risk = passage.state
        verdict = passage.verdict
        done = self._account.decide(passage.approved)
        self._book(done)
        if proposal is not None and verdict.passes:
            self._promised = proposal.notional
        if verdict.passes and not decision.says_nothing:
            verdict = self._account_verdict(done)
        # A ladder withdraws or places many at once.
        counts = Counter(_told(order) for order in done.orders)
        told = [words if count == 1 else f"{words} ({count} times)" for words, count in counts.items()]
        if not verdict.passes and verdict.gate is not Gate.CONTRADICTION:
            told.append(verdict.detail)
        violations = passage.verdict.violations
        self._news.violations.extend(
            LimitBroken(
                opened_at_us=decision.opened_at_us,
                at_us=decision.opened_at_us + self.timeframe.us,
                violation=violation,
            )
            for violation in violations
        )
        self._news.decisions.append(
            DecisionMade(
                decision=decision,
                outcome="; ".join(told),
                seen=self._seen,
                gate=verdict.gate,
                orders=tuple(order.sequence for order in done.orders),
                violations=violations,
            )
        )

    def _own_verdict(self, decision: Decision, proposal: Proposal | None) -> GateVerdict:
        """Whether the bot's own state keeps it from entering."""
        if proposal is None and not (decision.long_entry or decision.short_entry):
            return PASSED
        if self.state is not BotState.RUNNING:
            return GateVerdict(gate=Gate.PAUSED, detail=f"{self.state}: no new entries")
        if self._entries_after_us is not None:
            return GateVerdict(gate=Gate.OUTAGE, detail="made up for after an outage: no new entries")
        if self.limits_problem:
            return GateVerdict(gate=Gate.LIMIT, detail=f"no limits: {self.limits_problem}")
        return PASSED

    def _account_verdict(self, done: AccountStep) -> GateVerdict:
        """Why the account made no order of a signal."""
        if any(order.status is OrderStatus.REFUSED for order in done.orders):
            return GateVerdict(gate=Gate.CONTRADICTION)
        if done.orders:
            return PASSED
        side = self._account.position_side
        gate = Gate.NO_POSITION if side is None else Gate.POSITION_OPEN
        return GateVerdict(gate=gate, detail=f"nothing to do: {side or 'no position'}")

    def _entry_wish(self, decision: Decision, entry: Proposal, seen_until_us: int | None) -> EntryWish:
        return EntryWish(
            bot_id=self.bot_id,
            bot=self.name,
            market=self.market,
            timeframe=self.timeframe,
            side=entry.side,
            notional=entry.notional,
            share=self._sub_ledger(),
            opened_at_us=decision.opened_at_us,
            closes_at_us=decision.opened_at_us + self.timeframe.us,
            close=decision.close,
            seen_until_us=seen_until_us,
            account=self.summary(),
        )

    def _after_outage(self) -> None:
        self._entries_after_us = None
        self._cancel("the bot closes its position after a restart", exits=False)
        self._flatten_at_open = self.has_position
        self._news.changed = True

    def _settle_stop(self, at_us: int) -> None:
        """A bot that was to close its position first has stopped once it is flat."""
        if self.has_position:
            return
        self.state = checked(self.state, BotState.STOPPED)
        self.health = ""
        self._news.settle = _STAY_STOPPED
        self._news.events.append(
            BotEvent(at_us=at_us, who="runner", what="stopped", why="the position is closed")
        )
        self._news.changed = True

    def _cancel(self, why: str, *, exits: bool) -> None:
        """Call off entries that wait for the next open, and exits too if `exits`."""
        state = self._account.state
        gone = [order for order in state.pending if exits or order.reason in GROWING]
        if not gone:
            return
        self._checkpoint_us = None
        kept = tuple(order for order in state.pending if order not in gone)
        self._account = self._new_account(msgspec.structs.replace(state, pending=kept))
        for order in gone:
            self._news.orders[order.sequence] = msgspec.structs.replace(
                order, status=OrderStatus.CANCELLED, refusal=why
            )

    def _book(self, done: AccountStep) -> None:
        # Only the newest word on an order counts.
        self._news.orders.update((order.sequence, order) for order in done.orders)
        self._news.fills.extend(done.fills)
        self._news.closed.extend(done.trades)
        self._news.entries.extend(done.entries)
        for trade in done.trades:
            self._trades += 1
            self._wins += trade.pnl > 0
            self._profit = EXACT.add(self._profit, trade.pnl)

    def _point(self, at_us: int, price: float) -> EquityPoint:
        ledger = self._account.ledger
        return EquityPoint(
            at_us=at_us,
            equity=ledger.equity(Decimal(repr(price))),
            cash=ledger.cash,
            position=ledger.quantity,
        )

    def _position(self, price: float) -> PositionView | None:
        side = self._account.position_side
        if side is None:
            return None
        ledger = self._account.ledger
        stop, target, trailing = self._levels(side)
        return PositionView(
            side=side,
            quantity=abs(ledger.quantity),
            entry_price=ledger.entry_price,
            entry_at_us=ledger.state.entry_at_us,
            stop_price=stop,
            target_price=target,
            trailing_price=trailing,
            unrealised_pnl=ledger.unrealised(Decimal(repr(price))),
        )

    def _levels(self, side: PositionSide) -> tuple[Decimal | None, Decimal | None, Decimal | None]:
        """Stop-loss, take-profit and trailing stop of the open position, before rounding to the tick."""
        state = self._account.state
        entry = state.ledger.entry_price
        extreme = entry if state.extreme_is_entry else Decimal(repr(state.extreme))
        towards = 1 if side is PositionSide.LONG else -1
        protection = self.strategy.protection

        def level(base: Decimal, fraction: float | None, direction: int) -> Decimal | None:
            if fraction is None:
                return None
            return EXACT.multiply(base, 1 + direction * Decimal(repr(fraction)))

        return (
            level(entry, protection.stop_loss, -towards),
            level(entry, protection.take_profit, towards),
            level(extreme, protection.trailing_stop, -towards),
        )

    def _is_ambiguous(self, candle: Candle) -> bool:
        """Whether a stop and a target both lie inside the candle: then finer data may tell."""
        return self._account.is_undecided(candle)


def candles_of(ohlcv: Ohlcv, market: Market) -> Sequence[Candle]:
    """The rows as candles; how many trades made each is not known."""
    columns: tuple[Any, ...] = (
        ohlcv.opened_at_us,
        ohlcv.open,
        ohlcv.high,
        ohlcv.low,
        ohlcv.close,
        ohlcv.volume,
    )
    return [
        Candle(
            exchange=market.exchange,
            symbol=market.symbol,
            timeframe=ohlcv.timeframe,
            opened_at_us=opened_at_us,
            open=open_price,
            high=high,
            low=low,
            close=close,
            volume=volume,
            trades=0,
        )
        for opened_at_us, open_price, high, low, close, volume in zip(
            *(column.tolist() for column in columns), strict=True
        )
    ]


_KINDS = {OrderReason.ENTRY: "entry", OrderReason.ADD_ON: "add-on"}


def _told(order: Order) -> str:
    kind = _KINDS.get(order.reason, "exit")
    if order.status is OrderStatus.REFUSED:
        return f"{order.position_side} {kind} refused: {order.refusal}"
    if order.status is OrderStatus.CANCELLED:
        return f"{order.position_side} {kind} cancelled"
    return f"{order.position_side} {kind} ordered"
