"""A basket as the runner steps it: closed candles of several markets in step, one account. No clock, no I/O.

Only candles count that all its symbols have. Where one symbol is late the bot waits and says for which; where
the data of one may not be traded on, nothing is done in any. See docs/decisions/0013-baskets-live.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import reduce

import msgspec
import numpy as np

from bots.accounts import SharePart, SubLedger, grown
from bots.bot_life import BotLife, FinerCandles
from bots.config import BotConfig, FillRule
from bots.entry_gates import EntryGate, EntryWish, ask
from bots.gates import DATA_GATES, PASSED, GateVerdict
from bots.ladders.basket import BasketAccount, BasketState, BasketStep
from bots.ladders.basket_record import basket_decision
from bots.ladders.strategy import BasketStrategy
from bots.ledger import EXACT, LedgerState
from bots.life_records import SavedLife
from bots.lifecycle import ACTIVE, BotState
from bots.orders import Order, OrderReason, PositionSide, TradingRules
from bots.paper_bot import candles_of, first_traded
from bots.recorded_depth import BookReader, MarketDepth, OpenDepth
from bots.risk.gate import pass_gate_together
from bots.risk.state import observe
from bots.stores import MOST_FRESH, AccountSummary, BotRecord
from bots.views import EquityPoint, PositionView
from data.models import Candle, IntArray, Market, Ohlcv
from data.timeframes import floor_to, to_datetime

_WAITS = "waits for candles of "
_LATE = 2  # candles that others are ahead: the next one after a missing one has closed


class SavedBasket(SavedLife, frozen=True, kw_only=True):
    """What a basket keeps beside its row's columns."""

    rules: tuple[TradingRules, ...]  # as they were at the last start, in the order of the weights
    state: BasketState
    looked_until_us: int | None = None  # candles up to here are not taken any more
    flatten_at_open: bool = False
    entries_after_us: int | None = None  # open of a candle up to which nothing is bought


