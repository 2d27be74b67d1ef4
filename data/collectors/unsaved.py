"""What waits to be stored, in batches that are true by themselves."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from data.models import Candle, Market, Trade, TradeGap, TradeRun
from data.stores import MarketBatch


class HasRun(Protocol):
    """A market that knows how far its trades reach without a hole."""

    market: Market

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

    def sealed(self) -> MarketBatch:
        current = [(seen.market, run) for seen in self.touched if (run := seen.run)]
        return MarketBatch(
            trades=self.trades, candles=self.candles, runs=[*self.ended_runs, *current], gaps=self.gaps
        )


class UnsavedBatches:
    """Trades and what they made, oldest first. A batch's runs are as they stood after its last trade.

    So a batch may be cut only where its markets' sequencers and this agree: between calls of `add_trades`.
    """

    def __init__(self, batch_trades: int = 5_000, on_urgent: Callable[[], None] = lambda: None) -> None:
        """`on_urgent` is called when something should be stored at once."""
        self._batch_trades, self._on_urgent = batch_trades, on_urgent
        self._sealed: deque[MarketBatch] = deque()
        self._growing = _Growing()
        self.trades = 0  # waiting

    def add_trades(self, market: HasRun, trades: Sequence[Trade], candles: Sequence[Candle]) -> None:
        """Trades of one market, in id order, and the covered candles they closed."""
        growing = self._growing
        growing.trades.extend(trades)
        if candles:
            growing.candles.extend(candles)
        growing.touched[market] = None
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

    def first(self) -> MarketBatch | None:
        """The oldest batch, which stays until `saved`; None when nothing waits."""
        growing = self._growing
        if not self._sealed and (growing.trades or growing.candles or growing.gaps):
            self._seal()
        return self._sealed[0] if self._sealed else None

    def saved(self) -> None:
        """The batch that `first` gave is stored."""
        self.trades -= len(self._sealed.popleft().trades)

    def of_market(self, market: Market) -> tuple[list[Trade], bool]:
        """The market's waiting trades, and whether a gap lies among them."""
        trades: list[Trade] = []
        has_gap = False
        parts = [(batch.trades, batch.gaps) for batch in self._sealed]
        for batch_trades, gaps in (*parts, (self._growing.trades, self._growing.gaps)):
            trades += [trade for trade in batch_trades if _is_of(market, trade)]
            has_gap = has_gap or any(of == market for of, _ in gaps)
        return trades, has_gap

    def replace_candles(self, market: Market, candles: Sequence[Candle]) -> None:
        """Put `candles` in the place of all waiting ones of the market."""
        self._sealed = deque(
            MarketBatch(
                trades=batch.trades,
                candles=[candle for candle in batch.candles if not _is_of(market, candle)],
                runs=batch.runs,
                gaps=batch.gaps,
            )
            for batch in self._sealed
        )
        growing = self._growing
        growing.candles = [candle for candle in growing.candles if not _is_of(market, candle)]
        growing.candles.extend(candles)

    def _seal(self) -> None:
        self._sealed.append(self._growing.sealed())
        self._growing = _Growing()


def _is_of(market: Market, item: Trade | Candle) -> bool:
    return item.symbol == market.symbol and item.exchange == market.exchange
