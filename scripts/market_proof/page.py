"""The page that tells what a run has found."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from data.timeframes import Timeframe
from scripts.market_proof.comparing import Comparison

if TYPE_CHECKING:
    from scripts.market_proof.run import Report

_HEAD = """\
# The proof of the market data

Written by `{command}` on {day} ({system}, Python {python}), in {minutes:.1f} minutes. Do not edit.

The real program ran as a person starts it: `candlewick up --demo` in a new folder, with its own PostgreSQL
and Valkey. The venue is the simulated one, which knows every trade that happened. Recorded were OKX spot and
swaps, Binance spot and Binance USD-M futures, three markets of each exchange, and a symbol that nobody trades
beside them. All is compared with the venue's truth, trade by trade, candle by candle and minute by minute:
prices, quantities, sides and times exactly, volumes of candles to 1e-9.

**{verdict}**
"""


def page_of(report: Report) -> str:
    """The report as Markdown."""
    head = _HEAD.format(
        command=report.command,
        day=f"{datetime.now(UTC):%Y-%m-%d}",
        system=platform.system(),
        python=platform.python_version(),
        minutes=report.minutes,
        verdict="Nothing differs." if report.ok else "Not proven: see the last section.",
    )
    problems = [*report.failures, *report.before.problems, *report.after.problems]
    parts = [
        head,
        "## What is stored\n",
        _stored_table(report),
        _candle_sentence(report.before),
        "## What every minute is told to be\n",
        _minutes_table(report),
        "\nBefore the comparison `candlewick data repair` ran once, as `data maintain` does every hour.\n",
        "## A thousand trades deleted behind the program's back\n",
        _verify_table(report),
        "## What was done, and how long it took to catch up\n",
        "Recovery is the time from the end of a fault until all that had happened by then was stored.\n"
        "Lost are connections that ended without another in their place.\n",
        _trials_table(report),
        "## Faults by kind\n",
        _table(("fault", "times"), sorted(report.injected.items())),
        "## What the collectors counted\n",
        _table(("counter", "sum over all lives of all processes"), [*report.counted.items()]),
        f"\nFeeds were told to be stale {report.feed_changes} times.\n",
        "## From the venue's clock to a subscriber, after the database's commit\n",
        _table(
            ("while", "trades", "median (ms)", "99th percentile (ms)", "largest (ms)"),
            [
                (name, figures[0], *(round(figure) for figure in figures[1:]))
                for name, figures in report.lags.items()
            ],
        ),
    ]
    if problems:
        parts += ["## What is not proven\n", "\n".join(f"- {problem}" for problem in problems) + "\n"]
    return "\n".join(parts)


def _stored_table(report: Report) -> str:
    rows: list[Sequence[object]] = [
        (market, report.before.trades[market], report.before.lost[market]) for market in report.before.trades
    ]
    rows.append(("all", sum(report.before.trades.values()), sum(report.before.lost.values())))
    rows.append(("differences", report.before.trade_differences, ""))
    return _table(("market", "trades compared", "told to nobody by the venue"), rows)


def _candle_sentence(comparison: Comparison) -> str:
    frames = ", ".join(
        f"{comparison.candles[timeframe.value]} of {timeframe.value}"
        for timeframe in Timeframe
        if comparison.candles[timeframe.value]
    )
    return f"\nCandles compared: {frames}. Differences: {comparison.candle_differences}.\n"


def _minutes_table(report: Report) -> str:
    states = ("complete", "repaired", "venue_down", "missing")
    rows: list[Sequence[object]] = [
        (name, *(found.minutes[state] for state in states), found.minute_differences)
        for name, found in (("before the deletion", report.before), ("after the repair", report.after))
    ]
    reasons = ", ".join(f"{name} ({count})" for name, count in sorted(report.after.reasons.items()))
    return _table(("minutes of all markets", *states, "told wrongly"), rows) + f"\nReasons: {reasons}.\n"


def _verify_table(report: Report) -> str:
    names = {
        "candles_compared": "candles that `data verify` built again from their trades",
        "findings_before": "its findings before the deletion",
        "deleted": "trades deleted at random",
        "found": "of them found by `data verify`",
        "fetched": "fetched again by `data repair`",
        "findings_after": "findings after that",
    }
    after = report.after
    rows: list[Sequence[object]] = [(names[name], value) for name, value in report.verify.items()]
    rows.append(
        (
            "trades, candles and minutes that differ from the truth after that",
            after.trade_differences + after.candle_differences + after.minute_differences,
        )
    )
    return _table(("", "count"), rows)


def _trials_table(report: Report) -> str:
    rows = [
        (outcome.name, f"{outcome.recovery_s:.1f}", outcome.gaps, outcome.closed, outcome.remark)
        for outcome in report.outcomes
    ]
    return _table(("trial", "recovery (s)", "holes found and filled", "connections lost", ""), rows)


def _table(names: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join("| " + " | ".join(str(value) for value in line) + " |" for line in lines) + "\n"
