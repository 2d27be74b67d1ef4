"""What the runner tells other processes after a commit. The database holds the truth, these bring news."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from bots.lifecycle import BotState
from bots.orders import Fill
from bots.views import SignalView

CONTROL_TOPIC = "control.bots"  # the service to the runner: something was asked of a bot
BOTS_TOPIC = "bots."  # + bot name


class BotAsked(msgspec.Struct, frozen=True, kw_only=True, tag="bot_asked"):
    """A wish was stored; the runner looks it up."""

    bot: str


class BotUpdate(msgspec.Struct, frozen=True, kw_only=True, tag="bot"):
    """A bot after its newest stored step: enough to change a row of a table without asking the database."""

    bot: str
    state: BotState
    equity: Decimal
    cash: Decimal
    position: Decimal  # base currency, negative when short
    realised_pnl: Decimal
    unrealised_pnl: Decimal
    trades: int
    health: str
    last_candle_us: int | None
    fills: list[Fill]  # made in this step
    sent_at_us: int


class SignalsSaid(msgspec.Struct, frozen=True, kw_only=True, tag="signals"):
    """Signals of one candle, stored already."""

    signals: list[SignalView]


def bot_topic(name: str) -> str:
    return BOTS_TOPIC + name


def signals_topic(exchange: str, symbol: str) -> str:
    return f"signals.{exchange}.{symbol}"
