"""What a run was worth. Fractions, never percent; NaN where a figure is not defined. A year has 365 days."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from backtesting.calendar_returns import daily_returns, monthly_returns
from backtesting.trade_statistics import trade_columns
from bots.orders import ClosedTrade
from data.models import FloatArray, IntArray
from data.timeframes import SECOND_US

DAY_US = 86_400 * SECOND_US
YEAR_US = 365 * DAY_US
SHORTEST_DAILY_US = 30 * DAY_US  # runs shorter than this are judged by their candles, not by their days
SMALLEST_FALL = 1e-12  # what is smaller is the rounding of cash plus quantity times price in doubles
MIDNIGHTS = "utc_midnights"
CANDLES = "candles"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """The figures of one run. Money in quote currency, durations in seconds, trades net of fees."""

    initial_equity: float
    final_equity: float
    total_return: float
    cagr: float  # growth per year of the run's own length
    sharpe: float
    sortino: float
    calmar: float  # cagr over max_drawdown
    volatility: float  # per year
    sampling: str  # what sharpe, sortino and volatility are computed from: MIDNIGHTS or CANDLES
    max_drawdown: float  # largest fall from a peak as a fraction of it, at candle closes; at least 0
    max_drawdown_duration: float  # seconds; longest time from a peak until it was reached again, or the end
    trades: int  # closed ones
    long_trades: int
    short_trades: int
    win_rate: float
    profit_factor: float  # gross profit over gross loss
    expectancy: float  # mean pnl of a trade
    average_trade: float  # mean return of a trade
    best_trade: float
    worst_trade: float
    average_win: float
    average_loss: float
    longest_winning_streak: int
    longest_losing_streak: int
    average_trade_duration: float  # seconds
    exposure: float  # share of candles in which a position was held
    turnover: float  # notional of all fills over the mean equity
    fees_paid: float
    slippage_paid: float  # to slippage and to rounding
    buy_and_hold_return: float  # from the first open to the last close, without costs
    buy_and_hold_sharpe: float  # sampled as the run's own
    buy_and_hold_max_drawdown: float
    best_day: float  # of UTC days and months; the first and the last may be parts of one
    worst_day: float
    best_month: float
    worst_month: float
    median_trade: float  # return
    payoff_ratio: float  # average win over average loss
    sqn: float  # mean pnl over its deviation, times the root of the number of trades
    kelly: float  # share of the capital that these wins and losses would have grown fastest with
    long_pnl: float
    short_pnl: float
    long_win_rate: float
    short_win_rate: float
    longest_trade_duration: float  # seconds
    ambiguous_exits: int
    refused_orders: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What metrics are computed from. `equity` of shape (n,) stands at the candles' closes."""

    capital: float
    equity: FloatArray
    starts_at_us: int
    closes_at_us: IntArray
    first_open: float
    closes: FloatArray  # the market's price at `closes_at_us`, or what buying and holding is worth
    trades: Sequence[ClosedTrade]
    exposed_candles: int
    turnover: float
    fees_paid: float
    slippage_paid: float
    ambiguous_exits: int
    refused_orders: int


