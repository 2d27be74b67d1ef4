"""The parts that reports of single runs and of portfolios share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from backtesting.analysis import Analysis
from backtesting.course import Course
from backtesting.manifest import Manifest
from backtesting.portfolio_document import PortfolioManifest
from backtesting.report_figures import (
    MOST_MARKS,
    MOST_WINDOW_BARS,
    candles_per_bar,
    distribution_figure,
    equity_figure,
    excursion_figure,
    rolling_figure,
    trade_figure,
)
from backtesting.report_page import Page
from backtesting.report_tables import (
    amount,
    benchmark_table,
    drawdowns_table,
    duration,
    groups_table,
    months_table,
    percent,
    statistics_tables,
    trades_table,
)
from bots.orders import Fill
from data.models import FloatArray, Ohlcv
from strategies.base import Overlay

SHOWN_TRADES = 5  # of the best and of the worst, drawn by themselves


def coverage_stamp(ohlcv: Ohlcv, missing: Sequence[tuple[str, str]]) -> tuple[str, bool]:
    """What is known of the candles' completeness, and whether it asks for attention.

    `missing` are stretches the store did not know. An interval without a row may have been without trades.
    """
    if missing:
        return f"{len(missing):,} stretches missing from the store", True
    absent = absent_candles(ohlcv)
    if absent:
        return f"{absent:,} intervals without a candle", True
    return "every interval has its candle", False


def absent_candles(ohlcv: Ohlcv) -> int:
    """Intervals between the first and the last candle that have no row."""
    spanned = int(ohlcv.opened_at_us[-1] - ohlcv.opened_at_us[0]) // ohlcv.timeframe.us + 1
    return spanned - len(ohlcv)


def add_cards(page: Page, course: Course, analysis: Analysis) -> None:
    """The few figures that matter most."""
    metrics = course.metrics
    gain = metrics.final_equity - metrics.initial_equity
    sampled = "from UTC midnights" if metrics.sampling == "utc_midnights" else "from candles"
    worst = analysis.drawdowns[0] if analysis.drawdowns else None
    held, costs = metrics.buy_and_hold_return, analysis.costs
    fall = f"held {percent(-metrics.buy_and_hold_max_drawdown)}"
    if worst is not None:
        fall += f"; trough {worst.trough[:10]}"
    page.cards(
        [
            ("Return", percent(metrics.total_return), f"buy and hold {percent(held)}", gain),
            (
                "Final equity",
                amount(metrics.final_equity),
                f"{amount(gain, signed=True)} on {amount(metrics.initial_equity)}",
                None,
            ),
            (
                "Sharpe",
                amount(metrics.sharpe),
                f"{sampled}; held {amount(metrics.buy_and_hold_sharpe)}",
                None,
            ),
            ("Largest drawdown", percent(-metrics.max_drawdown), fall, None),
            ("Trades", f"{metrics.trades:,}", f"{percent(metrics.win_rate, 1, signed=False)} won", None),
            ("Profit factor", amount(metrics.profit_factor), f"payoff {amount(metrics.payoff_ratio)}", None),
            (
                "Time in market",
                percent(metrics.exposure, 1, signed=False),
                f"median trade {duration(analysis.holding_times.median)}",
                None,
            ),
            (
                "Costs",
                amount(costs.total),
                f"fees {amount(costs.fees)}, slippage {amount(costs.slippage)}",
                None,
            ),
        ]
    )


def add_ambiguity(page: Page, ambiguity: Mapping[str, float | int]) -> None:
    """What the run would have come to, had every doubtful exit been the target; nothing where none was."""
    if not ambiguity["exits"]:
        return
    worst, best = (
        f"{amount(ambiguity[f'{reading}_case_equity'])} ({percent(ambiguity[f'{reading}_case_return'])})"
        for reading in ("worst", "best")
    )
    exits = "1 exit" if ambiguity["exits"] == 1 else f"{ambiguity['exits']:,} exits"
    page.notice(
        f"In {exits} stop and target lay inside one candle and nothing finer decided. "
        f"The run takes the stop first and ends with {worst}; with each target first it would end with "
        f"{best}."
    )


def add_equity(page: Page, course: Course, best_case: FloatArray | None) -> None:
    """Equity, buy-and-hold and drawdown; `best_case` is the equity were every doubtful exit a target."""
    page.section(
        "Equity and drawdown",
        page.chart("equity", "Equity against buy and hold, and drawdown", equity_figure(course, best_case)),
        "At candle closes, in quote currency; long lines keep the extremes of each stretch.",
    )


def price_remark(ohlcv: Ohlcv, fills: int) -> str:
    """What a price chart leaves out, or that it leaves out nothing."""
    width = candles_per_bar(len(ohlcv))
    bars = (
        f"Every {ohlcv.timeframe} candle is drawn."
        if width == 1
        else f"Each bar is {width:,} candles of {ohlcv.timeframe}; indicators are those of its last one."
    )
    marks = f" {MOST_MARKS:,} of {fills:,} fills are marked, evenly chosen." if fills > MOST_MARKS else ""
    return bars + marks


def add_single_trades(
    page: Page,
    drawn: Sequence[tuple[str, Course, Ohlcv, Sequence[Fill], Sequence[Overlay]]],
) -> None:
    """The best and the worst trades, each with every candle around it."""
    candidates = [
        (float(trade.return_rate), part, row)
        for part, (_, course, ohlcv, _, _) in enumerate(drawn)
        for row, trade in enumerate(course.trades)
        if trade.exit_at_us - trade.entry_at_us <= MOST_WINDOW_BARS * ohlcv.timeframe.us
    ]
    candidates.sort()
    worst = candidates[:SHOWN_TRADES]
    best = candidates[SHOWN_TRADES:][-SHOWN_TRADES:][::-1]
    if not candidates:
        return
    choices = []
    for rank, rate, part, row in [
        *[(f"Best {place}", *one) for place, one in enumerate(best, 1)],
        *[(f"Worst {place}", *one) for place, one in enumerate(worst, 1)],
    ]:
        name, course, ohlcv, fills, overlays = drawn[part]
        trade = course.trades[row]
        text = (
            f"{rank}: {percent(rate)} {name} {trade.side.value}, "
            f"{trade.exit_reason.value.replace('_', ' ')}, {np.datetime64(trade.entry_at_us, 'us')!s:.16} UTC"
        )
        choices.append((" ".join(text.split()), trade_figure(ohlcv, trade, fills, overlays)))
    page.section(
        "Single trades",
        page.choice("trade", "Trade to show", choices),
        f"The {len(best)} best and {len(worst)} worst by return, every candle drawn.",
    )


def add_statistics(page: Page, course: Course, analysis: Analysis) -> None:
    """Months, rolling ratio, distributions, drawdowns, groups, all figures and the trades."""
    page.section(
        "Monthly returns", months_table(analysis), "Calendar months in UTC; the first and last may be parts."
    )
    rolling = analysis.rolling_sharpe
    window = (
        f"Over the last {rolling.window:,} {rolling.unit}."
        if rolling.times
        else "The run is too short for a window."
    )
    charts = [
        (
            "Rolling Sharpe",
            page.chart("rolling", "Rolling Sharpe ratio", rolling_figure(analysis)) if rolling.times else "",
            window,
        )
    ]
    if course.trades:
        charts.append(
            (
                "Distribution of trades",
                page.chart("distribution", "Distribution of trade returns", distribution_figure(analysis)),
                "Returns net of fees.",
            )
        )
    page.pair(*charts)
    against = benchmark_table(analysis.strategy, analysis.buy_and_hold)
    parts = [("Against buy and hold", against, "Holding pays no costs.")]
    if course.trades:
        parts.append(
            (
                "Excursions",
                page.chart("excursions", "Worst and best point of each trade", excursion_figure(course)),
                "How far each trade was down and up while held; of its last candle only the exit counts.",
            )
        )
    page.pair(*parts)
    page.section("Worst drawdowns", drawdowns_table(analysis), "At candle closes, from peak to recovery.")
    if course.trades:
        groups = groups_table("Side", analysis.sides) + groups_table("Exit reason", analysis.exit_reasons)
        if analysis.symbols:
            groups += groups_table("Symbol", analysis.symbols)
        page.section("Sides and exit reasons", groups)
    page.pair(
        *[(title, body, "") for title, body in statistics_tables(course.metrics, analysis)], narrow=True
    )
    page.section(
        "Trades", trades_table(course), "MAE and MFE: worst and best point, from the entry price.", long=True
    )


def costs_tag(manifest: Manifest | PortfolioManifest) -> str:
    """The costs in a few words."""
    costs = manifest.costs
    return f"fees {costs.fee_bps}/{costs.maker_fee_bps} bps, slippage {costs.slippage_bps} bps"
