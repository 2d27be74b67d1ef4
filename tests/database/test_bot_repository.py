from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import msgspec
import numpy as np
import psycopg
import pytest

from bots.config import as_document, parse_bot
from bots.journal import JournalEntry
from bots.lifecycle import BotState
from bots.orders import ClosedTrade, DepthUse, Fill, Order, OrderReason, OrderStatus, PositionSide
from bots.stores import AccountSummary, BotEvent, BotStep, BotStore, DecisionMade, PartSaid
from bots.views import EquityPoint, PositionView
from data.models import Market, Side
from data.timeframes import Timeframe
from database.engine import libpq_url
from database.repositories.bot_repository import BotRepository
from strategies.base import Decision

pytestmark = pytest.mark.integration

T0 = 1_760_000_000_123_457  # a microsecond that no float of seconds would keep
MINUTE = 60_000_000
BTC = Market("binance", "BTC-USDT")


@pytest.fixture
def repository(store_url: str) -> Iterator[BotRepository]:
    repository = BotRepository(store_url)
    yield repository
    repository.close()


def test_satisfies_the_protocol(repository: BotRepository) -> None:
    store: BotStore = repository
    assert store.views() is not None


def config_of(name: str) -> dict[str, object]:
    document = {
        "name": name,
        "venue": "binance",
        "symbol": "BTC-USDT",
        "strategy": "ema_crossover.json",
        "capital": "10000.1234567890123456789",
    }
    return as_document(parse_bot(document, where="test"))


def created(repository: BotRepository, name: str) -> int:
    event = BotEvent(at_us=T0, who="anna", what="created", why="a test")
    assert repository.create(
        config_of(name), name=name, source="", desired=BotState.CREATED, health="", event=event
    )
    wish = repository.wish(name)
    assert wish is not None
    return wish.bot_id


def decision(opened_at_us: int, **says: bool) -> Decision:
    told = {"long_entry": False, "long_exit": False, "short_entry": False, "short_exit": False, **says}
    return Decision(
        strategy="ema",
        version="abc",
        opened_at_us=opened_at_us,
        close=1.1,
        record={"all": [{"crosses_above": [1.5, None]}]},
        **told,
    )


THROUGH = DepthUse(
    snapshot_us=T0 - 1,
    digest="0123456789abcdef",
    levels=((Decimal("40000"), Decimal("0.1000000000000000000001")),),
    beyond=Decimal("0.15"),
)


def full_step(bot_id: int, number: int) -> BotStep:
    opened_at = T0 + number * MINUTE
    point = EquityPoint(
        at_us=opened_at + MINUTE, equity=Decimal("10001.5"), cash=Decimal("0.1"), position=Decimal("0.25")
    )
    position = PositionView(
        side=PositionSide.LONG,
        quantity=Decimal("0.25"),
        entry_price=Decimal("40000.01"),
        entry_at_us=opened_at,
        stop_price=Decimal("39000.5"),
        unrealised_pnl=Decimal("-3.25"),
    )
    return BotStep(
        bot_id=bot_id,
        step=number,
        at_us=T0 + number,
        state=BotState.RUNNING,
        health="",
        strategy="ema",
        strategy_version="abc",
        market=BTC,
        timeframe=Timeframe.M1,
        account=b'{"cash":"0.1000000000000000000000000000000000000001"}',
        summary=AccountSummary(
            point=point,
            position=position,
            realised_pnl=Decimal("1.5"),
            fees_paid=Decimal("0.75"),
            trades=1,
            wins=1,
        ),
        last_candle_us=opened_at,
        last_price=1.1,
        opened_candle_us=opened_at,
        orders=[
            Order(
                sequence=number,
                side=Side.BUY,
                position_side=PositionSide.LONG,
                reason=OrderReason.ENTRY,
                status=OrderStatus.FILLED,
                decided_at_us=opened_at,
                quantity=Decimal("0.25"),
            )
        ],
        fills=[
            Fill(
                order_sequence=number,
                side=Side.BUY,
                position_side=PositionSide.LONG,
                reason=OrderReason.ENTRY,
                price=Decimal("40000.01"),
                quantity=Decimal("0.25"),
                fee=Decimal("10.0000025"),
                slippage=Decimal("0.0025"),
                filled_at_us=opened_at,
                depth=THROUGH if number == 1 else None,
            )
        ],
        trades=[
            ClosedTrade(
                side=PositionSide.LONG,
                entry_at_us=opened_at - MINUTE,
                entry_price=Decimal("1"),
                exit_at_us=opened_at,
                exit_price=Decimal("2"),
                quantity=Decimal("1.5"),
                fees=Decimal("0.003"),
                pnl=Decimal("1.497"),
                return_rate=Decimal("0.998"),
                exit_reason=OrderReason.TAKE_PROFIT,
            )
        ],
        equity=[point],
        decisions=[DecisionMade(decision=decision(opened_at, long_entry=True), outcome="entry ordered")],
        events=[BotEvent(at_us=T0 + number, who="runner", what="running", why="asked")],
    )


