"""How a stored bot with several orders stands: its resting orders, and what it used of its worst case."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from bots.config import parse_bot
from bots.ladders.basket import BasketState
from bots.ladders.grid import Grid
from bots.ladders.settings import GridSettings, LadderType, RebalanceSettings, type_of
from bots.ladders.state import GridState, LadderState
from bots.ladders.worst_case import WorstCase, basket_worst_case, worst_case
from bots.orders import TradingRules
from bots.stores import BotRecord
from data.models import Side


class RestingOrder(msgspec.Struct, frozen=True, kw_only=True):
    """A limit order in the market; `quantity` is what is left of it."""

    sequence: int
    side: Side
    price: Decimal
    quantity: Decimal


class LadderStanding(msgspec.Struct, frozen=True, kw_only=True):
    """A ladder at the newest candle it took. Amounts are quote currency."""

    type: LadderType
    worst_case: WorstCase
    most_committed: Decimal  # of `worst_case.capital`, at one moment
    most_orders: int
    gap_loss: Decimal  # what stops lost beyond their level
    finished: str  # why it has ended; empty while it works
    resting: tuple[RestingOrder, ...]  # the highest price first; a basket sends market orders alone
    realised: Decimal | None = None  # a grid's gain is realised + inventory - fees; None for others
    inventory: Decimal | None = None
    fees: Decimal | None = None


class _Saved(msgspec.Struct, frozen=True, kw_only=True):
    """What is told of a saved ladder bot. Its own module brings kernels along, which lists do not need."""

    rules: TradingRules
    state: LadderState


class _SavedBasket(msgspec.Struct, frozen=True, kw_only=True):
    """As `_Saved`, of a basket."""

    state: BasketState


def standing_of(record: BotRecord) -> LadderStanding | None:
    """None for a bot that follows a strategy, and for one that has not begun."""
    if record.account is None or "type" not in record.config:
        return None
    config = parse_bot(record.config, where=f"bot {record.name}")
    settings = config.ladder
    if settings is None:
        return None
    if isinstance(settings, RebalanceSettings):
        held = msgspec.json.decode(record.account, type=_SavedBasket).state
        return LadderStanding(
            type=type_of(settings),
            worst_case=basket_worst_case(settings, config.costs, config.capital),
            most_committed=held.most_paid_in,
            most_orders=held.most_orders,
            gap_loss=held.gap_loss,
            finished=held.finished,
            resting=(),
        )
    saved = msgspec.json.decode(record.account, type=_Saved)
    state = saved.state
    standing = LadderStanding(
        type=type_of(settings),
        worst_case=worst_case(settings, config.costs),
        most_committed=state.most_committed,
        most_orders=state.most_orders,
        gap_loss=state.gap_loss,
        finished=state.finished,
        resting=tuple(
            RestingOrder(
                sequence=one.order.sequence,
                side=one.order.side,
                price=one.price,
                quantity=one.order.quantity or Decimal(0),
            )
            for one in sorted(state.resting, key=lambda resting: -resting.price)
        ),
    )
    if not isinstance(settings, GridSettings) or not isinstance(state.plan, GridState):
        return standing
    profit = Grid(settings, saved.rules).profit(state.plan, state.ledger, state.last_price or Decimal(0))
    return msgspec.structs.replace(standing, **msgspec.structs.asdict(profit))