def metrics_of(run: Run) -> Metrics:
    """All figures of a run of at least one candle."""
    span_us = int(run.closes_at_us[-1]) - run.starts_at_us
    final = float(run.equity[-1])
    curve = np.concatenate(([run.capital], run.equity))
    held = np.concatenate(([run.first_open], run.closes))
    curve_us = np.concatenate(([run.starts_at_us], run.closes_at_us))
    sampling, rows, periods_per_year = samples_of(curve_us)
    returns = returns_of(curve[rows])
    growth = cagr(run.capital, final, span_us)
    fall, fall_us = max_drawdown(curve, curve_us)
    days = daily_returns(run.capital, run.equity, run.closes_at_us)
    months = monthly_returns(run.capital, run.equity, run.closes_at_us)
    trades = trade_columns(run.trades)
    pnl, rates, held_us = trades.pnl, trades.rate, trades.held_us.astype(np.float64)
    wins, losses = pnl[pnl > 0], pnl[pnl < 0]
    longs, shorts = pnl[trades.long], pnl[~trades.long]
    mean_equity = float(run.equity.mean())
    return Metrics(
        initial_equity=run.capital,
        final_equity=final,
        total_return=final / run.capital - 1.0,
        cagr=growth,
        sharpe=sharpe_ratio(returns, periods_per_year=periods_per_year),
        sortino=sortino_ratio(returns, periods_per_year=periods_per_year),
        calmar=growth / fall if fall > 0 else math.nan,
        volatility=volatility(returns, periods_per_year=periods_per_year),
        sampling=sampling,
        max_drawdown=fall,
        max_drawdown_duration=fall_us / SECOND_US,
        trades=len(run.trades),
        long_trades=len(longs),
        short_trades=len(shorts),
        win_rate=_share(wins, pnl),
        profit_factor=float(wins.sum() / -losses.sum()) if len(losses) else math.nan,
        expectancy=_mean(pnl),
        average_trade=_mean(rates),
        best_trade=float(rates.max()) if len(rates) else math.nan,
        worst_trade=float(rates.min()) if len(rates) else math.nan,
        average_win=_mean(wins),
        average_loss=_mean(losses),
        longest_winning_streak=longest_streak(pnl > 0),
        longest_losing_streak=longest_streak(pnl < 0),
        average_trade_duration=_mean(held_us) / SECOND_US,
        exposure=run.exposed_candles / len(run.equity),
        turnover=run.turnover / mean_equity if mean_equity > 0 else math.nan,
        fees_paid=run.fees_paid,
        slippage_paid=run.slippage_paid,
        buy_and_hold_return=float(run.closes[-1]) / run.first_open - 1.0,
        buy_and_hold_sharpe=sharpe_ratio(returns_of(held[rows]), periods_per_year=periods_per_year),
        buy_and_hold_max_drawdown=max_drawdown(held, curve_us)[0],
        best_day=days.best,
        worst_day=days.worst,
        best_month=months.best,
        worst_month=months.worst,
        median_trade=float(np.median(rates)) if len(rates) else math.nan,
        payoff_ratio=float(wins.mean() / -losses.mean()) if len(wins) and len(losses) else math.nan,
        sqn=quality_number(pnl),
        kelly=kelly_fraction(rates),
        long_pnl=float(longs.sum()),
        short_pnl=float(shorts.sum()),
        long_win_rate=_share(longs[longs > 0], longs),
        short_win_rate=_share(shorts[shorts > 0], shorts),
        longest_trade_duration=float(held_us.max()) / SECOND_US if len(held_us) else math.nan,
        ambiguous_exits=run.ambiguous_exits,
        refused_orders=run.refused_orders,
    )


def samples_of(at_us: IntArray) -> tuple[str, IntArray, float]:
    """How a run of these times is sampled for its ratios: (MIDNIGHTS or CANDLES, rows, periods per year).

    `at_us` of shape (n,) is the start and then every candle's close.
    """
    span_us = int(at_us[-1] - at_us[0])
    if span_us < SHORTEST_DAILY_US:
        return CANDLES, np.arange(len(at_us)), YEAR_US * (len(at_us) - 1) / span_us
    return MIDNIGHTS, np.searchsorted(at_us, midnights(at_us), side="right") - 1, 365.0


