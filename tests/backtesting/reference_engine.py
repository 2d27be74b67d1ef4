"""The fill rules once more, slowly: plain Python on decimals, written from the rules and not from the kernel.

Everything is exact to 60 digits. Used to check the fast engine trade by trade.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
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
class Outcome:
    trades: list[RoundTrip] = field(default_factory=list)
    open_trade: RoundTrip | None = None
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
    outcome = Outcome(cash=capital)
    trade: RoundTrip | None = None
    best = Decimal(0)
    leave, enter = False, ""

    def price_of(raw: Decimal, *, buying: bool, slips: bool) -> Decimal:
        if slips:
            raw = raw * (1 + terms.slip) if buying else raw * (1 - terms.slip)
        return _stepped(raw, terms.tick, up=buying)

    def close(at_us: int, price: Decimal, reason: str, *, ambiguous: bool = False) -> None:
        nonlocal trade
        assert trade is not None
        trade.exit_at_us, trade.exit_price, trade.reason = at_us, price, reason
        trade.ambiguous = ambiguous
        notional = price * trade.quantity
        trade.exit_fee = notional * (terms.maker_fee if reason == "take_profit" else terms.fee)
        outcome.cash += (notional if trade.side == "long" else -notional) - trade.exit_fee
        outcome.trades.append(trade)
        trade = None

    def levels() -> tuple[Decimal | None, str, Decimal | None]:
        """The stop nearest the market, its name, and the target's limit price."""
        assert trade is not None
        away = 1 if trade.side == "long" else -1
        stop, name, target = None, "", None
        if terms.stop_loss is not None:
            stop, name = trade.entry_price * (1 - away * terms.stop_loss), "stop_loss"
        if terms.trailing_stop is not None:
            trail = best * (1 - away * terms.trailing_stop)
            if stop is None or (trail > stop if away > 0 else trail < stop):
                stop, name = trail, "trailing_stop"
        if terms.take_profit is not None:
            level = trade.entry_price * (1 + away * terms.take_profit)
            target = _stepped(level, terms.tick, up=away > 0)
            if target <= 0:
                target = None
        return stop, name, target

    for bar, say in zip(bars, says, strict=True):
        # At the open: what was decided on the candle before.
        if leave:
            assert trade is not None
            close(bar.at_us, price_of(bar.open, buying=trade.side == "short", slips=True), "signal")
        if enter:
            buying = enter == "long"
            price = price_of(bar.open, buying=buying, slips=True)
            quantity = Decimal(0)
            if outcome.cash > 0 and price > 0:
                quantity = outcome.cash * terms.size / (price * (1 + terms.fee))
                if terms.lot is None:
                    quantity = Context(prec=15, rounding=ROUND_DOWN).plus(quantity)
                else:
                    quantity = _stepped(quantity, terms.lot, up=False)
            notional = price * quantity
            if quantity <= 0 or notional < terms.min_notional:
                outcome.refusals += 1
            else:
                trade = RoundTrip(enter, bar.at_us, price, quantity, notional * terms.fee)
                outcome.cash += (-notional if buying else notional) - trade.entry_fee
                best = price
        leave, enter = False, ""

        if trade is not None:
            stop, name, target = levels()
            long = trade.side == "long"
            past_stop = stop is not None and (bar.open <= stop if long else bar.open >= stop)
            past_target = target is not None and (bar.open >= target if long else bar.open <= target)
            if past_stop:
                close(bar.at_us, price_of(bar.open, buying=not long, slips=True), name)
            elif past_target:
                close(bar.at_us, price_of(bar.open, buying=not long, slips=False), "take_profit")
            else:
                hit = _first_hit(bar, long, stop, target, finer, duration_us)
                if hit is not None and hit[0] == "stop":
                    assert stop is not None
                    close(hit[1], price_of(stop, buying=not long, slips=True), name, ambiguous=hit[2])
                elif hit is not None:
                    assert target is not None
                    close(hit[1], target, "take_profit")
        if trade is not None:
            best = max(best, bar.high) if trade.side == "long" else min(best, bar.low)

        worth = Decimal(0)
        if trade is not None:
            worth = bar.close * trade.quantity * (1 if trade.side == "long" else -1)
        outcome.equity.append(outcome.cash + worth)

        # At the close: what is to be done at the next open.
        if trade is None:
            if say.long_entry and say.short_entry:
                outcome.refusals += 1
            elif say.long_entry:
                enter = "long"
            elif say.short_entry:
                enter = "short"
        elif trade.side == "long" and say.long_exit:
            leave, enter = True, "short" if say.short_entry else ""
        elif trade.side == "short" and say.short_exit:
            leave, enter = True, "long" if say.long_entry else ""
    outcome.open_trade = trade
    return outcome


def _stepped(value: Decimal, step: Decimal | None, *, up: bool) -> Decimal:
    if step is None:
        return value
    return (value / step).to_integral_value(ROUND_CEILING if up else ROUND_FLOOR) * step


def _first_hit(
    bar: Bar,
    long: bool,
    stop: Decimal | None,
    target: Decimal | None,
    finer: Sequence[Bar],
    duration_us: int,
) -> tuple[str, int, bool] | None:
    """("stop" or "target", when, whether it was a guess), or None where neither was touched."""
    stopped, reached = _touches(bar, long, stop, target)
    if stopped and reached:
        for part in finer:
            if not bar.at_us <= part.at_us < bar.at_us + duration_us:
                continue
            part_stopped, part_reached = _touches(part, long, stop, target)
            if part_stopped and part_reached:
                only_open = Bar(part.at_us, part.open, part.open, part.open, part.open)
                part_stopped, part_reached = _touches(only_open, long, stop, target)
                if not (part_stopped or part_reached):
                    break
            if part_stopped or part_reached:
                return "stop" if part_stopped else "target", part.at_us, False
        return "stop", bar.at_us, True
    if stopped:
        return "stop", bar.at_us, False
    if reached:
        return "target", bar.at_us, False
    return None


def _touches(bar: Bar, long: bool, stop: Decimal | None, target: Decimal | None) -> tuple[bool, bool]:
    down, up = bar.low, bar.high
    if long:
        return stop is not None and down <= stop, target is not None and up >= target
    return stop is not None and up >= stop, target is not None and down <= target
