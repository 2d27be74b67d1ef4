"""The one gate that every entry and add-on passes. Pure: what is proposed and the state in, the verdict out.

It is asked at the close of a candle, for what the account would order at the next open. Exits, stops, targets
and the closing of a position on a person's wish pass unasked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal

import msgspec

from bots.gates import PASSED, Gate, GateVerdict, Violation
from bots.orders import OrderReason, PositionSide, TradingRules
from bots.risk.approval import Approved
from bots.risk.limits import Limits
from bots.risk.seal import SEAL
from bots.risk.state import RiskState, ordered, recent
from data.timeframes import to_datetime
from strategies.base import Decision


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """What an account would order at the next open. Amounts are quote currency at the deciding close."""

    reason: OrderReason  # ENTRY or ADD_ON
    side: PositionSide
    at_us: int  # close of the deciding candle
    notional: Decimal  # the most it may cost, fee included
    held: Decimal  # what the position is worth that it adds to; 0 for an entry
    waiting: int  # entries and add-ons that wait for the next open already


class Passage(msgspec.Struct, frozen=True, kw_only=True):
    """How a decision went through the gate."""

    approved: Approved
    state: RiskState
    verdict: GateVerdict = PASSED  # its first violation names it


def violations_of(
    proposal: Proposal, limits: Limits, state: RiskState, rules: TradingRules
) -> tuple[Violation, ...]:
    """Every limit of a bot's own that the proposal would break; `state` has seen the proposal's close."""
    found: list[Violation] = []

    def broken(limit: str, used: Decimal, allowed: Decimal, detail: str, gate: Gate = Gate.LIMIT) -> None:
        found.append(Violation(limit=limit, gate=gate, used=used, allowed=allowed, detail=detail))

    if state.rests_until_us is not None and proposal.at_us < state.rests_until_us:
        allowed = limits.max_drawdown or Decimal(0)
        until = to_datetime(state.rests_until_us).isoformat(timespec="seconds").replace("+00:00", "Z")
        detail = f"entries rest until {until}: the drawdown reached max_drawdown {plain(allowed)}"
        broken("max_drawdown", state.drawdown, allowed, detail, Gate.COOLDOWN)
    loss = limits.daily_loss_allowed(state.day_equity)
    if loss is not None and state.daily_loss >= loss:
        detail = f"{plain(state.daily_loss)} lost today, max_daily_loss is {plain(loss)}"
        broken("max_daily_loss", state.daily_loss, loss, detail)
    if limits.max_orders_per_minute is not None:
        orders = len(recent(state, proposal.at_us)) + 1
        if orders > limits.max_orders_per_minute:
            detail = (
                f"{orders} orders within a minute, max_orders_per_minute is {limits.max_orders_per_minute}"
            )
            broken("max_orders_per_minute", Decimal(orders), Decimal(limits.max_orders_per_minute), detail)
    if limits.max_open_orders is not None and proposal.waiting + 1 > limits.max_open_orders:
        detail = f"{proposal.waiting + 1} orders would wait, max_open_orders is {limits.max_open_orders}"
        broken("max_open_orders", Decimal(proposal.waiting + 1), Decimal(limits.max_open_orders), detail)
    _check_sizes(proposal, limits, rules, broken)
    return tuple(found)


def refused_for(violations: Sequence[Violation]) -> GateVerdict:
    """The verdict of limits that would be broken; PASSED without any."""
    if not violations:
        return PASSED
    first = violations[0]
    return GateVerdict(gate=first.gate, detail=first.detail, violations=tuple(violations))


def _check_sizes(
    proposal: Proposal, limits: Limits, rules: TradingRules, broken: Callable[..., None]
) -> None:
    order, position = proposal.notional, proposal.notional + proposal.held
    if order < rules.min_notional:
        detail = f"{plain(order)} is below the venue's minimum notional {plain(rules.min_notional)}"
        broken("min_notional", order, rules.min_notional, detail, Gate.MIN_NOTIONAL)
    if limits.min_order_notional is not None and order < limits.min_order_notional:
        detail = f"an order of {plain(order)}, min_order_notional is {plain(limits.min_order_notional)}"
        broken("min_order_notional", order, limits.min_order_notional, detail, Gate.MIN_NOTIONAL)
    for limit, used, allowed, what in (
        ("max_order_notional", order, limits.max_order_notional, "an order"),
        ("max_position_notional", position, limits.max_position_notional, "a position"),
    ):
        if allowed is not None and used > allowed:
            broken(limit, used, allowed, f"{what} of {plain(used)}, {limit} is {plain(allowed)}")


def pass_gate(
    decision: Decision,
    proposal: Proposal | None,
    *,
    limits: Limits,
    state: RiskState,
    rules: TradingRules,
    own: GateVerdict = PASSED,
    others: Callable[[], GateVerdict] | None = None,
) -> Passage:
    """Let a decision through, with or without its entry or add-on.

    `own` is what the bot's state says of entries (paused, catching up); `others` is asked last, and only
    where an order would come of it: feeds, the account, the emergency stop.
    """
    if proposal is None:
        may = own.passes
        return Passage(approved=_sealed(decision, may=may), state=state, verdict=own)
    if not own.passes:
        return Passage(approved=_sealed(decision, may=False), state=state, verdict=own)
    verdict = refused_for(violations_of(proposal, limits, state, rules))
    if verdict.passes and others is not None:
        verdict = others()
    if not verdict.passes:
        return Passage(approved=_sealed(decision, may=False), state=state, verdict=verdict)
    return Passage(approved=_sealed(decision, may=True), state=ordered(state, proposal.at_us))


def pass_gate_together(
    decision: Decision,
    proposals: Sequence[tuple[str, Proposal]],
    *,
    limits: Limits,
    state: RiskState,
    rules: Sequence[TradingRules],
    own: GateVerdict = PASSED,
    others: Callable[[], GateVerdict] | None = None,
) -> Passage:
    """As `pass_gate` for orders in several symbols, with the rules of each: all of them pass, or none."""
    if not proposals or not own.passes:
        return Passage(approved=_sealed(decision, may=own.passes), state=state, verdict=own)
    found: list[Violation] = []
    passed = state
    for (symbol, proposal), of_symbol in zip(proposals, rules, strict=True):
        found += [
            msgspec.structs.replace(one, detail=f"{symbol}: {one.detail}")
            for one in violations_of(proposal, limits, passed, of_symbol)
        ]
        passed = ordered(passed, proposal.at_us)
    verdict = refused_for(found)
    if verdict.passes and others is not None:
        verdict = others()
    if not verdict.passes:
        return Passage(approved=_sealed(decision, may=False), state=state, verdict=verdict)
    return Passage(approved=_sealed(decision, may=True), state=passed)


def _sealed(decision: Decision, *, may: bool) -> Approved:
    return Approved(decision, may_enter=may, may_add=may, seal=SEAL)


def plain(value: Decimal) -> str:
    """An amount for a sentence: at most 8 decimals, no exponent, no trailing zeros."""
    text = f"{value:.8f}".rstrip("0").rstrip(".")
    return text or "0"
