from __future__ import annotations

from decimal import Decimal

from bots.ladders.account import LadderAccount
from bots.ladders.plans import ladder_account
from bots.ladders.settings import DcaSettings, GridSettings
from bots.orders import Costs, LimitOrder, OrderReason, OrderStatus, TradingRules
from data.models import Side
from tests.bots.ladders.ladder_runs import MINUTE, RULES, Run, candle, trade

D = Decimal
COSTS = Costs(fee_bps=D(10), maker_fee_bps=D(2))
GRID = GridSettings(lower=D(90), upper=D(110), levels=5, order_notional=D(190))  # 90 95 100 105 110


def grid(settings: GridSettings = GRID, rules: TradingRules = RULES) -> LadderAccount:
    return ladder_account(settings, capital=D(10_000), costs=COSTS, rules=rules)


def quiet(number: int, price: float) -> tuple[int, float, float, float, float]:
    return number, price, price, price, price


def waiting(account: LadderAccount) -> list[tuple[Side, Decimal]]:
    return [(order.side, order.limit_price) for order in account.resting]


def test_only_rungs_below_the_price_are_sent_since_the_others_would_cross() -> None:
    run = Run(grid()).feed([candle(*quiet(1, 100.0))])
    assert waiting(run.account) == [(Side.BUY, D(90)), (Side.BUY, D(95))]
    run.feed([candle(*quiet(2, 100.5))])
    assert (Side.BUY, D(100)) in waiting(run.account)


def test_a_price_that_only_touches_an_order_does_not_fill_it() -> None:
    run = Run(grid()).feed([candle(*quiet(1, 97.0)), candle(2, 97.0, 97.0, 95.0, 96.0)])
    assert run.fills == []
    run.feed([candle(3, 96.0, 96.0, 94.99, 96.0)])
    assert [(fill.price, fill.quantity) for fill in run.fills] == [(D(95), D(2))]


def test_a_fill_pays_the_makers_fee_at_the_orders_price() -> None:
    run = Run(grid()).feed([candle(*quiet(1, 97.0)), candle(2, 97.0, 97.0, 94.0, 94.5)])
    (fill,) = run.fills
    assert fill.fee == D("190") * D("0.0002")
    assert fill.slippage == 0
    assert waiting(run.account) == [(Side.BUY, D(90)), (Side.SELL, D(100))]


def test_what_was_traded_is_shared_by_price_and_never_exceeded() -> None:
    account = grid()
    run = Run(account).feed([candle(*quiet(1, 99.0))])
    one = candle(2, 99.0, 99.0, 89.0, 89.0, 3.5)
    run.feed([one], inside=[trade(2 * MINUTE, 99.0, 1.0), trade(2 * MINUTE + 1, 89.0, 2.5)])
    # 2.5 went through both: the order at 95 comes first and takes its 2.0, that at 90 gets the rest.
    assert [(fill.price, fill.quantity) for fill in run.fills] == [(D(95), D(2)), (D(90), D("0.5"))]
    rest = next(order for order in account.resting if order.limit_price == 90)
    assert rest.quantity == D("2.1111") - D("0.5")


def test_the_rest_of_a_part_fill_goes_on_under_a_number_of_its_own() -> None:
    account = grid()
    run = Run(account).feed([candle(*quiet(1, 97.0)), candle(2, 97.0, 97.0, 94.0, 94.5, 0.5)])
    (fill,) = run.fills
    filled = run.orders[fill.order_sequence]
    assert (filled.status, filled.quantity) == (OrderStatus.FILLED, D("0.5"))
    rest = next(order for order in account.resting if order.limit_price == 95)
    assert rest.sequence > filled.sequence
    assert rest.quantity == D("1.5")
    assert isinstance(run.orders[rest.sequence], LimitOrder)
    run.feed([candle(3, 94.5, 94.5, 94.0, 94.5)])
    assert len({fill.order_sequence for fill in run.fills}) == 2


def test_an_order_placed_inside_a_candle_is_filled_there_only_where_the_close_proves_it() -> None:
    back = Run(grid()).feed([candle(*quiet(1, 97.0)), candle(2, 97.0, 103.0, 94.0, 99.0)])
    assert [fill.side for fill in back.fills] == [Side.BUY]  # 103 may have come before 94
    beyond = Run(grid()).feed([candle(*quiet(1, 97.0)), candle(2, 97.0, 103.0, 94.0, 101.0)])
    assert [fill.side for fill in beyond.fills] == [Side.BUY, Side.SELL]


def test_trades_tell_the_order_that_a_candle_hides() -> None:
    run = Run(grid()).feed([candle(*quiet(1, 97.0))])
    trades = [trade(2 * MINUTE + n, price, 5.0) for n, price in enumerate((97.0, 94.0, 103.0, 99.0))]
    run.feed([candle(2, 97.0, 103.0, 94.0, 99.0, 20.0)], inside=trades)
    assert [fill.price for fill in run.fills] == [D(95), D(100)]
    assert run.fills[1].filled_at_us == 2 * MINUTE + 2


def test_a_stop_inside_a_candle_comes_before_exits_and_says_so() -> None:
    settings = DcaSettings(
        base_notional=D(1_000),
        safety_notional=D(500),
        safety_orders=1,
        step=D("0.02"),
        take_profit=D("0.02"),
        stop_loss=D("0.05"),
    )
    account = ladder_account(settings, capital=D(10_000), costs=COSTS, rules=RULES)
    run = Run(account).feed([candle(*quiet(1, 100.0)), candle(2, 100.0, 103.0, 94.0, 101.0)])
    reasons = [fill.reason for fill in run.fills]
    assert reasons == [OrderReason.ENTRY, OrderReason.ADD_ON, OrderReason.STOP_LOSS]
    assert run.fills[-1].price == 95
    assert run.account.finished


def test_the_exit_of_a_dca_bot_follows_its_average_price() -> None:
    settings = DcaSettings(
        base_notional=D(1_000),
        safety_notional=D(980),
        safety_orders=1,
        step=D("0.02"),
        take_profit=D("0.02"),
    )
    account = ladder_account(settings, capital=D(10_000), costs=COSTS, rules=RULES)
    run = Run(account).feed([candle(*quiet(1, 100.0)), candle(*quiet(2, 100.0))])
    assert (Side.SELL, D(102)) in waiting(account)
    run.feed([candle(3, 100.0, 100.0, 97.0, 98.5)])
    assert waiting(account) == [(Side.SELL, D("100.98"))]  # 99 and 2 %
    run.feed([candle(4, 98.5, 101.0, 98.5, 101.0)])
    assert account.position_side is None
    assert sum(closed for closed in (account.ledger.cash - 10_000,)) > 0


def test_a_grid_that_trails_moves_up_only_when_it_has_sold_everything() -> None:
    settings = GridSettings(
        lower=D(90), upper=D(110), levels=5, order_notional=D(190), trailing_up=True, stop_price=D(80)
    )
    account = grid(settings)
    Run(account).feed([candle(*quiet(1, 109.0)), candle(*quiet(2, 116.0))])
    assert [price for _, price in waiting(account)] == [D(95), D(100), D(105), D(110)]
    assert account.stop_price == 85
