from __future__ import annotations

from decimal import Decimal

import pytest

from bots.entry_gates import EntryWish, ask
from bots.feed_watch import FeedWatch
from bots.gates import PASSED, Gate, GateVerdict
from bots.orders import PositionSide
from bots.stores import AccountSummary
from bots.views import EquityPoint
from data.coverage import Span, StateSpan
from data.models import FeedState, Market
from data.timeframes import Timeframe
from tests.bots.bot_fakes import BTC, MINUTE, T0


def wish(*, opened_at_us: int = T0, seen_until_us: int | None = T0, market: Market = BTC) -> EntryWish:
    point = EquityPoint(at_us=T0, equity=Decimal(1), cash=Decimal(1), position=Decimal(0))
    account = AccountSummary(
        point=point, position=None, realised_pnl=Decimal(0), fees_paid=Decimal(0), trades=0, wins=0
    )
    return EntryWish(
        bot_id=1,
        bot="trend",
        market=market,
        timeframe=Timeframe.M1,
        side=PositionSide.LONG,
        opened_at_us=opened_at_us,
        closes_at_us=opened_at_us + MINUTE,
        close=100.0,
        seen_until_us=seen_until_us,
        account=account,
    )


def feed(*, stale: bool, since_us: int, market: Market = BTC) -> FeedState:
    return FeedState(
        market=market,
        stale=stale,
        since_us=since_us,
        last_trade_at_us=since_us,
        usual_pause_s=1.0,
        detail="no trade for 40 s" if stale else "",
    )


class Stored:
    """Feeds and coverage that are stored."""

    def __init__(self, *feeds: FeedState, missing: tuple[Span, ...] = ()) -> None:
        self.stored = list(feeds)
        self.missing = missing

    def feeds(self) -> list[FeedState]:
        return self.stored

    def minute_spans(self, market: Market, start_us: int, end_us: int) -> list[StateSpan]:
        raise NotImplementedError

    def missing_minutes(self, market: Market, start_us: int, end_us: int) -> list[Span]:
        return [span for span in self.missing if span[0] < end_us and span[1] > start_us]


def test_a_stale_feed_lets_nobody_enter_until_it_is_fresh_again() -> None:
    watch = FeedWatch()
    assert watch(wish()) == PASSED
    watch.hear([feed(stale=True, since_us=T0 + 30_000_000)])
    verdict = watch(wish())
    assert verdict.gate is Gate.STALE_DATA
    assert "no trade for 40 s" in verdict.detail
    assert watch(wish(market=Market("okx", "ETH-USDT"))) == PASSED
    watch.hear([feed(stale=False, since_us=T0 + 50_000_000)])
    assert watch(wish()) == PASSED


def test_candles_of_before_a_feed_went_stale_may_be_made_up_for() -> None:
    watch = FeedWatch()
    watch.hear([feed(stale=True, since_us=T0 + 10 * MINUTE)])
    assert watch(wish()) == PASSED
    assert watch(wish(opened_at_us=T0 + 9 * MINUTE, seen_until_us=None)).gate is Gate.STALE_DATA


def test_stored_states_count_and_older_news_do_not() -> None:
    watch = FeedWatch(Stored(feed(stale=True, since_us=T0)))
    watch.refresh()
    watch.hear([feed(stale=False, since_us=T0 - MINUTE)])
    assert watch(wish()).gate is Gate.STALE_DATA


@pytest.mark.parametrize(
    ("seen_until_us", "gate"),
    [(T0, Gate.NONE), (T0 - 3 * MINUTE, Gate.MISSING_DATA), (None, Gate.NONE)],
)
def test_a_candle_after_a_hole_lets_nobody_enter(seen_until_us: int | None, gate: Gate) -> None:
    watch = FeedWatch(coverage=Stored(missing=((T0 - 2 * MINUTE, T0 - MINUTE),)))
    assert watch(wish(seen_until_us=seen_until_us)).gate is gate


def test_an_interval_that_was_really_empty_is_no_hole() -> None:
    assert FeedWatch(coverage=Stored())(wish(seen_until_us=T0 - 3 * MINUTE)) == PASSED


def test_the_first_gate_that_refuses_is_the_one_that_is_named() -> None:
    limit = GateVerdict(gate=Gate.LIMIT, detail="three positions are open")
    budget = GateVerdict(gate=Gate.BUDGET, detail="no budget")
    asked = []

    def refuse(wanted: EntryWish) -> GateVerdict:
        asked.append(wanted)
        return budget

    assert ask([lambda _: PASSED, lambda _: limit, refuse], wish()) == limit
    assert asked == []