def test_a_step_comes_back_as_it_was_stored(repository: BotRepository) -> None:
    bot_id = created(repository, "whole")
    step = full_step(bot_id, 1)

    assert repository.commit([step]) == {bot_id}

    record = repository.record(bot_id)
    assert record is not None
    assert (record.step, record.state, record.last_candle_us) == (1, BotState.RUNNING, T0 + MINUTE)
    assert record.account is not None
    assert b'"0.1000000000000000000000000000000000000001"' in record.account
    view = repository.view("whole")
    assert view is not None
    assert step.summary is not None
    assert view.position == step.summary.position
    assert (view.equity, view.cash, view.realised_pnl) == (Decimal("10001.5"), Decimal("0.1"), Decimal("1.5"))
    assert (view.capital, view.trades, view.win_rate) == (Decimal("10000.1234567890123456789"), 1, 1.0)
    assert (view.market, view.timeframe, view.last_signal) == (BTC, Timeframe.M1, "long_entry")
    (fill,) = repository.fills("whole", limit=10)
    assert (fill.price, fill.fee, fill.filled_at_us) == (
        Decimal("40000.01"),
        Decimal("10.0000025"),
        T0 + MINUTE,
    )
    assert fill.depth == THROUGH
    (order,) = repository.orders("whole", limit=10)
    assert (order.status, order.quantity) == (OrderStatus.FILLED, Decimal("0.25"))
    (trade,) = repository.trades("whole", limit=10)
    assert (trade.sequence, trade.pnl, trade.exit_reason) == (1, Decimal("1.497"), OrderReason.TAKE_PROFIT)
    curve = repository.equity("whole", start_us=None, end_us=None, max_points=10)
    assert curve.at_us.tolist() == [T0 + 2 * MINUTE]
    np.testing.assert_array_equal(curve.equity, [10001.5])
    (made,) = repository.decisions("whole", limit=10, saying_something=True)
    assert made.record == {"all": [{"crosses_above": [1.5, None]}]}
    assert (made.long_entry, made.outcome, made.opened_at_us) == (True, "entry ordered", T0 + MINUTE)
    assert repository.decision("whole", T0 + MINUTE) == made
    assert repository.decision("whole", T0) is None
    assert [entry.what for entry in repository.audit("whole", limit=10)] == ["running", "created"]


def test_what_positions_were_paid_is_told_by_its_time_and_fills_are_left_out(
    repository: BotRepository,
) -> None:
    funded = JournalEntry(at_us=T0, order_sequence=None, cash=Decimal("-1.25"), funding=Decimal("1.25"))
    bot_id = created(repository, "funded")
    filled = JournalEntry(at_us=T0, order_sequence=1, cash=Decimal(-7), position=Decimal(7))
    later = msgspec.structs.replace(funded, at_us=T0 + MINUTE, cash=Decimal("0.5"), funding=Decimal("-0.5"))
    step = msgspec.structs.replace(full_step(bot_id, 1), entries=[funded, filled, later])
    assert repository.commit([step]) == {bot_id}
    found = repository.funding_between("funded", start_us=T0, end_us=T0 + MINUTE)
    assert found == {T0: Decimal("-1.25")}
    assert repository.funding_between("funded", start_us=0, end_us=T0 + 2 * MINUTE)[T0 + MINUTE] == Decimal(
        "0.5"
    )


def test_a_step_is_applied_once_and_in_order(repository: BotRepository) -> None:
    bot_id = created(repository, "once")

    assert repository.commit([full_step(bot_id, 2)]) == set()
    assert repository.fills("once", limit=10) == []
    assert repository.commit([full_step(bot_id, 1)]) == {bot_id}
    assert repository.commit([full_step(bot_id, 1)]) == set()
    assert len(repository.fills("once", limit=10)) == 1
    assert len(repository.audit("once", limit=10)) == 2


