"""When a venue is asked for funding that was paid: on a loop that leaps over all waiting."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from itertools import pairwise

import pytest

from data.collectors.funding_keeper import FundingKeeper
from data.collectors.rest import VenueRest
from data.collectors.tuning import CollectorTuning
from data.errors import BadDataError, TransientError
from data.exchanges.base import FundingMessage, MarkMessage, RestRequest, VenueMessage
from data.exchanges.okx import OkxAdapter
from data.models import FundingRate, Instrument, InstrumentKind, Market
from tests.data.collectors.instant_loop import instantly

SYMBOL, OTHER = "BTC-USDT-PERP", "ETH-USDT-PERP"
SECOND_US = 1_000_000
HOUR_US = 3_600 * SECOND_US
# The venue's clock at the loop's time 0: fifteen minutes before a payment.
START_US = 8 * HOUR_US * 60_000 - HOUR_US // 4
PAID_US = START_US + HOUR_US // 4
EARLIER_US = PAID_US - 8 * HOUR_US
LATER_US = PAID_US + 8 * HOUR_US


def perpetual(symbol: str) -> Instrument:
    return Instrument(
        exchange="okx",
        symbol=symbol,
        venue_symbol=f"{symbol.removesuffix('-PERP')}-SWAP",
        kind=InstrumentKind.PERPETUAL,
        base=symbol.partition("-")[0],
        quote="USDT",
        tick_size=Decimal("0.1"),
        lot_size=Decimal("0.01"),
        min_quantity=Decimal("0.01"),
        min_notional=Decimal(0),
        contract_size=Decimal("0.01"),
    )


class Venue:
    """Satisfies `RestTransport`: what was paid, known `lag_s` after it was."""

    def __init__(self, clock: Bench) -> None:
        self.clock = clock
        self.paid: list[int] = [EARLIER_US, PAID_US, LATER_US]
        self.lag_s = 0.0
        self.failures: list[Exception] = []  # raised by the next requests, first to last
        self.asked: list[tuple[str, float]] = []  # what, and seconds after PAID_US

    async def get(self, request: RestRequest) -> object:
        now_us = self.clock.now_us()
        self.asked.append((str(request.params["instId"]), (now_us - PAID_US) / SECOND_US))
        if self.failures:
            raise self.failures.pop(0)
        rows = [
            {
                "instId": request.params["instId"],
                "fundingRate": "0.5",
                "realizedRate": "0.0001",
                "fundingTime": str(at_us // 1_000),
            }
            for at_us in self.paid
            if at_us + self.lag_s * SECOND_US <= now_us
        ]
        return {"code": "0", "data": rows[::-1]}

    async def close(self) -> None:
        return


class Stored:
    """Satisfies `FundingTimesReader`."""

    def __init__(self) -> None:
        self.times: dict[int, bool] = {}
        self.failures = 0

    async def funding_times(self, market: Market, since_us: int) -> dict[int, bool]:
        if self.failures:
            self.failures -= 1
            raise TransientError("the database is away")
        return {at_us: settled for at_us, settled in self.times.items() if at_us >= since_us}


class Bench:
    """A keeper of funding with a venue, a store and a stream that says what the test has it say."""

    def __init__(self, *stored: int) -> None:
        self.venue, self.stored = Venue(self), Stored()
        self.stored.times = dict.fromkeys(stored, True)
        self.wanted = [SYMBOL]
        self.taken: list[FundingRate] = []
        adapter = OkxAdapter()
        adapter.use([perpetual(SYMBOL), perpetual(OTHER)])
        self.keeper = FundingKeeper(
            VenueRest(adapter, self.venue),
            self.stored,
            "okx",
            self.now_us,
            CollectorTuning(),
            wanted=lambda: self.wanted,
            take=self.take,
        )
        self.running = asyncio.create_task(self.keeper.run())

    def now_us(self) -> int:
        return START_US + int(asyncio.get_running_loop().time() * SECOND_US)

    def take(self, parsed: VenueMessage) -> None:
        assert isinstance(parsed, FundingMessage)
        self.taken += parsed.rates
        self.stored.times.update({rate.funding_at_us: rate.settled for rate in parsed.rates})

    def told(self, *rates: tuple[int, bool], symbol: str = SYMBOL) -> None:
        """The stream's message: when it is paid, and whether it was."""
        self.keeper.note(
            FundingMessage(
                [
                    FundingRate(
                        exchange="okx",
                        symbol=symbol,
                        funding_at_us=at_us,
                        rate=0.0001,
                        settled=settled,
                        seen_at_us=self.now_us(),
                    )
                    for at_us, settled in rates
                ],
                self.now_us(),
            )
        )

    async def expect(self, paid_us: int, *, until_us: int) -> None:
        """A minute's rhythm of the same announcement."""
        while self.now_us() < until_us:
            self.told((paid_us, False))
            await asyncio.sleep(min(60.0, (until_us - self.now_us()) / SECOND_US))

    async def pass_to(self, at_us: int) -> None:
        await asyncio.sleep((at_us - self.now_us()) / SECOND_US)

    async def started(self) -> None:
        """Over the first question, which is of the past."""
        await asyncio.sleep(30)
        self.venue.asked.clear()
        self.taken.clear()

    async def end(self) -> None:
        assert not self.running.done()
        self.running.cancel()
        await asyncio.wait([self.running])

    @property
    def paid_times(self) -> list[int]:
        return [rate.funding_at_us for rate in self.taken]


