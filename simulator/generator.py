"""A made-up market that can be asked for any past moment: pure, seeded, and the same however it is asked.

How it works. The expected number of trades since listing, `expected(t)`, is a rate times time plus bounded
noise that never makes it fall. Trade k (from 0) happens where `expected` passes k plus a hashed fraction, so
ids follow time without a hole and each can be found from the other. Ids come in blocks of 16, each cut into
ten aggregates (same taker order, same price) at hashed places; several aggregates in a row may belong to one
taker order that sweeps the book. The price is a base times the exponential of smooth noise
at many time scales.
"""

from __future__ import annotations

import statistics
from functools import cache

import numpy as np

from data.models import BoolArray, FloatArray, IntArray
from simulator.columns import TradeColumns, no_trades
from simulator.instruments import MarketShape
from simulator.noise import hashed, linear_noise, noise_key, smooth_noise, uniform

_BLOCK = 16  # ids
_AGGREGATES = 10  # per block
_NEW_ORDER_RATE = 0.72  # of aggregates; the others continue the taker order before them
# No trade is further from where `expected` puts its id: an order's trades share its first one's time.
_REACH = 3 * _BLOCK

_KNOT_S = 2  # between two knots `expected` is a straight line
# Swings of activity: (period in knots, part of the rate it may add or take). The parts sum to less than 1, so
# `expected` always rises.
_ACTIVITY = ((1800, 0.25), (300, 0.25), (30, 0.2), (5, 0.15), (1, 0.1))

# Bursts: of some stretches of that many knots, one knot gets a large share of the trades.
_STRETCH = 10
_BURST_RATE = 0.4  # of stretches
_BURST_WEIGHT = 6  # times another knot's trades

# Price swings: periods in seconds; amplitudes grow with their square root, as a random walk's do.
_SWINGS_S = (432_000.0, 108_000.0, 27_000.0, 6_750.0, 1_690.0, 422.0, 105.0, 26.0, 6.5)
_DAY_S = 86_400.0
_VENUE_SWINGS = (
    (45.0, 0.0002),
    (7.0, 0.0001),
)  # each venue's own: (period in seconds, fraction of the price)
_LOOKBACK_S = 3.0  # takers lean to the side the price went in this time
_FULL_LEAN = 0.0002  # a move of this fraction makes them lean as far as they do

_SIZE_STEPS = 4096
_SIZE_SPREAD = 1.3  # standard deviation of the logarithm of sizes


