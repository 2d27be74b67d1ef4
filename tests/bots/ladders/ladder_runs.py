"""Candles for ladders, and a gate that lets everything pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal

from bots.ladders.account import Inside, LadderAccount
from bots.orders import Fill, Order, TradingRules
from bots.paper_account import AccountStep
from bots.risk.gate import pass_gate
from bots.risk.limits import NO_LIMITS
from bots.risk.state import begin
from data.models import Candle, Side, Trade
from data.timeframes import Timeframe
from strategies.base import Decision

MINUTE = Timeframe.M1.us
RULES = TradingRules(tick_size=Decimal("0.01"), lot_size=Decimal("0.0001"), min_notional=Decimal(5))
FREE = TradingRules()


def candle(number: int, open_: float, high: float, low: float, close: float, volume: float = 1e6) -> Candle:
    """The minute `number`."""
    return Candle(
        exchange="binance",
        symbol="BTC-USDT",
        timeframe=Timeframe.M1,
        opened_at_us=number * MINUTE,
        open=open_,
        high=high,
        low=low,
        close=close,
        volume=volume,
        trades=1,
    )


def trade(at_us: int, price: float, quantity: float) -> Trade:
    return Trade(
        exchange="binance",
        symbol="BTC-USDT",
        trade_id=at_us,
        price=price,
        quantity=quantity,
        taker_side=Side.SELL,
        traded_at_us=at_us,
    )


def silence(closed: Candle) -> Decision:
    """Nothing is said about that candle."""
    return Decision(
        strategy="",
        version="",
        opened_at_us=closed.opened_at_us,
        close=closed.close,
        long_entry=False,
        long_exit=False,
        short_entry=False,
        short_exit=False,
        record={},
    )


def decide(account: LadderAccount, decision: Decision) -> AccountStep:
    passage = pass_gate(
        decision,
        account.proposal(decision),
        limits=NO_LIMITS,
        state=begin(Decimal(1)),
        rules=FREE,
    )
    return account.decide(passage.approved)


class Run:
    """All that a run said, in order."""

    def __init__(self, account: LadderAccount) -> None:
        self.account = account
        self.fills: list[Fill] = []
        self.orders: dict[int, Order] = {}

    def feed(
        self,
        candles: Iterable[Candle],
        *,
        inside: Inside | None = None,
        say: Callable[[Candle], Decision] = silence,
    ) -> Run:
        for one in candles:
            self._hear(self.account.close_candle(one, inside))
            self._hear(decide(self.account, say(one)))
        return self

    def _hear(self, step: AccountStep) -> None:
        self.fills.extend(step.fills)
        self.orders.update((order.sequence, order) for order in step.orders)
