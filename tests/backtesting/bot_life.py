"""A bot's life in memory, for tests that run it again."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from bots.entry_gates import EntryGate
from bots.finest_data import finest
from bots.funding import FundingReader
from bots.lifecycle import BotState
from bots.orders import TradingRules
from bots.paper_bot import PaperBot, candles_of
from bots.recorded_depth import BookReader
from data.models import Candle, Market, Ohlcv
from strategies.base import Strategy
from tests.bots.bot_fakes import BTC, MemoryBotStore, MemoryCandles, bot_config

RULES = TradingRules(tick_size=Decimal("0.01"), lot_size=Decimal("0.00001"), min_notional=Decimal(5))


class BotLife:
    """One paper bot that takes candles as a runner would hand them over, and a store that keeps its steps."""

    def __init__(
        self,
        strategy: Strategy,
        history: Ohlcv,
        *,
        rules: TradingRules = RULES,
        books: BookReader | None = None,
        funding: FundingReader | None = None,
        **config: Any,
    ) -> None:
        self.store = MemoryBotStore()
        self.store.add(bot_config(**config))
        record = self.store.record(1)
        assert record is not None
        self.bot = PaperBot(record, bot_config(**config), strategy, books, funding=funding)
        self.bot.restart_clock(int(history.opened_at_us[-1]) + 400 * 86_400_000_000)
        self.bot.move(BotState.RUNNING, at_us=0, why="test")
        self.bot.begin(history, rules, 0)
        self.keep()

    def live(
        self,
        ohlcv: Ohlcv,
        *,
        gates: Sequence[EntryGate] = (),
        finer: MemoryCandles | None = None,
        at_once: int = 7,
    ) -> None:
        """Take candles, storing a step after every `at_once` of them."""

        def inside(candle: Candle) -> Ohlcv | None:
            if finer is None:
                return None
            row = int(ohlcv.opened_at_us.searchsorted(candle.opened_at_us))
            return finest(finer, Market(candle.exchange, candle.symbol), ohlcv.rows(row, row + 1))

        for number, candle in enumerate(candles_of(ohlcv, BTC)):
            if self.bot.waits_for_an_open and number % 3 == 0:
                # At the first trade, as a runner that hears of it does; a step of its own.
                self.bot.open(candle.opened_at_us, candle.open)
                self.keep()
            self.bot.take(candle, inside, gates)
            if number % at_once == 0:
                self.keep()
        self.keep()

    def keep(self) -> None:
        if self.bot.has_news:
            assert self.store.commit([self.bot.step(0)])
