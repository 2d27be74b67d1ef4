"""A basket whose orders go through the recorded order books of its symbols."""

from __future__ import annotations

import random
from collections.abc import Mapping
from decimal import Decimal
from functools import partial
from typing import Any

import msgspec
import pytest

from backtesting.baskets import go_through
from backtesting.parity_day import ParityReport, check_parity
from backtesting.portfolio import Leg
from bots.config import BotConfig
from bots.ladders.basket_bot import BasketBot
from bots.lifecycle import BotState
from bots.orders import Fill
from bots.paper_bot import candles_of
from bots.parity import Cause, DifferenceKind
from bots.recorded_depth import OpenDepth, RecordedBook
from data.models import Market, Ohlcv
from strategies.base import Strategy
from tests.bots.bot_fakes import MINUTE, T0, MemoryBotStore, MemoryCandles, bot_config
from tests.bots.depth_fakes import MemoryBooks, book_of, books_around
from tests.bots.ladders.ladder_runs import RULES
from tests.bots.ladders.test_basket_bot import MARKETS, WEIGHTS, basket, no_finer, part, wander

D = Decimal
Stored = Mapping[Market, Ohlcv]


class ManyBooks(MemoryCandles):
    """Satisfies CandleReader and BookReader, for several markets."""

    def __init__(self, stored: Stored, *, depth: float) -> None:
        super().__init__(*stored.items())
        self.of = {
            market: MemoryBooks(books=books_around(ohlcv, seed, depth=depth))
            for seed, (market, ohlcv) in enumerate(stored.items())
        }

    def book_at(self, market: Market, at_us: int) -> RecordedBook:
        return self.of[market].book_at(market, at_us)


def config(**changes: Any) -> BotConfig:
    return bot_config(
        strategy=None,
        symbol=None,
        type="rebalance",
        settings={"weights": WEIGHTS, "threshold": 0.01},
        **{"fill": "depth", "slippage_bps": 2, **changes},
    )


def load(config: BotConfig) -> Strategy:
    return basket(config)


class Life:
    """A basket that takes closed candles, opens those that form, and is killed where it is told to."""

    def __init__(self, stored: Stored, books: ManyBooks) -> None:
        self.books = books
        self.store = MemoryBotStore()
        self.store.add(config())
        self.kill()
        self.bot.restart_clock(T0 + MINUTE)
        self.bot.move(BotState.RUNNING, at_us=0, why="test")
        assert self.bot.begin_on([one.rows(0, 1) for one in stored.values()], [RULES] * len(MARKETS), 0) == ""
        self.keep()

    def kill(self) -> None:
        record = self.store.record(1)
        assert record is not None
        self.bot = BasketBot(record, config(), basket(config()), self.books)

    def feed(self, fresh: Stored, forming: Stored | None = None) -> None:
        begun = {market: candles_of(one, market)[0] for market, one in (forming or {}).items()}
        self.bot.feed(fresh, begun, no_finer, ())
        self.keep()

    def keep(self) -> None:
        if self.bot.has_news:
            assert self.store.commit([self.bot.step(0)])

    @property
    def fills(self) -> list[Fill]:
        return [fill for step in self.store.steps("trend") for fill in step.fills]

    def parity(self) -> ParityReport:
        return check_parity(
            self.store, self.books, "trend", start_us=T0, end_us=T0 + 10_000 * MINUTE, load_strategy=load
        )


def lived(stored: Stored, books: ManyBooks) -> Life:
    life = Life(stored, books)
    life.feed(part(stored, 1, 80))
    return life


@pytest.mark.parametrize("depth", [0.5, 5_000.0])
def test_a_baskets_life_is_replayed_exactly_and_a_changed_book_is_named(depth: float) -> None:
    stored = wander(3)
    life = lived(stored, ManyBooks(stored, depth=depth))
    report = life.parity()
    assert report.differences == ()
    assert report.fills > 20
    uses = [fill.depth for fill in life.fills]
    assert None not in uses
    assert any(use is not None and use.plain for use in uses)
    for fill in life.fills:
        assert fill.depth is not None
        assert fill.depth.plain or fill.slippage >= 0
        if not fill.depth.plain:
            assert sum((of for _, of in fill.depth.levels), fill.depth.beyond) == fill.quantity
    walked = [fill for fill in life.fills if fill.depth is not None and fill.depth.levels]
    planted = walked[len(walked) // 2]
    assert planted.depth is not None
    assert planted.depth.snapshot_us is not None
    (market,) = [one for one in MARKETS if one.symbol == planted.symbol]
    books = life.books.of[market].books
    was = books[planted.depth.snapshot_us]
    books[was.at_us] = book_of(was.at_us, [(1.0, 1e9)], [(1e6, 1e9)])
    fills = [one for one in life.parity().differences if one.kind is DifferenceKind.FILL]
    assert (fills[0].at_us, fills[0].cause) == (planted.filled_at_us, Cause.CHANGED_DEPTH)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_basket_that_is_killed_anywhere_ends_like_its_twin_however_late_books_are_stored(seed: int) -> None:
    chance = random.Random(seed)
    stored = wander(seed, length=40)
    twin = lived(stored, ManyBooks(stored, depth=5.0))
    books = ManyBooks(stored, depth=5.0)
    waiting = {
        market: sorted(one.books.values(), key=lambda book: book.at_us) for market, one in books.of.items()
    }
    for one in books.of.values():
        one.books = {}
    life = Life(stored, books)

    def store(market: Market, until_us: int) -> None:
        due = [book for book in waiting[market] if book.at_us < until_us]
        books.of[market].books |= {book.at_us: book for book in due}
        waiting[market] = waiting[market][len(due) :]

    taken = 1
    for row in range(1, 40):
        opened_us = int(stored[MARKETS[0]].opened_at_us[row])
        for market in MARKETS:
            store(market, opened_us - 20_000_000)
        for _ in range(3):
            for market in MARKETS:
                store(market, opened_us - 20_000_000 + chance.randrange(60_000_000))
            life.feed(part(stored, taken, row), part(stored, row, row + 1))
            taken = row
            if chance.random() < 0.5:
                life.kill()
        for market in MARKETS:
            store(market, opened_us + 40_000_000)
    life.feed(part(stored, taken, 40))
    assert life.fills == twin.fills
    assert len(life.fills) > 5
    life.bot._account.verify()


def test_bottomless_books_at_the_opens_give_the_fills_of_a_backtest_without_slippage() -> None:
    stored = wander(4)
    terms = config(slippage_bps=0)
    legs = [
        Leg(symbol=market.symbol, strategy=basket(terms), ohlcv=one, rules=RULES)
        for market, one in stored.items()
    ]

    def depths(at_us: int) -> list[OpenDepth]:
        row = int(stored[MARKETS[0]].opened_at_us.searchsorted(at_us))
        found = []
        for one in stored.values():
            level = [(float(one.open[row]), 1e12)]
            found.append(OpenDepth(at_us, partial(book_of, at_us, level, level)))
        return found

    def fills(**given: Any) -> list[Fill]:
        run = go_through(basket(terms), legs, capital=terms.capital, costs=terms.costs, **given)
        return [msgspec.structs.replace(fill, depth=None) for _, fill in run.result.fills]

    assert fills(depths=depths) == fills()
    assert len(fills()) > 20
