from __future__ import annotations

import pytest

from bots.entry_gates import EntryWish
from bots.gates import PASSED, Gate, GateVerdict
from bots.lifecycle import BotState
from bots.paper_bot import PaperBot, candles_of
from bots.stores import DecisionMade
from tests.bots.bot_fakes import BTC, MINUTE, T0, ScriptedStrategy, bot_config, minutes
from tests.bots.test_paper_bot import CLOSES, no_finer, started


def refuse(wish: EntryWish) -> GateVerdict:
    return GateVerdict(gate=Gate.LIMIT, detail=f"{wish.bot} has had enough")


def let_pass(wish: EntryWish) -> GateVerdict:
    return PASSED


SCRIPT = {
    T0 + 5 * MINUTE: "long_exit",
    T0 + 6 * MINUTE: "long_entry",
    T0 + 8 * MINUTE: "long_entry",
    T0 + 9 * MINUTE: "long_exit",
    T0 + 11 * MINUTE: "long_entry short_entry",
}


def run(bot: PaperBot, *gates: object) -> dict[int, DecisionMade]:
    for candle in candles_of(minutes(CLOSES).rows(5, 14), BTC):
        bot.take(candle, no_finer, gates)  # type: ignore[arg-type]
    made = bot.step(0).decisions
    return {(one.decision.opened_at_us - T0) // MINUTE: one for one in made}


@pytest.fixture
def bot() -> PaperBot:
    return started(ScriptedStrategy(SCRIPT), minutes(CLOSES).rows(0, 5))


def test_each_decision_names_what_stopped_it_and_the_orders_it_led_to(bot: PaperBot) -> None:
    made = run(bot, let_pass)
    assert {minute: (one.gate, one.orders) for minute, one in made.items()} == {
        5: (Gate.NO_POSITION, ()),
        6: (Gate.NONE, (1,)),
        7: (Gate.NONE, ()),
        8: (Gate.POSITION_OPEN, ()),
        9: (Gate.NONE, (2,)),
        10: (Gate.NONE, ()),
        11: (Gate.CONTRADICTION, (3,)),
        12: (Gate.NONE, ()),
        13: (Gate.NONE, ()),
    }


def test_a_gate_stops_an_entry_before_there_is_an_order_and_never_an_exit(bot: PaperBot) -> None:
    made = run(bot, let_pass, refuse)
    assert (made[6].gate, made[6].orders) == (Gate.LIMIT, ())
    assert made[6].outcome == "trend has had enough"
    assert not bot.has_position
    assert made[9].gate is Gate.NO_POSITION


def test_an_exit_goes_out_although_every_gate_is_shut() -> None:
    bot = started(ScriptedStrategy(SCRIPT), minutes(CLOSES).rows(0, 5))
    candles = candles_of(minutes(CLOSES).rows(5, 14), BTC)
    for candle in candles[:3]:
        bot.take(candle, no_finer)
    assert bot.has_position
    for candle in candles[3:]:
        bot.take(candle, no_finer, [refuse])
    assert not bot.has_position


def test_a_bot_that_is_refused_stands_where_one_stands_that_was_told_nothing() -> None:
    silent = started(ScriptedStrategy({}), minutes(CLOSES).rows(0, 5))
    shut = started(ScriptedStrategy({T0 + 6 * MINUTE: "long_entry"}), minutes(CLOSES).rows(0, 5))
    for candle in candles_of(minutes(CLOSES).rows(5, 12), BTC):
        silent.take(candle, no_finer)
        shut.take(candle, no_finer, [refuse])
    assert silent.step(0).account == shut.step(0).account


def test_a_paused_bot_says_so_in_its_decisions(bot: PaperBot) -> None:
    bot.move(BotState.PAUSED, at_us=T0, why="test")
    assert run(bot, refuse)[6].gate is Gate.PAUSED


def test_gates_are_told_what_they_decide_on(bot: PaperBot) -> None:
    asked: list[EntryWish] = []

    def listen(wish: EntryWish) -> GateVerdict:
        asked.append(wish)
        return PASSED

    run(bot, listen)
    (wish,) = asked
    assert (wish.bot, wish.market, wish.opened_at_us) == ("trend", BTC, T0 + 6 * MINUTE)
    assert (wish.closes_at_us, wish.seen_until_us) == (T0 + 7 * MINUTE, T0 + 6 * MINUTE)
    assert wish.account.point.equity == bot_config().capital
