"""Fetching a market's past: trades that the store lacks, and the venue's own candles."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import msgspec
import structlog

from data.collectors.backoff import Backoff
from data.collectors.rest import VenueRest
from data.coverage import (
    ABSENT_AT_VENUE,
    ALTERED,
    HISTORY,
    VENUE_SILENT,
    Span,
    TradeRepair,
    VenueOutage,
    without,
)
from data.errors import TransientError
from data.messages import RepairNews
from data.models import Candle, Market, Trade, TradeGap, TradeRun
from data.timeframes import Timeframe, floor_to

log = structlog.get_logger()
_T = TypeVar("_T")

_VOLUME_TOLERANCE = 1e-9  # relative: sums of doubles depend on their order


class Hole(msgspec.Struct, frozen=True, kw_only=True):
    """Ids that the store lacks, between trades at `before_us` and `after_us` that it has."""

    first_id: int
    last_id: int
    before_us: int
    after_us: int
    reason: str  # why, as far as the store knows
    in_run: bool = False  # the ledger says that they are stored: they have been deleted

    def __len__(self) -> int:
        return self.last_id - self.first_id + 1


class AlteredTrades(msgspec.Struct, frozen=True, kw_only=True):
    """Stored trades that are not what was written, between `start_us` and `end_us`; both ids are included."""

    first_id: int
    last_id: int
    start_us: int
    end_us: int


class Rebuilt(msgspec.Struct, frozen=True, kw_only=True):
    """Candles that were built again, and the times whose candles they are, to the minute."""

    candles: int = 0
    spans: Sequence[Span] = ()


class HistoryStore(Protocol):
    """Where what is fetched goes. All of it is harmless to repeat, and may go on beside a collector."""

    async def runs(self, market: Market) -> list[TradeRun]:
        """Runs of stored ids, ascending, joined where they touch."""
        ...

    async def holes(self, market: Market, *, search: bool) -> list[Hole]:
        """Ids that the store lacks between its first and its last, ascending, and should still keep.

        The ledger tells of them; with `search` every id is looked for, to find what was deleted behind it.
        """
        ...

    async def save_fetched(
        self,
        market: Market,
        trades: Sequence[Trade],
        *,
        runs: Sequence[TradeRun] = (),
        gaps: Sequence[TradeGap] = (),
        repairs: Sequence[TradeRepair] = (),
    ) -> None:
        """Store trades and what is to be noted of them, in one transaction.

        A repair joins the one right above it, and takes the place of losses that it makes good.
        """
        ...

    async def build_candles(self, market: Market) -> Rebuilt:
        """Build the candles again that repairs have touched and that have ended since."""
        ...

    async def altered(self, market: Market, *, since_us: int, again: bool) -> list[AlteredTrades]:
        """Where the store holds other trades than were written, of that time and later; ascending.

        What could not be mended before is told only where `again` is set.
        """
        ...

    async def replace_trades(
        self, market: Market, altered: AlteredTrades, trades: Sequence[Trade], repair: TradeRepair
    ) -> None:
        """Let `trades` stand for all that is stored under these ids, and note it, in one transaction."""
        ...

    async def mend_candles(self, market: Market, *, since_us: int) -> Rebuilt:
        """Build the candles again that are not what their trades make, of that time and later."""
        ...

    async def trades_between(self, market: Market, start_us: int, end_us: int) -> list[Trade]: ...

    async def save_history(self, candles: Sequence[Candle]) -> None: ...

    async def fetched_klines(self, market: Market, timeframe: Timeframe) -> list[Span]:
        """Spans whose candles were fetched already, ascending."""
        ...

    async def save_fetched_klines(self, market: Market, timeframe: Timeframe, span: Span) -> None: ...

    async def save_outage(self, market: Market, outage: VenueOutage) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillTuning:
    """How patient a backfill is, in seconds."""

    attempts: int = 3  # how often the venue must say that it lacks an id
    retry_s: float = 1.0
    backoff_first_s: float = 0.5
    backoff_longest_s: float = 30.0
    patience_s: float = 300.0  # without any answer


@dataclass(slots=True, kw_only=True)
class Fetched:
    """What became of the ids that were asked for."""

    wanted: int = 0
    stored: int = 0
    absent: int = 0  # the venue has not got them
    holes: int = 0
    altered: int = 0  # ids among which some were altered behind the ledger
    mended: int = 0  # of these, taken from the venue again
    candles: int = 0  # built from them, or again

    def add(self, other: Fetched) -> None:
        self.wanted += other.wanted
        self.stored += other.stored
        self.absent += other.absent
        self.holes += other.holes
        self.altered += other.altered
        self.mended += other.mended
        self.candles += other.candles


Announce = Callable[[RepairNews], Awaitable[None]]
OnProgress = Callable[[int, int], None]  # how much of how much is done


async def _unannounced(_news: RepairNews) -> None:
    """Nobody is to hear of it."""


def _untold(_done: int, _whole: int) -> None:
    """Nobody watches."""


async def tell_rebuilt(announce: Announce, market: Market, built: Rebuilt) -> None:
    """Announce the times whose candles were built again, so that who has read them reads them again."""
    if not built.candles:
        return
    for start_us, end_us in built.spans:
        await announce(
            RepairNews(exchange=market.exchange, symbol=market.symbol, start_us=start_us, end_us=end_us)
        )


class Backfill:
    """Fetches one market's past, page by page from the newest to the oldest, and stores each page at once.

    So it may be ended at any moment, and goes on where it was. Every method raises TransientError when the
    venue or the store has not answered for `patience_s`, and BadDataError for what the venue refuses.
    """

    def __init__(
        self,
        rest: VenueRest,
        store: HistoryStore,
        market: Market,
        *,
        page_ids: int,
        clock_us: Callable[[], int],
        tuning: BackfillTuning | None = None,
        announce: Announce = _unannounced,
    ) -> None:
        """A page of the venue's trades speaks for `page_ids` ids. `rest` knows the market already.

        `announce` is told of times whose candles were built again, once they are stored.
        """
        self._rest, self._store, self._market = rest, store, market
        self._page_ids, self._clock_us = page_ids, clock_us
        self._tuning = tuning or BackfillTuning()
        self._announce = announce
        self._recent: dict[int, Trade] = {}  # the page that came last, by id

    async def repair(
        self,
        *,
        search: bool = True,
        again: bool = False,
        check_since_us: int | None = None,
        on_progress: OnProgress = _untold,
    ) -> Fetched:
        """Fetch what the store lacks between its first trade and its last, and mend the candles touched.

        `search` looks for every id, which takes a while, instead of believing the ledger. From
        `check_since_us` on, trades that were altered are fetched anew and candles that are not what their
        trades make are built again; it reads them all. What the venue has been found to lack is asked for
        only where `again` is set.
        """
        holes = [
            hole
            for hole in await self._store.holes(self._market, search=search)
            if again or hole.reason != ABSENT_AT_VENUE
        ]
        done = Fetched(wanted=sum(map(len, holes)), holes=len(holes))
        for hole in reversed(holes):
            await self._fetch(hole, done, on_progress)
        if check_since_us is not None:
            for altered in await self._store.altered(self._market, since_us=check_since_us, again=again):
                await self._fetch_anew(altered, done)
        done.candles = await self._build_candles()
        if check_since_us is not None:
            mended = await self._store.mend_candles(self._market, since_us=check_since_us)
            await self._tell(mended)
            done.candles += mended.candles
        if done.holes or done.altered or done.candles:
            log.info(
                "market_repaired",
                market=str(self._market),
                holes=done.holes,
                trades=done.stored,
                absent=done.absent,
                altered=done.altered,
                candles=done.candles,
            )
        return done

    async def fetch_trades(self, start_us: int, end_us: int, *, on_progress: OnProgress = _untold) -> Fetched:
        """Store the trades of `[start_us, end_us)` as far as the venue gives them, and build their candles.

        Holes inside that time are repaired as well, and those next to it as far as they reach into it.
        """
        runs = await self._store.runs(self._market)
        newest = await self._patiently(lambda: self._rest.newest_trades(self._market.symbol))
        if not newest:
            return Fetched()
        # One trade more on each side proves that the first minute and the last one are whole.
        first_id = max(await self._first_id_at(start_us, runs, newest) - 1, 0)
        last_id = min(await self._first_id_at(end_us, runs, newest), newest[-1].trade_id)
        pieces = _pieces(
            await self._store.holes(self._market, search=True), runs, first_id, last_id, (start_us, end_us)
        )
        done = Fetched(wanted=sum(map(len, pieces)), holes=len(pieces))
        for piece in reversed(pieces):
            await self._fetch(piece, done, on_progress)
        done.candles = await self._build_candles()
        return done

    async def fetch_klines(
        self, timeframe: Timeframe, start_us: int, end_us: int, *, on_progress: OnProgress = _untold
    ) -> int:
        """Store the venue's own candles that lie in `[start_us, end_us)` and return how many came.

        What was fetched before is not fetched again. Intervals without trades are left out.
        """
        venue_time_us = await self._patiently(self._rest.server_time_us)
        whole = (
            floor_to(start_us - 1, timeframe) + timeframe.us,
            floor_to(min(end_us, venue_time_us), timeframe),
        )
        spans = without(whole, await self._store.fetched_klines(self._market, timeframe))
        wanted = sum(after - before for before, after in spans) // timeframe.us
        done = came = 0
        for first_us, before_us in reversed(spans):
            while before_us > first_us:
                page = await self._kline_page(timeframe, before_us)
                kept = [candle for candle in page if candle.opened_at_us >= first_us and candle.volume > 0]
                await self._store.save_history(kept)
                came += len(kept)
                if not page:
                    break  # the venue has none so old
                reached_us = max(first_us, page[0].opened_at_us)
                await self._store.save_fetched_klines(self._market, timeframe, (reached_us, before_us))
                done += (before_us - reached_us) // timeframe.us
                before_us = reached_us
                on_progress(done, wanted)
        on_progress(wanted, wanted)
        return came

    async def _kline_page(self, timeframe: Timeframe, before_us: int) -> list[Candle]:
        page = await self._patiently(
            lambda: self._rest.klines_before(self._market.symbol, timeframe, before_us)
        )
        return [candle for candle in page if candle.opened_at_us < before_us]

    async def _fetch(self, hole: Hole, done: Fetched, on_progress: OnProgress) -> None:
        """Fetch a hole from its last page to its first."""
        last_id, after_us, stored_before = hole.last_id, hole.after_us, done.stored
        believes = False  # that an answer without an id is final
        while last_id >= hole.first_id:
            first_id = max(hole.first_id, last_id - self._page_ids + 1)
            trades = await self._page(first_id, last_id, attempts=1 if believes else self._tuning.attempts)
            await self._save_page(hole, first_id, last_id, trades, after_us)
            believes = not trades
            done.stored += len(trades)
            done.absent += last_id - first_id + 1 - len(trades)
            if trades:
                after_us = trades[0].traded_at_us
            elif hole.reason == HISTORY:
                # The venue's memory ends here.
                done.absent += first_id - hole.first_id
                break
            last_id = first_id - 1
            on_progress(done.stored + done.absent, done.wanted)
        if done.stored == stored_before and not hole.in_run and hole.reason != HISTORY:
            await self._note_outage(hole)

    async def _fetch_anew(self, altered: AlteredTrades, done: Fetched) -> None:
        """Take the venue's trades for those that were altered, all of them or none."""
        trades: list[Trade] = []
        for first_id in range(altered.first_id, altered.last_id + 1, self._page_ids):
            last_id = min(first_id + self._page_ids - 1, altered.last_id)
            page = await self._page(first_id, last_id, attempts=self._tuning.attempts)
            if len(page) <= last_id - first_id:
                break
            trades += page
        count = altered.last_id - altered.first_id + 1
        complete = len(trades) == count
        done.altered += count
        repair = TradeRepair(
            first_id=altered.first_id,
            last_id=altered.last_id,
            start_us=altered.start_us,
            end_us=altered.end_us,
            reason=ALTERED,
            repaired_at_us=self._clock_us() if complete else None,
        )
        if complete:
            done.mended += count
            await self._store.replace_trades(self._market, altered, trades, repair)
        else:
            await self._store.save_fetched(self._market, [], repairs=[repair])

    async def _build_candles(self) -> int:
        built = await self._store.build_candles(self._market)
        await self._tell(built)
        return built.candles

    async def _tell(self, built: Rebuilt) -> None:
        await tell_rebuilt(self._announce, self._market, built)

    async def _page(self, first_id: int, last_id: int, *, attempts: int) -> list[Trade]:
        """The trades of these ids that the venue has, ascending. It must say repeatedly that it lacks one."""
        wanted = range(first_id, last_id + 1)
        # The page that ends here reaches as far down as it can: the next hole may lie on it too.
        page_from = max(0, last_id - self._page_ids + 1)
        for attempt in range(attempts):
            if all(trade_id in self._recent for trade_id in wanted):
                break
            if attempt:
                await asyncio.sleep(self._tuning.retry_s * 2.0 ** (attempt - 1))
            page = await self._trades_from(page_from)
            self._recent = {trade.trade_id: trade for trade in page}
        return [self._recent[trade_id] for trade_id in wanted if trade_id in self._recent]

    async def _save_page(
        self, hole: Hole, first_id: int, last_id: int, trades: Sequence[Trade], after_us: int
    ) -> None:
        now_us = self._clock_us()
        runs = _runs_of(trades)
        absent = _absent(first_id, last_id, runs)
        if hole.reason == HISTORY and absent and absent[0][0] == first_id:
            # Below the oldest trade there is nothing for a gap to lie between.
            absent = absent[1:]
        start_us = trades[0].traded_at_us if trades and first_id > hole.first_id else hole.before_us
        ranges: list[tuple[int, int, int | None]] = [(run.first_id, run.last_id, now_us) for run in runs]
        if hole.in_run:
            # The ledger has these ids already: what the venue has not got either is noted as lost.
            ranges += [(*ids, None) for ids in absent]
        repairs = [
            TradeRepair(
                first_id=range_first,
                last_id=range_last,
                start_us=start_us,
                end_us=after_us,
                reason=hole.reason,
                repaired_at_us=repaired_at_us,
            )
            for range_first, range_last, repaired_at_us in ranges
        ]
        gaps = [
            TradeGap(first_id=range_first, last_id=range_last, reason=ABSENT_AT_VENUE, found_at_us=now_us)
            for range_first, range_last in absent
        ]
        await self._store.save_fetched(
            self._market,
            trades,
            runs=() if hole.in_run else runs,
            gaps=() if hole.in_run else gaps,
            repairs=repairs,
        )

    async def _note_outage(self, hole: Hole) -> None:
        """Where the venue lacks all ids of a hole and its own candles show no trade in it, it was down."""
        span = floor_to(hole.before_us, Timeframe.M1), floor_to(hole.after_us, Timeframe.M1) + Timeframe.M1.us
        candles: dict[int, Candle] = {}
        before_us = span[1]
        while before_us > span[0]:
            page = await self._kline_page(Timeframe.M1, before_us)
            if not page:
                return
            candles |= {candle.opened_at_us: candle for candle in page}
            before_us = page[0].opened_at_us
        edges = {span[0], span[1] - Timeframe.M1.us}
        inner = range(span[0] + Timeframe.M1.us, span[1] - Timeframe.M1.us, Timeframe.M1.us)
        if not inner or any(at_us in candles and candles[at_us].volume > 0 for at_us in inner):
            return
        for at_us in edges:
            trades = await self._store.trades_between(self._market, at_us, at_us + Timeframe.M1.us)
            if at_us not in candles or not math.isclose(
                candles[at_us].volume,
                math.fsum(trade.quantity for trade in trades),
                rel_tol=_VOLUME_TOLERANCE,
            ):
                return
        outage = VenueOutage(start_us=span[0], end_us=span[1], reason=VENUE_SILENT)
        log.info("venue_was_down", market=str(self._market), start_us=span[0], end_us=span[1])
        await self._store.save_outage(self._market, outage)

    async def _first_id_at(self, at_us: int, runs: Sequence[TradeRun], newest: Sequence[Trade]) -> int:
        """The first id that happened at `at_us` or later and that the venue still has.

        One more than the newest where there is none yet. Ids rise with time, so it is looked for where the
        times known so far place it, and by halving where that does not narrow it down.
        """
        low, high = 0, newest[-1].trade_id + 1
        for run in runs:
            if run.last_at_us < at_us:
                low = max(low, run.last_id + 1)
            elif run.first_at_us < at_us:
                low = max(low, run.first_id + 1)
                high = min(high, run.last_id)
            else:
                high = min(high, run.first_id)
        below, above = (
            (newest[0].trade_id, newest[0].traded_at_us),
            (newest[-1].trade_id, newest[-1].traded_at_us),
        )
        for step in itertools.count():
            if low >= high:
                break
            middle = (low + high) // 2
            if step % 3 < 2 and above[1] > below[1]:
                ids_per_us = (above[0] - below[0]) / (above[1] - below[1])
                guess = below[0] + round((at_us - below[1]) * ids_per_us) - self._page_ids // 2
                middle = min(max(guess, low), high - 1)
            page = [trade for trade in await self._trades_from(middle) if trade.trade_id >= middle]
            if not page:
                low = middle + 1  # older than what the venue remembers
            elif page[0].traded_at_us >= at_us:
                high = middle
                above = page[0].trade_id, page[0].traded_at_us
            elif page[-1].traded_at_us < at_us:
                low = page[-1].trade_id + 1
                below = page[-1].trade_id, page[-1].traded_at_us
            else:
                return next(trade.trade_id for trade in page if trade.traded_at_us >= at_us)
        return low

    async def _trades_from(self, first_id: int) -> list[Trade]:
        return await self._patiently(lambda: self._rest.trades_from(self._market.symbol, first_id))

    async def _patiently(self, call: Callable[[], Awaitable[_T]]) -> _T:
        """Call until the venue answers, but not for ever."""
        clock = asyncio.get_running_loop().time
        backoff = Backoff(self._tuning.backoff_first_s, self._tuning.backoff_longest_s)
        began_s = clock()
        while True:
            try:
                return await call()
            except TransientError as error:
                if clock() - began_s > self._tuning.patience_s:
                    raise
                retry_in_s = backoff.next_s()
                log.warning(
                    "venue_not_answering", market=str(self._market), error=str(error), retry_in_s=retry_in_s
                )
                await asyncio.sleep(retry_in_s)


