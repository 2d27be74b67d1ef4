"""A basket that has an account together with other bots: its sales pay for its buys, for nobody else's."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
import pytest

from backtesting.baskets import go_through
from backtesting.portfolio import Leg
from bots.accounts import AccountTerms, AccountView, Share, SubLedger, broken_by, opened, with_share
from bots.config import BotConfig
from bots.gates import Gate
from bots.ladders.basket_bot import BasketBot
from bots.ledger import EXACT, cost_of
from bots.lifecycle import BotState
from bots.orders import Fill
from bots.risk.desk_rules import DeskRules
from bots.risk.limits import Limits
from data.models import Market, Ohlcv
from tests.bots.bot_fakes import MINUTE, T0, bot_config
from tests.bots.ladders.ladder_runs import RULES
from tests.bots.ladders.test_basket_bot import MARKETS, Life, basket, part, wander
from tests.bots.test_paper_bot import empty_record

D = Decimal
WHOLE = {"BTC-USDT": 0.5, "ETH-USDT": 0.3, "SOL-USDT": 0.2}


class OneAccount:
    """Satisfies AccountStore: one account, whose capital is what the basket has too."""

    def __init__(self, limits: Limits) -> None:
        self.view = opened(AccountTerms(name="main", quote="USDT", capital=D(10_000), limits=limits))

    def account(self, name: str) -> AccountView:
        return self.view

    def save_accounts(self, accounts: list[AccountTerms]) -> None:
        raise AssertionError("nothing is to be written")

    def save_limits(self, document: dict[str, Any], at_us: int) -> bool:
        raise AssertionError("nothing is to be written")


class Sharing(Life):
    """A life whose steps are judged as their transaction judges them."""

    def __init__(
        self,
        history: Mapping[Market, Ohlcv],
        *,
        account: OneAccount | None,
        greedy: bool = False,
        weights: Mapping[str, float] = WHOLE,
    ) -> None:
        changes = {} if account is None else {"account": "main"}
        self.config: BotConfig = bot_config(
            strategy=None,
            symbol=None,
            type="rebalance",
            settings={"weights": dict(weights), "every": "15m"},
            slippage_bps=2,
            **changes,
        )
        self.shared, self.greedy = account, greedy
        self.record = empty_record()
        self.steps = []
        self.bot = BasketBot(self.record, self.config, basket(self.config))
        self.bot.restart_clock(T0 + MINUTE)
        self.bot.move(BotState.RUNNING, at_us=T0, why="test")
        self.bot.begin_on(list(history.values()), [RULES] * len(MARKETS), T0)
        self.keep()

    def keep(self) -> None:
        had = len(self.steps)
        super().keep()
        if self.shared is None:
            return
        for step in self.steps[had:]:
            assert step.sub_ledger is not None
            share = Share(bot_id=step.bot_id, bot="basket", market=MARKETS[0], ledger=step.sub_ledger)
            if step.grows:
                assert broken_by(self.shared.view, share) == ()
            self.shared.view = with_share(self.shared.view, share)
        if self.greedy and self.bot.has_position:
            self.shared.view = with_share(self.shared.view, self.taking_all())

    def taking_all(self) -> Share:
        """Another bot that puts to use whatever the account has left."""
        assert self.shared is not None
        view = self.shared.view
        before = sum((one.ledger.in_use for one in view.shares if one.bot_id == 99), D(0))
        left = max(D(0), view.budget - view.in_use)
        ledger = SubLedger(account="main", in_use=before + left, gained=D(0), equity_gained=D(0), at_us=T0)
        return Share(bot_id=99, bot="greedy", market=MARKETS[0], ledger=ledger)


def lived(stored: Mapping[Market, Ohlcv], account: OneAccount | None, **changes: Any) -> Sharing:
    life = Sharing(part(stored, 0, 1), account=account, **changes)
    gates = () if account is None else (DeskRules(store=account),)
    for row in range(1, len(stored[MARKETS[0]])):
        life.feed(part(stored, row, row + 1), *gates)
    return life


def with_gaps(stored: Mapping[Market, Ohlcv], seed: int) -> dict[Market, Ohlcv]:
    """First trades far from the closes before them: sales bring more or less than was thought."""
    chance = random.Random(seed)
    found = {}
    for market, one in stored.items():
        opens = np.array([round(price * (1 + chance.gauss(0, 0.03)), 2) for price in one.open.tolist()])
        found[market] = dataclasses.replace(one, open=opens)
    return found


def refused_for_money(life: Life) -> int:
    return sum(made.gate is Gate.BUDGET for step in life.steps for made in step.decisions)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_basket_that_fills_its_account_is_not_refused_by_its_own_sales(seed: int) -> None:
    stored = wander(seed, length=120)
    alone, shared = lived(stored, None), lived(stored, OneAccount(Limits()))
    assert refused_for_money(shared) == 0
    assert shared.fills == alone.fills
    assert len(shared.fills) > 10


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_two_bots_never_spend_the_same_money_however_far_prices_jump(seed: int) -> None:
    stored = with_gaps(wander(seed, length=120), seed)
    life = lived(stored, OneAccount(Limits()), greedy=True, weights={**WHOLE, "SOL-USDT": 0.1})
    assert len(life.fills) > 10
    life.bot._account.verify()


def test_a_backtest_that_shares_money_fills_what_the_bot_has_filled() -> None:
    stored = with_gaps(wander(2, length=120), 2)
    life = lived(stored, OneAccount(Limits()), weights={**WHOLE, "SOL-USDT": 0.1})
    strategy = basket(life.config)
    legs = [
        Leg(symbol=market.symbol, strategy=strategy, ohlcv=one.rows(1, len(one)), rules=RULES)
        for market, one in stored.items()
    ]

    def fills(*, shares_money: bool) -> list[Fill]:
        run = go_through(
            strategy,
            legs,
            capital=life.config.capital,
            costs=life.config.costs,
            shares_money=shares_money,
        )
        return [fill for _, fill in run.result.fills]

    assert fills(shares_money=True) == life.fills
    assert fills(shares_money=False) != life.fills


def test_while_a_sale_waits_its_money_is_nobody_elses() -> None:
    stored = wander(1, length=60)
    account = OneAccount(Limits())
    life = Sharing(part(stored, 0, 1), account=account)
    waited = 0
    for row in range(1, 60):
        life.feed(part(stored, row, row + 1), DeskRules(store=account))
        ledger = life.steps[-1].sub_ledger
        assert ledger is not None
        cost = life.bot._account.books().cost
        assert cost is not None
        assert ledger.in_use >= cost
        if any(not due.notional for due in life.bot._account.due):
            waited += 1
            assert sum(one.in_use for one in ledger.parts) > ledger.in_use
    assert waited > 2


def test_a_limit_of_the_account_goes_by_all_that_is_bought() -> None:
    stored = wander(1, length=60)
    tight = OneAccount(msgspec.structs.replace(Limits(), max_account_notional=D(10_000)))
    life = lived(stored, tight)
    told = [made.outcome for step in life.steps for made in step.decisions]
    assert any("max_account_notional is 10000" in words for words in told)


def test_limits_count_a_waiting_buy_in_full_and_a_waiting_sale_as_held_until_it_is_filled() -> None:
    stored = wander(1, length=60)
    account = OneAccount(Limits())
    life = Sharing(part(stored, 0, 1), account=account)
    seen = 0
    for row in range(1, 60):
        life.feed(part(stored, row, row + 1), DeskRules(store=account))
        due = life.bot._account.due
        ledger = life.steps[-1].sub_ledger
        assert ledger is not None
        if not ledger.parts or len({bool(one.notional) for one in due}) < 2:
            continue
        seen += 1
        basket_share = Share(bot_id=1, bot="basket", market=MARKETS[0], ledger=ledger)
        for one, market, books in zip(ledger.parts, MARKETS, life.bot._account.ledgers, strict=True):
            waits = sum((due_.notional for due_ in due if MARKETS[due_.part] == market), D(0))
            cost = cost_of(books.state)
            assert one.in_use == EXACT.add(cost, waits)
            # Another bot is judged by that: one more of the quote currency is over the limit.
            other = SubLedger(account="main", in_use=D(1), gained=D(0), equity_gained=D(0), at_us=T0)
            wanted = Share(bot_id=2, bot="other", market=market, ledger=other)
            for limit, used in (
                ("max_symbol_notional", one.in_use),
                ("max_account_notional", basket_share.most_in_use),
                ("max_correlated_exposure", one.in_use),
            ):
                for room, broken in ((D(1), []), (D(0), [limit])):
                    terms = msgspec.structs.replace(Limits(), **{limit: EXACT.add(used, room)})
                    view = with_share(OneAccount(terms).view, basket_share)
                    found = [violation.limit for violation in broken_by(view, wanted)]
                    assert [name for name in found if name != "budget"] == broken
    assert seen > 2
