from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import msgspec
import psycopg
import pytest

from bots.accounts import AccountTerms, SharePart, SubLedger
from bots.config import as_document, parse_bot
from bots.emergency import EmergencyState
from bots.gates import Gate, Violation
from bots.journal import JournalEntry
from bots.lifecycle import BotState
from bots.orders import Order, OrderReason, OrderStatus, PositionSide
from bots.risk.limits import NO_LIMITS, Limits
from bots.stores import BotEvent, BotStep, LimitBroken
from data.models import Market, Side
from data.timeframes import Timeframe
from database.engine import libpq_url
from database.repositories.bot_repository import BotRepository
from database.repositories.risk_repository import RiskRepository
from database.step_guards import ENTRY_LOCK

pytestmark = pytest.mark.integration

T0 = 1_760_000_040_000_000
MINUTE = 60_000_000
BTC = Market("binance", "BTC-USDT")
_names = (f"bot{number}" for number in itertools.count())


@pytest.fixture
def bots(store_url: str) -> Iterator[BotRepository]:
    repository = BotRepository(store_url, pool_size=12)
    yield repository
    repository.close()


@pytest.fixture
def risk(store_url: str) -> Iterator[RiskRepository]:
    repository = RiskRepository(store_url, pool_size=4)
    yield repository
    repository.release(at_us=T0, who="test", why="the test is over")
    repository.close()


@pytest.fixture
def new_account(risk: RiskRepository) -> Callable[..., str]:
    def make(capital: int, limits: Limits = NO_LIMITS) -> str:
        name = f"account_{next(_names)}"
        risk.save_accounts([AccountTerms(name=name, quote="USDT", capital=Decimal(capital), limits=limits)])
        return name

    return make


def new_bot(bots: BotRepository) -> int:
    name = next(_names)
    document = {"name": name, "venue": "binance", "symbol": "BTC-USDT", "strategy": "x", "capital": 10_000}
    assert bots.create(
        as_document(parse_bot(document, where="test")),
        name=name,
        source="",
        desired=BotState.CREATED,
        health="",
        event=BotEvent(at_us=T0, who="test", what="created"),
    )
    wish = bots.wish(name)
    assert wish is not None
    return wish.bot_id


def step_of(
    bot_id: int,
    number: int = 1,
    *,
    account: str | None = None,
    in_use: Decimal | int = 0,
    gained: Decimal | int = 0,
    reason: OrderReason | None = OrderReason.ENTRY,
    market: Market = BTC,
    entries: tuple[JournalEntry, ...] = (),
    violations: tuple[LimitBroken, ...] = (),
) -> BotStep:
    """A step that orders something for the next open, with so much of its account in use."""
    at_us = T0 + number * MINUTE
    share = None
    if account is not None:
        share = SubLedger(
            account=account,
            in_use=Decimal(in_use),
            gained=Decimal(gained),
            equity_gained=Decimal(gained),
            at_us=at_us,
        )
    order = Order(
        sequence=number,
        side=Side.BUY,
        position_side=PositionSide.LONG,
        reason=reason or OrderReason.ENTRY,
        status=OrderStatus.PENDING,
        decided_at_us=at_us,
    )
    return BotStep(
        bot_id=bot_id,
        step=number,
        at_us=at_us,
        state=BotState.RUNNING,
        health="",
        market=market,
        timeframe=Timeframe.M1,
        orders=(order,) if reason is not None else (),
        entries=entries,
        violations=violations,
        sub_ledger=share,
    )


def test_bots_of_one_account_never_spend_the_same_money_however_they_race(
    store_url: str, bots: BotRepository, risk: RiskRepository, new_account: Callable[..., str]
) -> None:
    account = new_account(1_000)
    ids = [new_bot(bots) for _ in range(12)]
    seen: list[Decimal] = []
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            view = risk.account(account)
            assert view is not None
            seen.append(view.in_use)

    def trade(bot_id: int) -> int:
        dice = random.Random(bot_id)
        own = BotRepository(store_url, pool_size=1)  # connections of its own, as another process has
        entered = 0
        try:
            number = 1
            for _ in range(8):
                amount = dice.randrange(50, 400)
                if own.commit([step_of(bot_id, number, account=account, in_use=amount)]):
                    entered += 1
                    done = own.commit([step_of(bot_id, number + 1, account=account, reason=None)])
                    assert done == {bot_id}
                    number += 2
        finally:
            own.close()
        return entered

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        with ThreadPoolExecutor(12) as pool:
            entered = list(pool.map(trade, ids))
    finally:
        over.set()
        watcher.join()

    assert max(seen) <= 1_000
    assert len(set(seen)) > 5, "they must have raced for the test to say anything"
    assert sum(entered) > 12


