"""What `candlewick backtest` says of a run: a document or a table, and the folder."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from app.run_files import portfolio_files, run_files, write_folder
from backtesting.document import document_of, encoded, metrics_document
from backtesting.engine import BacktestResult
from backtesting.manifest import Manifest

if TYPE_CHECKING:
    from backtesting.portfolio import PortfolioResult
    from backtesting.portfolio_document import PortfolioManifest


def hand_out(
    result: BacktestResult | PortfolioResult,
    manifest: Manifest | PortfolioManifest,
    out: str | None,
    *,
    as_json: bool,
    ladder: msgspec.Struct | None = None,
) -> None:
    """Write the folder, and print the document or a table."""
    if isinstance(result, BacktestResult):
        assert isinstance(manifest, Manifest)
        document = document_of(result, manifest) if as_json else {}
        if as_json and ladder is not None:
            document["ladder"] = ladder
        lines = [
            f"{manifest.strategy} on {manifest.candles:,} candles of {manifest.timeframe}, "
            f"{manifest.starts_at} to {manifest.ends_at}",
            "",
        ]
        files = {} if out is None else run_files(result, manifest)
    else:
        # A run of its own is to start fast, without what portfolios need.
        from app.commands.backtest_portfolio import leg_lines
        from backtesting.portfolio_document import PortfolioManifest, portfolio_document

        assert isinstance(manifest, PortfolioManifest)
        document = portfolio_document(result, manifest) if as_json else {}
        if as_json and ladder is not None:
            document["basket"] = ladder
        lines = [f"{len(result.legs)} legs with one capital", "", *leg_lines(result), ""]
        files = {} if out is None else portfolio_files(result, manifest)
    if out is not None:
        write_folder(Path(out), files)
        click.echo(f"wrote {', '.join(files)} to {out}", err=True)
    if as_json:
        # Two writes: the text of a million candles is not copied for the sake of a line's end.
        sys.stdout.buffer.write(encoded(document))
        sys.stdout.buffer.write(b"\n")
        return
    values = metrics_document(result.metrics)
    lines += [f"  {label:<20}{_shown(values[name], kind):>16}" for name, label, kind in _SHOWN]
    click.echo("\n".join([*lines, "", f"  result {manifest.result_hash}"]))


_SHOWN = (
    ("final_equity", "final equity", "money"),
    ("total_return", "return", "percent"),
    ("buy_and_hold_return", "buy and hold", "percent"),
    ("cagr", "per year (CAGR)", "percent"),
    ("volatility", "volatility", "percent"),
    ("sharpe", "Sharpe", "plain"),
    ("sortino", "Sortino", "plain"),
    ("calmar", "Calmar", "plain"),
    ("max_drawdown", "largest drawdown", "percent"),
    ("max_drawdown_duration", "longest drawdown", "days"),
    ("trades", "trades", "whole"),
    ("win_rate", "won", "percent"),
    ("profit_factor", "profit factor", "plain"),
    ("expectancy", "mean profit", "money"),
    ("best_trade", "best trade", "percent"),
    ("worst_trade", "worst trade", "percent"),
    ("exposure", "time in the market", "percent"),
    ("fees_paid", "fees", "money"),
    ("slippage_paid", "slippage, rounding", "money"),
    ("ambiguous_exits", "ambiguous exits", "whole"),
    ("refused_orders", "refused orders", "whole"),
)


def _shown(value: float | int | str | None, kind: str) -> str:
    if not isinstance(value, (float, int)):
        return "-"
    if kind == "percent":
        return f"{value:,.2%}"
    if kind == "days":
        return f"{value / 86_400:,.1f} days"
    return f"{value:,}" if kind == "whole" else f"{value:,.2f}"
