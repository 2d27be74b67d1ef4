"""`candlewick backtest compare`: two finished runs, trade by trade."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import click
import msgspec

from backtesting.compare import Cell, Comparison, FieldDifference, StoredRun, compare_runs
from data.errors import InvalidInput, Problem

MOST_LINES = 20  # of each kind of difference; --json has all of them
_ENCODER = msgspec.json.Encoder(decimal_format="number")


@click.command()
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document with every difference.")
def compare(a: Path, b: Path, *, as_json: bool) -> None:
    """Compare the runs A and B: folders that --out wrote, or JSON files of results.

    Says which trades are the same, differ, or are in one run alone, where the runs part, which figures
    differ, and what in their making explains it. Exit status 0: the same; 1: not.
    """
    found = compare_runs(read_run(a), read_run(b))
    if as_json:
        sys.stdout.buffer.write(_ENCODER.encode(found) + b"\n")
    else:
        click.echo("\n".join(comparison_lines(found)))
    if not found.same:
        sys.exit(1)


def read_run(path: Path) -> StoredRun:
    """The run in a folder's result.json or in a file. Raises InvalidInput."""
    file = path / "result.json" if path.is_dir() else path
    try:
        return msgspec.json.decode(file.read_bytes(), type=StoredRun)
    except OSError as error:
        expected = f"it cannot be read: {error.strerror}; give a folder that --out wrote, or its result.json"
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        expected = f"give the JSON of a backtest, as --out or --json write it: {error}"
    raise InvalidInput(Problem(where=str(file), field="", value="", expected=expected))


def comparison_lines(found: Comparison) -> Iterator[str]:
    """The comparison for a person."""
    yield "the same trades and figures" if found.same else "the runs differ"
    yield ""
    yield f"  same trades      {found.same_trades:>8,}"
    yield f"  differing trades {len(found.differing):>8,}"
    yield f"  only in A        {len(found.only_a):>8,}"
    yield f"  only in B        {len(found.only_b):>8,}"
    if found.causes:
        yield ""
        yield "likely cause:"
        yield from (f"  {number}. {cause}" for number, cause in enumerate(found.causes, 1))
    if found.first_divergence is not None:
        yield ""
        yield f"they part at {found.first_divergence.time}: {found.first_divergence.what}"
    if found.differing:
        yield ""
        yield "differing trades (A to B):"
        for one in found.differing[:MOST_LINES]:
            name = f"{one.symbol} {one.side}".strip()
            fields = ", ".join(_field(field) for field in one.fields)
            yield f"  {one.number_a} and {one.number_b}, {name} of {one.entry_time}: {fields}"
        yield from _left(len(found.differing))
    for name, trades in (("A", found.only_a), ("B", found.only_b)):
        if not trades:
            continue
        yield ""
        yield f"only in {name}:"
        for alone in trades[:MOST_LINES]:
            trade = alone.trade
            yield (
                f"  {alone.number}, {f'{trade.symbol} {trade.side}'.strip()} {trade.entry_time} at "
                f"{trade.entry_price} to {trade.exit_time} at {trade.exit_price}, {trade.exit_reason}, "
                f"profit {trade.pnl}"
            )
        yield from _left(len(trades))
    if found.metrics:
        yield ""
        yield f"  {'figure':<28}{'A':>18}{'B':>18}{'B less A':>18}"
        for field in found.metrics:
            by = "" if field.by is None else _told(field.by)
            yield f"  {field.field:<28}{_told(field.a):>18}{_told(field.b):>18}{by:>18}"


def _field(field: FieldDifference) -> str:
    by = "" if field.by is None else f" ({field.by:+f})"
    return f"{field.field} {_exact(field.a)} to {_exact(field.b)}{by}"


def _exact(value: Cell) -> str:
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def _told(value: Cell) -> str:
    if value is None:
        return "-"
    return f"{value:,.6g}" if isinstance(value, (Decimal, float, int)) else str(value)


def _left(count: int) -> Iterator[str]:
    if count > MOST_LINES:
        yield f"  and {count - MOST_LINES:,} more, all of them with --json"
