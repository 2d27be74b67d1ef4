"""Paths of prices that try to hurt, and what must hold at every close of them: for tests and the proof."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from bots.ladders.basket import BasketAccount
from bots.ladders.grid import Grid
from bots.ladders.plans import ladder_account
from bots.ladders.settings import (
    DcaSettings,
    GridSettings,
    LadderSettings,
    PyramidSettings,
    RebalanceSettings,
    Spacing,
)
from bots.ladders.state import GridState, LadderState
from bots.ladders.worst_case import basket_worst_case, worst_case
from bots.ledger import EXACT
from bots.orders import Costs, PositionSide
from bots.risk.approval import Approved
from bots.risk.gate import pass_gate_together
from bots.risk.limits import NO_LIMITS, Limits
from bots.risk.state import begin
from data.models import Candle
from data.timeframes import Timeframe
from strategies.base import Decision
from tests.bots.ladders.ladder_runs import FREE, MINUTE, RULES, candle, decide, silence

COSTS = Costs(fee_bps=Decimal(10), maker_fee_bps=Decimal(2), slippage_bps=Decimal(3))
CAPITAL = Decimal(10_000)
D = Decimal
Row = tuple[Sequence[float], Sequence[float]]  # opens, closes
SETTINGS: Mapping[str, LadderSettings] = {
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


@dataclass(frozen=True, slots=True)
class Used:
    """How near a path came to what was promised; shares of it."""

    capital: Decimal
    loss: Decimal  # what gaps took left out
    fills: bool
    ended: bool
    gapped: bool


def walk(settings: LadderSettings, candles: Sequence[Candle], *, rounded: bool) -> tuple[LadderState, Used]:
    """Run the path and hold every close against the promise."""
    rules = RULES if rounded else FREE
    promised = worst_case(settings, COSTS)
    account = ladder_account(settings, capital=CAPITAL, costs=COSTS, rules=rules)
    grid = Grid(settings, rules) if isinstance(settings, GridSettings) else None
    most_lost = Decimal(0)
    for one in candles:
        step = account.close_candle(one)
        decide(account, silence(one))
        state = account.state
        assert step.equity is not None
        lost = EXACT.subtract(CAPITAL, EXACT.add(step.equity.equity, state.gap_loss))
        assert lost <= promised.loss
        assert state.most_committed <= promised.capital
        assert state.most_orders <= promised.orders
        assert state.ledger.cash >= 0
        if grid is not None:
            assert isinstance(state.plan, GridState)
            parts = grid.profit(state.plan, state.ledger, step.equity.price)
            gained = EXACT.subtract(EXACT.add(parts.realised, parts.inventory), parts.fees)
            assert gained == EXACT.subtract(step.equity.equity, CAPITAL)
        most_lost = max(most_lost, lost)
    state = account.state
    return state, Used(
        capital=state.most_committed / promised.capital,
        loss=most_lost / promised.loss,
        fills=state.ledger.turnover > 0,
        ended=bool(state.finished),
        gapped=state.gap_loss > 0,
    )


# Baskets


def basket_path(seed: int, parts: int, length: int = 30) -> list[Row]:
    """Rows of opens and closes: quiet, with crashes inside candles and between them."""
    chance = random.Random(seed)
    prices = [100.0 / (1 + part) for part in range(parts)]
    rows: list[Row] = []
    for _ in range(length):
        crash = chance.uniform(-0.3, 0.2) if chance.random() < 0.1 else 0.0
        opens = [max(0.01, round(price * (1 + crash * chance.random()), 2)) for price in prices]
        prices = [max(0.01, round(price * (1 + chance.gauss(0, 0.04) + crash / 2), 2)) for price in opens]
        rows.append((opens, list(prices)))
    return rows


def any_basket(chance: random.Random) -> RebalanceSettings:
    parts = chance.randint(1, 4)
    whole = chance.choice((D(1), D("0.9"), D("0.5")))
    weight = (whole / parts).quantize(D("0.001"), "ROUND_DOWN")
    return RebalanceSettings(
        weights={f"S{part}-USDT": weight for part in range(parts)},
        threshold=chance.choice((None, D("0.02"), D("0.1"))),
        every=chance.choice((Timeframe.M1, Timeframe.M5)),
        stop_loss=chance.choice((None, D("0.05"), D("0.2"))),
    )


def approved(account: BasketAccount, said: Decision, limits: Limits = NO_LIMITS) -> Approved:
    """What the gate makes of a decision of a basket."""
    proposals = [(str(part), proposal) for part, proposal in account.proposals()]
    return pass_gate_together(
        said, proposals, limits=limits, state=begin(CAPITAL), rules=[FREE] * len(proposals)
    ).approved


def sold_for(account: BasketAccount, prices: Sequence[float]) -> Decimal:
    """What selling all at these prices leaves, told without the account's own arithmetic."""
    kept = (1 - COSTS.slippage_bps.scaleb(-4)) * (1 - COSTS.fee_bps.scaleb(-4))
    held = zip(account.ledgers, prices, strict=True)
    return account.cash + sum((one.quantity * D(str(price)) for one, price in held), D(0)) * kept


def walk_basket(seed: int) -> Used:
    """Run one basket over one path and hold every close against the promise.

    Its stop is asked at closes: while it does not act, a sale at the close would cost no more than promised,
    so all that comes on top is what prices moved from there to the sale.
    """
    settings = any_basket(random.Random(seed))
    rules = RULES if seed % 2 else FREE
    promised = basket_worst_case(settings, COSTS, CAPITAL)
    account = BasketAccount(settings, capital=CAPITAL, costs=COSTS, rules=[rules] * len(settings.weights))
    most_lost = gap = Decimal(0)
    safe = CAPITAL
    for number, (opens, closes) in enumerate(basket_path(seed, len(settings.weights)), 1):
        account.open_candles(number * MINUTE, opens)
        step = account.close_candles((number + 1) * MINUTE, closes)
        assert step.equity is not None
        account.decide(approved(account, silence(candle(number, *[closes[0]] * 4))))
        account.verify()
        state = account.state
        assert state.most_paid_in <= promised.capital
        assert state.most_orders <= promised.orders
        assert account.cash >= 0
        if not promised.has_stop:
            assert step.equity >= 0
            most_lost = max(most_lost, CAPITAL - step.equity)
        elif not state.finished:
            safe = sold_for(account, closes)
            assert safe >= CAPITAL - promised.loss
            most_lost = max(most_lost, CAPITAL - safe)
        elif not any(ledger.quantity for ledger in account.ledgers):
            gap = state.gap_loss
            assert gap <= max(D(0), safe - account.cash)
            lost = EXACT.subtract(CAPITAL, EXACT.add(account.cash, gap))
            assert lost <= promised.loss
            most_lost = max(most_lost, lost)
            break
    return Used(
        capital=account.state.most_paid_in / promised.capital,
        loss=most_lost / promised.loss,
        fills=any(ledger.state.turnover > 0 for ledger in account.ledgers),
        ended=bool(account.finished),
        gapped=gap > 0,
    )
