"""The files that a backtest leaves in a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from backtesting.document import document_of, encoded, equity_csv, trades_csv
from backtesting.engine import BacktestResult
from backtesting.manifest import Manifest
from data.errors import InvalidInput, Problem

REPORT_FILE = "report.html"


def run_files(result: BacktestResult, manifest: Manifest) -> dict[str, bytes]:
    """The content of each file, by name."""
    # Plotly is needed for a report alone.
    from backtesting.report import report_html

    return {
        "result.json": encoded(document_of(result, manifest)),
        "trades.csv": trades_csv(result).encode(),
        "equity.csv": "".join(equity_csv(result)).encode(),
        "manifest.json": encoded(manifest),
        REPORT_FILE: report_html(result, manifest).encode(),
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
