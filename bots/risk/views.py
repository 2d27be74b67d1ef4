"""What a page or a command shows of risk: frozen values, exact money, times in us since the epoch."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from bots.gates import Violation
from bots.risk.limits import Limits


class ViolationView(msgspec.Struct, frozen=True, kw_only=True):
    """An entry or add-on that a limit kept back."""

    bot: str
    account: str  # empty for a bot with an account of its own
    opened_at_us: int  # of the deciding candle
    at_us: int  # its close, the venue's clock
    stored_at_us: int  # our clock
    violation: Violation


class LimitUse(msgspec.Struct, frozen=True, kw_only=True):
    """How near a limit is."""

    owner: str  # a bot's or an account's name
    is_account: bool
    limit: str
    used: Decimal  # now, in the limit's own unit
    allowed: Decimal

    @property
    def share(self) -> float:
        """1 is at the limit."""
        return float(self.used / self.allowed) if self.allowed else 0.0


class DrawdownView(msgspec.Struct, frozen=True, kw_only=True):
    """How far a bot, or all of them as "total", is below its highest equity. Quote currency."""

    name: str
    equity: Decimal
    peak: Decimal

    @property
    def drawdown(self) -> float:
        return float(1 - self.equity / self.peak) if self.peak > 0 else 0.0


class ExposureView(msgspec.Struct, frozen=True, kw_only=True):
    """What all bots hold of one symbol, or of a cluster of symbols that move together. Quote currency."""

    symbols: tuple[str, ...]  # "okx:BTC-USDT"
    long: Decimal
    short: Decimal  # above 0
    bots: tuple[str, ...]

    @property
    def gross(self) -> Decimal:
        return self.long + self.short

    @property
    def net(self) -> Decimal:
        return self.long - self.short


class LimitsView(msgspec.Struct, frozen=True, kw_only=True):
    """The limits in force for a bot."""

    bot: str
    profile: str | None
    account: str | None
    limits: Limits
    problem: str = ""  # why none could be found; the bot enters nothing then
