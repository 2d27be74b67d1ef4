"""What a bot may bind and lose at most, told before it starts and held to while it runs."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_CEILING, Decimal

import msgspec

from bots.ladders.settings import (
    DcaSettings,
    GridSettings,
    LadderSettings,
    PyramidSettings,
    RebalanceSettings,
    towards,
)
from bots.orders import Costs, PositionSide

_ZERO, _ONE = Decimal(0), Decimal(1)
_CENT_OF_A_CENT = Decimal("0.0001")


class WorstCase(msgspec.Struct, frozen=True, kw_only=True):
    """Amounts are quote currency, fees and slippage included.

    `loss` holds while the stop is filled at its level, worsened by slippage; a gap beyond it is not in it.
    """

    capital: Decimal  # bound at one moment at most
    loss: Decimal  # over all rounds
    has_stop: bool  # False: `loss` is what is lost should the price go to zero
    orders: int  # that wait in the market together
    break_even_price: Decimal | None = None  # at which a full ladder leaves without loss
    break_even_from_entry: Decimal | None = None  # the same over the entry's price, where that is not known


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """A round after one more order was filled, its entry at price 1."""

    cost: Decimal
    quantity: Decimal
    paid: Decimal  # fees so far
    loss: Decimal  # when stopped now; the whole cost where there is no stop


def worst_case(settings: LadderSettings, costs: Costs) -> WorstCase:
    """The worst case of a bot with these settings."""
    if isinstance(settings, GridSettings):
        return _grid(settings, costs)
    stages = (
        pyramid_stages(settings, costs)
        if isinstance(settings, PyramidSettings)
        else dca_stages(settings, costs)
    )
    last = stages[-1]
    fee = _rate(costs.fee_bps)
    sign = towards(settings.side)
    break_even = (last.cost + sign * last.paid) / (last.quantity * (_ONE - sign * fee))
    exits = settings.take_profit is not None
    waiting = settings.safety_orders if isinstance(settings, DcaSettings) else 1
    return WorstCase(
        capital=_up(round_capital(settings, costs)),
        loss=_up(max(stage.loss for stage in stages) * settings.losing_rounds),
        has_stop=settings.stop_loss is not None,
        orders=max(1, waiting + exits),
        break_even_from_entry=break_even,
    )


def basket_worst_case(settings: RebalanceSettings, costs: Costs, capital: Decimal) -> WorstCase:
    """The worst case of a basket with that capital, of which gains are put to work again."""
    loss = settings.stop_loss
    return WorstCase(
        capital=capital,
        loss=capital if loss is None else min(capital, _up(capital * loss)),
        has_stop=loss is not None,
        orders=len(settings.weights),
        break_even_from_entry=_ONE / (_ONE - round_trip(costs)),
    )


def round_trip(costs: Costs) -> Decimal:
    """The share of an amount that is lost when it buys and what it bought is sold at the same price."""
    fee, slip = _rate(costs.fee_bps), _rate(costs.slippage_bps)
    return _ONE - (_ONE - fee) * (_ONE - slip) / ((_ONE + fee) * (_ONE + slip))


def safety_orders(settings: DcaSettings) -> list[tuple[Decimal, Decimal]]:
    """(distance from the entry as a fraction, amount) of each safety order, the nearest first."""
    orders = []
    distance, step, notional = _ZERO, settings.step, settings.safety_notional
    for _ in range(settings.safety_orders):
        distance += step
        orders.append((distance, notional))
        step *= settings.step_scale
        notional *= settings.volume_scale
    return orders


def round_capital(settings: DcaSettings | PyramidSettings, costs: Costs) -> Decimal:
    """What one round may bind with every order filled, and its fees."""
    if isinstance(settings, DcaSettings):
        whole = settings.base_notional + sum((amount for _, amount in safety_orders(settings)), _ZERO)
    else:
        whole = settings.first_notional + sum(_add_ons(settings), _ZERO)
    return whole * (_ONE + _rate(max(costs.fee_bps, costs.maker_fee_bps)))


def loss_when_stopped(
    *, cost: Decimal, quantity: Decimal, stop: Decimal, paid: Decimal, side: PositionSide, costs: Costs
) -> Decimal:
    """What is lost when everything is closed at `stop`, worsened by slippage; `paid` are fees so far."""
    sign = towards(side)
    exit_price = stop * (_ONE - sign * _rate(costs.slippage_bps))
    return sign * (cost - quantity * exit_price) + paid + quantity * exit_price * _rate(costs.fee_bps)


def dca_stages(settings: DcaSettings, costs: Costs) -> list[Stage]:
    """The round after its entry and after each safety order."""
    sign = towards(settings.side)
    fills = [(_ONE, settings.base_notional, costs.fee_bps)]
    fills += [
        (_ONE - sign * distance, notional, costs.maker_fee_bps)
        for distance, notional in safety_orders(settings)
    ]
    loss = settings.stop_loss
    stop = None if loss is None else _ONE - sign * loss
    return _stages(fills, [stop] * len(fills), settings.side, costs)


def pyramid_stages(settings: PyramidSettings, costs: Costs) -> list[Stage]:
    """The round after its entry and after each add-on, all at the smallest distance."""
    sign = towards(settings.side)
    price = _ONE
    fills, stops = [], []
    for notional in (settings.first_notional, *_add_ons(settings)):
        fills.append((price, notional, costs.fee_bps))
        stops.append(price * (_ONE - sign * settings.stop_loss))
        price *= _ONE + sign * settings.every
    return _stages(fills, stops, settings.side, costs)


def _add_ons(settings: PyramidSettings) -> list[Decimal]:
    return [settings.add_notional * settings.volume_scale**number for number in range(settings.add_ons)]


def _stages(
    fills: Sequence[tuple[Decimal, Decimal, Decimal]],
    stops: Sequence[Decimal | None],
    side: PositionSide,
    costs: Costs,
) -> list[Stage]:
    stages = []
    cost = quantity = paid = _ZERO
    for (price, notional, fee_bps), stop in zip(fills, stops, strict=True):
        cost += notional
        quantity += notional / price
        paid += notional * _rate(fee_bps)
        loss = cost + paid
        if stop is not None:
            loss = loss_when_stopped(
                cost=cost, quantity=quantity, stop=stop, paid=paid, side=side, costs=costs
            )
        stages.append(Stage(cost=cost, quantity=quantity, paid=paid, loss=loss))
    return stages


def _grid(settings: GridSettings, costs: Costs) -> WorstCase:
    # Without a tick, which can only move prices down and so buy a little more for the same amount.
    from bots.ladders.grid import grid_levels
    from bots.orders import TradingRules

    amount = settings.order_notional
    prices = grid_levels(settings, TradingRules())[:-1]
    fee, maker_fee = _rate(costs.fee_bps), _rate(costs.maker_fee_bps)
    slip = _rate(costs.slippage_bps)
    # Bought at the start above its price by slippage, and sold one price higher before it is bought again.
    start = amount * (fee + slip) if settings.buy_at_start else _ZERO
    paid = amount * max(maker_fee, fee if settings.buy_at_start else _ZERO)
    quantity = sum((amount / price for price in prices), _ZERO)
    whole = len(prices) * (amount + paid)
    stop = settings.stop_price
    if stop is None:
        loss = whole
    else:
        exit_price = stop * (_ONE - slip)
        loss = whole - quantity * exit_price * (_ONE - fee)
    return WorstCase(
        capital=_up(whole + len(prices) * start),
        loss=_up(loss + len(prices) * start),
        has_stop=stop is not None,
        orders=len(prices),
        break_even_price=whole / (quantity * (_ONE - fee)),
    )


def _rate(bps: Decimal) -> Decimal:
    return bps.scaleb(-4)


def _up(amount: Decimal) -> Decimal:
    return amount.quantize(_CENT_OF_A_CENT, rounding=ROUND_CEILING)
