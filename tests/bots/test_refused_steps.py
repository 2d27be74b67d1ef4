"""Entries that the store's guards refuse: called off once, with the reason, and the bot goes on."""

from __future__ import annotations

import pytest

from bots.gates import PASSED, Gate, GateVerdict
from bots.lifecycle import BotState
from bots.orders import GROWING, Order, OrderReason, OrderStatus
from bots.stores import BotStep
from tests.bots.bot_fakes import MINUTE, T0, ScriptedStrategy, bot_config
from tests.bots.test_bot_runner import Desk, logs, until  # noqa: F401

LOWERED = GateVerdict(gate=Gate.LIMIT, detail="account main would have 10000 in use, the limit is 100")
SCRIPT = {T0 + 5 * MINUTE: "long_entry", T0 + 8 * MINUTE: "long_entry", T0 + 10 * MINUTE: "long_exit"}


def fills_an_entry(step: BotStep) -> bool:
    return any(fill.reason in GROWING for fill in step.fills)


def newest_orders(desk: Desk) -> dict[int, Order]:
    return {order.sequence: order for step in desk.store.steps("trend") for order in step.orders}


async def test_a_fill_that_is_refused_becomes_a_cancelled_order_once_and_the_bot_goes_on() -> None:
    desk = Desk()
    desk.strategies["trend"] = ScriptedStrategy(SCRIPT)
    desk.store.add(bot_config())
    # The entry was ordered, and before its fill somebody lowered the limit.
    desk.store.guard = lambda step: LOWERED if fills_an_entry(step) else PASSED
    async with desk.running():
        await until(desk.taken(5))
        for upto in (6, 7):
            desk.extend(upto)
            await until(desk.taken(upto))
        (entry,) = newest_orders(desk).values()
        assert (entry.status, entry.refusal) == (OrderStatus.CANCELLED, LOWERED.detail)
        desk.store.guard = lambda step: PASSED
        for upto in (8, 9, 10, 11, 12):
            desk.extend(upto)
            await until(desk.taken(upto))

    assert len(desk.store.guarded) == 1
    assert [event.why for event in desk.store.events if event.what == "entry refused"] == [LOWERED.detail]
    # What a later signal says is done, once it may be.
    assert desk.fills() == [(OrderReason.ENTRY, 9), (OrderReason.EXIT_SIGNAL, 11)]
    assert desk.state() is BotState.RUNNING


async def test_while_it_stays_forbidden_each_signal_is_refused_once() -> None:
    desk = Desk()
    desk.strategies["trend"] = ScriptedStrategy(SCRIPT)
    desk.store.add(bot_config())
    desk.store.guard = lambda step: LOWERED if fills_an_entry(step) else PASSED
    async with desk.running():
        await until(desk.taken(5))
        for upto in range(6, 15):
            desk.extend(upto)
            await until(desk.taken(upto))

    assert desk.fills() == []
    assert [order.status for order in newest_orders(desk).values()] == [OrderStatus.CANCELLED] * 2
    assert len(desk.store.guarded) == 2


@pytest.mark.parametrize("caught_up", [6, 16])
async def test_an_entry_and_its_fill_in_one_step_are_refused_together(caught_up: int) -> None:
    desk = Desk()
    desk.strategies["trend"] = ScriptedStrategy(SCRIPT)
    desk.store.add(bot_config())
    async with desk.running():
        await until(desk.taken(5))
    # Both the decision and the fill lie in what the next runner makes up for in one step.
    desk.store.guard = lambda step: LOWERED
    desk.extend(caught_up)
    async with desk.running():
        await until(desk.taken(caught_up))

    assert desk.fills() == []
    assert len(desk.store.guarded) == 1
    made = [made for step in desk.store.steps("trend") for made in step.decisions if made.decision.long_entry]
    assert {(one.gate, one.outcome) for one in made} == {(Gate.LIMIT, LOWERED.detail)}


async def test_exits_go_through_where_entries_are_refused() -> None:
    desk = Desk()
    script = {T0 + 5 * MINUTE: "long_entry", T0 + 8 * MINUTE: "long_exit short_entry"}
    desk.strategies["trend"] = ScriptedStrategy(script)
    desk.store.add(bot_config())
    async with desk.running():
        await until(desk.taken(5))
        for upto in (6, 7, 8, 9):
            desk.extend(upto)
            await until(desk.taken(upto))
        # The reversal's two orders wait: the long's exit and the short's entry, for the same open.
        desk.store.guard = lambda step: LOWERED if fills_an_entry(step) else PASSED
        desk.extend(10)
        await until(desk.taken(10))

    assert desk.fills() == [(OrderReason.ENTRY, 6), (OrderReason.EXIT_SIGNAL, 9)]
    assert [order.status for order in newest_orders(desk).values()][-2:] == [
        OrderStatus.FILLED,
        OrderStatus.CANCELLED,
    ]
