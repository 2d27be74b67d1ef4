from __future__ import annotations

import random
from collections.abc import Sequence
from decimal import Decimal

import msgspec
import pytest

from bots.ladders.basket import BasketAccount, BasketState, BasketStep
from bots.ladders.settings import RebalanceSettings
from bots.ledger import EXACT
from bots.orders import Costs, Fill, Order, OrderReason, OrderStatus, TradingRules
from bots.risk.limits import NO_LIMITS, Limits
from data.errors import InvalidInput, RejectedError
from data.models import Side
from data.timeframes import Timeframe
from tests.bots.ladders.adversary import CAPITAL, COSTS, Row, any_basket, approved, basket_path
from tests.bots.ladders.ladder_runs import FREE, MINUTE, RULES, candle, silence

D = Decimal
FREE_OF_COSTS = Costs(fee_bps=D(0), maker_fee_bps=D(0))
HALVES = RebalanceSettings(weights={"BTC-USDT": D("0.5"), "ETH-USDT": D("0.4")}, threshold=D("0.05"))


class Walk:
    """Feeds rows to an account, and keeps what it says."""

    def __init__(
        self,
        settings: RebalanceSettings = HALVES,
        *,
        costs: Costs = FREE_OF_COSTS,
        rules: TradingRules = RULES,
        limits: Limits = NO_LIMITS,
        state: BasketState | None = None,
    ) -> None:
        self.limits = limits
        self.account = BasketAccount(
            settings, capital=CAPITAL, costs=costs, rules=[rules] * len(settings.weights), state=state
        )
        self.fills: list[tuple[int, Fill]] = []
        self.orders: dict[int, Order] = {}
        self.equity = CAPITAL

    def feed(self, rows: Sequence[Row], first: int = 1) -> Walk:
        for number, (opens, closes) in enumerate(rows, first):
            self._hear(self.account.open_candles(number * MINUTE, opens))
            self._hear(self.account.close_candles((number + 1) * MINUTE, closes))
            said = silence(candle(number, *[closes[0]] * 4))
            self._hear(self.account.decide(approved(self.account, said, self.limits)))
        return self

    def held(self) -> list[Decimal]:
        return [ledger.quantity for ledger in self.account.ledgers]

    def _hear(self, step: BasketStep) -> None:
        self.fills.extend(step.fills)
        self.orders.update((order.sequence, order) for _, order in step.orders)
        self.equity = self.equity if step.equity is None else step.equity


def flat(*prices: float) -> Row:
    return prices, prices


def test_the_first_close_buys_every_weight_at_the_next_open() -> None:
    walk = Walk().feed([flat(100.0, 10.0)])
    assert walk.fills == []
    walk.feed([((50.0, 10.0), (50.0, 10.0))], first=2)
    # What may be spent was settled at the close; how much it buys is told by the open.
    assert walk.held() == [D(100), D(400)]
    assert walk.account.cash == 1_000


def test_a_part_that_went_too_far_is_sold_first_and_the_others_are_bought() -> None:
    walk = Walk().feed([flat(100.0, 10.0)] * 2 + [flat(120.0, 10.0)] * 2)
    # 6,000 and 4,000 of 11,000: the first is 4.5 points too high, less than 5.
    assert len(walk.fills) == 2
    walk.feed([flat(130.0, 10.0)] * 2, first=5)
    sold, bought = walk.fills[2:]
    # 750 of 6,500 are too much of 11,500, and 600 of 4,000 too little.
    assert (sold[0], sold[1].side, sold[1].quantity) == (0, Side.SELL, D("5.7692"))
    assert (bought[0], bought[1].side, bought[1].quantity) == (1, Side.BUY, D(60))
    assert sold[1].filled_at_us == bought[1].filled_at_us == 6 * MINUTE