def test_a_refused_step_of_one_bot_does_not_hold_up_another(repository: BotRepository) -> None:
    first, second = created(repository, "stale"), created(repository, "fresh")
    repository.commit([full_step(first, 1)])

    assert repository.commit([full_step(second, 1), full_step(first, 1)]) == {second}


def test_a_commit_that_breaks_half_way_leaves_nothing(repository: BotRepository) -> None:
    bot_id = created(repository, "torn")
    good = full_step(bot_id, 1)
    torn = BotStep(
        bot_id=bot_id,
        step=1,
        at_us=T0,
        state=BotState.RUNNING,
        health="",
        orders=good.orders,
        fills=[*good.fills, *good.fills],
    )

    with pytest.raises(Exception, match="duplicate key"):
        repository.commit([torn])
    record = repository.record(bot_id)
    assert record is not None
    assert (record.step, record.state) == (0, BotState.CREATED)
    assert repository.orders("torn", limit=10) == []


def test_signals_of_two_bots_that_say_the_same_are_one(repository: BotRepository) -> None:
    for name in ("echo_1", "echo_2"):
        bot_id = created(repository, name)
        repository.commit([full_step(bot_id, 1)])

    signals = repository.signals(BTC, Timeframe.M1, start_us=T0 + MINUTE, end_us=T0 + 2 * MINUTE, limit=100)
    assert [(signal.action, signal.opened_at_us) for signal in signals] == [("long_entry", T0 + MINUTE)]


def test_the_audit_cannot_be_rewritten(repository: BotRepository, store_url: str) -> None:
    created(repository, "watched")
    with psycopg.connect(libpq_url(store_url)) as connection:
        for statement in ("UPDATE bot_events SET who = 'x'", "DELETE FROM bot_events", "TRUNCATE bot_events"):
            with pytest.raises(psycopg.errors.RaiseException, match="only grows"):
                connection.execute(statement)
            connection.rollback()


def test_a_deleted_bot_leaves_its_audit_behind(repository: BotRepository) -> None:
    bot_id = created(repository, "gone")
    repository.commit([full_step(bot_id, 1)])
    seen = repository.wish("gone")
    assert seen is not None

    assert repository.delete(seen, event=BotEvent(at_us=T0, who="anna", what="deleted"))

    assert repository.view("gone") is None
    assert repository.audit("gone", limit=1)[0].what == "deleted"
    assert not repository.delete(seen, event=BotEvent(at_us=T0, who="anna", what="deleted"))


def test_a_wish_is_refused_once_the_bot_has_moved(repository: BotRepository) -> None:
    bot_id = created(repository, "moving")
    seen = repository.wish("moving")
    assert seen is not None
    repository.commit([full_step(bot_id, 1)])

    event = BotEvent(at_us=T0, who="anna", what="asked to start")
    assert not repository.ask(seen, BotState.RUNNING, flatten=False, event=event)


def test_a_runner_settles_a_wish_only_if_no_person_was_faster(repository: BotRepository) -> None:
    bot_id = created(repository, "raced")
    seen = repository.wish("raced")
    assert seen is not None
    asked = BotEvent(at_us=T0, who="anna", what="asked to start")
    assert repository.ask(seen, BotState.RUNNING, flatten=False, event=asked)
    step = BotStep(
        bot_id=bot_id,
        step=1,
        at_us=T0,
        state=BotState.FAILED,
        health="broken",
        settle=(BotState.CREATED, BotState.FAILED),
    )

    repository.commit([step])

    wish = repository.wish("raced")
    assert wish is not None
    assert (wish.state, wish.desired) == (BotState.FAILED, BotState.RUNNING)


def test_a_long_curve_is_thinned_and_keeps_its_last_point(repository: BotRepository) -> None:
    bot_id = created(repository, "long")
    points = [
        EquityPoint(at_us=T0 + i * MINUTE, equity=Decimal(i), cash=Decimal(0), position=Decimal(0))
        for i in range(1_001)
    ]
    repository.commit(
        [
            BotStep(
                bot_id=bot_id, step=1, at_us=T0, state=BotState.RUNNING, health="", equity=points, market=BTC
            )
        ]
    )

    curve = repository.equity("long", start_us=None, end_us=None, max_points=100)
    assert 80 <= len(curve) <= 100
    assert curve.equity[-1] == 1_000
    assert (np.diff(curve.at_us) > 0).all()


def test_only_one_process_may_claim_the_bots(store_url: str) -> None:
    first, second = BotRepository(store_url), BotRepository(store_url)
    claim = first.claim()
    assert claim is not None
    assert claim.held()
    assert second.claim() is None

    claim.release()

    other = second.claim()
    assert other is not None
    other.release()
    first.close()
    second.close()


