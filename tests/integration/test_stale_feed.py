"""A feed that falls silent while its market trades: told by the collector, and heeded by the bots' gate."""

from __future__ import annotations

from decimal import Decimal

import pytest

from bots.entry_gates import EntryWish
from bots.feed_watch import FeedWatch
from bots.gates import PASSED, Gate
from bots.orders import PositionSide
from bots.stores import AccountSummary
from bots.views import EquityPoint
from data.models import FeedState, Market
from data.timeframes import Timeframe
from database.repositories.market_facts_repository import MarketFactsRepository
from tests.integration.conftest import Desk, StartVenue
from tests.integration.processes import wait_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

SILENT, HEARD = Market("okx", "BTC-USDT"), Market("okx", "ETH-USDT")


def wish(market: Market, closes_at_us: int) -> EntryWish:
    """To enter at the candle that closes then."""
    account = AccountSummary(
        point=EquityPoint(at_us=closes_at_us, equity=Decimal(1), cash=Decimal(1), position=Decimal(0)),
        position=None,
        realised_pnl=Decimal(0),
        fees_paid=Decimal(0),
        trades=0,
        wins=0,
    )
    opened_at_us = closes_at_us - Timeframe.M1.us
    return EntryWish(
        bot_id=1,
        bot="trend",
        market=market,
        timeframe=Timeframe.M1,
        side=PositionSide.LONG,
        opened_at_us=opened_at_us,
        closes_at_us=closes_at_us,
        close=100.0,
        seen_until_us=opened_at_us,
        account=account,
    )


def both_fresh(facts: MarketFactsRepository) -> dict[Market, FeedState] | None:
    """What is known of both feeds once neither is stale."""
    states = {feed.market: feed for feed in facts.feeds()}
    return states if len(states) == 2 and not any(feed.stale for feed in states.values()) else None


def test_a_silent_feed_is_told_to_be_stale_and_nobody_enters_on_it_until_it_speaks_again(
    desk: Desk, simulated_venue: StartVenue
) -> None:
    with simulated_venue("--rate", "25") as venue:
        desk.record({"okx": [SILENT.symbol, HEARD.symbol]})
        with desk.collector(venue, "--venue", "okx"):
            facts = MarketFactsRepository(desk.database_url)
            watch = FeedWatch(facts)
            try:
                fresh = wait_for("both feeds", lambda: both_fresh(facts))
                now_us = fresh[SILENT].since_us
                watch.refresh()
                assert watch(wish(SILENT, now_us)) == PASSED

                venue.plan({"fault": "silent", "exchange": "okx", "symbol": SILENT.symbol})
                stale = wait_for(
                    "word that it is stale",
                    lambda: next(
                        (feed for feed in facts.feeds() if feed.market == SILENT and feed.stale), None
                    ),
                )
                watch.refresh()
                verdict = watch(wish(SILENT, stale.since_us))
                assert verdict.gate is Gate.STALE_DATA
                assert stale.detail in verdict.detail

                venue.heal()
                wait_for(
                    "word that it is fresh",
                    lambda: any(feed.market == SILENT and not feed.stale for feed in facts.feeds()),
                )
                watch.refresh()
                assert watch(wish(SILENT, stale.since_us)) == PASSED
                told = facts.feed_changes(SILENT, now_us, stale.since_us + Timeframe.H1.us)
                assert [feed.stale for feed in told][:3] == [False, True, False]
            finally:
                facts.close()
