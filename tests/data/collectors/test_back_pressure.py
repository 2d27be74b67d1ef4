"""What happens to trades while the store is slow, away, or loses what it had taken."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data.candles import CandleCascade
from data.collectors.batch_flusher import BatchFlusher, LostByStore
from data.collectors.journal import Journal
from data.collectors.journal_recovery import store_again, store_orphans
from data.collectors.market_recorder import MarketRecorder
from data.collectors.restoring import restored_cascade
from data.collectors.tuning import CollectorTuning
from data.collectors.unsaved import UnsavedBatches
from data.errors import StoreFellBehind
from data.models import Trade
from data.stores import MarketBatch
from data.timeframes import Timeframe
from database.trade_ledger import merge_runs
from tests.data.collectors.fakes import MemoryPublisher, MemoryStore
from tests.data.trade_series import MARKET, SECOND_US, START_US, trade, trade_series

FRAMES = (Timeframe.S1, Timeframe.M1, Timeframe.M5)
FAST = CollectorTuning(flush_s=0.01, backoff_first_s=0.0, backoff_longest_s=0.0, settle_s=0.0, stalled_s=0.0)
UNHURRIED = settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


class Store(MemoryStore):
    """One that can hang, and that notices like the real one when it lacks what a run speaks of."""

    def __init__(self) -> None:
        super().__init__()
        self.answers = asyncio.Event()
        self.answers.set()

    async def save(self, batch: MarketBatch) -> None:
        await self.answers.wait()
        for market, run in batch.runs if batch.trades else ():
            first_id = min(each.trade_id for each in batch.trades if each.trade_id >= run.first_id)
            has = [known for known in self.runs.get(market, {}).values() if known.last_id >= first_id - 1]
            if first_id > run.first_id and not has:
                raise StoreFellBehind(str(market), first_id - 1)
        await super().save(batch)
        for market, runs in self.runs.items():
            self.runs[market] = {run.first_id: run for run in merge_runs(runs.values())}

    def lose_all(self) -> None:
        self.trades.clear()
        self.candles.clear()
        self.runs.clear()


class Desk:
    """One process's recorder and flusher over a journal and a store that outlive it."""

    def __init__(
        self, folder: Path, store: Store, *, tuning: CollectorTuning = FAST, max_in_memory: int = 10**6
    ) -> None:
        self.store, self.bus = store, MemoryPublisher()
        self.journal = Journal(folder, segment_bytes=2_000)
        self.journal.open()
        self.unsaved = UnsavedBatches(5, journal=self.journal, max_in_memory=max_in_memory)
        self.recorder = MarketRecorder(MARKET, FRAMES, self.unsaved)
        self.flusher = BatchFlusher(
            store, self.bus, self.unsaved, {MARKET.symbol: self.recorder}, tuning, self.journal
        )

    async def restart(self) -> Desk:
        """What `kill -9` leaves, and what the next process makes of it."""
        self.journal.close()
        again = Desk(self.journal.folder, self.store)
        await store_again(self.store, again.journal, FRAMES, again.journal.end)
        again.journal.release(again.journal.end)
        run = await self.store.last_run(MARKET)
        if run is not None:
            cascade = await restored_cascade(self.store, MARKET, FRAMES, run)
            again.recorder = MarketRecorder(MARKET, FRAMES, again.unsaved, run=run, cascade=cascade)
            again.flusher = BatchFlusher(
                self.store, again.bus, again.unsaved, {MARKET.symbol: again.recorder}, FAST, again.journal
            )
        return again

    def ids(self) -> list[int]:
        return sorted(self.store.trades.get(MARKET, {}))


def at(second: float, trade_id: int, price: float = 100.0) -> Trade:
    return trade(trade_id, START_US + round(second * SECOND_US), price=price)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path, Store())
    yield made
    made.journal.close()


async def test_a_store_that_hangs_holds_nothing_up_and_gets_all_in_order(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Store(), max_in_memory=20)
    desk.store.answers.clear()
    most = 0
    for number in range(1, 301):
        desk.recorder.accept([at(number / 10, number)])
        if number % 3 == 0:
            await desk.flusher.flush()
            most = max(most, desk.unsaved.in_memory)
    assert most <= 30
    assert desk.unsaved.trades == 300
    assert desk.unsaved.spilled >= 270
    assert "it has not answered for" in desk.flusher.trouble

    desk.store.answers.set()
    while desk.unsaved.trades:
        await desk.flusher.flush()
    assert [each.trade_id for each in desk.bus.trades] == list(range(1, 301))
    assert desk.unsaved.spilled == 0
    assert not desk.unsaved.is_spilled
    assert desk.flusher.trouble == ""
    desk.journal.close()


