"""What waits to be stored, in batches that are true by themselves: the newest in memory, all on disk."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from data.collectors.journal import Journal, JournalRecord, JournalUnwritable, Position
from data.models import Candle, Market, Trade, TradeGap, TradeRun
from data.stores import MarketBatch
from data.timeframes import Timeframe, floor_to


class HasRun(Protocol):
    """A market that knows how far its trades reach without a hole."""

    market: Market
    late_us: list[int]  # times of trades that closed candles lack

    @property
    def run(self) -> TradeRun | None: ...


class _Growing:
    def __init__(self) -> None:
        self.trades: list[Trade] = []
        self.candles: list[Candle] = []
        self.ended_runs: list[tuple[Market, TradeRun]] = []
        self.gaps: list[tuple[Market, TradeGap]] = []
        # In order of arrival; by identity, for to hash a market costs more than to build its candle.
        self.touched: dict[HasRun, None] = {}

    @property
    def is_empty(self) -> bool:
        return not (self.trades or self.candles or self.gaps)

    def sealed(self) -> MarketBatch:
        current = [(seen.market, run) for seen in self.touched if (run := seen.run)]
        return MarketBatch(
            trades=self.trades, candles=self.candles, runs=[*self.ended_runs, *current], gaps=self.gaps
        )


@dataclass(slots=True)
class _Waiting:
    """A batch in memory, and where it stands in the journal."""

    batch: MarketBatch
    begin: Position | None  # None: the journal could not take it
    end: Position | None


class UnsavedBatches:
    """Trades and what they made, oldest first. A batch's runs are as they stood after its last trade.

    So a batch may be cut only where its markets' sequencers and this agree: between calls of `add_trades`.
    `keep` writes everything to the journal, which then holds alone what memory has no room for. In order of
    age: what is in memory, what is on disk alone (`spilled`), what the journal would not take, what grows.
    """

    def __init__(
        self,
        batch_trades: int = 5_000,
        on_urgent: Callable[[], None] = lambda: None,
        *,
        journal: Journal | None = None,
        max_in_memory: int = 200_000,
    ) -> None:
        """`on_urgent` is called when something should be stored at once. Without a journal nothing spills."""
        self._batch_trades, self._on_urgent = batch_trades, on_urgent
        self._journal, self._max_in_memory = journal, max_in_memory
        self._markets: dict[HasRun, None] = {}
        self._head: deque[_Waiting] = deque()
        self._head_trades = 0
        self._spilled_from: Position | None = None  # up to the journal's end
        self._refused: deque[JournalRecord] = deque()  # by the journal, or not offered yet
        self._growing = _Growing()
        self.trades = 0  # waiting
        self.spilled = 0  # of those, on disk alone
        self.journal_trouble = ""  # why the journal takes nothing now

    @property
    def in_memory(self) -> int:
        """Trades waiting in memory."""
        return self.trades - self.spilled

    @property
    def is_spilled(self) -> bool:
        """Whether some of what waits is on disk alone."""
        return self._spilled_from is not None

    @property
    def first_begins(self) -> Position | None:
        """Where the batch that `first` gave stands in the journal."""
        return self._head[0].begin if self._head else None

    def add_trades(self, market: HasRun, trades: Sequence[Trade], candles: Sequence[Candle]) -> None:
        """Trades of one market, in id order, and the covered candles they closed."""
        growing = self._growing
        growing.trades.extend(trades)
        if candles:
            growing.candles.extend(candles)
        if market not in growing.touched:
            growing.touched[market] = self._markets[market] = None
        self.trades += len(trades)
        if len(growing.trades) >= self._batch_trades:
            self._seal()
            self._on_urgent()

    def add_candles(self, candles: Sequence[Candle]) -> None:
        """Candles that no trade closed but the venue's clock."""
        self._growing.candles.extend(candles)

    def add_gap(self, market: HasRun, gap: TradeGap, ended: TradeRun | None) -> None:
        """Ids given up, and the run that ended before them."""
        if ended is not None:
            self._growing.ended_runs.append((market.market, ended))
        self._growing.gaps.append((market.market, gap))

    def keep(self) -> None:
        """Write what came since to the journal, and let go of what memory has no room for."""
        if not self._growing.is_empty:
            self._seal()
        while self._refused:
            record = self._refused[0]
            begin = end = None
            if self._journal is not None:
                try:
                    begin = self._journal.append(record)
                except JournalUnwritable as error:
                    self.journal_trouble = str(error)
                    return
                self.journal_trouble = ""
                end = self._journal.end
            self._refused.popleft()
            if self._spilled_from is not None:
                self.spilled += len(record.batch.trades)
            else:
                self._put(_Waiting(record.batch, begin, end))
        if self._spilled_from is None and self._head_trades > self._max_in_memory:
            self._spill()

    def first(self) -> MarketBatch | None:
        """The oldest batch, which stays until `saved`; None when nothing waits. Raises JournalUnwritable."""
        if not self._head:
            self.keep()
        if not self._head and self._spilled_from is not None:
            self._fetch_spilled()
        if not self._head and self._spilled_from is None and self._refused:
            self._put(_Waiting(self._refused.popleft().batch, None, None))
        return self._head[0].batch if self._head else None

    def saved(self) -> Position | None:
        """The batch that `first` gave is stored. Returns where it ends in the journal."""
        waiting = self._head.popleft()
        self._head_trades -= len(waiting.batch.trades)
        self.trades -= len(waiting.batch.trades)
        return waiting.end

    def of_market(self, market: Market) -> tuple[list[Trade], bool]:
        """The market's waiting trades, and whether a gap lies among them; only while nothing is spilled."""
        assert not self.is_spilled
        trades: list[Trade] = []
        has_gap = False
        parts = [(batch.trades, batch.gaps) for batch in self._batches()]
        for batch_trades, gaps in (*parts, (self._growing.trades, self._growing.gaps)):
            trades += [trade for trade in batch_trades if _is_of(market, trade)]
            has_gap = has_gap or any(of == market for of, _ in gaps)
        return trades, has_gap

    def replace_candles(self, market: Market, candles: Sequence[Candle]) -> None:
        """Put `candles` in the place of all waiting ones of the market; only while nothing is spilled.

        In the journal the replaced ones stay, with the times of what they lack beside them.
        """
        assert not self.is_spilled
        for waiting in self._head:
            waiting.batch = _without_candles(waiting.batch, market)
        self._refused = deque(
            JournalRecord(_without_candles(record.batch, market), record.late) for record in self._refused
        )
        growing = self._growing
        growing.candles = [candle for candle in growing.candles if not _is_of(market, candle)]
        growing.candles.extend(candles)

    def _batches(self) -> list[MarketBatch]:
        return [*(waiting.batch for waiting in self._head), *(record.batch for record in self._refused)]

    def _seal(self) -> None:
        late = tuple(
            (each.market, tuple({floor_to(at_us, Timeframe.S1) for at_us in each.late_us}))
            for each in self._markets
            if each.late_us
        )
        self._refused.append(JournalRecord(self._growing.sealed(), late))
        self._growing = _Growing()

    def _put(self, waiting: _Waiting) -> None:
        self._head.append(waiting)
        self._head_trades += len(waiting.batch.trades)

    def _spill(self) -> None:
        """Leave the newer half of memory to the journal; the oldest batch may be on its way to the store."""
        while len(self._head) > 1 and self._head_trades > self._max_in_memory // 2:
            if self._head[-1].begin is None:
                return
            newest = self._head.pop()
            self._head_trades -= len(newest.batch.trades)
            self.spilled += len(newest.batch.trades)
            self._spilled_from = newest.begin

    def _fetch_spilled(self) -> None:
        assert self._journal is not None
        assert self._spilled_from is not None
        begin = self._spilled_from
        page = self._journal.read(begin, self._batch_trades)
        if page.records:
            batch = joined([record.batch for record in page.records])
            self._put(_Waiting(batch, begin, page.end))
            self.spilled -= len(batch.trades)
        self._spilled_from = page.end
        if page.end >= self._journal.end:
            self._spilled_from = None
            # What damage took from the journal waits no more; the ledger of ids shows that it is absent.
            self.trades -= self.spilled
            self.spilled = 0


