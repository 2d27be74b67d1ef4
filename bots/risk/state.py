"""What limits remember from candle to candle: pure, by the venue's clock, kept with the bot's account.

The same candles give the same state, whether they came live, after an outage or in a backtest.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from bots.risk.limits import Limits

DAY_US = 86_400_000_000
MINUTE_US = 60_000_000


class RiskState(msgspec.Struct, frozen=True, kw_only=True):
    """Equity of the day and of the peak, when entries rest until, and the newest orders."""

    equity: Decimal  # at the newest close; the capital before the first
    peak: Decimal  # the highest since the beginning or the last cool-down
    at_us: int | None = None  # the newest close
    day_us: int | None = None  # midnight of its day
    day_equity: Decimal = Decimal(0)  # at that midnight
    rests_until_us: int | None = None  # no entries before: the drawdown was reached
    ordered_at_us: tuple[int, ...] = ()  # entries and add-ons of the last minute, ascending

    @property
    def drawdown(self) -> Decimal:
        """Fraction of the peak that is lost now."""
        return 1 - self.equity / self.peak if self.peak > 0 else Decimal(0)

    @property
    def daily_loss(self) -> Decimal:
        """Quote currency lost since midnight, never below 0."""
        return max(Decimal(0), self.day_equity - self.equity)


def begin(capital: Decimal) -> RiskState:
    """Before the first candle."""
    return RiskState(equity=capital, peak=capital, day_equity=capital)


def observe(state: RiskState, at_us: int, equity: Decimal, limits: Limits) -> RiskState:
    """A candle has closed at `at_us`, and the account is worth `equity` there."""
    # A candle that closes at midnight belongs to the day that ends.
    day_us = (at_us - 1) // DAY_US * DAY_US
    day_equity = state.day_equity if day_us == state.day_us else state.equity
    peak, rests_until_us = state.peak, state.rests_until_us
    if rests_until_us is not None and at_us >= rests_until_us:
        # Measured from the old peak it would rest for ever.
        peak, rests_until_us = equity, None
    peak = max(peak, equity)
    if (
        rests_until_us is None
        and limits.max_drawdown is not None
        and limits.cool_down_minutes is not None
        and peak - equity >= limits.max_drawdown * peak
        and peak > equity
    ):
        rests_until_us = at_us + limits.cool_down_minutes * MINUTE_US
    return RiskState(
        equity=equity,
        peak=peak,
        at_us=at_us,
        day_us=day_us,
        day_equity=day_equity,
        rests_until_us=rests_until_us,
        ordered_at_us=recent(state, at_us),
    )


def recent(state: RiskState, at_us: int) -> tuple[int, ...]:
    """The orders of the minute that ends at `at_us`."""
    if not state.ordered_at_us:
        return ()
    return tuple(ordered for ordered in state.ordered_at_us if ordered > at_us - MINUTE_US)


def ordered(state: RiskState, at_us: int) -> RiskState:
    """An entry or add-on was ordered at `at_us`."""
    return msgspec.structs.replace(state, ordered_at_us=(*recent(state, at_us), at_us))
