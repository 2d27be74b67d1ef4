"""Bots on perpetuals: what they pay at funding times, when they wait for a rate, and their replays."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from decimal import Decimal

import numpy as np
import pytest
from numpy.typing import NDArray

from backtesting.parity_day import ParityReport, check_parity
from bots.config import BotConfig
from bots.journal import JournalEntry
from bots.ladders.ladder_bot import LadderBot
from bots.lifecycle import BotState
from bots.paper_bot import PaperBot, candles_of
from bots.parity import Cause, DifferenceKind
from data.models import FundingRate, Market, Ohlcv
from strategies.base import Strategy
from strategies.loader import parse_strategy
from tests.backtesting.bot_life import BotLife
from tests.backtesting.test_ladder_parity import wander as ladder_wander
from tests.backtesting.test_parity import BUSY, DAY_US, day_of, no_python
from tests.bots.bot_fakes import MINUTE, MemoryBotStore, MemoryCandles, ScriptedStrategy, bot_config, minutes
from tests.bots.ladders.test_ladder_bot import LADDERS, ladder
from tests.bots.test_paper_bot import RULES, Stored, empty_record, no_finer
from tests.strategies.series import random_walk

D = Decimal
PERP = Market("binance", "BTC-USDT-PERP")
HOUR = 60 * MINUTE
START = 490_000 * HOUR  # on the hour
WALK = random_walk(288 * 3, seed=6)  # with a position at the midnight between the days that are replayed


class MemoryRates(MemoryCandles):
    """Satisfies CandleReader and FundingReader."""

    def __init__(self, *series: tuple[Market, Ohlcv], rates: Iterable[FundingRate] = ()) -> None:
        super().__init__(*series)
        self.rates = {(rate.symbol, rate.funding_at_us): rate for rate in rates}
        self.asked = 0

    def put_rate(self, *rates: FundingRate) -> None:
        self.rates.update({(rate.symbol, rate.funding_at_us): rate for rate in rates})

    def funding(self, market: Market, start_us: int, end_us: int) -> Sequence[FundingRate]:
        self.asked += 1
        found = [one for (symbol, _), one in self.rates.items() if symbol == market.symbol]
        return sorted(
            (one for one in found if start_us <= one.funding_at_us < end_us),
            key=lambda one: one.funding_at_us,
        )


def rate(at_us: int, value: float, *, settled: bool = True, symbol: str = PERP.symbol) -> FundingRate:
    return FundingRate(
        exchange=PERP.exchange,
        symbol=symbol,
        funding_at_us=at_us,
        rate=value,
        settled=settled,
        seen_at_us=at_us,
    )


def hourly(ohlcv: Ohlcv, symbol: str = PERP.symbol) -> list[FundingRate]:
    """A rate for every hour that the candles touch, of either sign."""
    first = int(ohlcv.opened_at_us[0]) // HOUR
    last = int(ohlcv.opened_at_us[-1]) // HOUR + 1
    return [rate(hour * HOUR, (hour % 7 - 3) * 0.0004, symbol=symbol) for hour in range(first, last + 1)]


def scripted(script: dict[int, str], store: MemoryRates) -> tuple[PaperBot, Ohlcv]:
    """A bot that begins at 23 minutes past the hour, and its candles up to half past the next one."""
    ohlcv = minutes([100.0 + n % 3 for n in range(90)], start_us=START)
    config = bot_config(symbol=PERP.symbol, fee_bps=0, slippage_bps=0)
    bot = PaperBot(empty_record(), config, ScriptedStrategy(script), funding=store)
    bot.restart_clock(START + 23 * MINUTE)
    bot.move(BotState.RUNNING, at_us=0, why="test")
    bot.begin(ohlcv.rows(0, 23), RULES, START + 23 * MINUTE)
    bot.step(0)
    return bot, ohlcv


def fed(bot: PaperBot, ohlcv: Ohlcv, first: int, last: int) -> list[JournalEntry]:
    """Funding entries of taking these rows as a runner that has just read them."""
    bot.feed({bot.market: ohlcv.rows(first, last)}, {}, no_finer, ())
    if not bot.has_news:
        return []
    return [entry for entry in bot.step(0).entries if entry.order_sequence is None]


@pytest.mark.parametrize(("side", "sign"), [("long", -1), ("short", 1)])
def test_longs_pay_shorts_at_the_close_of_the_candle_that_ends_at_the_funding_time(
    side: str, sign: int
) -> None:
    store = MemoryRates(rates=[rate(START + HOUR, 0.0005)])
    bot, ohlcv = scripted({START + 30 * MINUTE: f"{side}_entry"}, store)
    assert fed(bot, ohlcv, 23, 59) == []
    before = bot.summary()
    assert before.position is not None
    (paid,) = fed(bot, ohlcv, 59, 60)
    close = D(repr(float(ohlcv.close[59])))
    amount = sign * before.position.quantity * close * D("0.0005")
    assert (paid.at_us, paid.cash, paid.funding) == (START + HOUR, amount, -amount)
    assert bot.summary().point.cash - before.point.cash == amount
    assert fed(bot, ohlcv, 60, 90) == []


def test_who_enters_at_the_open_after_pays_nothing_and_who_leaves_there_pays() -> None:
    for row, action in ((59, "long_entry"), (60, "long_entry")):
        bot, ohlcv = scripted({START + row * MINUTE: action}, MemoryRates(rates=[rate(START + HOUR, 0.001)]))
        assert fed(bot, ohlcv, 23, 90) == []
    script = {START + 30 * MINUTE: "long_entry", START + 59 * MINUTE: "long_exit"}
    bot, ohlcv = scripted(script, MemoryRates(rates=[rate(START + HOUR, 0.001)]))
    assert len(fed(bot, ohlcv, 23, 90)) == 1
    assert not bot.has_position


def test_a_candle_waits_for_a_rate_that_is_expected_and_books_it_once_it_is_settled() -> None:
    store = MemoryRates(rates=[rate(START + HOUR, 0.0004, settled=False)])
    bot, ohlcv = scripted({START + 30 * MINUTE: "long_entry"}, store)
    assert fed(bot, ohlcv, 23, 60) == []
    assert bot.last_candle_us == START + 58 * MINUTE
    assert fed(bot, ohlcv, 59, 69) == []
    assert bot.last_candle_us == START + 58 * MINUTE
    store.put_rate(rate(START + HOUR, 0.0005))
    (paid,) = fed(bot, ohlcv, 59, 69)
    assert paid.at_us == START + HOUR
    assert bot.last_candle_us == START + 68 * MINUTE


def test_a_rate_that_is_never_settled_is_told_after_ten_minutes_and_holds_up_nobody_for_longer() -> None:
    store = MemoryRates(rates=[rate(START + HOUR, 0.0004, settled=False)])
    bot, ohlcv = scripted({START + 30 * MINUTE: "long_entry"}, store)
    bot.feed({PERP: ohlcv.rows(23, 70)}, {}, no_finer, ())
    step = bot.step(0)
    assert bot.last_candle_us == START + 69 * MINUTE
    assert [entry for entry in step.entries if entry.order_sequence is None] == []
    (told,) = [event for event in step.events if event.what == "funding not booked"]
    assert "binance:BTC-USDT-PERP" in told.why


def test_without_a_position_nothing_is_waited_for_and_on_spot_nothing_is_asked() -> None:
    store = MemoryRates(rates=[rate(START + HOUR, 0.0004, settled=False)])
    bot, ohlcv = scripted({}, store)
    fed(bot, ohlcv, 23, 60)
    assert bot.last_candle_us == START + 59 * MINUTE
    assert store.asked == 0
    strategy = ScriptedStrategy({START + 30 * MINUTE: "long_entry"})
    spot = PaperBot(empty_record(), bot_config(), strategy, funding=store)
    spot.restart_clock(START + 23 * MINUTE)
    spot.move(BotState.RUNNING, at_us=0, why="test")
    spot.begin(ohlcv.rows(0, 23), RULES, START + 23 * MINUTE)
    assert fed(spot, ohlcv, 23, 90) == []
    assert spot.has_position
    assert store.asked == 0


def test_a_bot_that_was_killed_goes_on_like_its_twin_that_paid() -> None:
    store = MemoryRates(rates=[rate(START + HOUR, 0.0005)])
    script = {START + 30 * MINUTE: "long_entry", START + 75 * MINUTE: "long_exit"}
    twin, ohlcv = scripted(script, store)
    hurt, _ = scripted(script, store)
    stored = Stored()
    twin.feed({PERP: ohlcv.rows(23, 90)}, {}, no_finer, ())
    for first, last in ((23, 40), (40, 60), (60, 90)):
        hurt.feed({PERP: ohlcv.rows(first, last)}, {}, no_finer, ())
        stored.add(hurt.step(0))
        config = bot_config(symbol=PERP.symbol, fee_bps=0, slippage_bps=0)
        hurt = PaperBot(stored.record, config, ScriptedStrategy(script), funding=store)
    assert hurt.summary().point == twin.summary().point
    assert twin.summary().point.cash != D(10_000)


def lived(store: MemoryRates, ohlcv: Ohlcv = WALK) -> BotLife:
    first = int(ohlcv.opened_at_us.searchsorted(day_of(WALK) - DAY_US))
    strategy = parse_strategy(BUSY, "test")
    life = BotLife(strategy, ohlcv.rows(0, first), funding=store, symbol=PERP.symbol, fee_bps=7)
    life.live(ohlcv.rows(first, len(ohlcv)))
    return life


def parity(life: BotLife, store: MemoryCandles, day: int = 0) -> ParityReport:
    start_us = day_of(WALK) + day * DAY_US
    return check_parity(
        life.store, store, "trend", start_us=start_us, end_us=start_us + DAY_US, load_strategy=no_python
    )


def paid(life: BotLife) -> list[JournalEntry]:
    entries = [entry for step in life.store.steps("trend") for entry in step.entries]
    return [entry for entry in entries if entry.order_sequence is None]


def without(ohlcv: Ohlcv, kept: NDArray[np.bool_]) -> Ohlcv:
    """The rows that are kept; an interval without trades has none."""
    names = ("opened_at_us", "open", "high", "low", "close", "volume")
    return dataclasses.replace(ohlcv, **{name: getattr(ohlcv, name)[kept] for name in names})


def test_a_payment_in_a_minute_without_trades_is_for_who_held_before_it() -> None:
    entered = {START + 30 * MINUTE: "long_entry"}
    for script, payments in (
        (entered, 1),
        ({**entered, START + 58 * MINUTE: "long_exit"}, 1),
        ({START + 58 * MINUTE: "long_entry"}, 0),
    ):
        store = MemoryRates(rates=[rate(START + HOUR, 0.0005, settled=False)])
        bot, ohlcv = scripted(script, store)
        sparse = without(ohlcv, np.arange(90) != 59)
        # The next candle forms: nothing is filled at its open before the payment is known.
        bot.feed({PERP: sparse.rows(23, 59)}, {PERP: candles_of(ohlcv.rows(60, 61), PERP)[0]}, no_finer, ())
        assert bot.last_candle_us == START + 58 * MINUTE
        assert bot.is_between_candles
        store.put_rate(rate(START + HOUR, 0.0005))
        bot.step(0)
        booked = fed(bot, sparse, 58, 89)
        assert len(booked) == payments
        for entry in booked:
            assert entry.at_us == START + HOUR
            # All of 10,000 was spent at 100, and 101 was the last price before the minute without trades.
            assert entry.cash == -D(100) * D(101) * D("0.0005")


def test_a_candle_that_was_begun_and_never_stored_makes_nobody_pay_twice() -> None:
    store = MemoryRates(rates=[rate(START + HOUR, 0.0005)])
    bot, ohlcv = scripted({START + 30 * MINUTE: "long_entry"}, store)
    fed(bot, ohlcv, 23, 59)
    bot.open(START + 61 * MINUTE, 100.0)
    first = [entry for entry in bot.step(0).entries if entry.order_sequence is None]
    assert [entry.at_us for entry in first] == [START + HOUR]
    assert fed(bot, without(ohlcv, np.arange(90) >= 70), 0, 20) == []
    assert bot.last_candle_us == START + 89 * MINUTE


@pytest.mark.parametrize("missing", ["nothing", "some", "each hour's last", "each hour's last and first"])
def test_a_day_with_funding_is_replayed_exactly(missing: str) -> None:
    minute = WALK.opened_at_us % HOUR // MINUTE
    kept = {
        "nothing": minute >= 0,
        "some": np.random.default_rng(7).random(len(WALK)) >= 0.4,
        "each hour's last": minute != 55,
        "each hour's last and first": (minute != 55) & (minute != 0),
    }[missing]
    ohlcv = without(WALK, kept)
    store = MemoryRates((PERP, ohlcv), rates=hourly(WALK))
    life = lived(store, ohlcv)
    for day in (-1, 0):
        report = parity(life, store, day)
        assert report.differences == ()
        assert report.fills > 10
    assert {entry.cash > 0 for entry in paid(life)} == {True, False}


def test_a_rate_that_was_settled_too_late_or_is_gone_is_named_and_what_follows_from_it() -> None:
    rates = hourly(WALK)
    start_us = day_of(WALK)
    whole = MemoryRates((PERP, WALK), rates=rates)
    held = [entry.at_us for entry in paid(lived(whole)) if start_us < entry.at_us < start_us + DAY_US]
    late = held[len(held) // 2]
    life = lived(MemoryRates((PERP, WALK), rates=[one for one in rates if one.funding_at_us != late]))
    report = parity(life, whole)
    first = report.differences[0]
    assert (first.kind, first.at_us, first.cause) == (DifferenceKind.FUNDING, late, Cause.FUNDING)
    assert first.bot == "booked none"
    assert {one.cause for one in report.differences} == {Cause.FUNDING}

    gone = MemoryRates((PERP, WALK), rates=[one for one in rates if one.funding_at_us != late])
    report = parity(lived(whole), gone)
    assert (report.differences[0].kind, report.differences[0].replay) == (
        DifferenceKind.FUNDING,
        "books none",
    )
    assert {one.cause for one in report.differences} == {Cause.FUNDING}


class LadderLife(BotLife):
    def __init__(self, kind: str, history: Ohlcv, store: MemoryRates) -> None:
        config = bot_config(symbol=PERP.symbol, strategy=None, type=kind, settings=LADDERS[kind])
        self.store = MemoryBotStore()
        self.store.add(config)
        record = self.store.record(1)
        assert record is not None
        self.bot = LadderBot(record, config, ladder(kind), funding=store)
        self.bot.restart_clock(int(history.opened_at_us[-1]) + 400 * DAY_US)
        self.bot.move(BotState.RUNNING, at_us=0, why="test")
        self.bot.begin(history, RULES, 0)
        self.keep()


@pytest.mark.parametrize("kind", LADDERS)
def test_a_ladder_pays_and_is_replayed_exactly(kind: str) -> None:
    whole = ladder_wander(5)
    candles = without(whole, whole.opened_at_us % HOUR != HOUR - MINUTE)
    store = MemoryRates((PERP, candles), rates=hourly(candles))
    life = LadderLife(kind, candles.rows(0, 1), store)
    life.live(candles.rows(1, len(candles)))
    assert paid(life)

    def load(config: BotConfig) -> Strategy:
        return ladder(kind)

    report = check_parity(
        life.store,
        store,
        "trend",
        start_us=int(candles.opened_at_us[0]),
        end_us=int(candles.opened_at_us[-1]) + MINUTE,
        load_strategy=load,
    )
    assert report.differences == ()
