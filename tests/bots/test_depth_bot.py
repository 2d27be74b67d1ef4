"""A paper bot that fills by the recorded order book: replayed, restarted, and while snapshots come late."""

from __future__ import annotations

import random
from decimal import Decimal

import msgspec
import pytest

from backtesting.parity_day import OtherTerms, ParityReport, check_parity
from bots.bot_loading import BotLoader
from bots.lifecycle import BotState
from bots.orders import GROWING, Fill, OrderReason
from bots.paper_bot import PaperBot, candles_of
from bots.parity import Cause, DifferenceKind
from data.models import Ohlcv
from data.timeframes import Timeframe
from strategies.base import Protection
from strategies.loader import parse_strategy
from tests.backtesting.bot_life import BotLife
from tests.backtesting.test_parity import BUSY, DAY_US, day_of, no_python
from tests.bots.bot_fakes import BTC, MINUTE, T0, ScriptedStrategy, bot_config, minutes
from tests.bots.depth_fakes import MemoryBooks, book_of, books_around
from tests.bots.test_paper_bot import RULES, Stored, empty_record, no_finer
from tests.strategies.series import random_walk

D = Decimal
WALK = random_walk(288 * 3, seed=5)
MARKET_ORDERS = GROWING | {OrderReason.EXIT_SIGNAL}


def lived(market: MemoryBooks, ohlcv: Ohlcv = WALK) -> BotLife:
    first = int(ohlcv.opened_at_us.searchsorted(day_of(ohlcv)))
    strategy = parse_strategy(BUSY, "test")
    life = BotLife(strategy, ohlcv.rows(0, first), books=market, fill="depth", fee_bps=7, slippage_bps=2)
    life.live(ohlcv.rows(first, len(ohlcv)))
    return life


def parity(life: BotLife, market: MemoryBooks, others: OtherTerms | None = None) -> ParityReport:
    start_us = day_of(WALK)
    return check_parity(
        life.store,
        market,
        "trend",
        start_us=start_us,
        end_us=start_us + DAY_US,
        load_strategy=no_python,
        others=others,
    )


def fills_of(life: BotLife) -> list[Fill]:
    return [fill for step in life.store.steps("trend") for fill in step.fills]


