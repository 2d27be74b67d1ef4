"""One market's way from trades as they come to ordered trades and closed candles, without I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from data.candles import CandleCascade
from data.collectors.unsaved import UnsavedBatches
from data.messages import CandleUpdate
from data.models import Candle, Market, Trade, TradeRun
from data.sequencing import MissingRange, TradeSequencer
from data.timeframes import Timeframe


class MarketRecorder:
    """Orders a market's trades, builds its candles and hands both to the batches that wait to be stored."""

    def __init__(
        self,
        market: Market,
        timeframes: Iterable[Timeframe],
        unsaved: UnsavedBatches,
        *,
        run: TradeRun | None = None,
        cascade: CandleCascade | None = None,
        max_waiting: int = 200_000,
    ) -> None:
        """Go on after the stored `run` with the `cascade` restored from it, or begin with the first trade."""
        self.market, self.timeframes = market, tuple(timeframes)
        self.sequencer = TradeSequencer(run, max_waiting=max_waiting)
        self.stored_run = run
        # Whether the stream that feeds it is known to have brought everything since it was opened.
        self.verified = False
        self.changed = False  # since the forming candles were last told
        self.live_messages = 0  # that brought trades
        self.noticed_messages = 0  # of those, when its watcher last looked
        self.heard_s = 0.0  # loop time when its watcher noticed the last of them, or of the connection
        self.checked_s = 0.0  # loop time of the last comparison with REST
        self.leaving = False  # it is not to be recorded any more, and what came of it is still to be stored
        self.deaf = False  # its subscription brings nothing although there are trades
        self.renewed_s = 0.0  # loop time when it was last subscribed to anew
        self.failed_checks = 0  # comparisons with REST in a row that brought no answer
        self.late_us: list[int] = []  # times of stored trades that closed candles lack
        self._unsaved = unsaved
        self._cascade = cascade or CandleCascade(self.market, self.timeframes)
        self._after_hole = False

    @property
    def run(self) -> TradeRun | None:
        return self.sequencer.run

    def accept(self, trades: Sequence[Trade]) -> bool:
        """Take trades in any order; return whether a candle of a minute or more was closed by them."""
        ordered = self.sequencer.accept(trades)
        return self._record(ordered) if ordered else False

    def give_up(self, lost: MissingRange, reason: str, found_at_us: int) -> bool:
        """Go on without ids that cannot be had; like `accept` for the trades that waited for them."""
        gap, ended, released = self.sequencer.give_up(lost, reason, found_at_us)
        self._unsaved.add_gap(self, gap, ended)
        self._after_hole = True
        return self._record(released) if released else False

    def advance(self, venue_time_us: int) -> bool:
        """Close what the venue's clock has ended, if nothing is missing; like `accept`."""
        if not self.verified or self.sequencer.missing() is not None:
            return False
        closed = self._cascade.advance(venue_time_us)
        if not closed:
            return False
        self._unsaved.add_candles(closed)
        self.changed = True
        return _lasts_a_minute(closed)

    def forming_updates(self) -> list[CandleUpdate]:
        """The candles in the making as they stand."""
        return [
            CandleUpdate(candle=candle, closed=False, covered=self._cascade.covers(candle.opened_at_us))
            for candle in self._cascade.forming()
        ]

    def take_uncovered(self) -> list[tuple[Timeframe, int]]:
        """Time frame and opening of candles that ended without being covered."""
        return self._cascade.take_uncovered()

    def replace_cascade(self, cascade: CandleCascade, waiting: Sequence[Trade]) -> None:
        """Go on from `cascade`, rebuilt from the store, and from the trades that are not stored yet."""
        self._cascade = cascade
        self.late_us.clear()
        self._unsaved.replace_candles(self.market, self._candles_closed_by(waiting))
        self.changed = True

    def _record(self, trades: Sequence[Trade]) -> bool:
        if self._after_hole:
            self._cascade.mark_hole(trades[0].traded_at_us)
            self._after_hole = False
        closed = self._candles_closed_by(trades)
        self._unsaved.add_trades(self, trades, closed)
        self.changed = True
        return bool(closed) and _lasts_a_minute(closed)

    def _candles_closed_by(self, trades: Sequence[Trade]) -> Sequence[Candle]:
        late: list[Trade] = []
        closed = self._cascade.add_all(trades, late)
        # Stored like any other; the candles they belong in are mended from the store after that.
        self.late_us += [trade.traded_at_us for trade in late]
        return closed


def _lasts_a_minute(candles: Sequence[Candle]) -> bool:
    return any(candle.timeframe is not Timeframe.S1 for candle in candles)
