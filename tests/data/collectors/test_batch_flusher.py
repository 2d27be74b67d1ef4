from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from data.candles import CandleCascade
from data.collectors.batch_flusher import BatchFlusher
from data.collectors.market_recorder import MarketRecorder
from data.collectors.restoring import restored_cascade
from data.collectors.tuning import CollectorTuning
from data.collectors.unsaved import UnsavedBatches
from data.models import Candle, Trade
from data.sequencing import MissingRange
from data.stores import MarketBatch
from data.timeframes import Timeframe
from tests.data.collectors.fakes import MemoryPublisher, MemoryStore
from tests.data.trade_series import MARKET, SECOND_US, START_US, UNHURRIED, trade, trade_series

FRAMES = (Timeframe.S1, Timeframe.M1, Timeframe.M5)
FAST = CollectorTuning(flush_s=0.0, backoff_first_s=0.0, backoff_longest_s=0.0)


class Desk:
    """A market's recorder with the store, the bus and the flusher between."""

    def __init__(self, frames: tuple[Timeframe, ...] = FRAMES) -> None:
        self.store, self.bus, self.unsaved = MemoryStore(), MemoryPublisher(), UnsavedBatches()
        self.recorder = MarketRecorder(MARKET, frames, self.unsaved)
        self.flusher = BatchFlusher(self.store, self.bus, self.unsaved, {MARKET.symbol: self.recorder}, FAST)

    def closed(self, timeframe: Timeframe) -> list[Candle]:
        return [
            update.candle
            for update in self.bus.updates
            if update.closed and update.candle.timeframe is timeframe
        ]


def at(second: float, trade_id: int, price: float = 100.0) -> Trade:
    return trade(trade_id, START_US + round(second * SECOND_US), price=price)


async def test_trades_and_closed_candles_are_told_only_once_they_are_stored() -> None:
    desk = Desk()
    desk.recorder.accept([at(-1.0, 1), at(0.0, 2), at(61.0, 3)])
    desk.store.fails = True
    await desk.flusher.flush()
    assert desk.bus.trades == []
    assert not any(update.closed for update in desk.bus.updates)
    assert desk.flusher.trouble == "the database is away"
    assert desk.unsaved.trades == 3

    desk.store.fails = False
    await desk.flusher.flush()
    assert [each.trade_id for each in desk.bus.trades] == [1, 2, 3]
    assert [candle.opened_at_us for candle in desk.closed(Timeframe.M1)] == [START_US]
    assert (desk.flusher.trouble, desk.flusher.stored, desk.unsaved.trades) == ("", 3, 0)


async def test_no_candle_forms_in_public_while_those_before_it_cannot_be_stored() -> None:
    desk = Desk()
    desk.recorder.accept([at(-1.0, 1), at(0.0, 2)])
    await desk.flusher.flush()
    told = len(desk.bus.updates)
    assert told > 0

    desk.store.fails = True
    for number, second in enumerate((61.0, 121.0, 122.0), start=3):
        desk.recorder.accept([at(second, number)])
        await desk.flusher.flush()
    assert len(desk.bus.updates) == told

    desk.store.fails = False
    await desk.flusher.flush()
    minutes = [update for update in desk.bus.updates[told:] if update.candle.timeframe is Timeframe.M1]
    # The two that closed are stored and told before the third is told to be forming.
    assert [(update.closed, update.candle.opened_at_us) for update in minutes] == [
        (True, START_US),
        (True, START_US + 60 * SECOND_US),
        (False, START_US + 120 * SECOND_US),
    ]


async def test_what_comes_while_the_store_is_away_is_kept_in_order() -> None:
    desk = Desk()
    desk.store.fails = True
    for number in range(1, 30):
        desk.recorder.accept([at(number, number)])
        await desk.flusher.flush()
    desk.store.fails = False
    await desk.flusher.flush()
    assert [each.trade_id for each in desk.bus.trades] == list(range(1, 30))
    run = await desk.store.last_run(MARKET)
    assert run is not None
    assert (run.first_id, run.last_id) == (1, 29)


async def test_the_last_batch_is_stored_at_the_end() -> None:
    desk = Desk()
    desk.recorder.accept([at(0.0, 1)])
    await desk.flusher.finish()
    assert list(desk.store.trades[MARKET]) == [1]


async def test_a_late_trade_mends_the_candles_that_had_closed_without_it() -> None:
    desk = Desk()
    desk.recorder.accept([at(-1.0, 1), at(0.0, 2), at(10.0, 3), at(59.0, 4), at(61.0, 5)])
    await desk.flusher.flush()
    assert desk.store.candles[MARKET, Timeframe.M1, START_US].high == 100.0

    desk.recorder.accept([at(10.5, 6, price=500.0), at(62.0, 7)])
    await desk.flusher.flush()

    second = desk.store.candles[MARKET, Timeframe.S1, START_US + 10 * SECOND_US]
    assert (second.high, second.close, second.trades) == (500.0, 500.0, 2)
    minute = desk.store.candles[MARKET, Timeframe.M1, START_US]
    assert (minute.high, minute.close, minute.volume, minute.trades) == (500.0, 100.0, 4.0, 4)
    assert desk.closed(Timeframe.M1)[-1] == minute
    assert desk.recorder.late_us == []
    assert (MARKET, Timeframe.M5, START_US) not in desk.store.candles
    # And it is in the five minutes that are still in the making.
    (forming,) = [
        update.candle for update in desk.recorder.forming_updates() if update.candle.timeframe is Timeframe.M5
    ]
    assert (forming.high, forming.trades) == (500.0, 6)