def test_a_claim_whose_connection_broke_is_lost_and_free_for_others(store_url: str) -> None:
    first, second = BotRepository(store_url), BotRepository(store_url)
    claim = first.claim()
    assert claim is not None
    with psycopg.connect(libpq_url(store_url), autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks"
            " WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database"
            " WHERE datname = current_database())"
        )

    assert not claim.held()
    claim.release()
    other = second.claim()
    assert other is not None
    other.release()
    first.close()
    second.close()


def test_open_positions_can_be_queried(repository: BotRepository, store_url: str) -> None:
    repository.commit([full_step(created(repository, "holder"), 1)])
    with psycopg.connect(libpq_url(store_url)) as connection:
        row = connection.execute(
            "SELECT symbol, side, quantity, entry_price, stop_price FROM bot_positions WHERE bot = 'holder'"
        ).fetchone()
    assert row == ("BTC-USDT", "long", Decimal("0.25"), Decimal("40000.01"), Decimal("39000.5"))


def basket_step(bot_id: int) -> BotStep:
    """A step in which one symbol of a basket was sold and another was bought."""
    step = full_step(bot_id, 1)
    (order,), (fill,), (trade,) = step.orders, step.fills, step.trades
    assert step.summary is not None
    assert step.summary.position is not None
    held = msgspec.structs.replace(step.summary.position, symbol="ETH-USDT", last_price=40_010.5)
    said = DecisionMade(
        decision=decision(T0 + MINUTE, long_entry=True, long_exit=True),
        outcome="",
        parts=(
            PartSaid(symbol="BTC-USDT", action="long_exit", close=1.5),
            PartSaid(symbol="ETH-USDT", action="long_entry", close=2.5),
        ),
    )
    return msgspec.structs.replace(
        step,
        summary=msgspec.structs.replace(step.summary, position=None, positions=(held,)),
        orders=[msgspec.structs.replace(order, symbol="ETH-USDT")],
        fills=[msgspec.structs.replace(fill, symbol="ETH-USDT")],
        trades=[msgspec.structs.replace(trade, symbol="SOL-USDT")],
        decisions=[said],
    )


def test_a_basket_keeps_the_symbol_of_all_it_did(repository: BotRepository, store_url: str) -> None:
    document = {
        "name": "basket",
        "venue": "binance",
        "type": "rebalance",
        "settings": {"weights": {"SOL-USDT": 0.1, "ETH-USDT": 0.3, "BTC-USDT": 0.5}, "every": "1d"},
        "capital": 1_000,
    }
    config = as_document(parse_bot(document, where="test"))
    event = BotEvent(at_us=T0, who="anna", what="created")
    assert repository.create(
        config, name="basket", source="", desired=BotState.CREATED, health="", event=event
    )
    view, wish = repository.view("basket"), repository.wish("basket")
    assert view is not None
    assert wish is not None
    assert [market.symbol for market in view.markets] == ["SOL-USDT", "ETH-USDT", "BTC-USDT"]
    record = repository.record(wish.bot_id)
    assert record is not None
    assert parse_bot(record.config, where="test").symbols == ("SOL-USDT", "ETH-USDT", "BTC-USDT")

    assert repository.commit([basket_step(wish.bot_id)])
    eth, sol = Market("binance", "ETH-USDT"), Market("binance", "SOL-USDT")
    assert [one.market for one in repository.orders("basket", limit=9)] == [eth]
    assert [one.market for one in repository.orders_numbered("basket", [1])] == [eth]
    assert [one.market for one in repository.fills("basket", limit=9)] == [eth]
    assert [one.market for one in repository.trades("basket", limit=9)] == [sol]
    view = repository.view("basket")
    assert view is not None
    assert view.position is None
    assert [(held.market, held.value) for held in view.holdings] == [
        (eth, Decimal("0.25") * Decimal("40010.5"))
    ]
    assert view.unrealised_pnl == Decimal("-3.25")
    span = {"start_us": T0, "end_us": T0 + 9 * MINUTE, "limit": 9}
    assert [one.action for one in repository.signals(eth, Timeframe.M1, **span)] == ["long_entry"]
    assert repository.signals(sol, Timeframe.M1, **span) == []
    with psycopg.connect(libpq_url(store_url)) as connection:
        row = connection.execute("SELECT symbol, quantity FROM bot_positions WHERE bot = 'basket'").fetchone()
    assert row == ("ETH-USDT", Decimal("0.25"))