def midnights(at_us: IntArray) -> IntArray:
    """Every UTC midnight from the first time to the last."""
    first = -(-int(at_us[0]) // DAY_US) * DAY_US
    return np.arange(first, int(at_us[-1]) + 1, DAY_US)


def equity_at_midnights(equity: FloatArray, at_us: IntArray) -> FloatArray:
    """Equity at every UTC midnight from the first time to the last, as it stood then.

    `equity` and `at_us` have shape (n,), ascending; between two points the earlier one's value holds.
    """
    return equity[np.searchsorted(at_us, midnights(at_us), side="right") - 1]


def returns_of(values: FloatArray) -> FloatArray:
    """Simple returns between neighbours, shape (n - 1,); NaN from a value that is not above 0."""
    before = values[:-1]
    returns = np.full(len(before), np.nan)
    np.divide(values[1:], before, out=returns, where=before > 0)
    return returns - 1.0


def sharpe_ratio(returns: FloatArray, *, periods_per_year: float, risk_free_rate: float = 0.0) -> float:
    """Annualised Sharpe ratio of simple per-period returns, shape (n,); `risk_free_rate` is per period.

    NaN for fewer than two returns or no variation. Sample deviation. Source: Sharpe (1994), JPM 21(1).
    """
    excess = returns - risk_free_rate
    if len(excess) < 2 or np.ptp(excess) == 0:
        return math.nan
    return float(excess.mean() / excess.std(ddof=1) * math.sqrt(periods_per_year))


def sortino_ratio(returns: FloatArray, *, periods_per_year: float, target: float = 0.0) -> float:
    """Annualised Sortino ratio: mean excess over `target` per unit of downside deviation.

    The deviation is the root mean square of the shortfalls over all n returns. NaN for fewer than two returns
    or no shortfall. Source: Sortino and Price (1994), Journal of Investing 3(3).
    """
    excess = returns - target
    if len(excess) < 2:
        return math.nan
    downside = math.sqrt(float(np.mean(np.minimum(excess, 0.0) ** 2)))
    if downside == 0:
        return math.nan
    return float(excess.mean()) / downside * math.sqrt(periods_per_year)


def volatility(returns: FloatArray, *, periods_per_year: float) -> float:
    """Annualised sample deviation of simple per-period returns; NaN for fewer than two."""
    if len(returns) < 2:
        return math.nan
    return float(returns.std(ddof=1)) * math.sqrt(periods_per_year)


def cagr(first: float, last: float, span_us: int) -> float:
    """Compound growth per year of 365 days; -1 when nothing is left, NaN where it is beyond a double."""
    if last <= 0:
        return -1.0
    exponent = math.log(last / first) * YEAR_US / span_us
    return math.expm1(exponent) if exponent < 700 else math.nan


def max_drawdown(equity: FloatArray, at_us: IntArray) -> tuple[float, int]:
    """The largest fall from a peak, as a fraction of the peak, and the longest time below one, in us.

    A peak's time runs until equity is back at it, or to the end. Both 0 where equity never fell by more than
    doubles round.
    """
    peaks = np.maximum.accumulate(equity)
    fall = float(np.max(1.0 - equity / peaks))
    if fall < SMALLEST_FALL:
        return 0.0, 0
    at_peak = np.flatnonzero(equity == peaks)
    below_us = np.diff(at_us[at_peak])[np.diff(at_peak) > 1]
    longest = int(below_us.max()) if len(below_us) else 0
    return fall, max(longest, int(at_us[-1]) - int(at_us[at_peak[-1]]))


def quality_number(pnl: FloatArray) -> float:
    """System quality number: the mean over the sample deviation, times the root of the number of trades.

    NaN for fewer than two trades or no variation. Source: Tharp, "Trade Your Way to Financial Freedom".
    """
    if len(pnl) < 2 or np.ptp(pnl) == 0:
        return math.nan
    return float(pnl.mean() / pnl.std(ddof=1)) * math.sqrt(len(pnl))


def kelly_fraction(rates: FloatArray) -> float:
    """Share of winners less share of the others over the payoff of returns; NaN without wins or losses.

    Source: Kelly (1956), BSTJ 35(4), for a bet that wins and loses the mean amounts.
    """
    wins, losses = rates[rates > 0], rates[rates < 0]
    if not len(wins) or not len(losses):
        return math.nan
    won = len(wins) / len(rates)
    return float(won - (1.0 - won) / (wins.mean() / -losses.mean()))


def longest_streak(hits: np.typing.NDArray[np.bool_]) -> int:
    """How many times in a row `hits` was true at most."""
    misses = np.flatnonzero(~np.concatenate(([False], hits, [False])))
    return int(np.diff(misses).max()) - 1


def _share(part: FloatArray, whole: FloatArray) -> float:
    return len(part) / len(whole) if len(whole) else math.nan


def _mean(values: FloatArray) -> float:
    return float(values.mean()) if len(values) else math.nan