def test_of_many_at_one_instant_only_as_many_enter_as_the_account_pays_for(
    bots: BotRepository, risk: RiskRepository, new_account: Callable[..., str]
) -> None:
    account = new_account(1_000)
    ids = [new_bot(bots) for _ in range(10)]
    together = threading.Barrier(10)

    def enter(bot_id: int) -> int:
        together.wait()
        return len(bots.commit([step_of(bot_id, account=account, in_use=300)]))

    with ThreadPoolExecutor(10) as pool:
        assert sum(pool.map(enter, ids)) == 3
    view = risk.account(account)
    assert view is not None
    assert view.in_use == 900


def test_the_steps_of_one_commit_share_the_account_as_well(
    bots: BotRepository, new_account: Callable[..., str]
) -> None:
    account = new_account(1_000)
    first, second, third = (new_bot(bots) for _ in range(3))
    steps = [step_of(bot, account=account, in_use=400) for bot in (first, second, third)]
    assert bots.commit(steps) == {first, second}


def test_what_bots_gained_can_be_spent_by_others_and_stays_when_they_are_deleted(
    bots: BotRepository, risk: RiskRepository, new_account: Callable[..., str]
) -> None:
    account = new_account(1_000)
    winner, other = new_bot(bots), new_bot(bots)
    assert bots.commit([step_of(winner, account=account, gained=500, reason=None)])
    wish = next(wish for wish in bots.wishes() if wish.bot_id == winner)
    assert bots.delete(wish, event=BotEvent(at_us=T0, who="test", what="deleted"))
    view = risk.account(account)
    assert view is not None
    assert (view.settled, view.budget) == (Decimal(500), Decimal(1_500))
    assert bots.commit([step_of(other, account=account, in_use=1_501)]) == frozenset()
    assert bots.commit([step_of(other, account=account, in_use=1_500)]) == {other}


def test_limits_of_the_account_on_one_symbol_hold_under_the_same_lock(
    bots: BotRepository, new_account: Callable[..., str]
) -> None:
    account = new_account(1_000, Limits(max_symbol_notional=Decimal(500)))
    first, second, elsewhere = (new_bot(bots) for _ in range(3))
    assert bots.commit([step_of(first, account=account, in_use=400)])
    assert not bots.commit([step_of(second, account=account, in_use=200)])
    eth = Market("binance", "ETH-USDT")
    assert bots.commit([step_of(elsewhere, account=account, in_use=200, market=eth)])


def test_an_exit_is_stored_although_the_account_has_lost_more_than_it_had(
    bots: BotRepository, new_account: Callable[..., str]
) -> None:
    account = new_account(1_000)
    bot = new_bot(bots)
    assert bots.commit([step_of(bot, account=account, in_use=900)])
    leaving = step_of(bot, 2, account=account, in_use=900, gained=-800, reason=OrderReason.EXIT_SIGNAL)
    assert bots.commit([leaving]) == {bot}


def test_while_a_stop_stands_no_entry_is_stored_and_every_exit_is(
    bots: BotRepository, risk: RiskRepository
) -> None:
    bot = new_bot(bots)
    risk.engage(EmergencyState(engaged=True, since_us=T0, who="anna", why="a test"))
    assert bots.commit([step_of(bot)]) == frozenset()
    assert bots.commit([step_of(bot, reason=OrderReason.ADD_ON)]) == frozenset()
    assert bots.commit([step_of(bot, reason=OrderReason.EXIT_SIGNAL)]) == {bot}
    assert risk.release(at_us=T0, who="anna", why="")
    assert bots.commit([step_of(bot, 2)]) == {bot}
    assert not risk.release(at_us=T0, who="anna", why="")


def test_no_entry_is_committed_once_a_stop_was_whoever_is_racing_it(
    store_url: str, bots: BotRepository, risk: RiskRepository
) -> None:
    ids = [new_bot(bots) for _ in range(6)]
    stopped_at: list[float] = []
    entered: list[tuple[float, float]] = []

    def trade(bot_id: int) -> None:
        for number in itertools.count(1):
            began = time.monotonic()
            if not bots.commit([step_of(bot_id, number)]):
                return
            entered.append((began, time.monotonic()))

    def stop() -> None:
        give_up_at = time.monotonic() + 60
        while len(entered) < 20 and time.monotonic() < give_up_at:
            time.sleep(0.005)
        risk.engage(EmergencyState(engaged=True, since_us=T0, who="anna"))
        stopped_at.append(time.monotonic())

    with ThreadPoolExecutor(7) as pool:
        done = [pool.submit(trade, bot) for bot in ids] + [pool.submit(stop)]
        for one in done:
            one.result()

    assert len(entered) >= 20, "they must have traded for the test to say anything"
    assert all(began < stopped_at[0] for began, _ in entered)


