"""A run as an HTML page that needs nothing else: charts, months, trades, figures and the manifest."""

from __future__ import annotations

import msgspec

from backtesting.analysis import Analysis, analysis_of
from backtesting.course import Course, course_of
from backtesting.document import ambiguity_document
from backtesting.engine import BacktestResult
from backtesting.manifest import Manifest
from backtesting.report_figures import price_figure
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
from backtesting.report_tables import facts_table, manifest_details, moment
from data.models import Ohlcv


def report_html(
    result: BacktestResult,
    manifest: Manifest,
    course: Course | None = None,
    analysis: Analysis | None = None,
) -> str:
    """The whole page of a single run; the program that draws is part of it, so it opens without a network."""
    symbol = manifest.source.symbol or ""
    course = course or course_of(result, symbol)
    analysis = analysis or analysis_of(course)
    page = Page(
        " · ".join(part for part in (manifest.strategy, symbol, str(manifest.timeframe)) if part),
        f"{moment(manifest.starts_at)} to {moment(manifest.ends_at)} UTC, {manifest.candles:,} candles",
        [
            coverage_stamp(result.ohlcv, manifest.missing),
            (f"result {manifest.result_hash[:12]}", False),
            (f"engine {manifest.engine_version}", False),
            (costs_tag(manifest), False),
        ],
    )
    add_cards(page, course, analysis)
    add_ambiguity(page, ambiguity_document(result))
    add_equity(page, course, result.best_case_equity)
    overlays = list(result.strategy.overlays(result.ohlcv))
    page.section(
        "Price, entries and exits",
        page.chart(
            "price", "Price with entries and exits", price_figure(result.ohlcv, result.fills, overlays)
        ),
        price_remark(result.ohlcv, len(result.fills)),
    )
    add_single_trades(page, [("", course, result.ohlcv, result.fills, overlays)])
    add_statistics(page, course, analysis)
    page.section(
        "Data and manifest",
        facts_table("What the run was made of", _facts(manifest, result.ohlcv)) + manifest_details(manifest),
        "Equal hashes and terms give an equal result.",
        long=True,
    )
    return page.render()


def _facts(manifest: Manifest, ohlcv: Ohlcv) -> list[tuple[str, str]]:
    source, rules = manifest.source, manifest.rules
    steps = (
        f"{rules.tick_size}, {rules.lot_size}, {rules.min_notional}" if manifest.rounding else "not rounded"
    )
    missing = ", ".join(f"{start} to {end}" for start, end in manifest.missing)
    finer = "nothing; the stop comes first where a candle holds both"
    if manifest.finer_hash is not None:
        read = [f"{manifest.finer_trades:,} trades"] if manifest.finer_trades else []
        if manifest.finer_candles:
            read.append(f"{manifest.finer_candles:,} candles, the smallest of {manifest.finer_timeframe}")
        finer = f"{' and '.join(read)}, {manifest.finer_hash}"
    return [
        ("Candles", source.candles or f"{source.venue} {source.symbol}, from the store"),
        ("Candles' hash", manifest.data_hash),
        ("Coverage", coverage_stamp(ohlcv, manifest.missing)[0]),
        *([("Missing", missing)] if missing else []),
        ("Read of what lies inside candles", finer),
        ("Strategy", f"{manifest.strategy} ({source.strategy})"),
        ("Strategy hash", manifest.strategy_hash),
        ("Parameters", msgspec.json.encode(manifest.parameters).decode()),
        ("Capital", f"{manifest.capital}"),
        ("Tick, lot, minimum notional", steps),
        ("At the end", "closed at the last close" if manifest.close_at_end else "marked at the last close"),
        ("Result hash", manifest.result_hash),
    ]