def _pieces(
    holes: Sequence[Hole], runs: Sequence[TradeRun], first_id: int, last_id: int, asked: Span
) -> list[Hole]:
    """What the store lacks of `first_id` to `last_id`, ascending; `asked` are the times of both."""
    if not runs:
        whole = Hole(
            first_id=first_id, last_id=last_id, before_us=asked[0], after_us=asked[1], reason=HISTORY
        )
        return [whole] if first_id <= last_id else []
    before = Hole(
        first_id=first_id,
        last_id=min(last_id, runs[0].first_id - 1),
        before_us=min(asked[0], runs[0].first_at_us),
        after_us=runs[0].first_at_us,
        reason=HISTORY,
    )
    after = Hole(
        first_id=max(first_id, runs[-1].last_id + 1),
        last_id=last_id,
        before_us=runs[-1].last_at_us,
        after_us=max(asked[1], runs[-1].last_at_us),
        reason=HISTORY,
    )
    clipped = [
        msgspec.structs.replace(
            hole, first_id=max(hole.first_id, first_id), last_id=min(hole.last_id, last_id)
        )
        for hole in (before, *holes, after)
    ]
    return [hole for hole in clipped if hole.first_id <= hole.last_id]


def _runs_of(trades: Sequence[Trade]) -> list[TradeRun]:
    """The runs of ids without a hole that trades form, given in id order."""
    runs: list[TradeRun] = []
    for _, group in itertools.groupby(enumerate(trades), key=lambda item: item[1].trade_id - item[0]):
        members = [trade for _, trade in group]
        runs.append(
            TradeRun(
                first_id=members[0].trade_id,
                last_id=members[-1].trade_id,
                first_at_us=members[0].traded_at_us,
                last_at_us=members[-1].traded_at_us,
            )
        )
    return runs


def _absent(first_id: int, last_id: int, runs: Sequence[TradeRun]) -> list[tuple[int, int]]:
    """First and last id of what the runs leave out between two ids, bounds included."""
    taken = [(run.first_id, run.last_id + 1) for run in runs]
    return [(start, end - 1) for start, end in without((first_id, last_id + 1), taken)]
