from __future__ import annotations

from collections.abc import Sequence

from data.collectors.backfill import AlteredTrades, Backfill, BackfillTuning, Hole, Rebuilt
from data.collectors.rest import VenueRest
from data.coverage import ABSENT_AT_VENUE, ALTERED, HISTORY, NOT_RECORDED, Span, TradeRepair, VenueOutage
from data.exchanges.binance import BinanceAdapter
from data.messages import RepairNews
from data.models import Candle, Market, Side, Trade, TradeGap, TradeRun
from data.timeframes import Timeframe
from tests.data.collectors.fakes import BinanceHistory
from tests.data.exchanges.test_binance import INSTRUMENT
from tests.data.trade_series import SECOND_US, START_US

MARKET = INSTRUMENT.market
FAST = BackfillTuning(attempts=2, retry_s=0.0, backoff_first_s=0.0, backoff_longest_s=0.0, patience_s=0.0)
PAGE = 10


def made(trade_id: int) -> Trade:
    return Trade(
        exchange="binance",
        symbol="BTC-USDT",
        trade_id=trade_id,
        price=100.0 + trade_id,
        quantity=0.5,
        taker_side=Side.SELL,
        traded_at_us=START_US + trade_id * SECOND_US,
    )


def run_of(first_id: int, last_id: int) -> TradeRun:
    return TradeRun(
        first_id=first_id,
        last_id=last_id,
        first_at_us=made(first_id).traded_at_us,
        last_at_us=made(last_id).traded_at_us,
    )


def hole_of(first_id: int, last_id: int, *, reason: str = NOT_RECORDED, in_run: bool = False) -> Hole:
    return Hole(
        first_id=first_id,
        last_id=last_id,
        before_us=made(first_id - 1).traded_at_us,
        after_us=made(last_id + 1).traded_at_us,
        reason=reason,
        in_run=in_run,
    )


class Ledger:
    """Satisfies `HistoryStore` with what it is told, and notes what it is given."""

    def __init__(self, runs: Sequence[TradeRun], holes: Sequence[Hole] = ()) -> None:
        self._runs, self._holes = list(runs), list(holes)
        self.ids: list[int] = []
        self.gaps: list[TradeGap] = []
        self.repairs: list[TradeRepair] = []
        self.altered_trades: list[AlteredTrades] = []
        self.replaced: list[Trade] = []

    async def runs(self, market: Market) -> list[TradeRun]:
        return self._runs

    async def holes(self, market: Market, *, search: bool) -> list[Hole]:
        return self._holes

    async def save_fetched(
        self,
        market: Market,
        trades: Sequence[Trade],
        *,
        runs: Sequence[TradeRun] = (),
        gaps: Sequence[TradeGap] = (),
        repairs: Sequence[TradeRepair] = (),
    ) -> None:
        self.ids += [trade.trade_id for trade in trades]
        self.gaps += gaps
        self.repairs += repairs

    async def build_candles(self, market: Market) -> Rebuilt:
        return Rebuilt()

    async def altered(self, market: Market, *, since_us: int, again: bool) -> list[AlteredTrades]:
        return self.altered_trades

    async def replace_trades(
        self, market: Market, altered: AlteredTrades, trades: Sequence[Trade], repair: TradeRepair
    ) -> None:
        self.replaced += trades
        self.repairs.append(repair)

    async def mend_candles(self, market: Market, *, since_us: int) -> Rebuilt:
        return Rebuilt(candles=2, spans=[(0, 60_000_000), (120_000_000, 180_000_000)])

    async def trades_between(self, market: Market, start_us: int, end_us: int) -> list[Trade]:
        return []

    async def save_history(self, candles: Sequence[Candle]) -> None:
        return

    async def fetched_klines(self, market: Market, timeframe: Timeframe) -> list[Span]:
        return []

    async def save_fetched_klines(self, market: Market, timeframe: Timeframe, span: Span) -> None:
        return

    async def save_outage(self, market: Market, outage: VenueOutage) -> None:
        raise AssertionError(f"no outage happened: {outage}")


