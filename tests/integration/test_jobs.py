"""Jobs done by a real worker over a real database: finished, failed, cancelled, and killed in the middle."""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import psutil
import pytest
from redis import Redis

from app.job_kinds.transfer_in import keep_upload
from database.repositories.job_repository import JobRepository
from database.repositories.research_repository import ResearchRepository
from embedded.valkey import EmbeddedValkey
from jobs.messages import ALL_JOBS, JobUpdate
from jobs.model import JobState, JobView
from jobs.service import JobService
from tests.integration.processes import PATIENCE_S, Program, candlewick, running, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

FIRST_MS = 1_723_075_200_000  # 2024-08-08
MARKET = {"venue": "binance", "symbol": "BTC-USDT"}


@dataclass(frozen=True)
class Office:
    """An installation with candles in its store, and jobs for its workers."""

    home: Path
    environment: dict[str, str]
    jobs: JobService

    @contextmanager
    def worker(self, *arguments: str) -> Iterator[Program]:
        with running(
            "jobs", "run", *arguments, environment=self.environment, log=self.home / "jobs.log"
        ) as it:
            yield it

    @contextmanager
    def news(self) -> Iterator[Callable[[], list[JobUpdate]]]:
        """What jobs have told on the bus since the block began."""
        with ExitStack() as stack:
            client = stack.enter_context(closing(Redis.from_url(self.environment["REDIS_URL"])))
            bus = stack.enter_context(closing(client.pubsub()))  # type: ignore[no-untyped-call]
            bus.psubscribe(ALL_JOBS)

            updates: list[JobUpdate] = []

            def heard() -> list[JobUpdate]:
                while (message := bus.get_message(timeout=0.5)) is not None:
                    if message["type"] == "pmessage":
                        updates.append(msgspec.json.decode(message["data"], type=JobUpdate))
                return updates

            yield heard

    def over(self, job: JobView) -> JobView:
        return wait_for(
            f"the end of {job.title}",
            lambda: now if (now := self.jobs.job(job.id)).state.is_over else None,
        )

    def counting(self, job: JobView) -> JobView:
        """The job as soon as it runs and has done something."""

        def look() -> JobView | None:
            now = self.jobs.job(job.id)
            assert not now.state.is_over, now.error
            return now if now.progress is not None and now.progress.done > 0 else None

        return wait_for(f"progress of {job.title}", look)


