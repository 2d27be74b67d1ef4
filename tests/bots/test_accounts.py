from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

from bots.accounts import (
    AccountTerms,
    AccountView,
    Share,
    SharePart,
    SubLedger,
    broken_by,
    grown,
    opened,
    with_share,
)
from bots.entry_gates import EntryWish
from bots.gates import Gate
from bots.orders import PositionSide
from bots.risk.desk_rules import DeskRules
from bots.risk.limits import NO_LIMITS, Limits
from bots.stores import AccountSummary
from bots.views import EquityPoint
from data.models import Market
from data.timeframes import Timeframe

D = Decimal
BTC, ETH = Market("okx", "BTC-USDT"), Market("okx", "ETH-USDT")


def share(bot_id: int, market: Market = BTC, in_use: int = 0, **parts: int) -> Share:
    """A bot's share; `parts` make it a basket, by the base of each symbol."""
    of = tuple(SharePart(symbol=f"{base}-USDT", in_use=D(used)) for base, used in parts.items())
    used = D(sum(parts.values())) if parts else D(in_use)
    ledger = SubLedger(account="main", in_use=used, gained=D(0), equity_gained=D(0), at_us=1, parts=of)
    return Share(bot_id=bot_id, bot=str(bot_id), market=market, ledger=ledger)


def account(*shares: Share, limits: Limits = NO_LIMITS) -> AccountView:
    view = opened(AccountTerms(name="main", quote="USDT", capital=D(10_000), limits=limits))
    for one in shares:
        view = with_share(view, one)
    return view


def limits_broken(view: AccountView, wanted: Share) -> list[tuple[str, Decimal]]:
    return [(one.limit, one.used) for one in broken_by(view, wanted)]


def test_a_limit_by_symbol_counts_a_baskets_symbols_where_they_belong() -> None:
    view = account(share(1, BTC, 300), share(2, BTC=400, ETH=400), limits=Limits(max_symbol_notional=D(800)))
    assert limits_broken(view, share(3, BTC, 100)) == []
    assert limits_broken(view, share(3, BTC, 101)) == [("max_symbol_notional", D(801))]
    assert limits_broken(view, share(3, ETH, 400)) == []
    # The basket's own first market is another one: what counts is the symbol of each part.
    assert limits_broken(view, share(3, BTC, SOL=700, ETH=401)) == [("max_symbol_notional", D(801))]
    assert limits_broken(view, share(3, Market("binance", "BTC-USDT"), 800)) == []


def test_a_cluster_counts_the_parts_that_are_in_it_alone() -> None:
    view = account(share(1, BTC=300, SOL=5_000), limits=Limits(max_correlated_exposure=D(1_000)))
    together = ("BTC-USDT", "ETH-USDT")
    part = SharePart(symbol="ETH-USDT", in_use=D(700), together=together)
    ledger = SubLedger(account="main", in_use=D(700), gained=D(0), equity_gained=D(0), at_us=1, parts=(part,))
    wanted = Share(bot_id=2, bot="2", market=ETH, ledger=ledger)
    assert limits_broken(view, wanted) == []
    more = Share(bot_id=2, bot="2", market=ETH, ledger=grown(ledger, "ETH-USDT", D(1)))
    assert limits_broken(view, more) == [("max_correlated_exposure", D(1_001))]


def test_what_a_basket_has_in_use_counts_once_against_the_budget() -> None:
    view = account(share(1, BTC=3_000, ETH=3_000))
    assert view.in_use == D(6_000)
    assert limits_broken(view, share(2, BTC, 4_000)) == []
    assert limits_broken(view, share(2, BTC, 4_001)) == [("budget", D(10_001))]


class Accounts:
    def __init__(self, view: AccountView) -> None:
        self.view = view

    def save_accounts(self, accounts: list[AccountTerms]) -> None:
        raise NotImplementedError

    def account(self, name: str) -> AccountView | None:
        return self.view

    def save_limits(self, document: dict[str, Any], at_us: int) -> bool:
        raise NotImplementedError


def wish(market: Market, notional: int, before: int, ledger: SubLedger) -> EntryWish:
    point = EquityPoint(at_us=0, equity=D(1), cash=D(1), position=D(0))
    return EntryWish(
        bot_id=9,
        bot="basket",
        market=market,
        timeframe=Timeframe.M1,
        side=PositionSide.LONG,
        opened_at_us=0,
        closes_at_us=60_000_000,
        close=1.0,
        seen_until_us=None,
        account=AccountSummary(
            point=point, position=None, realised_pnl=D(0), fees_paid=D(0), trades=0, wins=0
        ),
        notional=D(notional),
        share=ledger,
        before=before,
    )


def test_the_account_is_asked_about_each_purchase_of_a_basket_on_top_of_those_before(tmp_path: Path) -> None:
    limits = Limits(max_symbol_notional=D(600), max_orders_per_minute=2)
    rules = DeskRules(tmp_path / "risk.json", Accounts(account(share(1, BTC, 200), limits=limits)))
    ledger = share(9, BTC=0, ETH=0).ledger
    assert rules(wish(BTC, 400, 0, ledger)).passes
    assert rules(wish(BTC, 401, 0, ledger)).gate is Gate.LIMIT
    ledger = grown(ledger, "BTC-USDT", D(400))
    assert rules(wish(ETH, 600, 1, ledger)).passes
    third = rules(wish(ETH, 600, 2, ledger))
    assert "max_orders_per_minute" in third.detail
