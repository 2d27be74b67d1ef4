"""What the runner tells other processes after a commit. The database holds the truth, these bring news."""

from __future__ import annotations

import msgspec

from bots.lifecycle import BotState
from bots.orders import Fill
from bots.stores import AccountSummary
from bots.views import SignalView
from data.models import Market

CONTROL_TOPIC = "control.bots"  # from people to the runner: something was asked of a bot
ALL_BOTS = "bots.*"
BOTS_TOPIC = "bots.updates"
ALL_SIGNALS = "signals.*"


class BotAsked(msgspec.Struct, frozen=True, kw_only=True, tag="bot_asked"):
    """A wish was stored; the runner looks it up."""

    bot: str


class BotUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """A bot after its newest stored step: enough to change a row of a table without asking the database."""

    bot: str
    state: BotState
    health: str
    summary: AccountSummary | None  # None: unchanged
    last_candle_us: int | None  # None: unchanged
    fills: list[Fill]  # made in this step


class BotUpdates(msgspec.Struct, frozen=True, kw_only=True, tag="bots"):
    """Bots whose steps were stored together: one message, since hundreds take a candle at the same moment."""

    bots: list[BotUpdate]
    sent_at_us: int


class SignalsSaid(msgspec.Struct, frozen=True, kw_only=True, tag="signals"):
    """Signals of one market that were stored together."""

    signals: list[SignalView]


def signals_topic(market: Market) -> str:
    return f"signals.{market.exchange}.{market.symbol}"