def test_the_calendar_rebalances_at_the_first_close_of_each_interval_only() -> None:
    settings = RebalanceSettings(weights={"BTC-USDT": D("0.5")}, every=Timeframe.M5)
    rows = [flat(100.0 + number) for number in range(1, 22)]
    walk = Walk(settings).feed(rows)
    bought_at = [fill.filled_at_us // MINUTE for _, fill in walk.fills]
    assert bought_at == [2, 5, 10, 15, 20]  # decided at the closes of 5:00, 10:00, ...


def test_where_cash_does_not_go_round_all_buys_get_the_same_share() -> None:
    whole = RebalanceSettings(weights={"BTC-USDT": D("0.5"), "ETH-USDT": D("0.5")}, threshold=D("0.1"))
    walk = Walk(whole, costs=COSTS, rules=FREE).feed([flat(100.0, 10.0)] * 2)
    spent = [EXACT.add(EXACT.multiply(fill.price, fill.quantity), fill.fee) for _, fill in walk.fills]
    assert float(spent[0]) == pytest.approx(5_000)
    assert float(spent[1]) == pytest.approx(5_000)
    assert 0 <= walk.account.cash < D("0.001")
    # The venue's prices ran away from one of them meanwhile.
    walk.feed([flat(200.0, 10.0), flat(200.0, 12.0)], first=3)
    assert walk.account.cash >= 0


def test_less_than_the_venue_takes_is_left_alone() -> None:
    settings = RebalanceSettings(weights={"BTC-USDT": D("0.5")}, every=Timeframe.M1)
    walk = Walk(settings).feed([flat(100.0)] * 2 + [flat(100.01)] * 3)
    assert len(walk.fills) == 1


def test_a_limit_keeps_buys_back_and_lets_sells_pass_until_it_gives_way() -> None:
    walk = Walk().feed([flat(100.0, 10.0)] * 2)
    walk.limits = Limits(max_order_notional=D(1))
    walk.feed([flat(150.0, 10.0)] * 3, first=3)
    assert [fill.side for _, fill in walk.fills[2:]] == [Side.SELL]
    walk.limits = NO_LIMITS
    walk.feed([flat(150.0, 10.0)] * 2, first=6)
    assert [fill.side for _, fill in walk.fills[3:]] == [Side.BUY]


def test_the_stop_sells_everything_at_the_next_open_and_ends_the_basket() -> None:
    settings = msgspec.structs.replace(HALVES, stop_loss=D("0.1"))
    walk = Walk(settings).feed([flat(100.0, 10.0)] * 2 + [flat(83.0, 9.5), flat(82.0, 9.5)])
    assert walk.held() == [D(0), D(0)]
    assert {fill.reason for _, fill in walk.fills[2:]} == {OrderReason.STOP_LOSS}
    assert "stop" in walk.account.finished
    assert walk.account.state.gap_loss == D(9_000) - walk.account.cash
    walk.feed([flat(100.0, 10.0)] * 3, first=5)
    assert len(walk.fills) == 4


def test_a_capital_too_small_for_a_weight_is_refused() -> None:
    rules = TradingRules(min_notional=D(6_000))
    with pytest.raises(InvalidInput, match=r"weights\.BTC-USDT"):
        Walk(rules=rules)


def test_candles_come_in_order_and_once() -> None:
    walk = Walk().feed([flat(100.0, 10.0)])
    with pytest.raises(RejectedError):
        walk.feed([flat(100.0, 10.0)], first=1)


def test_a_state_read_back_from_json_goes_on_as_if_nothing_had_happened() -> None:
    for seed in range(10):
        settings = any_basket(random.Random(seed))
        rows = basket_path(seed, len(settings.weights))
        whole = Walk(settings, costs=COSTS).feed(rows)
        broken = Walk(settings, costs=COSTS)
        for number, row in enumerate(rows, 1):
            stored = msgspec.json.decode(msgspec.json.encode(broken.account.state), type=BasketState)
            assert stored == broken.account.state
            fresh = Walk(settings, costs=COSTS, state=stored)
            fresh.fills, fresh.orders = broken.fills, broken.orders
            broken = fresh.feed([row], first=number)
        assert broken.fills == whole.fills
        assert broken.orders == whole.orders
        assert broken.account.state == whole.account.state


def test_orders_that_wait_are_called_off_when_everything_is_sold() -> None:
    walk = Walk().feed([flat(100.0, 10.0)] * 2 + [flat(140.0, 10.0)])
    step = walk.account.flatten(5 * MINUTE, (140.0, 10.0), reason=OrderReason.END)
    assert {order.status for _, order in step.orders} == {OrderStatus.CANCELLED, OrderStatus.FILLED}
    assert walk.held() == [D(0), D(0)]
    walk.account.verify()
