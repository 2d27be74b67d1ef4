"""The desk as one account: curves that are summed, and panels that say how near limits are."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np

from bots.risk.exposure import Correlations
from bots.risk.views import DrawdownView, ExposureView, LimitUse
from bots.views import EquityCurve
from dashboard.figures.portfolio import correlation_figure, total_curve
from dashboard.pages.portfolio_panels import (
    exposure_rows,
    limit_kind,
    limit_rows,
    limit_value,
    main_quote,
    portfolio_kpis,
)
from dashboard.theme import DARK
from tests.dashboard.fakes import BTC, ETH, bot_view


def curve(times: list[int], equity: list[float]) -> EquityCurve:
    values = np.array(equity)
    return EquityCurve(at_us=np.array(times, dtype=np.int64), equity=values, cash=values, position=values * 0)


def test_each_bot_counts_with_its_last_known_equity_and_before_that_with_its_capital() -> None:
    total = total_curve([(curve([10, 30], [100.0, 130.0]), 90.0), (curve([20], [55.0]), 50.0)])
    assert total.at_us.tolist() == [10, 20, 30]
    assert total.equity.tolist() == [150.0, 155.0, 185.0]


def test_a_bot_without_a_close_counts_with_its_capital() -> None:
    total = total_curve([(curve([10], [100.0]), 90.0), (curve([], []), 50.0)])
    assert total.equity.tolist() == [150.0]
    assert len(total_curve([(curve([], []), 50.0)])) == 0


def test_the_heat_map_has_a_cell_per_pair_and_keeps_what_is_not_known_empty() -> None:
    matrix = np.array([[1.0, np.nan], [np.nan, 1.0]])
    figure = correlation_figure(Correlations(markets=(BTC, ETH), matrix=matrix), theme=DARK)
    heat: Any = figure.data[0]
    assert list(heat.x) == ["BTC-USDT<br>binance", "ETH-USDT<br>binance"]
    assert np.isnan(np.asarray(heat.z)[0, 1])
    assert heat.text[0][1] == ""
    assert (heat.zmin, heat.zmax) == (-1, 1)


def test_limits_are_shown_in_their_own_unit() -> None:
    assert limit_value("max_drawdown", Decimal("0.071")) == "7.1%"
    assert limit_value("max_orders_per_minute", Decimal(6)) == "6"
    assert limit_value("max_daily_loss", Decimal("256")) == "256.00"


def test_a_limit_turns_amber_before_it_is_reached() -> None:
    assert [limit_kind(share) for share in (0.5, 0.8, 1.0)] == ["", "warn-text", "down"]
    use = LimitUse(
        owner="trend", is_account=False, limit="max_drawdown", used=Decimal("0.09"), allowed=Decimal("0.1")
    )
    shown = str(limit_rows([use]))
    assert "9.0% of 10.0%" in shown
    assert "fill-warn" in shown
    assert "width': '90.0%'" in shown


def test_a_cluster_of_one_market_is_no_cluster() -> None:
    one = ExposureView(symbols=("okx:BTC-USDT",), long=Decimal(100), short=Decimal(0), bots=("a",))
    two = ExposureView(
        symbols=("okx:BTC-USDT", "okx:ETH-USDT"), long=Decimal(100), short=Decimal(40), bots=("a", "b")
    )
    assert "Nothing is held" in str(exposure_rows([one], clusters=True))
    assert "ETH-USDT" in str(exposure_rows([one, two], clusters=True))


def test_figures_over_all_bots_are_in_the_currency_most_capital_is_in() -> None:
    bots = [bot_view("one", equity="11000"), bot_view("two", equity="9500")]
    falls = [DrawdownView(name="total", equity=Decimal(20_500), peak=Decimal(21_000))]
    assert main_quote(bots) == "USDT"
    shown = str(portfolio_kpis(bots, [], falls, [], []))
    assert "20,500.00" in shown
    assert "−2.38%" in shown  # noqa: RUF001  minus sign
    assert "no limit is set" in shown