async def test_trades_that_come_while_the_spilled_are_stored_come_after_them(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Store(), max_in_memory=10)
    desk.store.fails = True
    for number in range(1, 101):
        desk.recorder.accept([at(number / 10, number)])
        await desk.flusher.flush()
    desk.store.fails = False
    for number in range(101, 201):
        desk.recorder.accept([at(number / 10, number)])
        await desk.flusher.flush()
    while desk.unsaved.trades:
        await desk.flusher.flush()
    assert [each.trade_id for each in desk.bus.trades] == list(range(1, 201))
    assert list(desk.store.runs[MARKET].values())[-1].last_id == 200
    desk.journal.close()


async def test_what_waited_at_a_kill_is_stored_by_the_next_process(desk: Desk) -> None:
    desk.store.fails = True
    desk.recorder.accept([at(-1.0, 1), at(0.0, 2), at(61.0, 3)])
    await desk.flusher.flush()
    desk.store.fails = False
    again = await desk.restart()
    assert again.ids() == [1, 2, 3]
    assert (MARKET, Timeframe.M1, START_US) in desk.store.candles
    again.recorder.accept([at(121.0, 4)])
    await again.flusher.flush()
    assert desk.store.candles[MARKET, Timeframe.M1, START_US + 60 * SECOND_US].trades == 1
    again.journal.close()


async def test_a_journal_that_no_process_has_is_stored_by_another_and_one_in_use_is_left_alone(
    tmp_path: Path,
) -> None:
    store = Store()
    own, orphan, used = (Desk(tmp_path / name, store) for name in ("own", "orphan", "used"))
    store.fails = True
    for first_id, each in ((1, orphan), (101, used)):
        each.recorder.accept([at(0.0, first_id), at(1.0, first_id + 1)])
        await each.flusher.flush()
    orphan.journal.close()
    store.fails = False
    assert await store_orphans(store, tmp_path, tmp_path / "own", FRAMES) == 2
    assert own.ids() == [1, 2]
    assert list((tmp_path / "orphan").glob("*.journal")) == []
    for each in (own, used):
        each.journal.close()


async def test_what_is_stored_leaves_the_journal(desk: Desk) -> None:
    desk.recorder.accept([at(0.0, 1), at(1.0, 2)])
    await desk.flusher.flush()
    await desk.flusher.flush()
    assert desk.journal.begin == desk.journal.end


async def test_what_a_crash_of_the_store_undid_is_stored_again(tmp_path: Path) -> None:
    patient = CollectorTuning(flush_s=0.01, backoff_first_s=0.0, backoff_longest_s=0.0, settle_s=600.0)
    desk = Desk(tmp_path, Store(), tuning=patient)
    for number in range(1, 30):
        desk.recorder.accept([at(number, number)])
        await desk.flusher.flush()
    desk.recorder.accept([at(12.5, 30, price=500.0)])  # late: its second is mended
    await desk.flusher.flush()
    candles = dict(desk.store.candles)
    desk.store.lose_all()

    desk.recorder.accept([at(31.0, 31)])
    await desk.flusher.flush()

    assert desk.ids() == list(range(1, 32))
    assert {key: desk.store.candles[key] for key in candles} == candles
    assert desk.flusher.trouble == ""
    desk.journal.close()


async def test_what_a_crash_undid_is_in_the_journal_however_long_the_store_is_away(tmp_path: Path) -> None:
    tuning = CollectorTuning(flush_s=0.01, backoff_first_s=0.0, backoff_longest_s=0.0, settle_s=0.05)
    desk = Desk(tmp_path, Store(), tuning=tuning)
    desk.recorder.accept([at(1.0, 1), at(2.0, 2)])
    await desk.flusher.flush()
    desk.store.lose_all()
    desk.store.fails = True
    desk.recorder.accept([at(3.0, 3)])
    for _ in range(3):
        await asyncio.sleep(tuning.settle_s)
        await desk.flusher.flush()
    desk.store.fails = False

    await desk.flusher.flush()

    assert desk.ids() == [1, 2, 3]
    for number in (4, 5):
        await asyncio.sleep(tuning.settle_s)
        desk.recorder.accept([at(number, number)])
        await desk.flusher.flush()
    assert desk.unsaved.trades == 0
    assert desk.journal.trades_from(desk.journal.begin) <= 2, "what is settled is let go"
    desk.journal.close()


async def test_what_no_later_batch_has_confirmed_stays_in_the_journal(tmp_path: Path) -> None:
    tuning = CollectorTuning(flush_s=0.01, backoff_first_s=0.0, backoff_longest_s=0.0, settle_s=0.05)
    desk = Desk(tmp_path, Store(), tuning=tuning)
    desk.recorder.accept([at(1.0, 1), at(2.0, 2)])
    await desk.flusher.flush()
    desk.store.lose_all()
    await asyncio.sleep(2 * tuning.settle_s)
    await desk.flusher.flush()
    desk.recorder.accept([at(3.0, 3)])
    await desk.flusher.flush()
    assert desk.ids() == [1, 2, 3]
    desk.journal.close()


