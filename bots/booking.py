"""From what the fill kernel wrote to orders, fills and closed trades in the exact books."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal

import msgspec

from bots.fill_records import ACCEPTED, LONG, REASONS, REFUSED_BOTH_SIDES, Records
from bots.ledger import exact, exact_price, fee_of, slippage_of
from bots.orders import Costs, Fill, OrderReason, PositionSide, RulesFrom, TradingRules
from bots.sizing import refusal_of, refused_part_of
from data.models import Side

_FEW = 100


class Event(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One thing the kernel did: a fill, or an entry it refused."""

    row: int  # of the candle, counted from the first of the call
    at_us: int
    side: Side
    position_side: PositionSide
    reason: OrderReason
    refusal: int  # ACCEPTED for a fill
    price: Decimal
    quantity: Decimal
    reference: float  # price before slippage and rounding
    maker: bool
    ambiguous: bool


def events_of(records: Records) -> Iterator[Event]:
    """The kernel's `EVENT` records with their numbers as money."""
    # Looking up an enum's member costs more than the rest of a line here.
    buy, sell, long, short = Side.BUY, Side.SELL, PositionSide.LONG, PositionSide.SHORT
    # Row by row is the faster way for the few of a bot's candle, column by column for those of a run.
    rows = (
        records.tolist()
        if len(records) < _FEW
        else zip(*(records[name].tolist() for name in records.dtype.names or ()), strict=True)
    )
    for (
        row,
        at_us,
        side,
        position,
        reason,
        refusal,
        price_m,
        price_d,
        quantity_m,
        quantity_d,
        reference,
        maker,
        ambiguous,
    ) in rows:
        yield Event(
            row=row,
            at_us=at_us,
            side=buy if side > 0 else sell,
            position_side=long if position == LONG else short,
            reason=REASONS[reason],
            refusal=refusal,
            price=exact(price_m, price_d),
            quantity=exact(quantity_m, quantity_d),
            reference=reference,
            maker=bool(maker),
            ambiguous=bool(ambiguous),
        )


def fill_of(event: Event, sequence: int, costs: Costs) -> Fill:
    """The fill that an accepted event is."""
    return Fill(
        order_sequence=sequence,
        side=event.side,
        position_side=event.position_side,
        reason=event.reason,
        price=event.price,
        quantity=event.quantity,
        fee=fee_of(event.price, event.quantity, costs, maker=event.maker),
        slippage=slippage_of(event.side, event.price, exact_price(event.reference), event.quantity),
        filled_at_us=event.at_us,
        ambiguous=event.ambiguous,
    )


def refusal_sentence(event: Event, cash: Decimal, rules: TradingRules) -> str:
    """Why the kernel refused this order, in words; `cash` is what the account had then."""
    if event.refusal == ACCEPTED:
        raise ValueError(f"the {event.reason} of {event.at_us} us was not refused")
    if event.refusal == REFUSED_BOTH_SIDES:
        return "long and short entry on the same candle contradict each other"
    if event.reason is OrderReason.TAKE_PROFIT:
        return refused_part_of(event.quantity, event.price, rules)
    return refusal_of(event.quantity, event.price, cash, rules)


def rules_at(rules: TradingRules, later: Sequence[RulesFrom], at_us: int) -> TradingRules:
    """The rules in force at a time; `later` ones replace `rules` from their times on."""
    for changed in later:
        if changed.valid_from_us <= at_us:
            rules = changed.rules
    return rules
