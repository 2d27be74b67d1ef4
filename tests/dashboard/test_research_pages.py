from __future__ import annotations

import numpy as np
import pytest

from dashboard.pages.backtests import newest_of
from dashboard.pages.backtests_form import run_form
from dashboard.pages.runs_compare import figure_words, paired
from dashboard.pages.runs_panels import again
from dashboard.pages.strategies_preview import preview
from dashboard.theme import theme_named
from data.timeframes import SECOND_US, Timeframe
from strategies.loader import parse_strategy
from tests.dashboard.fakes import BTC, ETH, NOW_US, FakeMarket, walk
from tests.dashboard.fakes_research import FakeResearch
from tests.dashboard.kept_research import kept_run

OHLCV = walk(Timeframe.M5, 600, end_us=NOW_US, start=64_000.0, seed=3, step=0.002)


def test_a_run_is_repeated_with_its_market_its_span_its_costs_and_its_parameters() -> None:
    run = kept_run(4, BTC, OHLCV, fast=8)
    form = run_form(
        "backtest", [], [ETH, BTC], again(run), parameters_of=lambda _: None, stored=lambda _: None
    )
    values = {
        name: getattr(form[name], "value", None)
        for name in ("run-market", "run-timeframe", "run-from", "run-to", "run-capital", "run-slippage")
    }
    assert values == {
        "run-market": [str(BTC)],
        "run-timeframe": "5m",
        "run-from": run.summary.starts_at,
        "run-to": run.summary.ends_at,
        "run-capital": "10000",
        "run-slippage": "2",
    }
    assert again(run)["p.fast"] == "8"


def test_a_list_is_new_when_a_run_was_kept_and_not_before() -> None:
    research = FakeResearch()
    run = kept_run(1, BTC, OHLCV)
    research.kept[1] = run
    before = newest_of({}, research)
    assert newest_of({}, research) == before
    research.kept[2] = kept_run(2, BTC, OHLCV)
    assert newest_of({}, research) != before


def test_a_signal_that_lasts_has_one_arrow_and_all_its_candles_are_counted() -> None:
    document = {"name": "lasting", "timeframe": "5m", "long": {"entry": {"gt": ["close", "open"]}}}
    strategy = parse_strategy(document, "test")
    market = FakeMarket()
    market.add(BTC, OHLCV)
    made = preview(strategy, BTC, market, theme_named("dark"))
    said = OHLCV.close > OHLCV.open
    first = said & ~np.concatenate(([False], said[:-1]))
    assert made.counts == {"long entry": int(said.sum())}
    arrows = [marker["time"] for marker in made.series[0]["markers"]]
    starts = OHLCV.opened_at_us[first] // SECOND_US
    assert arrows == starts[-len(arrows) :].tolist()
    assert 0 < len(arrows) < int(said.sum())


@pytest.mark.parametrize(
    ("name", "value", "gap", "words"),
    [
        ("total_return", 0.0026, False, "+0.26%"),
        ("max_drawdown", 0.0302, False, "3.02%"),
        ("max_drawdown", 0.0264, True, "+2.64%"),
        ("trades", 5, False, "5"),
        ("trades", 4, True, "+4"),
        ("final_equity", 10_025.6948, False, "10,025.69"),
        ("sharpe", None, False, "–"),  # noqa: RUF001
    ],
)
def test_figures_of_a_comparison_are_written_as_in_reports(
    name: str, value: float | None, gap: bool, words: str
) -> None:
    assert figure_words(name, value, gap=gap) == words


def test_trades_of_two_runs_are_paired_by_side_and_entry() -> None:
    first, second = (kept_run(1, BTC, OHLCV, fast=fast) for fast in (9, 9))
    same, differing = paired(first.trades, second.trades)
    assert same == len(first.trades) > 0
    assert not differing
    same, differing = paired(first.trades, first.trades[1:])
    assert [(other, fields) for _, other, fields in differing] == [(None, [])]
