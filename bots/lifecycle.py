"""The life of a bot as one table: which states exist, what leads where and what a person may ask for.

`state` is what a bot is; `desired` is what a person wants it to be. The service writes the wish, the runner
walks there one legal hop at a time, and every hop is an entry in the audit.

| state    | candles are processed | new entries | stops and targets of an open position |
|----------|-----------------------|-------------|---------------------------------------|
| created  | no                    | no          | there is none                         |
| running  | yes                   | yes         | work                                  |
| paused   | yes                   | no          | work, and so do exit signals          |
| stopping | yes, until flat       | no          | work until the position is closed     |
| stopped  | no                    | no          | **do not work**                       |
| failed   | no                    | no          | **do not work**                       |
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class BotState(StrEnum):
    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPING = "stopping"  # closes its position at the next open, then stops
    STOPPED = "stopped"
    FAILED = "failed"  # its file or its strategy cannot be used; the health text says what to mend


class BotCommand(StrEnum):
    """What a person may ask of a bot."""

    START = "start"
    PAUSE = "pause"
    STOP = "stop"
    DELETE = "delete"


TRANSITIONS: Mapping[BotState, frozenset[BotState]] = {
    BotState.CREATED: frozenset({BotState.RUNNING, BotState.FAILED}),
    BotState.RUNNING: frozenset({BotState.PAUSED, BotState.STOPPING, BotState.STOPPED, BotState.FAILED}),
    BotState.PAUSED: frozenset({BotState.RUNNING, BotState.STOPPING, BotState.STOPPED, BotState.FAILED}),
    BotState.STOPPING: frozenset({BotState.STOPPED, BotState.FAILED}),
    BotState.STOPPED: frozenset({BotState.RUNNING, BotState.STOPPING, BotState.FAILED}),
    BotState.FAILED: frozenset({BotState.RUNNING, BotState.STOPPING, BotState.STOPPED}),
}

# What a person may ask for, by where the bot is heading at that moment.
COMMANDS: Mapping[BotCommand, frozenset[BotState]] = {
    BotCommand.START: frozenset({BotState.CREATED, BotState.PAUSED, BotState.STOPPED, BotState.FAILED}),
    BotCommand.PAUSE: frozenset({BotState.RUNNING}),
    BotCommand.STOP: frozenset({BotState.RUNNING, BotState.PAUSED, BotState.STOPPED, BotState.FAILED}),
    BotCommand.DELETE: frozenset({BotState.CREATED, BotState.STOPPED, BotState.FAILED}),
}

WISHES: Mapping[BotCommand, BotState] = {
    BotCommand.START: BotState.RUNNING,
    BotCommand.PAUSE: BotState.PAUSED,
    BotCommand.STOP: BotState.STOPPED,
}

ACTIVE = frozenset({BotState.RUNNING, BotState.PAUSED, BotState.STOPPING})  # candles are processed


class IllegalTransition(AssertionError):
    """A programming error: the code tried to move a bot where the table does not lead."""

    def __init__(self, state: BotState, target: BotState) -> None:
        super().__init__(f"a bot cannot go from {state} to {target}")
        self.state, self.target = state, target


def checked(state: BotState, target: BotState) -> BotState:
    """`target`, if the table leads there. Raises IllegalTransition."""
    if target not in TRANSITIONS[state]:
        raise IllegalTransition(state, target)
    return target


def next_state(state: BotState, desired: BotState, *, must_flatten: bool) -> BotState | None:
    """The next hop from `state` towards what a person wants; None when it is there, or on its way.

    `must_flatten`: the wish to stop includes closing the position, and there is one.
    """
    if desired is BotState.STOPPED:
        if state is BotState.CREATED:
            return None
        if must_flatten:
            return None if state is BotState.STOPPING else BotState.STOPPING
        return None if state is BotState.STOPPED else BotState.STOPPED
    if desired is state or state is BotState.STOPPING or desired not in (BotState.RUNNING, BotState.PAUSED):
        return None
    # Only a running bot can be paused: one that is not running yet passes through it.
    return BotState.RUNNING if state is not BotState.RUNNING else BotState.PAUSED


def allows(command: BotCommand, state: BotState, desired: BotState) -> bool:
    """Whether a person may ask for `command`, given where the bot is and where it is heading."""
    if state is BotState.STOPPING:
        return command is BotCommand.STOP  # it finishes first, unless it is told to leave the position open
    if command is BotCommand.DELETE:
        return state in COMMANDS[command] and desired not in (BotState.RUNNING, BotState.PAUSED)
    return desired in COMMANDS[command]
