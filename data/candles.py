"""From trades to candles of every time frame: one market at a time, without a clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from data.errors import LateTrade
from data.models import Candle, FloatArray, IntArray, Market, Ohlcv, Trade
from data.timeframes import Timeframe, floor_to

# Earlier than any trade, so that a builder's first trade finds no interval that could hold it.
_BEGINNING_US = -(2**62)
_FOREVER_US = 2**62
_NOTHING: tuple[Candle, ...] = ()


class CandleBuilder:
    """One candle in the making, of one market and time frame; trades or smaller candles go in, in order.

    `opened_at_us` and `ends_at_us` are those of the candle in the making. They are equal while there is none,
    and then everything before them is closed for good.
    """

    __slots__ = (
        "_exchange",
        "_first_us",
        "_length_us",
        "_symbol",
        "close",
        "ends_at_us",
        "high",
        "low",
        "open",
        "opened_at_us",
        "timeframe",
        "trades",
        "volume",
    )

    def __init__(self, market: Market, timeframe: Timeframe) -> None:
        self._exchange, self._symbol, self.timeframe = market.exchange, market.symbol, timeframe
        # To ask a time frame for these costs more than all else that opening a candle does.
        self._length_us, self._first_us = timeframe.us, floor_to(0, timeframe)
        self.opened_at_us = self.ends_at_us = _BEGINNING_US
        self.open = self.high = self.low = self.close = self.volume = 0.0
        self.trades = 0

    def add(self, trade: Trade) -> Candle | None:
        """Return the candle that `trade` completes, if any. Raises LateTrade for a closed interval."""
        at_us = trade.traded_at_us
        price = trade.price
        if at_us < self.ends_at_us:
            if at_us < self.opened_at_us:
                # A finished candle may have been traded on; it is mended from stored trades, not here.
                raise LateTrade(trade.trade_id, at_us, self.opened_at_us)
            if price > self.high:
                self.high = price
            elif price < self.low:
                self.low = price
            self.close = price
            self.volume += trade.quantity
            self.trades += 1
            return None
        closed = self.forming()
        self.begin(trade)
        return closed

    def begin(self, trade: Trade) -> None:
        """Begin the candle that opens with `trade`, whatever was in the making."""
        self._open(trade.traded_at_us)
        self.open = self.high = self.low = self.close = trade.price
        self.volume = trade.quantity
        self.trades = 1

    def fold(self, candle: Candle) -> Candle | None:
        """Like `add`, with a closed candle of a smaller time frame whose length divides this one's."""
        at_us = candle.opened_at_us
        if at_us < self.opened_at_us:
            raise ValueError(f"a candle of {at_us} us comes after one that opened at {self.opened_at_us} us")
        if at_us < self.ends_at_us:
            if candle.high > self.high:
                self.high = candle.high
            if candle.low < self.low:
                self.low = candle.low
            self.close = candle.close
            self.volume += candle.volume
            self.trades += candle.trades
            return None
        closed = self.forming()
        self._open(at_us)
        self.open, self.high, self.low, self.close = candle.open, candle.high, candle.low, candle.close
        self.volume, self.trades = candle.volume, candle.trades
        return closed

    def close_by(self, at_us: int) -> Candle | None:
        """Close the candle in the making if its interval has ended at `at_us`, and return it."""
        if at_us < self.ends_at_us or self.opened_at_us == self.ends_at_us:
            return None
        closed = self.forming()
        self.opened_at_us = self.ends_at_us
        return closed

    def forming(self) -> Candle | None:
        """The candle in the making as it stands, or None."""
        if self.opened_at_us == self.ends_at_us:
            return None
        return Candle(
            exchange=self._exchange,
            symbol=self._symbol,
            timeframe=self.timeframe,
            opened_at_us=self.opened_at_us,
            open=self.open,
            high=self.high,
            low=self.low,
            close=self.close,
            volume=self.volume,
            trades=self.trades,
        )

    def __bool__(self) -> bool:
        """Whether a candle is in the making."""
        return self.opened_at_us != self.ends_at_us

    def _open(self, at_us: int) -> None:
        # What `floor_to` does: an interval opens at `first_us`, and one after the other from there.
        self.opened_at_us = at_us - (at_us - self._first_us) % self._length_us
        self.ends_at_us = self.opened_at_us + self._length_us


