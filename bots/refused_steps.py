"""Steps that the store would not take because of what they enter: each is undone once, and the bot goes on.

The guards of a step's transaction know more than the gates did when the entry was ordered: a limit may have
been lowered since, or the account may hold less. A step that they refuse cannot become another one by trying
again, so what waits is called off and nothing is entered on the candles that the step had taken.
"""

from __future__ import annotations

import msgspec

from bots.bot_life import BotLife
from bots.entry_gates import EntryWish
from bots.gates import PASSED, GateVerdict
from bots.stores import BotStep


class _Refused(msgspec.Struct, frozen=True, kw_only=True):
    verdict: GateVerdict
    until_us: int | None  # open of the newest candle that the step had taken
    called_off: bool = False


class RefusedSteps:
    """A runner's memory of them, and the gate that goes by it."""

    def __init__(self) -> None:
        self._refused: dict[int, _Refused] = {}

    def note(self, step: BotStep, verdict: GateVerdict) -> None:
        """The store has refused this step, for that reason."""
        self._refused[step.bot_id] = _Refused(verdict=verdict, until_us=step.last_candle_us)

    def call_off(self, bot: BotLife, *, at_us: int) -> None:
        """The bot stands where it was stored before the refused step: its entries that wait are cancelled."""
        refused = self._refused.get(bot.bot_id)
        if refused is None or refused.called_off:
            return
        self._refused[bot.bot_id] = msgspec.structs.replace(refused, called_off=True)
        bot.halt(refused.verdict.detail)
        bot.note("entry refused", at_us=at_us, why=refused.verdict.detail)

    def __call__(self, wish: EntryWish) -> GateVerdict:
        refused = self._refused.get(wish.bot_id)
        if refused is None:
            return PASSED
        if refused.until_us is None or wish.opened_at_us > refused.until_us:
            del self._refused[wish.bot_id]
            return PASSED
        return refused.verdict
