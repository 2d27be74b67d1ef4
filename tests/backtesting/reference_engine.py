"""The fill rules once more, slowly: plain Python on decimals, written from the rules and not from the kernel.

Everything is exact to 60 digits. Used to check the fast engine trade by trade.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, Context, Decimal, localcontext


@dataclass(frozen=True)
class Bar:
    at_us: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal


@dataclass(frozen=True)
class Say:
    """The signals at one close."""

    long_entry: bool = False
    long_exit: bool = False
    short_entry: bool = False
    short_exit: bool = False
    long_add: bool = False
    short_add: bool = False


@dataclass(frozen=True)
class Adds:
    """When a position may grow, and by how much."""

    most: int
    size: Decimal
    every: Decimal | None = None
    on_signal: bool = False
    average: bool = True


@dataclass(frozen=True)
class Terms:
    fee: Decimal = Decimal("0.001")  # fraction
    maker_fee: Decimal = Decimal("0.001")
    slip: Decimal = Decimal(0)
    tick: Decimal | None = None
    lot: Decimal | None = None
    min_notional: Decimal = Decimal(0)
    stop_loss: Decimal | None = None
    take_profit: Decimal | None = None
    trailing_stop: Decimal | None = None
    size: Decimal = Decimal(1)
    targets: tuple[tuple[Decimal, Decimal], ...] = ()  # distance and share, instead of take_profit
    adds: Adds | None = None
    later: tuple[
        tuple[int, Decimal | None, Decimal | None, Decimal], ...
    ] = ()  # from when: tick, lot, minimum
    target_first: bool = False  # where nothing tells


@dataclass
class RoundTrip:
    side: str
    entry_at_us: int
    entry_price: Decimal
    quantity: Decimal
    entry_fee: Decimal
    exit_at_us: int = 0
    exit_price: Decimal = Decimal(0)
    exit_fee: Decimal = Decimal(0)
    reason: str = ""
    ambiguous: bool = False

    @property
    def fees(self) -> Decimal:
        return self.entry_fee + self.exit_fee

    @property
    def pnl(self) -> Decimal:
        gross = (self.exit_price - self.entry_price) * self.quantity
        return (gross if self.side == "long" else -gross) - self.fees


@dataclass
class Held:
    """An open position."""

    side: str
    at_us: int
    quantity: Decimal
    cost: Decimal
    fees: Decimal
    base: Decimal  # the price that levels hang on
    last: Decimal  # the newest entry's or add-on's price
    first: Decimal
    bought: Decimal
    best: Decimal
    sold: Decimal = Decimal(0)
    targets_done: int = 0
    adds_done: int = 0

    @property
    def away(self) -> int:
        return 1 if self.side == "long" else -1


@dataclass
class Outcome:
    trades: list[RoundTrip] = field(default_factory=list)
    open_trade: Held | None = None
    cash: Decimal = Decimal(0)
    equity: list[Decimal] = field(default_factory=list)
    refusals: int = 0


def run_reference(
    bars: Sequence[Bar],
    says: Sequence[Say],
    terms: Terms,
    capital: Decimal,
    *,
    finer: Sequence[Bar] = (),
    duration_us: int = 0,
) -> Outcome:
    with localcontext(Context(prec=60)):
        return _run(bars, says, terms, capital, finer, duration_us)


def _run(
    bars: Sequence[Bar],
    says: Sequence[Say],
    terms: Terms,
    capital: Decimal,
    finer: Sequence[Bar],
    duration_us: int,
) -> Outcome:
    desk = _Desk(terms, capital)
    for bar, say in zip(bars, says, strict=True):
        desk.use_rules_of(bar.at_us)
        desk.open(bar)
        desk.inside(bar, finer, duration_us)
        desk.close(bar, say)
    desk.outcome.open_trade = desk.held
    return desk.outcome


class _Desk:
    def __init__(self, terms: Terms, capital: Decimal) -> None:
        self.terms = terms
        self.outcome = Outcome(cash=capital)
        self.held: Held | None = None
        self.leave, self.enter, self.add = False, "", False
        self.targets = terms.targets
        if terms.take_profit is not None:
            self.targets = ((terms.take_profit, Decimal(1)),)

    def use_rules_of(self, at_us: int) -> None:
        for since_us, tick, lot, least in self.terms.later:
            if since_us <= at_us:
                self.terms = replace(self.terms, tick=tick, lot=lot, min_notional=least)

    # --- fills

    def price_of(self, raw: Decimal, *, buying: bool, slips: bool) -> Decimal:
        if slips:
            raw = raw * (1 + self.terms.slip) if buying else raw * (1 - self.terms.slip)
        return _stepped(raw, self.terms.tick, up=buying)

    def sell(
        self, at_us: int, price: Decimal, reason: str, part: Decimal, *, ambiguous: bool = False
    ) -> None:
        held = self.held
        assert held is not None
        assert 0 < part <= held.quantity
        share = part / held.quantity
        whole = part == held.quantity
        notional = price * part
        trade = RoundTrip(
            held.side,
            held.at_us,
            held.cost / held.quantity,
            part,
            held.fees if whole else held.fees * share,
            at_us,
            price,
            notional * (self.terms.maker_fee if reason == "take_profit" else self.terms.fee),
            reason,
            ambiguous,
        )
        self.outcome.cash += held.away * notional - trade.exit_fee
        self.outcome.trades.append(trade)
        held.cost -= held.cost * share
        held.fees -= trade.entry_fee
        held.quantity -= part
        if whole:
            self.held, self.add = None, False

    def all_out(self, at_us: int, price: Decimal, reason: str, *, ambiguous: bool = False) -> None:
        assert self.held is not None
        self.sell(at_us, price, reason, self.held.quantity, ambiguous=ambiguous)

    def take_target(self, at_us: int, price: Decimal, *, ambiguous: bool) -> None:
        held = self.held
        assert held is not None
        shares = [share for _, share in self.targets[: held.targets_done + 1]]
        last = held.targets_done == len(self.targets) - 1
        if last and sum(shares) == 1:
            part = held.quantity
        else:
            part = _stepped(sum(shares) * held.bought - held.sold, self.terms.lot, up=False)
            part = min(max(part, Decimal(0)), held.quantity)
        held.targets_done += 1
        if part < held.quantity and self.is_small(part, price):
            self.outcome.refusals += 1
            return
        if self.is_small(held.quantity - part, price):
            part = held.quantity
        held.sold += part
        self.sell(at_us, price, "take_profit", part, ambiguous=ambiguous)

    def is_small(self, quantity: Decimal, price: Decimal) -> bool:
        return quantity <= 0 or price * quantity < self.terms.min_notional

    def budget(self) -> Decimal:
        """What an entry may cost."""
        return self.outcome.cash * self.terms.size

    def free(self) -> Decimal:
        """The cash that no other position ties up."""
        return self.outcome.cash

    def affordable(self, cash: Decimal, price: Decimal) -> Decimal:
        if cash <= 0 or price <= 0:
            return Decimal(0)
        quantity = cash / (price * (1 + self.terms.fee))
        if self.terms.lot is None:
            return Context(prec=15, rounding=ROUND_DOWN).plus(quantity)
        return _stepped(quantity, self.terms.lot, up=False)

    def buy_in(self, bar: Bar, side: str) -> None:
        price = self.price_of(bar.open, buying=side == "long", slips=True)
        quantity = self.affordable(self.budget(), price)
        if self.is_small(quantity, price):
            self.outcome.refusals += 1
            return
        fee = price * quantity * self.terms.fee
        self.outcome.cash += (-1 if side == "long" else 1) * price * quantity - fee
        self.held = Held(
            side, bar.at_us, quantity, price * quantity, fee, price, price, quantity, quantity, price
        )

    def add_on(self, bar: Bar) -> None:
        held, adds = self.held, self.terms.adds
        assert held is not None
        assert adds is not None
        price = self.price_of(bar.open, buying=held.side == "long", slips=True)
        free = self.free() - (0 if held.side == "long" else 2 * price * held.quantity)
        wanted = _stepped(held.first * adds.size, self.terms.lot, up=False)
        quantity = min(wanted, self.affordable(free, price))
        if self.is_small(quantity, price):
            self.outcome.refusals += 1
            return
        fee = price * quantity * self.terms.fee
        self.outcome.cash += -held.away * price * quantity - fee
        if adds.average:
            together = held.base * held.quantity + price * quantity
            held.base = Context(prec=17, rounding=ROUND_DOWN).divide(together, held.quantity + quantity)
        held.quantity += quantity
        held.bought += quantity
        held.cost += price * quantity
        held.fees += fee
        held.last = price
        held.adds_done += 1

    # --- the parts of a candle

    def levels(self) -> tuple[Decimal | None, str, Decimal | None]:
        """The stop nearest the market, its name, and the next target's limit price."""
        held = self.held
        assert held is not None
        stop, name, target = None, "", None
        if self.terms.stop_loss is not None:
            stop, name = held.base * (1 - held.away * self.terms.stop_loss), "stop_loss"
        if self.terms.trailing_stop is not None:
            trail = held.best * (1 - held.away * self.terms.trailing_stop)
            if stop is None or held.away * (trail - stop) > 0:
                stop, name = trail, "trailing_stop"
        if held.targets_done < len(self.targets):
            level = held.base * (1 + held.away * self.targets[held.targets_done][0])
            target = _stepped(level, self.terms.tick, up=held.away > 0)
            if target <= 0:
                target = None
        return stop, name, target

    def open(self, bar: Bar) -> None:
        self.leave_as_decided(bar)
        self.enter_as_decided(bar)
        self.leave_beyond(bar)

    def leave_as_decided(self, bar: Bar) -> None:
        if self.leave:
            assert self.held is not None
            self.all_out(
                bar.at_us, self.price_of(bar.open, buying=self.held.side == "short", slips=True), "signal"
            )
        self.leave = False

    def enter_as_decided(self, bar: Bar) -> None:
        if self.enter:
            self.buy_in(bar, self.enter)
        if self.add and self.held is not None:
            self.add_on(bar)
        self.enter, self.add = "", False

    def leave_beyond(self, bar: Bar) -> None:
        while self.held is not None:
            held = self.held
            stop, name, target = self.levels()
            if stop is not None and held.away * (bar.open - stop) <= 0:
                self.all_out(bar.at_us, self.price_of(bar.open, buying=held.away < 0, slips=True), name)
            elif target is not None and held.away * (bar.open - target) >= 0:
                price = self.price_of(bar.open, buying=held.away < 0, slips=False)
                self.take_target(bar.at_us, price, ambiguous=False)
            else:
                return

    def inside(self, bar: Bar, finer: Sequence[Bar], duration_us: int) -> None:
        parts = [part for part in finer if bar.at_us <= part.at_us < bar.at_us + duration_us]
        when_us, placed = bar.at_us, False
        while self.held is not None:
            held = self.held
            stop, name, target = self.levels()
            stopped, reached = _touches(bar, held.side == "long", stop, target)
            if not (stopped or reached):
                break
            ambiguous = False
            if (stopped and reached) or placed:
                found = _first_hit(parts, held.side == "long", stop, target if reached else None)
                if found is not None:
                    stopped, when_us = found[0] == "stop", found[1]
                    parts = parts[found[2] :]
                    placed = True
                elif stopped and reached:
                    ambiguous = True
                    stopped = not self.terms.target_first
            if stopped:
                assert stop is not None
                price = self.price_of(stop, buying=held.away < 0, slips=True)
                self.all_out(when_us, price, name, ambiguous=ambiguous)
            else:
                assert target is not None
                self.take_target(when_us, target, ambiguous=ambiguous)
        if self.held is not None:
            long = self.held.side == "long"
            self.held.best = max(self.held.best, bar.high) if long else min(self.held.best, bar.low)

    def close(self, bar: Bar, say: Say) -> None:
        held = self.held
        worth = Decimal(0) if held is None else held.away * bar.close * held.quantity
        self.outcome.equity.append(self.outcome.cash + worth)
        if held is None:
            if say.long_entry and say.short_entry:
                self.outcome.refusals += 1
            elif say.long_entry:
                self.enter = "long"
            elif say.short_entry:
                self.enter = "short"
        elif held.side == "long" and say.long_exit:
            self.leave, self.enter = True, "short" if say.short_entry else ""
        elif held.side == "short" and say.short_exit:
            self.leave, self.enter = True, "long" if say.long_entry else ""
        elif self.terms.adds is not None and held.adds_done < self.terms.adds.most:
            asks = say.long_add if held.side == "long" else say.short_add
            every = self.terms.adds.every
            if every is None:
                self.add = asks
            else:
                level = held.last * (1 + held.away * every)
                beyond = held.away * (1 if every > 0 else -1) * (bar.close - level) >= 0
                self.add = beyond and (asks or not self.terms.adds.on_signal)


def _stepped(value: Decimal, step: Decimal | None, *, up: bool) -> Decimal:
    if step is None:
        return value
    return (value / step).to_integral_value(ROUND_CEILING if up else ROUND_FLOOR) * step


def _first_hit(
    parts: Sequence[Bar], long: bool, stop: Decimal | None, target: Decimal | None
) -> tuple[str, int, int] | None:
    """ "stop" or "target", whichever the finer rows show first, when, and from which row to look on.

    None where they do not tell. A row with a single price, as a trade, is looked at again.
    """
    for row, part in enumerate(parts):
        stopped, reached = _touches(part, long, stop, target)
        if stopped and reached:
            only_open = Bar(part.at_us, part.open, part.open, part.open, part.open)
            stopped, reached = _touches(only_open, long, stop, target)
            if not (stopped or reached):
                return None
        if stopped or reached:
            return "stop" if stopped else "target", part.at_us, row + (part.low < part.high)
    return None


def _touches(bar: Bar, long: bool, stop: Decimal | None, target: Decimal | None) -> tuple[bool, bool]:
    down, up = bar.low, bar.high
    if long:
        return stop is not None and down <= stop, target is not None and up >= target
    return stop is not None and up >= stop, target is not None and down <= target