class BasketBot(BotLife):
    """A bot on several markets of one venue."""

    def __init__(
        self,
        record: BotRecord,
        config: BotConfig,
        strategy: BasketStrategy,
        books: BookReader | None = None,
    ) -> None:
        """Go on from `record`, or begin. Raises InvalidInput for terms that make no sense to the account.

        `books` are asked where market orders are filled by the recorded depth.
        """
        saved = None if record.account is None else msgspec.json.decode(record.account, type=SavedBasket)
        super().__init__(record, config, strategy, saved)
        self._basket = strategy
        self._markets = tuple(Market(config.venue, symbol) for symbol in config.symbols)
        by_depth = config.fill is FillRule.DEPTH
        self._depths = tuple(MarketDepth(market, books) for market in self._markets) if by_depth else ()
        self._rules = tuple(TradingRules() for _ in self._markets) if saved is None else saved.rules
        self._account = self._new_account(None if saved is None else saved.state)
        # No candle up to here is one that all have.
        self._looked_until_us = None if saved is None else saved.looked_until_us
        self._flatten_at_open = saved is not None and saved.flatten_at_open
        self._entries_after_us = None if saved is None else saved.entries_after_us

    @property
    def markets(self) -> tuple[Market, ...]:
        return self._markets

    @property
    def has_position(self) -> bool:
        return self._account.holds

    @property
    def waits_for_an_open(self) -> bool:
        return self.state in ACTIVE and bool(self._account.due or self._must_flatten)

    @property
    def is_between_candles(self) -> bool:
        return self._account.opened_at_us is None

    @property
    def taken_until_us(self) -> int | None:
        taken, looked = super().taken_until_us, self._looked_until_us
        return taken if taken is None or looked is None else max(taken, looked)

    # Beginning

    def begin_on(self, histories: Sequence[Ohlcv], rules: Sequence[TradingRules], at_us: int) -> str:
        common = in_common(histories)
        if not len(common):
            return "waits for a candle that all its symbols have"
        self._rules = tuple(rules)
        self._account = self._new_account(self._account.state)
        self._checkpoint_us = None
        self._looked_until_us = None
        started_us = at_us if self.started_us is None else self.started_us
        # By the newest candle of any: what the others had before it is the past, even if it is stored later.
        newest_us = max(int(one.opened_at_us[-1]) for one in histories)
        self.trade_from_us = first_traded(newest_us, self.timeframe, started_us)
        if self.last_candle_us is not None:
            # A candle that was traded on once is never traded on again.
            self.trade_from_us = max(self.trade_from_us, self.last_candle_us + self.timeframe.us)
        self.warm_from_us = self.trade_from_us
        before = common[common < self.trade_from_us]
        if len(before):
            newest = int(before[-1])
            self.last_candle_us = newest if self.last_candle_us is None else max(self.last_candle_us, newest)
        self._news.changed = True
        return ""

    def restart_clock(self, at_us: int) -> None:
        """Start anew: what waited is called off. A basket that has ended stays ended."""
        self._cancel("the bot was started anew", exits=True)
        self._flatten_at_open, self._entries_after_us = False, None
        super().restart_clock(at_us)

    def go_on_from(self, before: BotLife) -> None:
        """With new settings between two candles: it has no memory but its account, which it has already."""
        self.warm_from_us, self.trade_from_us = before.warm_from_us, before.trade_from_us
        self._news.changed = True

    # Candles

    def feed(
        self,
        fresh: Mapping[Market, Ohlcv],
        forming: Mapping[Market, Candle],
        finer: FinerCandles,
        gates: Sequence[EntryGate],
    ) -> bool:
        taken = self.taken_until_us
        if taken is None or self.state not in ACTIVE:
            return False
        stored = [_after(fresh[market], taken) for market in self._markets if market in fresh]
        common = in_common(stored) if len(stored) == len(self._markets) else np.empty(0, dtype=np.int64)
        known_us = int(common[-1]) + self.timeframe.us if len(common) else 0
        for candles in _rows(stored, self._markets, common[:MOST_FRESH]):
            if self.state not in ACTIVE or self._waits_for_books(candles[0].opened_at_us, known_us):
                return False
            self.take(candles, gates)
        if len(common) > MOST_FRESH:
            return True
        # Many are read for all bots of a series at once, from where the slowest is: what ends in such a read
        # may go on in the store.
        cut = [one for market in self._markets if (one := fresh.get(market)) and len(one) >= MOST_FRESH]
        if cut:
            return any(len(one) >= MOST_FRESH for one in stored) and self._look_past(cut)
        late, closed_us = self._late(fresh)
        if late and self._must_flatten:
            names = ", ".join(market.symbol for market in late)
            why = f"all is to be sold, and there are no candles of {names} to sell it together"
            self.close_now(forming, why=why, at_us=closed_us)
        if self.state in ACTIVE:
            self._tell_who_is_late(late, closed_us)
        self._open_what_forms(forming)
        return False

    def _look_past(self, cut: Sequence[Ohlcv]) -> bool:
        """Pass over what lies before the end of every cut series; whether that leads on."""
        # Not the newest row: the others may have it in a moment.
        until_us = min(int(one.opened_at_us[-2]) for one in cut)
        if until_us <= (self.taken_until_us or 0):
            return False
        self._looked_until_us = until_us
        self._news.changed = True
        return True

    def take(self, candles: Sequence[Candle], gates: Sequence[EntryGate] = ()) -> None:
        """The next candles that closed at one time, one of each market in their order."""
        self._news.changed = True
        first = candles[0]
        if self.trade_from_us is None or first.opened_at_us < self.trade_from_us:
            self._last_price, self.last_candle_us = first.close, first.opened_at_us
            return
        self.open(first.opened_at_us, [candle.open for candle in candles])
        if self.state not in ACTIVE:
            return  # everything was sold at this open, and with that it has stopped
        closed = self._account.close_candles(first.closes_at_us, [candle.close for candle in candles])
        stopping = self._take_in(closed)
        point = self._point(first.closes_at_us)
        self._news.equity.append(point)
        self.risk = observe(self._risk_state, first.closes_at_us, point.equity, self.limits)
        before_us = self.last_candle_us
        self._last_price, self.last_candle_us = first.close, first.opened_at_us
        if self.state is BotState.STOPPING:
            self._settle_stop(first.closes_at_us)
        else:
            seen_until_us = None if before_us is None else before_us + self.timeframe.us
            self._decide(candles, seen_until_us, gates, stopping)
        if self._entries_after_us is not None and first.opened_at_us >= self._entries_after_us:
            self._after_outage()
        why = self._account.finished
        if why and self.state in ACTIVE and not self.has_position:
            self.move(BotState.STOPPED, at_us=first.closes_at_us, why=why, health=f"it has ended: {why}")

    def open(self, opened_at_us: int, prices: Sequence[float]) -> None:
        """The first trades of the next candles: orders that waited are filled. Harmless to repeat."""
        opened = self._account.opened_at_us
        if opened == opened_at_us:
            return
        self._news.changed = True
        if opened is not None:
            # What was begun live was never stored of all symbols: what it filled stays.
            self._abandon_open_candle()
        self._news.opened_candle_us = opened_at_us
        if self._must_flatten:
            depths = self._depths_at(opened_at_us)
            sold = self._account.flatten(opened_at_us, prices, reason=OrderReason.FLATTEN, depths=depths)
            self._take_in(sold)
            self._flatten_at_open = False
            self._checkpoint_us = None
        self._take_checkpoint(opened_at_us)
        self._take_in(self._account.open_candles(opened_at_us, prices, self._depths_at(opened_at_us)))
        if self.state is BotState.STOPPING and not self.has_position:
            self._news.equity.append(self._point(opened_at_us))
            self._settle_stop(opened_at_us)

    def _open_what_forms(self, forming: Mapping[Market, Candle]) -> None:
        begun = [forming[market] for market in self._markets if market in forming]
        times = {candle.opened_at_us for candle in begun}
        if len(begun) < len(self._markets) or len(times) > 1 or not self.waits_for_an_open:
            return
        opened_at_us = begun[0].opened_at_us
        if not all(depth.is_known(opened_at_us) for depth in self._depths):
            return
        if self.last_candle_us is not None and opened_at_us > self.last_candle_us:
            self.open(opened_at_us, [candle.open for candle in begun])

    def _depths_at(self, at_us: int) -> list[OpenDepth]:
        return [depth.at(at_us) for depth in self._depths]

    def _waits_for_books(self, at_us: int, known_us: int) -> bool:
        """Whether these stored candles may fill orders whose books are still to be stored."""
        return self.waits_for_an_open and any(
            depth.is_awaited(at_us, known_us=known_us) for depth in self._depths
        )

    def _late(self, fresh: Mapping[Market, Ohlcv]) -> tuple[Mapping[Market, int], int]:
        """Opens of the newest candles of symbols that others are ahead of; the newest close of any."""
        # Not by how far was looked: a symbol without candles is not there because they were passed over.
        taken = floor_to(super().taken_until_us or 0, self.timeframe)
        newest = dict.fromkeys(self._markets, taken)
        for market, candles in fresh.items():
            if len(candles):
                newest[market] = max(int(candles.opened_at_us[-1]), taken)
        ahead = max(newest.values())
        wait_us = _LATE * self.timeframe.us
        late = {market: at_us for market, at_us in newest.items() if ahead - at_us >= wait_us}
        return late, ahead + self.timeframe.us

    def _tell_who_is_late(self, late: Mapping[Market, int], closed_us: int) -> None:
        """Say for which symbols the others wait, once they have closed another candle without them."""
        if not late:
            if self.health.startswith(_WAITS):
                self.report("")
            return
        names = ", ".join(market.symbol for market in late)
        since = to_datetime(min(late.values()) + self.timeframe.us)
        at = since.isoformat(timespec="seconds").replace("+00:00", "Z")
        words = f"{_WAITS}{names}: none that closed after {at}; {self._until_then()}"
        if words != self.health:
            self.note("waits", at_us=closed_us, why=words)
            self.report(words)

    def _until_then(self) -> str:
        if not self._must_flatten:
            return "nothing is bought or sold until then"
        left = [
            f"{ledger.quantity.normalize():f} {market.symbol}"
            for market, ledger in zip(self._markets, self._account.ledgers, strict=True)
            if ledger.quantity
        ]
        return f"left to be sold: {', '.join(left)}"

    def _abandon_open_candle(self) -> None:
        self._account.abandon_open()

    # A person's wishes

    def halt(self, why: str) -> None:
        self._cancel(why, exits=False)

    def close_now(self, forming: Mapping[Market, Candle], *, why: str, at_us: int) -> None:
        """Sell each symbol whose newest price is known at once, the others at the next common open."""
        begun = [forming.get(market) for market in self._markets]
        opened_at_us = max((candle.opened_at_us for candle in begun if candle is not None), default=None)
        if opened_at_us is not None and opened_at_us > (self.last_candle_us or 0):
            # A symbol that has not been traded since the newest of these candles began has no price now.
            prices = [
                None if candle is None or candle.opened_at_us < opened_at_us else candle.close
                for candle in begun
            ]
            self._sell_now(opened_at_us, prices, why=why, at_us=at_us)
        if self._flatten_at_open != self.has_position:
            self._flatten_at_open = self.has_position
            self._news.changed = True

    def _sell_now(self, opened_at_us: int, prices: Sequence[float | None], *, why: str, at_us: int) -> None:
        done = self._account.flatten(opened_at_us, prices, reason=OrderReason.FLATTEN)
        if self._take_in(done):
            self._checkpoint_us = None
            self._news.changed = True
        if not done.fills:
            return
        self._news.equity.append(self._point(opened_at_us))
        self.note("flattened", at_us=at_us, why=why)
        # Candles that come late are older than this sale: what it brought buys nothing on them.
        self.hold_entries_until(opened_at_us - self.timeframe.us)
        if self.state is BotState.STOPPING:
            self._settle_stop(opened_at_us)

    def _cancel(self, why: str, *, exits: bool) -> None:
        done = self._account.withdraw(why, exits=exits)
        if done.orders:
            self._checkpoint_us = None
            self._news.changed = True
            self._take_in(done)

    # Deciding

    def _decide(
        self,
        candles: Sequence[Candle],
        seen_until_us: int | None,
        gates: Sequence[EntryGate],
        stopping: Sequence[Order],
    ) -> None:
        """Rebalance where that is asked for; `stopping` are orders that the stop made at this close."""
        asked = bool(self._account.asks())
        decision, said = basket_decision(self._basket, self._account, candles)
        proposals = [(self._markets[part], proposal) for part, proposal in self._account.proposals()]

        def wish(number: int, share: SubLedger | None, notional: Decimal, before: int) -> EntryWish:
            return EntryWish(
                bot_id=self.bot_id,
                bot=self.name,
                market=self._markets[number],
                timeframe=self.timeframe,
                side=PositionSide.LONG,
                notional=notional,
                share=share,
                before=before,
                opened_at_us=decision.opened_at_us,
                closes_at_us=decision.opened_at_us + self.timeframe.us,
                close=candles[number].close,
                seen_until_us=seen_until_us,
                account=summary,
            )

        def data() -> GateVerdict:
            """Whether the data of every symbol may be traded on, also of those that are only sold."""
            for number, market in enumerate(self._markets):
                for gate in gates:
                    verdict = gate(wish(number, None, Decimal(0), 0))
                    if verdict.gate in DATA_GATES:
                        return _of(market, verdict)
            return PASSED

        def others() -> GateVerdict:
            share = self._sub_ledger()
            in_use = Decimal(0) if share is None else share.in_use
            spent = Decimal(0)
            for before, (market, proposal) in enumerate(proposals):
                number = self._markets.index(market)
                spent = EXACT.add(spent, proposal.notional)
                if share is not None:
                    # What is sold first pays for it, as far as that goes.
                    with_it = EXACT.add(in_use, self._account.needs(spent))
                    before_it = EXACT.subtract(with_it, proposal.notional)
                    share = msgspec.structs.replace(share, in_use=before_it)
                verdict = ask(gates, wish(number, share, proposal.notional, before))
                if not verdict.passes:
                    return _of(market, verdict)
                if share is not None:
                    share = grown(share, market.symbol, proposal.notional)
            return PASSED

        summary = self.summary()
        held = data() if asked else PASSED
        passage = pass_gate_together(
            decision,
            [(market.symbol, proposal) for market, proposal in proposals],
            limits=self.limits,
            state=self._risk_state,
            rules=[self._rules[self._markets.index(market)] for market, _ in proposals],
            own=held if not held.passes else self._state_verdict() if proposals else PASSED,
            others=others if gates else None,
        )
        self.risk = passage.state
        # Where the data of one symbol is not to be trusted, nothing is sold by it either.
        orders = self._take_in(self._account.decide(passage.approved)) if held.passes else []
        first = candles[0]
        self._tell_decision(
            decision,
            passage,
            passage.verdict,
            [*stopping, *orders],
            seen=(first.open, first.high, first.low, first.volume),
            parts=said,
        )

    # Figures

    def summary(self) -> AccountSummary:
        return AccountSummary(
            point=self._point(self._taken_close_us),
            position=None,
            positions=tuple(self._positions()),
            realised_pnl=self._profit,
            fees_paid=self._account.books().fees,
            trades=self._trades,
            wins=self._wins,
        )

    def _positions(self) -> list[PositionView]:
        closes = self._account.closes
        found = []
        for number, (market, ledger) in enumerate(zip(self._markets, self._account.ledgers, strict=True)):
            if not ledger.quantity:
                continue
            price = closes[number] if closes else ledger.entry_price
            found.append(
                PositionView(
                    symbol=market.symbol,
                    side=PositionSide.LONG,
                    quantity=ledger.quantity,
                    entry_price=ledger.entry_price,
                    entry_at_us=ledger.state.entry_at_us,
                    unrealised_pnl=ledger.unrealised(price),
                    last_price=float(price),
                )
            )
        return found

    def _point(self, at_us: int) -> EquityPoint:
        return EquityPoint(
            at_us=at_us, equity=self._account.equity(), cash=self._account.cash, position=Decimal(0)
        )

    def _saved(self) -> SavedBasket:
        return SavedBasket(
            rules=self._rules,
            state=self._account.state,
            looked_until_us=self._looked_until_us,
            flatten_at_open=self._flatten_at_open,
            entries_after_us=self._entries_after_us,
            **self._life,
        )

    def _ledger_state(self) -> LedgerState:
        return self._account.books()

    def _in_use(self) -> Decimal:
        return self._account.reserved()

    def _parts(self) -> tuple[SharePart, ...]:
        return tuple(
            SharePart(symbol=market.symbol, in_use=used, together=self.together.get(market.symbol, ()))
            for market, used in zip(self._markets, self._account.in_use(), strict=True)
        )

    def _new_account(self, state: BasketState | None) -> BasketAccount:
        return BasketAccount(
            self._basket.settings,
            capital=self.config.capital,
            costs=self.config.costs,
            rules=self._rules,
            state=state,
            shares_money=self.config.account is not None,
        )

    def _take_in(self, done: BasketStep) -> list[Order]:
        """Keep what the account has done; its orders."""
        orders = [order for _, order in done.orders]
        self._book(
            orders, [fill for _, fill in done.fills], [trade for _, trade in done.trades], done.entries
        )
        return orders


def in_common(series: Sequence[Ohlcv]) -> IntArray:
    """Opens of the candles that all of them have, ascending."""
    times = [one.opened_at_us for one in series]
    return reduce(lambda one, other: np.intersect1d(one, other, assume_unique=True), times)


def _after(ohlcv: Ohlcv, taken_us: int | None) -> Ohlcv:
    if taken_us is None:
        return ohlcv
    return ohlcv.rows(int(ohlcv.opened_at_us.searchsorted(taken_us, side="right")), len(ohlcv))


def _rows(stored: Sequence[Ohlcv], markets: Sequence[Market], times: IntArray) -> list[tuple[Candle, ...]]:
    """The candles of these opens, of each market one."""
    if not len(times):
        return []
    columns = [
        candles_of(one.taken(one.opened_at_us.searchsorted(times)), market)
        for one, market in zip(stored, markets, strict=True)
    ]
    return list(zip(*columns, strict=True))


def _of(market: Market, verdict: GateVerdict) -> GateVerdict:
    return msgspec.structs.replace(verdict, detail=f"{market.symbol}: {verdict.detail}")