class Bench:
    def __init__(self, at_venue: Sequence[int], ledger: Ledger) -> None:
        adapter = BinanceAdapter()
        adapter.use([INSTRUMENT])
        self.venue, self.ledger = BinanceHistory([made(number) for number in at_venue], page=PAGE), ledger
        self.news: list[RepairNews] = []

        async def hear(news: RepairNews) -> None:
            self.news.append(news)

        self.backfill = Backfill(
            VenueRest(adapter, self.venue),
            ledger,
            MARKET,
            page_ids=PAGE,
            clock_us=lambda: 42,
            tuning=FAST,
            announce=hear,
        )


async def test_a_hole_is_fetched_from_its_newest_page_to_its_oldest() -> None:
    bench = Bench(range(1, 61), Ledger([run_of(1, 9), run_of(41, 60)], [hole_of(10, 40)]))

    done = await bench.backfill.repair()

    assert (done.wanted, done.stored, done.absent, done.holes) == (31, 31, 0, 1)
    assert sorted(bench.ledger.ids) == list(range(10, 41))
    assert bench.ledger.ids[0] == 31
    assert [(repair.first_id, repair.last_id) for repair in bench.ledger.repairs] == [
        (31, 40),
        (21, 30),
        (11, 20),
        (10, 10),
    ]
    assert bench.ledger.repairs[-1].start_us == made(9).traded_at_us
    assert bench.ledger.repairs[0].end_us == made(41).traded_at_us


async def test_holes_on_one_page_are_asked_for_once() -> None:
    holes = [hole_of(number, number, in_run=True) for number in (33, 35, 38)]
    bench = Bench(range(1, 61), Ledger([run_of(1, 60)], holes))

    done = await bench.backfill.repair()

    assert (done.stored, len(bench.venue.requests)) == (3, 1)


async def test_deleted_trades_that_the_venue_lacks_are_noted_as_lost_without_a_gap() -> None:
    at_venue = [number for number in range(1, 61) if number != 31]
    bench = Bench(at_venue, Ledger([run_of(1, 60)], [hole_of(30, 32, in_run=True)]))

    done = await bench.backfill.repair()

    assert (done.stored, done.absent) == (2, 1)
    assert [repair.first_id for repair in bench.ledger.repairs if repair.repaired_at_us is None] == [31]
    assert bench.ledger.gaps == []


async def test_what_the_venue_was_found_to_lack_is_asked_for_only_when_told_so() -> None:
    ledger = Ledger([run_of(1, 9), run_of(13, 60)], [hole_of(10, 12, reason=ABSENT_AT_VENUE)])
    bench = Bench(range(1, 61), ledger)

    assert (await bench.backfill.repair()).wanted == 0
    assert (await bench.backfill.repair(again=True)).stored == 3


async def test_trades_before_the_first_run_are_history_and_only_what_is_lacking_is_fetched() -> None:
    bench = Bench(range(1, 201), Ledger([run_of(100, 120)]))

    done = await bench.backfill.fetch_trades(made(60).traded_at_us, made(130).traded_at_us)

    # One more on each side proves that the first minute and the last one are whole.
    assert sorted(bench.ledger.ids) == [*range(59, 100), *range(121, 131)]
    assert done.stored == 51
    assert {repair.reason for repair in bench.ledger.repairs} == {HISTORY}
    assert len(bench.venue.requests) < 30


async def test_altered_trades_are_taken_from_the_venue_anew_only_when_it_has_them_all() -> None:
    bench = Bench(range(1, 61), Ledger([run_of(1, 70)]))
    bench.ledger.altered_trades = [
        AlteredTrades(first_id=5, last_id=28, start_us=START_US, end_us=START_US + 1),
        AlteredTrades(first_id=50, last_id=70, start_us=START_US, end_us=START_US + 1),
    ]

    done = await bench.backfill.repair(check_since_us=0)

    assert [trade.trade_id for trade in bench.ledger.replaced] == list(range(5, 29))
    assert (done.altered, done.mended, done.candles) == (24 + 21, 24, 2)
    assert [(repair.reason, repair.repaired_at_us) for repair in bench.ledger.repairs] == [
        (ALTERED, 42),
        (ALTERED, None),
    ]


async def test_every_time_whose_candles_were_built_again_is_announced() -> None:
    bench = Bench(range(1, 61), Ledger([run_of(1, 60)]))

    await bench.backfill.repair(check_since_us=0)

    assert [(news.start_us, news.end_us) for news in bench.news] == [
        (0, 60_000_000),
        (120_000_000, 180_000_000),
    ]
    assert bench.news[0].symbol == MARKET.symbol
