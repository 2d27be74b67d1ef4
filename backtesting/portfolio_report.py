"""A portfolio's run as an HTML page: the account that its legs share, and each leg."""

from __future__ import annotations

from collections.abc import Sequence

from backtesting.analysis import Analysis, analysis_of
from backtesting.course import Course, leg_course, portfolio_course
from backtesting.document import ambiguity_document
from backtesting.portfolio import LegResult, PortfolioResult
from backtesting.portfolio_document import PortfolioManifest
from backtesting.report_figures import gains_figure, price_figure
from backtesting.report_page import Page
from backtesting.report_sections import (
    add_ambiguity,
    add_cards,
    add_equity,
    add_single_trades,
    add_statistics,
    costs_tag,
    coverage_stamp,
    price_remark,
)
from backtesting.report_tables import (
    amount,
    facts_table,
    manifest_details,
    moment,
    number,
    percent,
    signed_cell,
    table,
    word,
)


def portfolio_report_html(
    result: PortfolioResult,
    manifest: PortfolioManifest,
    course: Course | None = None,
    analysis: Analysis | None = None,
) -> str:
    """The whole page of a portfolio: the account, and each leg."""
    capital = float(result.capital)
    course = course or portfolio_course(result)
    analysis = analysis or analysis_of(course)
    names = [_leg_name(part, result) for part in result.legs]
    courses = [leg_course(part, capital) for part in result.legs]
    stamps = [
        coverage_stamp(part.leg.ohlcv, told.missing)
        for part, told in zip(result.legs, manifest.legs, strict=True)
    ]
    page = Page(
        f"Portfolio of {len(result.legs)} legs",
        f"{min(moment(leg.starts_at) for leg in manifest.legs)} to "
        f"{max(moment(leg.ends_at) for leg in manifest.legs)} UTC, one capital",
        [
            *[(f"{name}: {text}", warns) for name, (text, warns) in zip(names, stamps, strict=True)],
            (f"result {manifest.result_hash[:12]}", False),
            (f"engine {manifest.engine_version}", False),
            (costs_tag(manifest), False),
        ],
    )
    add_cards(page, course, analysis)
    add_ambiguity(page, ambiguity_document(result))
    add_equity(page, course, result.best_case_equity)
    page.section(
        "Legs",
        _legs_table(names, result.legs),
        "A leg's figures measure its own gain against the whole capital.",
    )
    gains = gains_figure(list(zip(names, courses, strict=True)))
    page.section("Gain of each leg", page.chart("gains", "Gain of each leg", gains), "In quote currency.")
    drawn = []
    for row, (name, part, its) in enumerate(zip(names, result.legs, courses, strict=True)):
        overlays = list(part.leg.strategy.overlays(part.leg.ohlcv))
        drawn.append((name, its, part.leg.ohlcv, part.fills, overlays))
        chart = page.chart(
            f"price-{row}", f"Price of {name}", price_figure(part.leg.ohlcv, part.fills, overlays)
        )
        page.section(
            f"{name}: price, entries and exits", chart, price_remark(part.leg.ohlcv, len(part.fills))
        )
    add_single_trades(page, drawn)
    add_statistics(page, course, analysis)
    facts = [
        (f"{name}: candles' hash", leg.data_hash) for name, leg in zip(names, manifest.legs, strict=True)
    ] + [("Result hash", manifest.result_hash)]
    page.section(
        "Data and manifest",
        facts_table("What the run was made of", facts) + manifest_details(manifest),
        "Equal hashes and terms in the same order give an equal result.",
        long=True,
    )
    return page.render()


def _legs_table(names: Sequence[str], legs: Sequence[LegResult]) -> str:
    rows = []
    for name, part in zip(names, legs, strict=True):
        metrics, gain = part.metrics, float(part.gain[-1])
        rows.append(
            [
                word(name),
                signed_cell(gain, amount(gain, signed=True)),
                signed_cell(metrics.total_return, percent(metrics.total_return)),
                number(percent(metrics.buy_and_hold_return)),
                number(amount(metrics.sharpe)),
                number(percent(-metrics.max_drawdown)),
                number(f"{metrics.trades:,}"),
                number(percent(metrics.win_rate, 1, signed=False)),
                number(amount(metrics.profit_factor)),
                number(percent(metrics.exposure, 1, signed=False)),
                number(amount(metrics.fees_paid)),
                number(amount(metrics.slippage_paid)),
                number(f"{metrics.refused_orders:,}"),
            ]
        )
    heads = (
        *("Leg", "Gain", "Of capital", "Buy and hold", "Sharpe", "Largest drawdown", "Trades", "Won"),
        *("Profit factor", "In market", "Fees", "Slippage", "Refused"),
    )
    return table(heads, rows, words=1, label="Legs")


def _leg_name(part: LegResult, result: PortfolioResult) -> str:
    same = sum(other.leg.symbol == part.leg.symbol for other in result.legs)
    return part.leg.symbol if same == 1 else f"{part.leg.symbol} {part.leg.strategy.name}"
