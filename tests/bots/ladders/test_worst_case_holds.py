from __future__ import annotations

import random
from collections.abc import Sequence
from decimal import Decimal

import msgspec
import pytest

from bots.ladders.grid import Grid
from bots.ladders.plans import ladder_account
from bots.ladders.settings import DcaSettings, GridSettings, LadderSettings, PyramidSettings, Spacing
from bots.ladders.state import GridState, LadderState
from bots.ladders.worst_case import worst_case
from bots.ledger import EXACT
from bots.orders import Costs, PositionSide
from data.models import Candle
from tests.bots.ladders.ladder_runs import FREE, RULES, candle, decide, silence

COSTS = Costs(fee_bps=Decimal(10), maker_fee_bps=Decimal(2), slippage_bps=Decimal(3))
CAPITAL = Decimal(10_000)
D = Decimal
SETTINGS: dict[str, LadderSettings] = {
    "grid": GridSettings(lower=D(80), upper=D(120), levels=9, order_notional=D(500), stop_price=D(70)),
    "grid that trails": GridSettings(
        lower=D(80),
        upper=D(110),
        levels=7,
        order_notional=D(500),
        spacing=Spacing.GEOMETRIC,
        stop_price=D(75),
        trailing_up=True,
        buy_at_start=True,
    ),
    "dca": DcaSettings(
        base_notional=D(200),
        safety_notional=D(200),
        safety_orders=4,
        step=D("0.03"),
        step_scale=D("1.2"),
        volume_scale=D("1.5"),
        take_profit=D("0.02"),
        stop_loss=D("0.25"),
        losing_rounds=2,
    ),
    "dca short": DcaSettings(
        base_notional=D(200),
        safety_notional=D(300),
        safety_orders=3,
        step=D("0.03"),
        take_profit=D("0.02"),
        stop_loss=D("0.15"),
        side=PositionSide.SHORT,
    ),
    "pyramid": PyramidSettings(
        first_notional=D(1_000),
        add_notional=D(800),
        add_ons=3,
        every=D("0.03"),
        stop_loss=D("0.05"),
        losing_rounds=3,
    ),
    "pyramid short": PyramidSettings(
        first_notional=D(1_000),
        add_notional=D(500),
        add_ons=3,
        every=D("0.03"),
        stop_loss=D("0.06"),
        take_profit=D("0.2"),
        side=PositionSide.SHORT,
        losing_rounds=2,
    ),
}
PATHS = 60  # of each; `scripts/prove ladders` walks 10,000 in all


def path(seed: int, length: int = 20) -> list[Candle]:
    """Prices that try to hurt: quiet stretches, gaps, spikes that come back, and thin volume."""
    chance = random.Random(seed)
    price, candles = 100.0, []
    for number in range(1, length + 1):
        kind = chance.random()
        reach = 0.25 if kind < 0.1 else 0.06 if kind < 0.6 else 0.005
        open_ = price * (1 + chance.uniform(-0.1, 0.1) * (chance.random() < 0.15))
        close = open_ * (1 + chance.uniform(-reach, reach))
        high = max(open_, close) * (1 + chance.uniform(0, reach))
        low = min(open_, close) * (1 - chance.uniform(0, reach))
        volume = chance.choice((1e6, 1e6, 3.0, 0.7))
        first, top, bottom, last = (round(max(one, 0.01), 2) for one in (open_, high, low, close))
        candles.append(candle(number, first, top, bottom, last, volume))
        price = candles[-1].close
    return candles


def walk(settings: LadderSettings, candles: Sequence[Candle], *, rounded: bool) -> LadderState:
    """Run the path and hold every close against the promise."""
    rules = RULES if rounded else FREE
    promised = worst_case(settings, COSTS)
    account = ladder_account(settings, capital=CAPITAL, costs=COSTS, rules=rules)
    for one in candles:
        step = account.close_candle(one)
        decide(account, silence(one))
        state = account.state
        assert step.equity is not None
        assert CAPITAL - step.equity.equity <= promised.loss + state.gap_loss
        assert state.most_committed <= promised.capital
        assert state.most_orders <= promised.orders
        assert state.ledger.cash >= 0
        if isinstance(state.plan, GridState):
            assert isinstance(settings, GridSettings)
            parts = Grid(settings, rules).profit(state.plan, state.ledger, step.equity.price)
            gained = EXACT.subtract(EXACT.add(parts.realised, parts.inventory), parts.fees)
            assert gained == EXACT.subtract(step.equity.equity, CAPITAL)
    return account.state


@pytest.mark.parametrize("name", SETTINGS)
def test_no_path_costs_more_than_was_shown_beside_gaps_and_the_grids_gain_splits_exactly(name: str) -> None:
    for seed in range(PATHS):
        walk(SETTINGS[name], path(seed), rounded=seed % 2 == 0)


@pytest.mark.parametrize("name", SETTINGS)
def test_the_paths_reach_what_they_are_to_try(name: str) -> None:
    states = [walk(SETTINGS[name], path(seed), rounded=True) for seed in range(40)]
    assert any(state.finished for state in states)
    assert any(state.gap_loss > 0 for state in states)
    assert any(state.ledger.turnover > 0 for state in states)


def test_a_state_read_back_from_json_goes_on_as_if_nothing_had_happened() -> None:
    for name, settings in SETTINGS.items():
        candles = path(7, 40)
        through = ladder_account(settings, capital=CAPITAL, costs=COSTS, rules=RULES)
        broken = ladder_account(settings, capital=CAPITAL, costs=COSTS, rules=RULES)
        for one in candles:
            steps = []
            for account in (through, broken):
                closed = account.close_candle(one)
                steps.append((closed, decide(account, silence(one))))
            assert steps[0] == steps[1], name
            stored = msgspec.json.decode(msgspec.json.encode(broken.state), type=LadderState)
            assert stored == broken.state
            broken = ladder_account(settings, capital=CAPITAL, costs=COSTS, rules=RULES, state=stored)