@dataclass(frozen=True, slots=True)
class RestoreReads:
    """What must be read from the store to rebuild a cascade as of `last_at_us`."""

    # Time frame, start and end (exclusive) of the closed candles.
    candles: tuple[tuple[Timeframe, int, int], ...]
    trades_from_us: int  # and all later stored trades


class CandleCascade:
    """One market's candles of many time frames. A trade touches the 1s candle alone.

    Every larger frame is folded from the closed candles of the largest smaller frame whose length divides
    it, so a candle's open and close are those of its first and last second, and a second's are those of its
    trades in id order. Closed candles are returned only when covered: when every trade since they opened is
    in them.
    """

    def __init__(
        self, market: Market, timeframes: Iterable[Timeframe], covered_from_us: int | None = None
    ) -> None:
        """Candles that open strictly after `covered_from_us` are covered; None: after the first trade."""
        self.market = market
        self._wanted = frozenset(timeframes)
        self._sources = sources_of(self._wanted)
        self._seconds = CandleBuilder(market, Timeframe.S1)
        self._larger = [CandleBuilder(market, timeframe) for timeframe in self._sources]
        self._builders = [self._seconds, *self._larger]
        # Each builder, those that it is folded into, and whether its candles are wanted.
        self._steps = [
            (
                source,
                [larger for larger in self._larger if self._sources[larger.timeframe] is source.timeframe],
                source.timeframe in self._wanted,
            )
            for source in self._builders
        ]
        # Nearly always a second alone ends, and these say so without a look at all builders: no larger candle
        # in the making ends earlier, no larger one opens later. The first values make the first look happen.
        self._larger_ends_us, self._larger_opened_us = _BEGINNING_US, _FOREVER_US
        self._covered_from_us = covered_from_us
        self._uncovered: list[tuple[Timeframe, int]] = []

    def add(self, trade: Trade) -> Sequence[Candle]:
        """Return the candles that `trade` completes, smallest first.

        Raises LateTrade, and changes nothing, when any time frame's interval of that trade is closed.
        """
        seconds = self._seconds
        at_us = trade.traded_at_us
        if seconds.opened_at_us <= at_us < seconds.ends_at_us:
            # What `CandleBuilder.add` does, without the price of a call: nothing runs more often than this.
            price = trade.price
            if price > seconds.high:
                seconds.high = price
            elif price < seconds.low:
                seconds.low = price
            seconds.close = price
            seconds.volume += trade.quantity
            seconds.trades += 1
            return _NOTHING
        if at_us < seconds.opened_at_us or at_us < self._larger_opened_us:
            for builder in self._builders:
                # A quiet market's minute may be closed by the clock although this second of it never was.
                if at_us < builder.opened_at_us:
                    raise LateTrade(trade.trade_id, at_us, builder.opened_at_us)
        if self._covered_from_us is None:
            self._covered_from_us = at_us
        closed = self.advance(at_us)
        seconds.begin(trade)
        return closed

    def add_all(self, trades: Sequence[Trade], late: list[Trade]) -> Sequence[Candle]:
        """Like `add` for each of `trades` in turn; those of closed intervals go to `late`."""
        seconds = self._seconds
        closed: list[Candle] = []
        opened_at_us, ends_at_us = seconds.opened_at_us, seconds.ends_at_us
        high, low, close = seconds.high, seconds.low, seconds.close
        volume, count = seconds.volume, seconds.trades
        for trade in trades:
            at_us = trade.traded_at_us
            if opened_at_us <= at_us < ends_at_us:
                # The second in the making, kept in local names: nothing runs more often than this.
                close = trade.price
                if close > high:
                    high = close
                elif close < low:
                    low = close
                volume += trade.quantity
                count += 1
                continue
            seconds.high, seconds.low, seconds.close = high, low, close
            seconds.volume, seconds.trades = volume, count
            if opened_at_us < ends_at_us <= at_us and self._larger_opened_us <= at_us < self._larger_ends_us:
                self._next_second(trade, closed)
            else:
                try:
                    closed += self.add(trade)
                except LateTrade:
                    late.append(trade)
            opened_at_us, ends_at_us = seconds.opened_at_us, seconds.ends_at_us
            high, low, close = seconds.high, seconds.low, seconds.close
            volume, count = seconds.volume, seconds.trades
        seconds.high, seconds.low, seconds.close = high, low, close
        seconds.volume, seconds.trades = volume, count
        return closed or _NOTHING

    def _next_second(self, trade: Trade, closed: list[Candle]) -> None:
        """What `add` does where the second in the making ends and, by all that is known, nothing larger."""
        seconds = self._seconds
        candle = seconds.forming()
        assert candle is not None
        _, folded_into, is_wanted = self._steps[0]
        for larger in folded_into:
            if candle.opened_at_us < larger.ends_at_us:
                larger.fold(candle)
                continue
            larger.fold(candle)  # and so opens
            self._larger_ends_us = min(self._larger_ends_us, larger.ends_at_us)
            self._larger_opened_us = max(self._larger_opened_us, larger.opened_at_us)
        if is_wanted:
            if self.covers(candle.opened_at_us):
                closed.append(candle)
            else:
                self._uncovered.append((Timeframe.S1, candle.opened_at_us))
        if trade.traded_at_us >= self._larger_ends_us:
            seconds.opened_at_us = seconds.ends_at_us
            closed += self.advance(trade.traded_at_us)
        seconds.begin(trade)

    def advance(self, venue_time_us: int) -> Sequence[Candle]:
        """Close the candles whose interval has ended by the venue's clock, less the caller's grace."""
        closed: list[Candle] = []
        for builder, folded_into, is_wanted in self._steps:
            candle = builder.close_by(venue_time_us)
            if candle is not None:
                for larger in folded_into:
                    larger.fold(candle)
                    if larger.ends_at_us < self._larger_ends_us:
                        self._larger_ends_us = larger.ends_at_us
                    if larger.opened_at_us > self._larger_opened_us:
                        self._larger_opened_us = larger.opened_at_us
                if is_wanted:
                    if self.covers(candle.opened_at_us):
                        closed.append(candle)
                    else:
                        self._uncovered.append((candle.timeframe, candle.opened_at_us))
            if builder is self._seconds and venue_time_us < self._larger_ends_us:
                return closed
        self._larger_ends_us = min((each.ends_at_us for each in self._larger if each), default=_FOREVER_US)
        self._larger_opened_us = max((each.opened_at_us for each in self._larger), default=_BEGINNING_US)
        return closed

    def forming(self) -> list[Candle]:
        """The candles in the making as they stand, at most one for each time frame, smallest first.

        Whether one is covered, `covers` says.
        """
        standing: dict[Timeframe, Candle] = {}
        for builder in self._builders:
            own = builder.forming()
            if builder is not self._seconds:
                source = standing.get(self._sources[builder.timeframe])
                if source is not None:
                    own = _joined(own, source, builder.timeframe)
            if own is not None:
                standing[builder.timeframe] = own
        return [candle for timeframe, candle in standing.items() if timeframe in self._wanted]

    def covers(self, opened_at_us: int) -> bool:
        """Whether every trade since `opened_at_us` has come here."""
        return self._covered_from_us is not None and opened_at_us > self._covered_from_us

    def mark_hole(self, resumes_at_us: int) -> None:
        """Ids were lost before the trade at `resumes_at_us`: what is in the making now is covered no more."""
        self._covered_from_us = max(
            resumes_at_us, self._seconds.opened_at_us, self._covered_from_us or resumes_at_us
        )

    def take_uncovered(self) -> list[tuple[Timeframe, int]]:
        """Time frame and opening of the candles that closed uncovered since the last call."""
        uncovered, self._uncovered = self._uncovered, []
        return uncovered

    @staticmethod
    def restore_reads(timeframes: Iterable[Timeframe], last_at_us: int) -> RestoreReads:
        """What `restored` needs. `timeframes` are the stored ones, `last_at_us` the newest trade's time."""
        stored = frozenset(timeframes)
        second_us = floor_to(last_at_us, Timeframe.S1)
        trades_from_us = second_us
        starts: dict[Timeframe, int] = {}
        for timeframe, source in sources_of(stored).items():
            start_us = floor_to(last_at_us, timeframe)
            if source not in stored:
                trades_from_us = min(trades_from_us, start_us)
            else:
                starts[source] = min(starts.get(source, start_us), start_us)
        return RestoreReads(
            candles=tuple(
                (timeframe, start_us, floor_to(last_at_us, timeframe))
                for timeframe, start_us in starts.items()
                if start_us < floor_to(last_at_us, timeframe)
            ),
            trades_from_us=trades_from_us,
        )

    @classmethod
    def restored(
        cls,
        market: Market,
        timeframes: Iterable[Timeframe],
        *,
        covered_from_us: int,
        last_at_us: int,
        candles: Mapping[Timeframe, Sequence[Candle]],
        trades: Sequence[Trade],
    ) -> CandleCascade:
        """The cascade as it stood after the trade at `last_at_us`, from what `restore_reads` names.

        Its covered candles are those of a cascade that never stopped. What is uncovered (and so is never
        returned as closed) may lack the trades before the first covered candle.
        """
        cascade = cls(market, timeframes, covered_from_us)
        second_us = floor_to(last_at_us, Timeframe.S1)
        closed = {timeframe: list(rows) for timeframe, rows in candles.items()}
        if Timeframe.S1 not in cascade._wanted:
            closed[Timeframe.S1] = seconds_from_trades(
                market, [trade for trade in trades if trade.traded_at_us < second_us]
            )
        for builder in cascade._larger:
            start_us = floor_to(last_at_us, builder.timeframe)
            source = cascade._sources[builder.timeframe]
            end_us = floor_to(last_at_us, source)
            for candle in closed.get(source, ()):
                if start_us <= candle.opened_at_us < end_us:
                    builder.fold(candle)
        for trade in trades:
            if trade.traded_at_us >= second_us:
                cascade._seconds.add(trade)
        return cascade