@instantly
async def test_what_was_paid_before_is_fetched_once_and_only_what_the_store_has_not_got_is_taken() -> None:
    oldest_us, missed_us = EARLIER_US - 16 * HOUR_US, EARLIER_US - 8 * HOUR_US
    bench = Bench(oldest_us, EARLIER_US)
    bench.venue.paid = [oldest_us, missed_us, EARLIER_US]
    await asyncio.sleep(600)
    assert bench.paid_times == [missed_us]
    assert (bench.taken[0].settled, bench.taken[0].rate) == (True, 0.0001)
    assert len(bench.venue.asked) == 1
    await bench.end()


@instantly
async def test_a_payment_is_asked_for_some_seconds_after_its_time_and_not_again() -> None:
    bench = Bench()
    await bench.started()
    await bench.expect(PAID_US, until_us=PAID_US)
    assert bench.venue.asked == []
    await bench.expect(LATER_US, until_us=PAID_US + HOUR_US)
    ((_, asked_s),) = bench.venue.asked
    assert 5 <= asked_s <= 12
    assert bench.paid_times == [PAID_US]
    await bench.end()


@instantly
async def test_a_stream_that_fell_silent_before_the_payment_changes_nothing() -> None:
    bench = Bench()
    await bench.started()
    bench.told((PAID_US, False))
    await bench.pass_to(PAID_US + HOUR_US)
    assert bench.paid_times == [PAID_US]
    assert len(bench.venue.asked) == 1
    await bench.end()


@instantly
async def test_a_stream_that_goes_on_announcing_what_is_past_delays_nothing() -> None:
    bench = Bench()
    await bench.started()
    await bench.expect(PAID_US, until_us=PAID_US)
    while bench.now_us() < PAID_US + 30 * SECOND_US:
        bench.told((PAID_US, False))
        await asyncio.sleep(1)
    assert bench.paid_times == [PAID_US]
    await bench.expect(LATER_US, until_us=PAID_US + HOUR_US)
    assert len(bench.venue.asked) == 1
    await bench.end()


@instantly
async def test_nothing_is_asked_when_the_stream_tells_what_was_paid() -> None:
    bench = Bench()
    await bench.started()
    await bench.expect(PAID_US, until_us=PAID_US)
    bench.told((LATER_US, False), (PAID_US, True))
    await bench.expect(LATER_US, until_us=PAID_US + HOUR_US)
    assert bench.venue.asked == []
    await bench.end()


@instantly
async def test_questions_end_when_the_stream_tells_it_at_last() -> None:
    bench = Bench()
    await bench.started()
    bench.venue.lag_s = 1e6
    await bench.expect(PAID_US, until_us=PAID_US)
    await bench.expect(LATER_US, until_us=PAID_US + 60 * SECOND_US)
    asked = len(bench.venue.asked)
    assert asked > 1
    bench.told((PAID_US, True), (LATER_US, False))
    await bench.expect(LATER_US, until_us=PAID_US + HOUR_US)
    assert len(bench.venue.asked) == asked
    await bench.end()


@instantly
async def test_a_payment_is_asked_for_although_the_stream_tells_a_later_one() -> None:
    bench = Bench()
    await bench.started()
    bench.venue.paid = [EARLIER_US]
    await bench.expect(PAID_US, until_us=PAID_US)
    await bench.expect(LATER_US, until_us=LATER_US)
    await asyncio.sleep(600)
    bench.told((LATER_US, True), (LATER_US + 8 * HOUR_US, False))
    await asyncio.sleep(600)
    bench.venue.paid += [PAID_US, LATER_US]
    bench.stored.times[LATER_US] = True
    await asyncio.sleep(600)
    assert bench.paid_times == [PAID_US]
    asked = len(bench.venue.asked)
    await asyncio.sleep(1_000)
    assert len(bench.venue.asked) == asked
    await bench.end()


