from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots.lifecycle import (
    TRANSITIONS,
    WISHES,
    BotCommand,
    BotState,
    IllegalTransition,
    allows,
    checked,
    next_state,
)

PERSON = ("start", "pause", "stop", "stop --flatten")
RUNNER = ("hop", "flat", "fail")


@given(st.lists(st.tuples(st.sampled_from(PERSON + RUNNER), st.booleans()), max_size=40))
def test_no_sequence_of_wishes_and_hops_leaves_the_table(actions: list[tuple[str, bool]]) -> None:
    state = desired = BotState.CREATED
    flatten = False
    for action, holds_position in actions:
        before = state
        if action in PERSON:
            command = BotCommand(action.split()[0])
            if allows(command, state, desired):
                desired, flatten = WISHES[command], action.endswith("--flatten")
        elif action == "fail" and state is not BotState.FAILED:
            state = desired = BotState.FAILED
        elif action == "flat" and state is BotState.STOPPING:
            state, flatten = BotState.STOPPED, False
        elif action == "hop":
            target = next_state(state, desired, must_flatten=flatten and holds_position)
            if target is not None:
                state = checked(state, target)  # raises where the table does not lead
        assert state is before or state in TRANSITIONS[before]


@given(
    st.sampled_from(list(BotState)),
    st.sampled_from([BotState.RUNNING, BotState.PAUSED, BotState.STOPPED]),
    st.booleans(),
)
def test_hops_reach_what_was_asked_for(state: BotState, desired: BotState, position: bool) -> None:
    if state is BotState.CREATED and desired is BotState.STOPPED:
        return  # it stands still already
    for _ in range(4):
        target = next_state(state, desired, must_flatten=position)
        if target is None:
            break
        state = checked(state, target)
        position = position and state is not BotState.STOPPING
    if state is BotState.STOPPING:
        return  # until its position is closed, whatever else is asked for
    assert state is desired


def test_a_target_outside_the_table_is_a_programming_error() -> None:
    with pytest.raises(IllegalTransition, match="from stopping to running"):
        checked(BotState.STOPPING, BotState.RUNNING)


@pytest.mark.parametrize("command", [BotCommand.START, BotCommand.PAUSE, BotCommand.DELETE])
def test_a_bot_that_is_closing_its_position_finishes_first(command: BotCommand) -> None:
    assert not allows(command, BotState.STOPPING, BotState.STOPPED)


def test_a_bot_whose_market_has_died_can_be_told_to_stop_without_closing_its_position() -> None:
    assert allows(BotCommand.STOP, BotState.STOPPING, BotState.STOPPED)
    assert next_state(BotState.STOPPING, BotState.STOPPED, must_flatten=True) is None
    assert next_state(BotState.STOPPING, BotState.STOPPED, must_flatten=False) is BotState.STOPPED


def test_a_bot_asked_to_start_cannot_be_deleted_before_the_runner_looks() -> None:
    assert allows(BotCommand.DELETE, BotState.CREATED, BotState.CREATED)
    assert not allows(BotCommand.DELETE, BotState.CREATED, BotState.RUNNING)
