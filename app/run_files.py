"""The files that a backtest leaves in a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from backtesting.document import document_of, encoded, equity_csv, trades_csv
from backtesting.engine import BacktestResult
from backtesting.manifest import Manifest
from data.errors import InvalidInput, Problem

if TYPE_CHECKING:
    from backtesting.portfolio import PortfolioResult
    from backtesting.portfolio_document import PortfolioManifest

REPORT_FILE = "report.html"


def run_files(result: BacktestResult, manifest: Manifest) -> dict[str, bytes]:
    """The content of each file, by name."""
    # Arrow and the report's program are needed for a folder alone.
    from backtesting.analysis import analysis_of
    from backtesting.columns import equity_parquet, trades_parquet
    from backtesting.course import course_of
    from backtesting.report import report_html

    course = course_of(result, manifest.source.symbol or "")
    analysis = analysis_of(course)
    return {
        "result.json": encoded(document_of(result, manifest) | {"analysis": analysis}),
        "trades.csv": trades_csv(result).encode(),
        "trades.parquet": trades_parquet(course),
        "equity.csv": "".join(equity_csv(result)).encode(),
        "equity.parquet": equity_parquet(course),
        "manifest.json": encoded(manifest),
        REPORT_FILE: report_html(result, manifest, course, analysis).encode(),
    }


def portfolio_files(result: PortfolioResult, manifest: PortfolioManifest) -> dict[str, bytes]:
    """The content of each file of a portfolio's run, by name."""
    from backtesting.analysis import analysis_of
    from backtesting.columns import equity_parquet, trades_parquet
    from backtesting.course import portfolio_course
    from backtesting.portfolio_document import (
        portfolio_document,
        portfolio_equity_csv,
        portfolio_trades_csv,
    )
    from backtesting.portfolio_report import portfolio_report_html

    course = portfolio_course(result)
    analysis = analysis_of(course)
    return {
        "result.json": encoded(portfolio_document(result, manifest) | {"analysis": analysis}),
        "trades.csv": portfolio_trades_csv(result).encode(),
        "trades.parquet": trades_parquet(course),
        "equity.csv": "".join(portfolio_equity_csv(result)).encode(),
        "equity.parquet": equity_parquet(course),
        "manifest.json": msgspec.json.format(encoded(manifest)),
        REPORT_FILE: portfolio_report_html(result, manifest, course, analysis).encode(),
    }


def write_folder(folder: Path, files: Mapping[str, bytes], *, where: str = "--out") -> None:
    """All files or none: they are written beside the folder's own and renamed when complete.

    Raises InvalidInput, blaming `where`, for a folder that cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        parts = {folder / name: folder / f".{name}.part" for name in files}
        for part, content in zip(parts.values(), files.values(), strict=True):
            part.write_bytes(content)
        for path, part in parts.items():
            part.replace(path)
    except OSError as error:
        expected = f"give a folder that can be written: {error.strerror}"
        raise InvalidInput(Problem(where=where, field="", value=str(folder), expected=expected)) from error