class SyntheticMarket:
    """The trades of one made-up market since `listed_at_ms`; the first has id 1."""

    def __init__(
        self, shape: MarketShape, *, seed: int, listed_at_ms: int, rate_multiplier: float = 1.0
    ) -> None:
        instrument = shape.instrument
        self.instrument = instrument
        self.listed_at_ms = listed_at_ms
        self._shape = shape
        self._rate = shape.trades_per_s * rate_multiplier
        own = (seed, instrument.venue, instrument.venue_symbol)
        self._activity = [
            (noise_key(*own, "activity", period), period, part * self._rate * period * _KNOT_S / 2)
            for period, part in _ACTIVITY
        ]
        self._activity_at_listing = sum(
            float(amplitude * linear_noise(key, np.zeros(1), period)[0])
            for key, period, amplitude in self._activity
        )
        # The asset's path is shared by all venues that trade it.
        self._swings = [
            (
                noise_key(seed, instrument.base, "price", period),
                period,
                1.2 * shape.daily_move * (period / _DAY_S) ** 0.5,
            )
            for period in _SWINGS_S
        ] + [(noise_key(*own, "price", period), period, part) for period, part in _VENUE_SWINGS]
        self._fraction_key = noise_key(*own, "fraction")
        self._burst_key = noise_key(*own, "burst")
        self._burst_place_key = noise_key(*own, "burst place")
        self._cut_key = noise_key(*own, "cut")
        self._order_key = noise_key(*own, "order")
        self._side_key = noise_key(*own, "side")
        self._size_key = noise_key(*own, "size")
        self._sweep_key = noise_key(*own, "sweep")
        self._sizes = self._size_table()

    @property
    def typical_size(self) -> int:
        """The median trade, in lots."""
        return int(self._sizes[_SIZE_STEPS // 2]) // self.instrument.lot

    def count_before(self, at_ms: int) -> int:
        """How many trades there were before `at_ms`: the id of the last one, 0 for none."""
        if at_ms <= self.listed_at_ms:
            return 0
        seconds = (at_ms - self.listed_at_ms) / 1000
        knot = int(seconds // _KNOT_S)
        low, high = self._expected(np.array([knot, knot + 1]))
        near = int(low + (high - low) * (seconds / _KNOT_S - knot))
        first = max(near - _REACH, 0)
        times = self._undisturbed(first + 1, near + _REACH).at_ms
        return first + int(np.searchsorted(times, at_ms, side="left"))

    def trades(self, first_id: int, last_id: int) -> TradeColumns:
        """Trades `first_id` to `last_id`, both included; ids below 1 do not exist."""
        return self._undisturbed(first_id, last_id)

    def _undisturbed(self, first_id: int, last_id: int) -> TradeColumns:
        """The same of a market that never rests."""
        first, last = max(first_id, 1) - 1, last_id - 1
        if last < first:
            return no_trades()
        first_block, blocks = first // _BLOCK, last // _BLOCK - first // _BLOCK + 1
        ids = np.arange(first_block * _BLOCK, (first_block + blocks) * _BLOCK)
        grid = ids.reshape(blocks, _BLOCK)
        starts_aggregate = self._aggregate_starts(grid)
        rank = np.cumsum(starts_aggregate, axis=1) - 1
        starts_order = starts_aggregate & (uniform(self._order_key, grid) < _NEW_ORDER_RATE)
        starts_order[:, 0] = True
        place = np.maximum.accumulate(np.where(starts_order, np.arange(_BLOCK), 0), axis=1)
        # Row of each trade's order among all orders here, and how many aggregates into that order it lies.
        order = np.cumsum(starts_order.ravel()) - 1
        depth = (rank - np.take_along_axis(rank, place, axis=1)).ravel()
        leaders = ids[starts_order.ravel()]

        seconds = self._seconds_of(leaders)
        epoch_s = seconds + self.listed_at_ms / 1000
        now, before = self._log_price(epoch_s), self._log_price(epoch_s - _LOOKBACK_S)
        buys = self._sides(leaders, now - before)
        price = self._prices(now, buys)[order] + self._sweep(leaders, buys)[order] * depth
        size_steps = (hashed(self._size_key, ids) % np.uint64(_SIZE_STEPS)).astype(np.int64)
        columns = TradeColumns(
            ids=ids + 1,
            at_ms=self.listed_at_ms + np.floor(seconds * 1000).astype(np.int64)[order],
            price=np.maximum(price, 1) * self.instrument.tick,
            size=self._sizes[size_steps],
            buy=buys[order],
            aggregate_ids=(ids // _BLOCK) * _AGGREGATES + rank.ravel() + 1,
        )
        skipped = first - first_block * _BLOCK
        return columns.rows(skipped, skipped + last - first + 1)

    def _aggregate_starts(self, grid: IntArray) -> BoolArray:
        """Where aggregates start, shape (blocks, 16): the first place of a block and nine hashed ones."""
        draws = hashed(self._cut_key, grid)[:, 1:]
        chosen = np.partition(draws, _AGGREGATES - 2, axis=1)[:, _AGGREGATES - 2, np.newaxis]
        starts = np.ones(grid.shape, np.bool_)
        starts[:, 1:] = draws <= chosen
        return starts

    def _expected(self, knots: IntArray) -> FloatArray:
        """Expected trades from listing to each knot."""
        stretch = knots // _STRETCH
        inside = knots - stretch * _STRETCH
        bursts = uniform(self._burst_key, stretch) < _BURST_RATE
        place = np.floor(uniform(self._burst_place_key, stretch) * _STRETCH)
        more = np.where(bursts, _BURST_WEIGHT - 1, 0)
        # Within its stretch the clock of the trades runs fast during the burst and slow before and after.
        warped = _STRETCH * (stretch + (inside + more * (inside > place)) / (_STRETCH + more))
        swing = np.full(len(knots), -self._activity_at_listing)
        for key, period, amplitude in self._activity:
            swing += amplitude * linear_noise(key, warped, period)
        expected: FloatArray = self._rate * _KNOT_S * warped + swing
        return expected

    def _seconds_of(self, places: IntArray) -> FloatArray:
        """Seconds from listing to the trades at `places` (ids from 0), ascending."""
        wanted = places + uniform(self._fraction_key, places)
        bound = 2 * sum(amplitude for _, _, amplitude in self._activity)
        first = max(int((wanted[0] - bound) / self._rate / _KNOT_S) - _STRETCH, 0)
        last = int((wanted[-1] + bound) / self._rate / _KNOT_S) + 2 * _STRETCH
        knots = np.arange(first, last + 1)
        expected = self._expected(knots)
        found = np.searchsorted(expected, wanted, side="right") - 1
        inside = (wanted - expected[found]) / (expected[found + 1] - expected[found])
        seconds: FloatArray = _KNOT_S * (knots[found] + inside)
        return seconds

    def _log_price(self, epoch_s: FloatArray) -> FloatArray:
        """How far the price is from its middle, as a logarithm."""
        total = np.zeros(len(epoch_s))
        for key, period, amplitude in self._swings:
            total += amplitude * smooth_noise(key, epoch_s, period)
        return total

    def _sides(self, orders: IntArray, move: FloatArray) -> BoolArray:
        lean = np.clip(move / _FULL_LEAN, -1.0, 1.0)
        return uniform(self._side_key, orders) < 0.5 + 0.35 * lean

    def _prices(self, log_price: FloatArray, buys: BoolArray) -> IntArray:
        """First price of each order in ticks: the ask above or the bid at the middle."""
        x = log_price
        # The exponential's series: plain arithmetic gives the same value in an array of any length.
        factor = 1.0 + x * (1.0 + x / 2.0 * (1.0 + x / 3.0 * (1.0 + x / 4.0)))
        middle = np.floor(self._shape.price * factor / float(self.instrument.tick_size)).astype(np.int64)
        return middle + buys

    def _sweep(self, orders: IntArray, buys: BoolArray) -> IntArray:
        """Ticks from one aggregate of an order to its next: away from the middle."""
        step = (hashed(self._sweep_key, orders) % np.uint64(3)).astype(np.int64) + 1
        return np.where(buys, step, -step)

    def _size_table(self) -> IntArray:
        instrument = self.instrument
        per_size = float(instrument.base_per_size or 1)
        median = self._shape.typical_notional / self._shape.price / per_size
        lots = np.round(_lognormal_steps() * median / float(instrument.lot_size)).astype(np.int64)
        return np.maximum(lots, 1) * instrument.lot


@cache
def _lognormal_steps() -> FloatArray:
    """Sizes of equal chance around a median of 1."""
    normal = statistics.NormalDist(sigma=_SIZE_SPREAD)
    return np.exp([normal.inv_cdf((step + 0.5) / _SIZE_STEPS) for step in range(_SIZE_STEPS)])