async def test_trades_that_come_while_candles_are_mended_are_not_forgotten() -> None:
    desk = Desk()
    desk.recorder.accept([at(-1.0, 1), at(0.0, 2), at(61.0, 3), at(30.0, 4, price=7.0)])
    save = desk.store.save
    more = [at(119.0, 5), at(121.0, 6), at(122.0, 7)]

    async def save_and_trade_on(batch: MarketBatch) -> None:
        await save(batch)
        if not batch.trades:  # mended candles alone
            desk.recorder.accept(more)

    desk.store.save = save_and_trade_on  # type: ignore[method-assign]
    for _ in range(2):
        await desk.flusher.flush()
    assert desk.store.candles[MARKET, Timeframe.M1, START_US].low == 7.0
    second_minute = desk.store.candles[MARKET, Timeframe.M1, START_US + 60 * SECOND_US]
    assert (second_minute.trades, second_minute.opened_at_us) == (2, START_US + 60 * SECOND_US)
    assert [each.trade_id for each in desk.bus.trades] == list(range(1, 8))


@UNHURRIED
@given(trades=trade_series(min_size=3, max_size=25), data=st.data())
async def test_with_late_trades_anywhere_the_stored_candles_are_those_of_the_stored_trades(
    trades: Sequence[Trade], data: st.DataObject
) -> None:
    desk = Desk()
    moved = [
        trade(each.trade_id, each.traded_at_us - late_us, each.price, each.quantity)
        for each, late_us in (
            (each, data.draw(st.one_of(st.just(0), st.integers(0, 90 * SECOND_US)))) for each in trades
        )
    ]
    for each in moved:
        desk.recorder.accept([each])
        if data.draw(st.booleans()):
            await desk.flusher.flush()
    desk.recorder.accept([trade(moved[-1].trade_id + 1, trades[-1].traded_at_us + 3_600 * SECOND_US)])
    for _ in range(3):
        await desk.flusher.flush()

    run = await desk.store.last_run(MARKET)
    assert run is not None
    stored = await desk.store.trades_between(MARKET, 0, 2**62)
    fresh = CandleCascade(MARKET, FRAMES, run.first_at_us)
    by_second = sorted(stored, key=lambda each: (each.traded_at_us // SECOND_US, each.trade_id))
    expected = {(c.timeframe, c.opened_at_us): c for each in by_second for c in fresh.add(each)}
    found = {(frame, opened): candle for (_, frame, opened), candle in desk.store.candles.items()}
    assert {key: (c.open, c.high, c.low, c.close, c.trades) for key, c in found.items()} == {
        key: (c.open, c.high, c.low, c.close, c.trades) for key, c in expected.items()
    }


async def test_a_restart_goes_on_from_the_store_alone() -> None:
    desk = Desk()
    first = [at(-1.0, 1), at(0.5, 2), at(30.0, 3), at(30.2, 4)]
    desk.recorder.accept(first)
    await desk.flusher.flush()

    run = await desk.store.last_run(MARKET)
    assert run is not None
    cascade = await restored_cascade(desk.store, MARKET, FRAMES, run)
    again = Desk()
    again.store = desk.store
    recorder = MarketRecorder(MARKET, FRAMES, again.unsaved, run=run, cascade=cascade)
    recorder.accept([at(30.2, 4), at(30.9, 5), at(61.0, 6)])

    batch = again.unsaved.first()
    assert batch is not None
    assert [each.trade_id for each in batch.trades] == [5, 6]
    assert [(candle.timeframe.value, candle.trades) for candle in batch.candles] == [("1s", 3), ("1m", 4)]


async def test_a_gap_among_what_waits_puts_mending_off_until_it_is_stored() -> None:
    desk = Desk()
    desk.recorder.accept([at(-1.0, 1), at(0.0, 2), at(61.0, 3)])
    await desk.flusher.flush()
    desk.recorder.accept([at(30.0, 4, price=9.0)])
    save = desk.store.save

    async def save_and_lose_trades(batch: MarketBatch) -> None:
        await save(batch)
        if not batch.trades and not desk.store.gaps:
            desk.recorder.accept([at(70.0, 7)])
            desk.recorder.give_up(MissingRange(5, 6), "history_unavailable", 0)

    desk.store.save = save_and_lose_trades  # type: ignore[method-assign]
    for _ in range(2):
        await desk.flusher.flush()
    assert desk.recorder.late_us == []
    assert [gap.first_id for _, gap in desk.store.gaps] == [5]
    forming = {update.candle.timeframe: update for update in desk.recorder.forming_updates()}
    assert not forming[Timeframe.M1].covered