def sources_of(timeframes: Iterable[Timeframe]) -> dict[Timeframe, Timeframe]:
    """For each time frame above 1s the one it is folded from: among `timeframes` and 1s, ascending."""
    ladder = _ladder(timeframes)
    return {
        timeframe: max(
            (smaller for smaller in ladder if smaller.us < timeframe.us and timeframe.us % smaller.us == 0),
            key=lambda smaller: smaller.us,
        )
        for timeframe in ladder
        if timeframe is not Timeframe.S1
    }


def seconds_from_trades(market: Market, trades: Sequence[Trade]) -> list[Candle]:
    """The 1s candles of `trades`, given in id order; one out of time order counts in its own second."""
    builder = CandleBuilder(market, Timeframe.S1)
    candles = [
        closed
        # A stable sort keeps the id order within each second.
        for trade in sorted(trades, key=lambda trade: floor_to(trade.traded_at_us, Timeframe.S1))
        if (closed := builder.add(trade)) is not None
    ]
    last = builder.forming()
    return candles if last is None else [*candles, last]


def fold_candles(market: Market, timeframe: Timeframe, candles: Iterable[Candle]) -> list[Candle]:
    """Candles of `timeframe` from ascending candles of a smaller one; the last may be incomplete."""
    builder = CandleBuilder(market, timeframe)
    folded = [closed for candle in candles if (closed := builder.fold(candle)) is not None]
    last = builder.forming()
    return folded if last is None else [*folded, last]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltCandles:
    """Candles built from trades in bulk; `trades` counts them, shape (n,)."""

    ohlcv: Ohlcv
    trades: IntArray


