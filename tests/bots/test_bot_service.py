from __future__ import annotations

import pytest

from bots.lifecycle import BotState
from bots.service import BotService
from data.errors import InvalidInput
from tests.bots.bot_fakes import T0, MemoryBotStore, bot_config


class Desk:
    def __init__(self) -> None:
        self.woken: list[str] = []
        self.store = MemoryBotStore()
        self.people = BotService(self.store, clock=lambda: T0, announce=self.woken.append)


def test_a_created_bot_waits_for_a_start() -> None:
    desk = Desk()
    view = desk.people.create(bot_config(), who="anna", why="to try it")
    assert (view.state, view.desired_state) == (BotState.CREATED, BotState.CREATED)
    (entry,) = desk.people.audit("trend")
    assert (entry.who, entry.what, entry.why, entry.at_us) == ("anna", "created", "to try it", T0)


def test_a_wish_is_written_with_who_and_why_and_wakes_the_runner() -> None:
    desk = Desk()
    desk.people.create(bot_config(), who="anna")
    view = desk.people.start("trend", who="bert", why="monday")
    assert (view.state, view.desired_state) == (BotState.CREATED, BotState.RUNNING)
    entry = desk.people.audit("trend")[0]
    assert (entry.who, entry.what, entry.why) == ("bert", "asked to start", "monday")
    assert desk.woken == ["trend", "trend"]


def test_a_taken_name_is_refused() -> None:
    desk = Desk()
    desk.people.create(bot_config(), who="anna")
    with pytest.raises(InvalidInput, match='name is "trend"; is taken by another bot'):
        desk.people.create(bot_config(), who="anna")


def test_an_unknown_bot_is_answered_with_the_known_ones() -> None:
    desk = Desk()
    desk.people.create(bot_config(), who="anna")
    with pytest.raises(InvalidInput, match="did you mean trend"):
        desk.people.start("tend", who="anna")
    with pytest.raises(InvalidInput, match="known bots are trend"):
        desk.people.fills("xyz")
    with pytest.raises(InvalidInput, match="there are no bots yet"):
        Desk().people.bot("trend")


def test_what_makes_no_sense_now_is_refused_with_what_does() -> None:
    desk = Desk()
    desk.people.create(bot_config(), who="anna")
    with pytest.raises(InvalidInput, match="bot trend is created; cannot pause now; it can start or delete"):
        desk.people.pause("trend", who="anna")
    desk.people.start("trend", who="anna")
    with pytest.raises(InvalidInput, match="cannot start now; it can pause or stop"):
        desk.people.start("trend", who="anna")
    with pytest.raises(InvalidInput, match="created and asked to be running; cannot delete now"):
        desk.people.delete("trend", who="anna")


def test_a_deleted_bot_is_gone_and_its_audit_stays() -> None:
    desk = Desk()
    desk.people.create(bot_config(), who="anna")
    desk.people.delete("trend", who="anna")
    assert desk.people.list_bots() == []
    assert [entry.what for entry in desk.people.audit("trend")] == ["deleted", "created"]
