"""The plan that settings ask for, and the account that follows it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from bots.ladders.account import LadderAccount
from bots.ladders.grid import Grid
from bots.ladders.plan import Plan
from bots.ladders.rounds import Dca, Pyramid
from bots.ladders.settings import DcaSettings, GridSettings, LadderSettings
from bots.ladders.state import LadderState
from bots.ladders.worst_case import worst_case
from bots.orders import Costs, TradingRules


def plan_of(settings: LadderSettings, rules: TradingRules, costs: Costs) -> Plan[Any]:
    """Raises InvalidInput where the instrument's tick, lot or minima leave no such ladder."""
    if isinstance(settings, GridSettings):
        return Grid(settings, rules)
    if isinstance(settings, DcaSettings):
        return Dca(settings, rules, costs)
    return Pyramid(settings, rules, costs)


def ladder_account(
    settings: LadderSettings,
    *,
    capital: Decimal,
    costs: Costs,
    rules: TradingRules,
    state: LadderState | None = None,
) -> LadderAccount:
    """An account for these settings, new or going on from `state`, held to their worst case."""
    return LadderAccount(
        capital=capital,
        costs=costs,
        rules=rules,
        plan=plan_of(settings, rules, costs),
        limits=worst_case(settings, costs),
        state=state,
    )