def candles_from_trades(
    price: FloatArray, quantity: FloatArray, traded_at_us: IntArray, timeframes: Iterable[Timeframe]
) -> dict[Timeframe, BuiltCandles]:
    """Candles of one market's trades, given in id order as columns of shape (n,), by the cascade's own rules.

    The first and last candle of each time frame may be incomplete: the trades do not say where they were cut.
    """
    wanted = frozenset(timeframes)
    trades = _Columns(traded_at_us, price, price, price, price, quantity, None)
    built = {Timeframe.S1: trades.folded(Timeframe.S1)}
    if np.any(np.diff(built[Timeframe.S1].opened_at_us) < 0):
        # Some trade is out of time order; it counts in its own second, after that second's earlier ids.
        order = np.argsort(traded_at_us - traded_at_us % Timeframe.S1.us, kind="stable")
        price = price[order]
        trades = _Columns(traded_at_us[order], price, price, price, price, quantity[order], None)
        built[Timeframe.S1] = trades.folded(Timeframe.S1)
    for timeframe, source in sources_of(wanted).items():
        built[timeframe] = built[source].folded(timeframe)
    return {timeframe: built[timeframe].candles(timeframe) for timeframe in built if timeframe in wanted}


@dataclass(frozen=True, slots=True)
class _Columns:
    opened_at_us: IntArray
    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray
    trades: IntArray | None  # None: every row is one trade

    def folded(self, timeframe: Timeframe) -> _Columns:
        if not len(self.opened_at_us):
            nothing = np.zeros(0, np.int64)
            return _Columns(nothing, self.open, self.high, self.low, self.close, self.volume, nothing)
        # Where the first interval after the epoch opens: weeks do not open at the epoch itself.
        offset_us = floor_to(0, timeframe) % timeframe.us
        interval = (self.opened_at_us - offset_us) // timeframe.us
        first = np.append(0, np.flatnonzero(interval[1:] != interval[:-1]) + 1)
        last = np.append(first[1:], len(interval)) - 1
        return _Columns(
            interval[first] * timeframe.us + offset_us,
            self.open[first],
            np.maximum.reduceat(self.high, first),
            np.minimum.reduceat(self.low, first),
            self.close[last],
            np.add.reduceat(self.volume, first),
            last - first + 1 if self.trades is None else np.add.reduceat(self.trades, first),
        )

    def candles(self, timeframe: Timeframe) -> BuiltCandles:
        assert self.trades is not None
        return BuiltCandles(
            ohlcv=Ohlcv(
                timeframe=timeframe,
                opened_at_us=self.opened_at_us,
                open=self.open,
                high=self.high,
                low=self.low,
                close=self.close,
                volume=self.volume,
            ),
            trades=self.trades,
        )


def _ladder(timeframes: Iterable[Timeframe]) -> list[Timeframe]:
    return sorted({Timeframe.S1, *timeframes}, key=lambda timeframe: timeframe.us)


def _joined(folded: Candle | None, source: Candle, timeframe: Timeframe) -> Candle:
    """A frame's folded part with its source's candle in the making."""
    return Candle(
        exchange=source.exchange,
        symbol=source.symbol,
        timeframe=timeframe,
        opened_at_us=floor_to(source.opened_at_us, timeframe),
        open=source.open if folded is None else folded.open,
        high=source.high if folded is None else max(folded.high, source.high),
        low=source.low if folded is None else min(folded.low, source.low),
        close=source.close,
        volume=source.volume if folded is None else folded.volume + source.volume,
        trades=source.trades if folded is None else folded.trades + source.trades,
    )
