"""Runs the fill rules once for nothing, before there is anything to lose."""

from __future__ import annotations

from decimal import Decimal

from bots.orders import Costs, TradingRules
from bots.paper_account import PaperAccount
from bots.risk.unlimited import unlimited
from data.models import Candle
from data.timeframes import Timeframe
from strategies.base import Decision, Protection, Sizing


def rehearse() -> None:
    """Load the compiled code of the fill rules, which would hold up the first candle."""
    account = PaperAccount(
        capital=Decimal(1),
        costs=Costs(),
        rules=TradingRules(),
        protection=Protection(stop_loss=0.5, take_profit=0.5),
        sizing=Sizing(),
    )
    for opened_at_us in (0, Timeframe.M1.us):
        account.open_candle(opened_at_us, 1.0)
        candle = Candle(
            exchange="",
            symbol="",
            timeframe=Timeframe.M1,
            opened_at_us=opened_at_us,
            open=1.0,
            high=1.0,
            low=1.0,
            close=1.0,
            volume=0.0,
            trades=0,
        )
        account.close_candle(candle)
        account.decide(
            unlimited(
                Decision(
                    strategy="",
                    version="",
                    opened_at_us=opened_at_us,
                    close=1.0,
                    long_entry=True,
                    long_exit=False,
                    short_entry=False,
                    short_exit=False,
                    record={},
                )
            )
        )