def walked(life: BotLife) -> Fill:
    """A fill in the middle of the day that went through levels."""
    found = [fill for fill in fills_of(life) if fill.depth is not None and fill.depth.levels]
    return found[len(found) // 2]


@pytest.mark.parametrize("depth", [0.5, 5_000.0])
def test_a_day_is_replayed_exactly_in_thin_and_deep_books(depth: float) -> None:
    market = MemoryBooks((BTC, WALK), books=books_around(WALK, depth=depth))
    life = lived(market)
    report = parity(life, market)
    assert report.differences == ()
    assert report.fills > 20
    uses = [fill.depth for fill in fills_of(life) if fill.reason in MARKET_ORDERS]
    assert None not in uses
    # Some snapshots are absent or too old: those orders fell back, and say why.
    assert any(use is not None and use.plain for use in uses)
    assert any(use is not None and use.levels for use in uses)
    assert parity(life, MemoryBooks((BTC, WALK))).differences != ()


def test_a_changed_snapshot_is_found_and_named() -> None:
    market = MemoryBooks((BTC, WALK), books=books_around(WALK))
    life = lived(market)
    fill = walked(life)
    assert fill.depth is not None
    assert fill.depth.snapshot_us is not None
    stored = market.books[fill.depth.snapshot_us]
    worse = {
        side: tuple(one.__class__(one.price * 1.01, one.quantity) for one in getattr(stored, side))
        for side in ("bids", "asks")
    }
    market.books[stored.at_us] = msgspec.structs.replace(stored, **worse)
    report = parity(life, market)
    first = report.differences[0]
    assert (first.kind, first.at_us, first.cause) == (
        DifferenceKind.FILL,
        fill.filled_at_us,
        Cause.CHANGED_DEPTH,
    )
    assert "holds other levels now" in first.detail
    assert {one.cause for one in report.differences} == {Cause.CHANGED_DEPTH}


def test_a_missing_and_a_late_snapshot_are_found_and_named() -> None:
    market = MemoryBooks((BTC, WALK), books=books_around(WALK))
    life = lived(market)
    fill = walked(life)
    assert fill.depth is not None
    assert fill.depth.snapshot_us is not None
    lost = market.books.pop(fill.depth.snapshot_us)
    report = parity(life, market)
    assert report.differences[0].at_us == fill.filled_at_us
    assert {one.cause for one in report.differences} == {Cause.LOST_DEPTH}
    assert "is in the store no more" in report.differences[0].detail
    market.books[lost.at_us] = lost
    assert parity(life, market).identical
    late = msgspec.structs.replace(lost, at_us=fill.filled_at_us)
    market.books[late.at_us] = late
    assert {one.cause for one in parity(life, market).differences} == {Cause.LATE_DEPTH}


def test_other_costs_are_told_from_other_books() -> None:
    market = MemoryBooks((BTC, WALK), books=books_around(WALK, depth=0.5, absent=0.0))
    life = lived(market)
    for cause, others in (
        (Cause.SLIPPAGE, OtherTerms(slippage_bps=D(9))),
        (Cause.FEE, OtherTerms(fee_bps=D(9))),
    ):
        found = parity(life, market, others).differences
        fills = [one for one in found if one.kind is DifferenceKind.FILL]
        assert fills[0].cause is cause
        assert {one.cause for one in fills} <= {Cause.SLIPPAGE, Cause.FEE}


def test_a_snapshot_after_the_open_changes_nothing() -> None:
    market = MemoryBooks((BTC, WALK), books=books_around(WALK))
    life = lived(market)
    fill = walked(life)
    after = book_of(fill.filled_at_us + 1, [(1.0, 1.0)], [(1e6, 1.0)])
    market.books[after.at_us] = after
    assert parity(life, market).identical


class Live:
    """One bot that a runner feeds, restored from its last step wherever it is told to."""

    def __init__(self, strategy: ScriptedStrategy, market: MemoryBooks, history: Ohlcv) -> None:
        self.strategy, self.market = strategy, market
        self.stored = Stored()
        self.config = bot_config(fill="depth", slippage_bps=5)
        self.bot = PaperBot(empty_record(), self.config, strategy, market)
        self.bot.restart_clock(T0)
        self.bot.move(BotState.RUNNING, at_us=T0, why="test")
        self.bot.begin(history, RULES, T0)
        self.keep()

    def keep(self) -> None:
        if self.bot.has_news:
            self.stored.add(self.bot.step(T0))

    def feed(self, stored: Ohlcv, forming: Ohlcv | None = None) -> None:
        begun = {} if forming is None else {BTC: candles_of(forming, BTC)[0]}
        self.bot.feed({BTC: stored}, begun, no_finer, ())
        self.keep()

    def killed(self) -> None:
        record = msgspec.structs.replace(self.stored.record, config={})
        self.bot = PaperBot(record, self.config, self.strategy, self.market)
        if self.bot.warm_from_us is not None and self.bot.last_candle_us is not None:
            history = self.market.candles(BTC, self.strategy.timeframe, end_us=self.bot.last_candle_us + 1)
            self.bot.replay(history)


_LATE_US = 20_000_000
CLOSES = [100.0, 101, 99, 102, 104, 103, 97, 98, 105, 107, 101, 100, 99, 103, 108, 104, 102, 101, 99, 100]
SCRIPT = {
    T0 + 6 * MINUTE: "long_entry",
    T0 + 9 * MINUTE: "long_exit short_entry",
    T0 + 12 * MINUTE: "short_exit",
    T0 + 13 * MINUTE: "long_entry",
}


def scripted() -> ScriptedStrategy:
    return ScriptedStrategy(SCRIPT, protection=Protection(stop_loss=0.03))


@pytest.mark.parametrize("seed", range(1, 6))
def test_a_bot_that_is_killed_anywhere_ends_like_its_twin_however_late_snapshots_are_stored(
    seed: int,
) -> None:
    chance = random.Random(seed)
    ohlcv = minutes(CLOSES)
    books = books_around(ohlcv, seed=seed, absent=0.2)
    everything = MemoryBooks((BTC, ohlcv), books=books)
    twin = Live(scripted(), everything, ohlcv.rows(0, 5))
    for row in range(5, len(CLOSES)):
        twin.feed(ohlcv.rows(row, row + 1))

    growing = MemoryBooks((BTC, ohlcv))
    bot = Live(scripted(), growing, ohlcv.rows(0, 5))
    waiting = sorted(books, key=lambda one: one.at_us)
    taken = 5
    for row in range(5, len(CLOSES)):
        # While a candle forms its snapshots come in one after the other, those of before its open as well.
        closes_us = int(ohlcv.opened_at_us[row]) + MINUTE
        due = [one for one in waiting if one.at_us < closes_us]
        for _ in range(chance.randrange(5)):
            for one in due[: chance.randrange(3)]:
                growing.books[one.at_us] = one
                due.remove(one)
            bot.feed(ohlcv.rows(taken, row), ohlcv.rows(row, row + 1))
            taken = row
            if chance.random() < 0.5:
                bot.killed()
        # What belongs to the last moments of a candle is stored only in the next one.
        growing.books |= {one.at_us: one for one in waiting if one.at_us < closes_us - _LATE_US}
        waiting = [one for one in waiting if one.at_us not in growing.books]
        if chance.random() < 0.5:
            bot.feed(ohlcv.rows(taken, row + 1))
            taken = row + 1
    bot.feed(ohlcv.rows(taken, len(ohlcv)))
    assert bot.stored.fills == twin.stored.fills
    assert len(bot.stored.fills) > 3
    assert bot.stored.equity == twin.stored.equity
    assert bot.stored.record.account == twin.stored.record.account


def test_an_order_is_filled_at_the_open_once_the_book_of_that_moment_is_stored_for_good() -> None:
    ohlcv = minutes(CLOSES)
    opened_us = int(ohlcv.opened_at_us[7])
    before = book_of(opened_us - 900_000, [(96.0, 5.0)], [(97.5, 5.0), (98.0, 500.0)])
    market = MemoryBooks((BTC, ohlcv), books=[before])
    life = Live(scripted(), market, ohlcv.rows(0, 5))
    life.feed(ohlcv.rows(5, 7))
    assert life.bot.waits_for_an_open
    life.feed(ohlcv.rows(7, 7), ohlcv.rows(7, 8))
    assert life.stored.fills == []
    # One of between the two may still be on its way, until one of after the open is there.
    newest = book_of(opened_us - 1, [(96.0, 5.0)], [(97.0, 1.0), (99.0, 500.0)])
    market.books[newest.at_us] = newest
    life.feed(ohlcv.rows(7, 7), ohlcv.rows(7, 8))
    assert life.stored.fills == []
    market.books[opened_us + 100_000] = book_of(opened_us + 100_000, [(1.0, 1.0)], [(1.0, 1.0)])
    life.feed(ohlcv.rows(7, 7), ohlcv.rows(7, 8))
    (entry,) = life.stored.fills
    assert entry.depth is not None
    assert entry.depth.snapshot_us == newest.at_us
    assert entry.depth.levels[0] == (D("97.0"), D("1.0"))


def test_a_candle_of_a_second_waits_until_its_book_must_have_been_stored() -> None:
    second = Timeframe.S1
    ohlcv = minutes(CLOSES, timeframe=second)
    strategy = ScriptedStrategy({T0 + 6 * second.us: "long_entry"}, timeframe=second)
    market = MemoryBooks((BTC, ohlcv))
    life = Live(strategy, market, ohlcv.rows(0, 5))
    life.feed(ohlcv.rows(5, 7))
    for known in (8, 9, 10, 11):
        life.feed(ohlcv.rows(7, known))
        assert life.bot.last_candle_us == T0 + 6 * second.us
    book = book_of(T0 + 6 * second.us, [(96.0, 5.0)], [(97.0, 500.0)])
    market.books[book.at_us] = book
    life.feed(ohlcv.rows(7, 12))
    assert life.bot.last_candle_us == T0 + 7 * second.us  # the next one waits for its own
    (entry,) = life.stored.fills
    assert entry.depth is not None
    assert entry.depth.snapshot_us == book.at_us
    life.feed(ohlcv.rows(8, 20))
    assert life.bot.last_candle_us == T0 + 15 * second.us


def test_a_loader_gives_its_bots_the_books_of_its_store() -> None:
    market = MemoryBooks((BTC, minutes(CLOSES)))
    loader = BotLoader(market, lambda config, source: scripted())
    record = empty_record(
        config={
            "name": "trend",
            "venue": "binance",
            "symbol": "BTC-USDT",
            "strategy": "x",
            "capital": "1",
            "fill": "depth",
        }
    )
    bot = loader.start(record, T0)
    assert isinstance(bot, PaperBot)
    assert bot._depth is not None
    assert bot._depth._books is market