async def test_a_start_claims_nothing_that_neither_the_store_nor_the_journal_has(desk: Desk) -> None:
    for number in range(1, 4):
        desk.recorder.accept([at(number, number)])
        await desk.flusher.flush()
    await desk.flusher.flush()
    desk.store.fails = True
    desk.recorder.accept([at(4.0, 4), at(5.0, 5)])
    await desk.flusher.flush()
    desk.store.fails = False
    desk.store.lose_all()
    again = await desk.restart()
    assert again.ids() == [4, 5]
    run = await desk.store.last_run(MARKET)
    assert run is not None
    assert (run.first_id, run.last_id) == (4, 5)
    again.journal.close()


async def test_a_store_that_lost_more_than_the_journal_has_ends_the_process(desk: Desk) -> None:
    for number in range(1, 4):
        desk.recorder.accept([at(number, number)])
        await desk.flusher.flush()
    await desk.flusher.flush()
    desk.store.lose_all()
    desk.recorder.accept([at(4.0, 4)])
    with pytest.raises(LostByStore, match="trade 3 of okx:BTC-USDT"):
        await desk.flusher.flush()


async def test_without_room_on_disk_trades_stay_in_memory_and_it_is_said(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Store(), max_in_memory=4)
    desk.journal._max_bytes = 700
    desk.store.fails = True
    for number in range(1, 31):
        desk.recorder.accept([at(number, number)])
        await desk.flusher.flush()
    assert "holds the 700 bytes it may" in desk.unsaved.journal_trouble
    assert desk.unsaved.in_memory > 20
    desk.store.fails = False
    while desk.unsaved.trades:
        await desk.flusher.flush()
    assert desk.ids() == list(range(1, 31))
    assert [each.trade_id for each in desk.bus.trades] == list(range(1, 31))
    desk.recorder.accept([at(31, 31)])
    for _ in range(2):
        await desk.flusher.flush()
    assert desk.unsaved.journal_trouble == ""
    desk.journal.close()


@UNHURRIED
@given(trades=trade_series(min_size=3, max_size=25), data=st.data())
async def test_with_outages_and_kills_anywhere_the_store_ends_up_as_if_there_were_none(
    tmp_path_factory: pytest.TempPathFactory, trades: Sequence[Trade], data: st.DataObject
) -> None:
    desk = Desk(tmp_path_factory.mktemp("journal"), Store(), max_in_memory=data.draw(st.integers(1, 8)))
    moved = [
        trade(each.trade_id, each.traded_at_us - late_us, each.price, each.quantity)
        for each, late_us in (
            (each, data.draw(st.one_of(st.just(0), st.integers(0, 90 * SECOND_US)))) for each in trades
        )
    ]
    for number, each in enumerate(moved):
        desk.recorder.accept([each])
        step = data.draw(st.sampled_from(["wait", "flush", "fail", "work", "kill"]))
        if step in ("fail", "work"):
            desk.store.fails = step == "fail"
        elif step != "wait":
            await desk.flusher.flush()
        if step == "kill" and not desk.store.fails:
            desk = await desk.restart()
            # The venue's history has what was received last and not kept.
            next_id = desk.recorder.sequencer.next_id
            desk.recorder.accept(
                [other for other in moved[: number + 1] if next_id is None or other.trade_id >= next_id]
            )
    desk.store.fails = False
    desk.recorder.accept([trade(moved[-1].trade_id + 1, trades[-1].traded_at_us + 3_600 * SECOND_US)])
    for _ in range(4):
        await desk.flusher.flush()
    desk.journal.close()

    run = await desk.store.last_run(MARKET)
    assert run is not None
    assert desk.ids() == [*(each.trade_id for each in moved), moved[-1].trade_id + 1]
    stored = await desk.store.trades_between(MARKET, 0, 2**62)
    fresh = CandleCascade(MARKET, FRAMES, run.first_at_us)
    by_second = sorted(stored, key=lambda each: (each.traded_at_us // SECOND_US, each.trade_id))
    expected = {(c.timeframe, c.opened_at_us): c for each in by_second for c in fresh.add(each)}
    found = {(frame, opened): candle for (_, frame, opened), candle in desk.store.candles.items()}
    covered = {key: c for key, c in expected.items() if key[1] > run.first_at_us}
    assert {
        key: (c.open, c.high, c.low, c.close, c.trades) for key, c in found.items() if key in covered
    } == {key: (c.open, c.high, c.low, c.close, c.trades) for key, c in covered.items()}