@pytest.fixture(scope="module")
def office(
    tmp_path_factory: pytest.TempPathFactory,
    migrated_database: Callable[[], str],
    valkey_server: EmbeddedValkey,
) -> Iterator[Office]:
    home = tmp_path_factory.mktemp("office")
    shelf = home / "strategies"
    shelf.mkdir()
    (shelf / "wide.json").write_text(json.dumps(wide_strategy()))
    url = migrated_database()
    environment = {
        "CANDLEWICK_HOME": str(home),
        "CANDLEWICK_STRATEGIES": str(shelf),
        "DATABASE_URL": url,
        "REDIS_URL": valkey_server.url(),
    }
    with closing(JobRepository(url)) as repository:
        service = JobService(repository, clock=lambda: time.time_ns() // 1_000)
        yield Office(home=home, environment=environment, jobs=service)


def wide_strategy() -> dict[str, object]:
    """Averages that cross, over ranges so wide that a grid of them takes minutes."""
    return {
        "name": "wide",
        "timeframe": "5m",
        "parameters": {
            "fast": {"default": 10, "min": 2, "max": 600, "step": 1},
            "slow": {"default": 40, "min": 2, "max": 2000, "step": 1},
        },
        "indicators": {
            "fast": {"type": "ema", "period": {"parameter": "fast"}},
            "slow": {"type": "ema", "period": {"parameter": "slow"}},
        },
        "long": {
            "entry": {"crosses_above": ["fast", "slow"]},
            "exit": {"crosses_below": ["fast", "slow"]},
        },
        "sizing": {"type": "fraction_of_equity", "value": 1.0},
    }


def swings(rows: int) -> bytes:
    """Five-minute candles that rise and fall, so that averages cross."""
    lines = ["opened_at,open,high,low,close,volume"]
    before = 60_000.0
    for row in range(rows):
        close = round(60_000 + 1_500 * math.sin(row / 40) + 200 * math.sin(row / 7), 2)
        lines.append(
            f"{FIRST_MS + row * 300_000},{before},{max(before, close) + 25},"
            f"{min(before, close) - 25},{close},1"
        )
        before = close
    return "\n".join([*lines, ""]).encode()


def children_of(program: Program) -> list[psutil.Process]:
    return psutil.Process(program.process.pid).children(recursive=True)


def test_jobs_from_an_upload_to_a_stored_search(office: Office) -> None:
    jobs = office.jobs
    name = keep_upload(office.home, "swings.csv", swings(6_000))
    with office.worker(), office.news() as heard:
        done = office.over(jobs.start("import", {**MARKET, "file": name, "content": "candles"}, "ada"))
        assert (done.state, done.error) == (JobState.DONE, "")
        assert done.result is not None
        assert done.result.summary["candles"] == 6_000

        asked = {
            "strategy": "wide",
            "venue": "binance",
            "symbols": ["BTC-USDT"],
            "parameters": {"slow": 60},
            "allow_missing": True,
        }
        started = [
            jobs.start("backtest", asked, "ada"),
            jobs.start("backtest", {**asked, "strategy": "absent"}, "ada"),
            jobs.start("export", {**MARKET, "timeframe": "5m", "file": "candles.csv.gz"}, "ada"),
            jobs.start("proof", {"strategy": "wide"}, "ada"),
            jobs.start(
                "sweep",
                {
                    **MARKET,
                    "strategy": "wide",
                    "parameters": {"fast": "5:14:1", "slow": "20:60:2"},
                    "scheme": "anchored",
                    "folds": 3,
                    "allow_missing": True,
                },
                "ada",
            ),
        ]
        backtest, failed, export, proof, sweep = (office.over(job) for job in started)

        ended = {job.id for job in (backtest, failed, export, proof, sweep)}
        wait_for(
            "news of every end", lambda: ended <= {update.id for update in heard() if update.state.is_over}
        )
        updates = heard()

    assert backtest.state is JobState.DONE, backtest.error
    told = [update for update in updates if update.id == backtest.id]
    assert [told[0].state, told[-1].state] == [JobState.RUNNING, JobState.DONE]
    assert told[-1].result == backtest.result
    assert any(update.progress is not None and update.progress.total == 3 for update in told)
    assert backtest.result is not None
    folder = office.home / "runs" / backtest.result.reference
    assert {"report.html", "result.json", "equity.parquet"} <= {path.name for path in folder.iterdir()}
    whole = json.loads((folder / "result.json").read_bytes())
    with closing(ResearchRepository(office.environment["DATABASE_URL"])) as research:
        kept = research.run(int(backtest.result.reference))
        search = research.search(str(sweep.result.reference) if sweep.result else "")
    assert kept is not None
    assert kept.document is not None
    assert kept.metrics["total_return"] == whole["metrics"]["total_return"]
    assert len(kept.document["trades"]) == whole["metrics"]["trades"] > 0
    assert kept.document["equity"]["equity"][-1] == whole["equity"][-1]["equity"]

    assert failed.state is JobState.FAILED
    assert '"absent"; expected a strategy file, or one of wide' in failed.error

    assert export.state is JobState.DONE, export.error
    assert (office.home / "exports" / "candles.csv.gz").stat().st_size > 0

    assert proof.state is JobState.DONE, proof.error
    assert proof.result is not None
    assert proof.result.summary["status"] == "proven"

    assert sweep.state is JobState.DONE, sweep.error
    assert search is not None
    assert search.trials == 10 * 21
    assert search.result is not None
    assert len(search.result["out_of_sample"]["segments"]) == 3


def test_a_search_is_cancelled_in_the_middle_and_another_survives_its_killed_worker(office: Office) -> None:
    jobs = office.jobs
    grid = {**MARKET, "strategy": "wide", "allow_missing": True}
    long_one = jobs.start("sweep", grid, "ada")
    with office.worker("--concurrency", "1") as worker:
        office.counting(long_one)
        jobs.cancel(long_one.id, "bob")
        cancelled = office.over(long_one)
        assert (cancelled.state, cancelled.cancelled_by) == (JobState.CANCELLED, "bob")
        assert cancelled.finished_at_us is not None
        wait_for("the end of its process", lambda: not children_of(worker))

        again = jobs.retry(long_one.id)
        first = office.counting(again)
        assert first.progress is not None
        # What was tried before it was cancelled is not tried again.
        assert cancelled.progress is not None
        assert cancelled.progress.done < cancelled.progress.total
        assert first.progress.done >= cancelled.progress.done
        orphans = children_of(worker)
        assert orphans
        worker.kill()
        _, left = psutil.wait_procs(orphans, timeout=PATIENCE_S)
        assert not left

    with office.worker("--concurrency", "1") as worker:
        rescued = wait_for(
            "another worker's attempt",
            lambda: now if (now := jobs.job(again.id)).attempts == 2 else None,
        )
        assert rescued.state in (JobState.RUNNING, JobState.QUEUED)
        office.counting(again)
        for child in children_of(worker):
            if "execute" in child.cmdline():
                child.send_signal(signal.SIGKILL)
        wait_for(
            "the attempt after its process was killed",
            lambda: now if (now := jobs.job(again.id)).attempts == 3 else None,
        )
        jobs.cancel(again.id, "bob")
        assert office.over(again).state is JobState.CANCELLED


def test_a_worker_that_is_asked_to_end_hands_its_job_to_the_next(office: Office) -> None:
    jobs = office.jobs
    job = jobs.start("sweep", {**MARKET, "strategy": "wide", "allow_missing": True}, "ada")
    with office.worker() as worker:
        office.counting(job)
        assert worker.end() == 0
    waiting = jobs.job(job.id)
    assert (waiting.state, waiting.attempts, waiting.error) == (JobState.QUEUED, 0, "")
    done = candlewick(
        "jobs", "cancel", str(job.id), "--json", home=office.home, **without_home(office.environment)
    )
    assert json.loads(done.stdout)["state"] == "cancelled"


def without_home(environment: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name != "CANDLEWICK_HOME"}