@instantly
async def test_a_venue_that_is_late_is_asked_with_growing_pauses_until_it_tells() -> None:
    bench = Bench()
    await bench.started()
    bench.venue.lag_s = 3_000
    await bench.expect(PAID_US, until_us=PAID_US)
    await bench.expect(LATER_US, until_us=PAID_US + 2 * HOUR_US)
    times = [asked_s for _, asked_s in bench.venue.asked]
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert 3_000 <= times[-1] <= 3_000 + 302
    assert all(5 <= pause <= 302 for pause in pauses)
    assert pauses[0] < 10
    assert min(pauses[-3:]) >= 150
    assert bench.paid_times == [PAID_US]
    await bench.end()


@pytest.mark.parametrize(
    "failures",
    [
        [TransientError("okx cannot be reached"), TransientError("okx cannot be reached")],
        [BadDataError("okx refuses"), BadDataError("okx refuses")],
    ],
)
def test_what_fails_is_tried_again(failures: list[Exception]) -> None:
    @instantly
    async def tried() -> None:
        bench = Bench()
        await bench.started()
        bench.venue.failures = failures
        await bench.expect(PAID_US, until_us=PAID_US)
        await bench.expect(LATER_US, until_us=PAID_US + HOUR_US)
        assert bench.paid_times == [PAID_US]
        assert len(bench.venue.asked) == 3
        await bench.end()

    tried()


@instantly
async def test_a_store_that_is_away_is_waited_for() -> None:
    bench = Bench()
    bench.stored.failures = 3
    await asyncio.sleep(600)
    assert bench.paid_times == [EARLIER_US]
    assert len(bench.venue.asked) == 4
    await bench.end()


@instantly
async def test_a_payment_that_is_moved_before_its_time_is_not_asked_for() -> None:
    bench = Bench()
    await bench.started()
    bench.told((PAID_US, False))
    await bench.pass_to(PAID_US - 60 * SECOND_US)
    await bench.expect(LATER_US, until_us=PAID_US + HOUR_US)
    assert bench.venue.asked == []
    await bench.end()


@instantly
async def test_after_a_long_silence_payments_that_were_never_announced_are_fetched() -> None:
    bench = Bench()
    await bench.started()
    await bench.expect(PAID_US, until_us=PAID_US)
    bench.told((PAID_US, True))
    await bench.pass_to(LATER_US + HOUR_US)
    assert bench.venue.asked == []
    bench.told((LATER_US + 8 * HOUR_US, False))
    await bench.pass_to(LATER_US + 2 * HOUR_US)
    assert bench.paid_times == [PAID_US, LATER_US]
    assert len(bench.venue.asked) == 1
    await bench.end()


@instantly
async def test_what_a_process_before_expected_is_asked_for_until_it_is_told() -> None:
    bench = Bench(EARLIER_US - 8 * HOUR_US)
    bench.stored.times[EARLIER_US] = False
    bench.venue.paid = [EARLIER_US - 8 * HOUR_US]
    await asyncio.sleep(20)
    assert bench.taken == []
    bench.venue.paid.append(EARLIER_US)
    await asyncio.sleep(600)
    assert bench.paid_times == [EARLIER_US]
    await bench.end()


@instantly
async def test_markets_that_come_and_go_are_followed_and_disturb_no_other() -> None:
    bench = Bench()
    await bench.started()
    bench.wanted = [SYMBOL, OTHER]
    await bench.pass_to(START_US + 300 * SECOND_US)
    assert [symbol for symbol, _ in bench.venue.asked] == ["ETH-USDT-SWAP"]
    bench.told((PAID_US, False), symbol=OTHER)
    bench.wanted = [SYMBOL]
    await bench.pass_to(START_US + 310 * SECOND_US)
    bench.told((PAID_US, False), symbol=OTHER)
    await bench.expect(PAID_US, until_us=PAID_US)
    await bench.expect(LATER_US, until_us=PAID_US + HOUR_US)
    assert [symbol for symbol, _ in bench.venue.asked] == ["ETH-USDT-SWAP", "BTC-USDT-SWAP"]
    await bench.end()


@instantly
async def test_the_rate_that_comes_with_a_mark_announces_a_payment_too() -> None:
    bench = Bench()
    await bench.started()
    rate = FundingRate(
        exchange="okx",
        symbol=SYMBOL,
        funding_at_us=PAID_US,
        rate=0.0,
        settled=False,
        seen_at_us=bench.now_us(),
    )
    bench.keeper.note(MarkMessage(None, bench.now_us(), rate))
    await bench.pass_to(PAID_US + 60 * SECOND_US)
    assert bench.paid_times == [PAID_US]
    await bench.end()
