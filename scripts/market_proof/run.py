"""`scripts/prove data`: the stored market data equals the truth of a venue on which everything goes wrong."""

from __future__ import annotations

import json
import random
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import click

from data.models import Market
from scripts.market_proof.comparing import Comparison, compare
from scripts.market_proof.desk import MARKETS, PROJECT, ProofError, running_desk, tell
from scripts.market_proof.listening import COUNTED, Listener
from scripts.market_proof.page import page_of
from scripts.market_proof.scenes import ONCE, REPEATED, SEAMLESS, SHORT
from scripts.market_proof.trials import Outcome, Stage

_PAGE = PROJECT / "docs" / "proof" / "market-data.md"
_RATE = 3.0
_DELETED = 1_000
_SEED = 20


@dataclass(slots=True)
class Report:
    """Everything a run has found."""

    command: str
    minutes: float
    outcomes: Sequence[Outcome] = ()
    injected: Mapping[str, int] = field(default_factory=dict)
    counted: Mapping[str, int] = field(default_factory=dict)
    lags: Mapping[str, tuple[int, float, float, float]] = field(default_factory=dict)
    before: Comparison = field(default_factory=Comparison)
    after: Comparison = field(default_factory=Comparison)
    verify: Mapping[str, int] = field(default_factory=dict)
    feed_changes: int = 0
    failures: Sequence[str] = ()

    @property
    def ok(self) -> bool:
        return not (self.failures or self.before.problems or self.after.problems)


@click.command("data")
@click.option(
    "--minutes",
    type=click.FloatRange(0, 10_000),
    default=0.0,
    help="Go on with trials in random order until so many minutes are over. Each is performed once at least.",
)
@click.option("--short", is_flag=True, help="A few trials alone, in less than a minute; writes no page.")
@click.option("--only", multiple=True, help="This trial alone, by its name; may be given again. No page.")
@click.option(
    "--page",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the page here, also of some trials alone.  [default: docs/proof/market-data.md]",
)
@click.option("--keep", is_flag=True, help="Leave the installation's folder where it is.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(
    minutes: float, short: bool, only: tuple[str, ...], page: Path | None, keep: bool, as_json: bool
) -> None:
    """Record all venues with the real program while everything goes wrong, and compare with the truth.

    Starts `candlewick up --demo` with PostgreSQL and Valkey of its own in a new folder, does to the venue and
    to the processes what a plan says, and compares trades, candles and the state of every minute with what
    happened. Then 1,000 random trades are deleted, found and repaired. Writes docs/proof/market-data.md. Exit
    status 1 where anything differs.
    """
    unknown = [name for name in only if name not in ONCE]
    if unknown:
        raise click.UsageError(f"no trial {unknown[0]!r}; there are: {'; '.join(ONCE)}")
    names = only or (SHORT if short else tuple(ONCE))
    home = Path(tempfile.mkdtemp(prefix="candlewick-proof-")) / "home"
    home.parent.chmod(0o755)  # a server of another user goes through it
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and everything is ended, as by Ctrl-C
    given = "scripts/prove data" + (f" --minutes {minutes:g}" if minutes else "")
    given += "".join(f" --only {shlex.quote(name)}" for name in only)
    try:
        report = prove(home, names, minutes=minutes, command_line=given)
    finally:
        if keep:
            click.echo(f"kept: {home}", err=True)
        else:
            shutil.rmtree(home.parent, ignore_errors=True)
    if page is not None or not (short or only):
        (page or _PAGE).write_text(page_of(report), encoding="utf-8")
    if as_json:
        click.echo(json.dumps(_document(report), indent=2))
    else:
        for sentence in [*report.failures, *report.before.problems, *report.after.problems]:
            click.echo(f"  {sentence}")
        click.echo("proven" if report.ok else "NOT proven")
    sys.exit(0 if report.ok else 1)


def prove(home: Path, names: Sequence[str], *, minutes: float, command_line: str) -> Report:
    """Run trials in an installation at `home`, compare, delete, repair and compare again."""
    began_s = time.monotonic()
    report = Report(command=command_line, minutes=0.0)
    with running_desk(home, rate=_RATE) as desk:
        tell("everything runs")
        listener = Listener(desk.services.redis_url)
        stage = Stage(desk, listener)
        try:
            time.sleep(3)
            for name in names:
                _perform(stage, name)
            dice = random.Random(_SEED)
            while time.monotonic() - began_s < minutes * 60:
                _perform(stage, dice.choice(list(REPEATED)))
            listener.going_on = "proof"
            stage.caught_up_s()
            _settle(stage)
            report.before = compare(desk, stage.expected)
            report.verify = _delete_and_repair(stage)
            report.after = compare(desk, stage.expected)
        except ProofError as error:
            stage.failures.append(str(error))
        finally:
            listener.close()
        report.feed_changes = len(desk.rows("SELECT 1 FROM feed_changes WHERE stale"))
    report.outcomes, report.injected = stage.outcomes, stage.injected
    report.counted = {name: listener.counted(name) for name in COUNTED}
    report.lags = {name: listener.percentiles(name) for name in ("calm", "faults")}
    report.failures = stage.failures
    report.minutes = (time.monotonic() - began_s) / 60
    return report