def joined(batches: Sequence[MarketBatch]) -> MarketBatch:
    """Batches in a row as one; of a run that grew from one to the next the last state stands."""
    if len(batches) == 1:
        return batches[0]
    runs = {(market, run.first_id): run for batch in batches for market, run in batch.runs}
    return MarketBatch(
        trades=[trade for batch in batches for trade in batch.trades],
        candles=[candle for batch in batches for candle in batch.candles],
        runs=[(market, run) for (market, _), run in runs.items()],
        gaps=[gap for batch in batches for gap in batch.gaps],
    )


def by_itself(batch: MarketBatch) -> MarketBatch:
    """The batch with runs that speak of its own trades alone, whatever a store may have lost before them."""
    by_market: dict[tuple[str, str], list[Trade]] = {}
    for trade in batch.trades:
        by_market.setdefault((trade.exchange, trade.symbol), []).append(trade)
    runs = []
    for market, run in batch.runs:
        trades = [
            trade
            for trade in by_market.get((market.exchange, market.symbol), ())
            if run.first_id <= trade.trade_id <= run.last_id
        ]
        if trades:
            own = TradeRun(
                first_id=trades[0].trade_id,
                last_id=trades[-1].trade_id,
                first_at_us=trades[0].traded_at_us,
                last_at_us=max(trade.traded_at_us for trade in trades),
            )
            runs.append((market, own))
    return MarketBatch(trades=batch.trades, candles=batch.candles, runs=runs, gaps=batch.gaps)


def _without_candles(batch: MarketBatch, market: Market) -> MarketBatch:
    return MarketBatch(
        trades=batch.trades,
        candles=[candle for candle in batch.candles if not _is_of(market, candle)],
        runs=batch.runs,
        gaps=batch.gaps,
    )


def _is_of(market: Market, item: Trade | Candle) -> bool:
    return item.symbol == market.symbol and item.exchange == market.exchange