def test_a_stop_does_not_wait_for_a_transaction_that_hangs(
    store_url: str, bots: BotRepository, risk: RiskRepository
) -> None:
    bot = new_bot(bots)
    with psycopg.connect(libpq_url(store_url)) as hanging:
        hanging.execute("SELECT pg_advisory_xact_lock_shared(%s)", (ENTRY_LOCK,))
        engaging = threading.Thread(
            target=lambda: risk.engage(EmergencyState(engaged=True, since_us=T0, who="anna"))
        )
        give_up_at = time.monotonic() + 60
        engaging.start()
        while not risk.emergency().engaged:
            assert time.monotonic() < give_up_at
            time.sleep(0.005)
        # It stands while the other still hangs, and is confirmed once nobody can be on the way.
        assert engaging.is_alive()
        hanging.rollback()
        engaging.join()
    assert bots.commit([step_of(bot)]) == frozenset()


def test_the_journal_takes_no_booking_that_does_not_sum_to_zero(
    bots: BotRepository, risk: RiskRepository
) -> None:
    bot = new_bot(bots)
    sound = JournalEntry(
        at_us=T0, order_sequence=1, cash=Decimal("-100.1"), position=Decimal(100), fees=Decimal("0.1")
    )
    assert bots.commit([step_of(bot, entries=(sound,))]) == {bot}
    name = next(wish.name for wish in bots.wishes() if wish.bot_id == bot)
    assert risk.journal(name) == [sound]
    torn = JournalEntry(at_us=T0, order_sequence=2, cash=Decimal("-100.1"), position=Decimal(100))
    with pytest.raises(Exception, match="bot_journal_check"):
        bots.commit([step_of(bot, 2, entries=(torn,))])
    assert risk.journal(name) == [sound]


def test_violations_are_listed_newest_first_and_outlive_their_bot(
    bots: BotRepository, risk: RiskRepository
) -> None:
    bot = new_bot(bots)
    broken = LimitBroken(
        opened_at_us=T0,
        at_us=T0 + MINUTE,
        violation=Violation(
            limit="max_order_notional",
            gate=Gate.LIMIT,
            used=Decimal("10.5"),
            allowed=Decimal(10),
            detail="an order of 10.5, max_order_notional is 10",
        ),
    )
    assert bots.commit([step_of(bot, reason=None, violations=(broken,))])
    wish = next(wish for wish in bots.wishes() if wish.bot_id == bot)
    newest = risk.violations(None, limit=1)[0]
    assert (newest.bot, newest.opened_at_us, newest.violation) == (wish.name, T0, broken.violation)
    event = BotEvent(at_us=T0, who="test", what="deleted")
    assert bots.ask(wish, BotState.STOPPED, flatten=False, event=event)
    assert risk.violations(wish.name, limit=5) == [newest]


def test_a_baskets_symbols_count_against_the_limits_of_the_account_and_come_back_as_stored(
    bots: BotRepository, risk: RiskRepository, new_account: Callable[..., str]
) -> None:
    account = new_account(10_000, Limits(max_symbol_notional=Decimal(500)))
    basket, single = new_bot(bots), new_bot(bots)
    parts = (
        SharePart(symbol="ETH-USDT", in_use=Decimal("400.5")),
        SharePart(symbol="BTC-USDT", in_use=Decimal(300)),
    )
    step = step_of(basket, account=account, in_use=Decimal("700.5"))
    assert step.sub_ledger is not None
    share = msgspec.structs.replace(step.sub_ledger, parts=parts)
    assert bots.commit([msgspec.structs.replace(step, sub_ledger=share)]) == {basket}
    view = risk.account(account)
    assert view is not None
    assert set(view.shares[0].ledger.parts) == set(parts)
    assert not bots.commit([step_of(single, account=account, in_use=201)])
    assert bots.commit([step_of(single, account=account, in_use=200)]) == {single}


def test_why_a_step_is_refused_is_told_and_a_lowered_limit_refuses_the_fill_of_what_waits(
    bots: BotRepository, risk: RiskRepository, new_account: Callable[..., str]
) -> None:
    account = new_account(1_000)
    bot = new_bot(bots)
    assert bots.commit([step_of(bot, account=account, in_use=900)])
    lowered = Limits(max_account_notional=Decimal(500))
    terms = AccountTerms(name=account, quote="USDT", capital=Decimal(1_000), limits=lowered)
    risk.save_accounts([terms])
    filling = step_of(bot, 2, account=account, in_use=900)
    assert bots.commit([filling]) == frozenset()
    verdict = bots.verdict(filling)
    assert verdict.gate is Gate.LIMIT
    assert "max_account_notional is 500" in verdict.detail
    assert bots.verdict(step_of(bot, 2, account=account, in_use=900, reason=OrderReason.STOP_LOSS)).passes


def test_a_bot_whose_account_is_not_stored_enters_nothing_and_its_other_steps_are_stored(
    bots: BotRepository,
) -> None:
    bot = new_bot(bots)
    entering = step_of(bot, account="nowhere", in_use=1)
    assert bots.commit([entering]) == frozenset()
    assert bots.verdict(entering).gate is Gate.BUDGET
    assert bots.commit([step_of(bot, account="nowhere", reason=None)]) == {bot}
