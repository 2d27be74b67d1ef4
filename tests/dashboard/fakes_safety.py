"""In-memory stand-ins for risk and the emergency stop: `dashboard.readers.SafetyDesk`."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import numpy as np

from bots.accounts import AccountView
from bots.emergency import EmergencyReport, EmergencyState, LeftOver
from bots.gates import Gate, Violation
from bots.risk.exposure import Correlations, clusters, exposure_of
from bots.risk.limits import Limits
from bots.risk.profiles import RiskBook
from bots.risk.views import DrawdownView, ExposureView, LimitsView, LimitUse, ViolationView
from dashboard.readers import SafetyDesk
from data.errors import TransientError
from data.models import Market
from tests.dashboard.fakes import BTC, ETH, NOW_US, FakeBots


class FakeStop:
    """`EmergencyStop` over the bots of a desk; notes what was asked."""

    def __init__(self, bots: FakeBots) -> None:
        self._bots = bots
        self.current = EmergencyState()
        self.asked: list[tuple[str, str, bool]] = []  # what, why, flatten
        self.failure: TransientError | None = None

    def engage(self, who: str, why: str = "", *, flatten: bool = True) -> EmergencyReport:
        self._check()
        self.asked.append(("engage", why, flatten))
        self.current = EmergencyState(engaged=True, flatten=flatten, since_us=NOW_US, who=who, why=why)
        return self.state()

    def release(self, who: str, why: str = "") -> bool:
        self._check()
        self.asked.append(("release", why, False))
        engaged, self.current = self.current.engaged, EmergencyState()
        return engaged

    def state(self) -> EmergencyReport:
        self._check()
        if not self.current.engaged:
            return EmergencyReport(state=self.current)
        left = tuple(
            LeftOver(bot=bot.name, what=f"{bot.position.side} {bot.position.quantity}", why="is closed soon")
            for bot in self._bots.list_bots()
            if bot.position is not None
        )
        return EmergencyReport(state=self.current, positions=left)

    def _check(self) -> None:
        if self.failure is not None:
            raise self.failure


class FakeRisk:
    """`RiskReader` over the bots of a desk. Markets of one base currency move together."""

    def __init__(self, bots: FakeBots, *, empty: bool = False) -> None:
        self._bots = bots
        self._empty = empty
        self.failure: Exception | None = None

    def book(self) -> RiskBook:
        limits = Limits(max_order_notional=Decimal(2_000), max_daily_loss=Decimal("0.02"))
        return RiskBook(profiles={} if self._empty else {"careful": limits})

    def correlations(self, markets: object = None) -> Correlations:
        found = sorted({bot.market for bot in self._bots.list_bots() if bot.market is not None})
        matrix = np.array([[_alike(one, other) for other in found] for one in found])
        return Correlations(markets=tuple(found), matrix=matrix.reshape(len(found), len(found)))

    def exposures(self) -> list[ExposureView]:
        bots = self._bots.list_bots()
        held = sorted({bot.market for bot in bots if bot.position is not None and bot.market is not None})
        found = [exposure_of(bots, [market]) for market in held]
        return sorted(found, key=lambda one: one.gross, reverse=True)

    def cluster_exposures(self) -> list[ExposureView]:
        bots = self._bots.list_bots()
        found = [exposure_of(bots, cluster) for cluster in clusters(self.correlations())]
        return sorted(found, key=lambda one: one.gross, reverse=True)

    def drawdowns(self) -> list[DrawdownView]:
        bots = self._bots.list_bots()
        each = [
            DrawdownView(name=bot.name, equity=bot.equity, peak=max(bot.equity, Decimal(12_000)))
            for bot in bots
        ]
        equity = sum((one.equity for one in each), Decimal(0))
        peak = sum((one.peak for one in each), Decimal(0))
        return [DrawdownView(name="total", equity=equity, peak=peak), *each]

    def limits(self) -> list[LimitsView]:
        limits = self.book().profiles.get("careful", Limits())
        return [
            LimitsView(bot=bot.name, profile="careful", account=None, limits=limits)
            for bot in self._bots.list_bots()
        ]

    def uses(self) -> list[LimitUse]:
        if self.failure is not None:
            raise self.failure
        if self._empty:
            return []
        uses = (
            ("trend_btc", "max_position_notional", "9829", "10000"),
            ("revert_sol", "max_drawdown", "0.071", "0.1"),
            ("trend_btc", "max_daily_loss", "41.2", "256"),
            ("swing_eth", "max_orders_per_minute", "0", "6"),
        )
        return [
            LimitUse(owner=owner, is_account=False, limit=limit, used=Decimal(used), allowed=Decimal(allowed))
            for owner, limit, used, allowed in uses
        ]

    def violations(self, bot: str | None = None, limit: int = 100) -> list[ViolationView]:
        if self._empty:
            return []
        violation = Violation(
            limit="max_order_notional",
            gate=Gate.LIMIT,
            used=Decimal("2412.50"),
            allowed=Decimal(2_000),
            detail="an order of 2412.5 is more than max_order_notional, 2000",
        )
        one = ViolationView(
            bot="trend_btc",
            account="",
            opened_at_us=NOW_US - 120_000_000,
            at_us=NOW_US - 60_000_000,
            stored_at_us=NOW_US,
            violation=violation,
        )
        other = msgspec.structs.replace(one, bot="swing_eth", at_us=NOW_US - 600_000_000)
        return [found for found in (one, other) if bot in (None, found.bot)][:limit]

    def accounts(self) -> list[AccountView]:
        return []


def _alike(one: Market, other: Market) -> float:
    if one == other:
        return 1.0
    if one.symbol == other.symbol:
        return 0.98
    return 0.82 if {one, other} == {BTC, ETH} else 0.31


def safety_desk(bots: FakeBots, *, empty: bool = False) -> SafetyDesk:
    return SafetyDesk(stop=FakeStop(bots), risk=FakeRisk(bots, empty=empty))