def _perform(stage: Stage, name: str) -> None:
    shard = SEAMLESS.get(name, "")
    closed = stage.desk.log_lines("stream_closed", shard)
    outcome = stage.perform(name, ONCE[name])
    tell(
        f"{outcome.name}: caught up {outcome.recovery_s:.1f} s later, {outcome.gaps} holes, "
        f"{outcome.closed} connections lost {outcome.remark}"
    )
    if shard and (lost := stage.desk.log_lines("stream_closed", shard) - closed):
        stage.failures.append(f"{name}: {shard} lost {lost} connections")


def _settle(stage: Stage) -> None:
    """Wait for halts that last, then have outages noted as `data maintain` does every hour."""
    ends_ms = [end_ms for _, _, end_ms in (*stage.expected.halts, *stage.expected.outages)]
    if ends_ms:
        left_s = (max(ends_ms) - int(stage.desk.state()["clock_ms"]["okx"])) / 1_000
        time.sleep(max(0.0, left_s + 5))
        _repair(stage)


def _repair(stage: Stage) -> int:
    """`data repair`; returns how many trades it fetched."""
    rows = stage.desk.candlewick("data", "repair")["markets"]
    stage.failures += [f"data repair, {row['market']}: {row['failure']}" for row in rows if row["failure"]]
    return sum(row["trades_stored"] for row in rows)


def _delete_and_repair(stage: Stage) -> dict[str, int]:
    """Delete random trades behind the ledger's back, and have them found and fetched again."""
    desk, dice = stage.desk, random.Random(_SEED)
    clean = desk.candlewick("data", "verify")
    if not clean["ok"]:
        # A candle that was in the making during a repair may have ended just now.
        time.sleep(20)
        clean = desk.candlewick("data", "verify")
    if not clean["ok"]:
        stage.failures.append("`data verify` complains before anything was deleted")
    until_s = int(desk.state()["clock_ms"]["okx"]) / 1_000 - 8
    rows = [
        (Market(exchange, symbol), trade_id)
        for exchange, symbol, trade_id in desk.rows(
            "SELECT exchange, symbol, trade_id FROM trades JOIN markets USING (market_id) "
            "WHERE traded_at < to_timestamp(%s) ORDER BY 1, 2, 3",
            until_s,
        )
    ]
    # What the venue has forgotten cannot be had again.
    there = [row for row in rows if row[0] in MARKETS and not stage.expected.forgotten(*row)]
    chosen = dice.sample(there, min(_DELETED, len(there)))
    for market in MARKETS:
        ids = [trade_id for of, trade_id in chosen if of == market]
        desk.rows(
            "DELETE FROM trades USING markets WHERE markets.market_id = trades.market_id "
            "AND exchange = %s AND symbol = %s AND trade_id = ANY(%s)",
            market.exchange,
            market.symbol,
            ids,
        )
        stage.expected.deleted[market] = set(ids)
    found = _absent_ids(desk.candlewick("data", "verify"))
    fetched = _repair(stage)
    again = desk.candlewick("data", "verify")
    wanted = {(str(market), trade_id) for market, trade_id in chosen}
    if found != wanted:
        stage.failures.append(
            f"of {len(wanted)} deleted trades {len(wanted & found)} were found, "
            f"and {len(found - wanted)} others"
        )
    if not again["ok"]:
        stage.failures.append("`data verify` complains after the repair")
    return {
        "candles_compared": sum(row["candles_compared"] for row in clean["markets"]),
        "findings_before": _findings(clean),
        "deleted": len(chosen),
        "found": len(found & wanted),
        "fetched": fetched,
        "findings_after": _findings(again),
    }


def _absent_ids(document: Any) -> set[tuple[str, int]]:
    return {
        (row["market"], trade_id)
        for row in document["markets"]
        for fault in row["id_faults"]
        if fault["kind"] == "absent"
        for trade_id in range(fault["after_id"] + 1, fault["next_id"])
    }


def _findings(document: Any) -> int:
    kinds = ("id_faults", "altered_minutes", "differences", "venue_candle_differences")
    return sum(len(row[kind]) for row in document["markets"] for kind in kinds)


def _document(report: Report) -> dict[str, Any]:
    def told(comparison: Comparison) -> dict[str, Any]:
        return {
            "trades": sum(comparison.trades.values()),
            "told_to_nobody": sum(comparison.lost.values()),
            "candles": sum(comparison.candles.values()),
            "minutes": dict(comparison.minutes),
            "trade_differences": comparison.trade_differences,
            "candle_differences": comparison.candle_differences,
            "minute_differences": comparison.minute_differences,
            "problems": comparison.problems,
        }

    return {
        "ok": report.ok,
        "failures": list(report.failures),
        "trials": [asdict(outcome) for outcome in report.outcomes],
        "before_deletion": told(report.before),
        "verify": dict(report.verify),
        "after_repair": told(report.after),
    }


if __name__ == "__main__":
    command(prog_name="scripts/prove data")
