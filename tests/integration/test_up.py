"""`candlewick up`, from the first start to the last process, as a person runs it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import psutil
import psycopg
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from app.installation import running_in
from data.collectors.collector_manager import plan_collectors
from data.collectors.settings import load_collector_settings
from embedded.postgres import EmbeddedPostgres
from tests.integration.processes import PATIENCE_S, PROJECT, Program, candlewick, free_port, running, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def command_of(process: psutil.Process) -> list[str]:
    """How the process was started; empty where it has ended."""
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return []


def family_of(program: Program) -> list[psutil.Process]:
    parent = psutil.Process(program.process.pid)
    return [parent, *parent.children(recursive=True)]


def alive(processes: list[psutil.Process]) -> list[str]:
    return [" ".join(command) for process in processes if (command := command_of(process))]


def wait_until_gone(processes: list[psutil.Process]) -> None:
    wait_for("the last process to end", lambda: not alive(processes))


class Demo:
    """A running `up --demo` and how it is asked about itself."""

    def __init__(self, program: Program, home: Path, port: int) -> None:
        self.program, self.home, self.port = program, home, port
        self.url = f"http://127.0.0.1:{port}"

    def candlewick(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return candlewick(*arguments, home=self.home)

    def wait_for_bot(self, name: str, state: str) -> None:
        """Wait until the store says that the bot is in that state."""
        services = running_in(self.home)
        assert services is not None
        with psycopg.connect(services.database_url.replace("+psycopg", ""), autocommit=True) as connection:
            asked = "SELECT 1 FROM bots WHERE name = %s AND state = %s"
            wait_for(f"{name} {state}", lambda: connection.execute(asked, (name, state)).fetchone())


def wait_until_open(program: Program, url: str) -> None:
    lines: list[str] = []
    while not (lines and lines[-1].startswith("Open ")):
        lines.append(program.line())
    assert url in lines[-1], lines


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    home = tmp_path_factory.mktemp("demo") / "home"
    port = free_port()
    environment = {"CANDLEWICK_HOME": str(home)}
    log = home.parent / "up.log"
    with running("up", "--demo", "--port", str(port), environment=environment, log=log) as program:
        demo = Demo(program, home, port)
        wait_until_open(program, demo.url)
        yield demo


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no Chromium on this machine: install the package chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, headless=True, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, demo: Demo) -> Iterator[Page]:
    """A tab that fails the test on any error it shows and on any request that leaves the machine."""
    context = browser.new_context(
        base_url=demo.url, viewport={"width": 1440, "height": 900}, timezone_id="UTC", locale="en-US"
    )
    context.set_default_timeout(PATIENCE_S * 1_000)
    page, bad = context.new_page(), list[str]()
    page.on("pageerror", lambda error: bad.append(str(error)))
    page.on("console", lambda message: bad.append(message.text) if message.type == "error" else None)
    page.on(
        "request",
        lambda request: (
            None
            if request.url.startswith((demo.url, "data:", "blob:"))
            else bad.append(f"left: {request.url}")
        ),
    )
    yield page
    context.close()
    assert not bad, bad


def price_series(page: Page) -> list[dict[str, float]]:
    """The candles the chart was given."""
    found: list[dict[str, float]] = page.evaluate("() => window.candlewick?.chart?.rows?.price ?? []")
    return found


@pytest.mark.browser
def test_the_market_page_shows_candles_that_move(demo: Demo, page: Page) -> None:
    page.goto("/market?venue=binance&symbol=BTC-USDT&tf=1m")
    # The venue's own history, besides what was recorded since the start.
    wait_for("history in the chart", lambda: len(price_series(page)) > 100)
    last = page.locator("#strip-last")
    expect(last).to_have_text(re.compile(r"[0-9]"), timeout=PATIENCE_S * 1_000)
    before = last.inner_text()
    expect(last).not_to_have_text(before, timeout=PATIENCE_S * 1_000)


@pytest.mark.browser
def test_the_bots_page_shows_a_bot_and_its_buttons_reach_it(demo: Demo, page: Page) -> None:
    page.goto("/bots?bot=trend_btc")
    expect(page.get_by_text("trend_btc").first).to_be_visible(timeout=PATIENCE_S * 1_000)
    demo.wait_for_bot("trend_btc", "running")
    page.get_by_role("button", name="Pause trend_btc").first.click()
    demo.wait_for_bot("trend_btc", "paused")
    shown = demo.candlewick("bots", "show", "trend_btc", "--json")
    assert json.loads(shown.stdout)["bot"]["state"] == "paused", shown.stderr
    page.get_by_role("button", name="Start trend_btc").first.click()
    demo.wait_for_bot("trend_btc", "running")


def test_status_names_every_process_and_both_venues(demo: Demo) -> None:
    document = json.loads(demo.candlewick("status", "--json").stdout)
    assert document["running"]
    assert document["market_data"] == "simulated"
    states = {process["name"]: process["state"] for process in document["processes"]}
    parts = ("postgres", "valkey", "simulate", "collect", "maintain", "alerts", "bots", "jobs", "web")
    plans = plan_collectors(load_collector_settings(PROJECT / "config" / "collectors.json"))
    shards = (*(plan.name for plan in plans), "bots-1-of-2", "bots-2-of-2")
    assert len(plans) >= 2
    assert states == dict.fromkeys((*parts, *shards), "running")
    assert {health["exchange"] for health in document["collectors"]} == {"binance", "okx"}


def test_a_second_start_in_the_same_folder_is_refused_in_one_sentence(demo: Demo) -> None:
    second = demo.candlewick("up", "--demo", "--port", str(free_port()))
    assert second.returncode == 2
    assert second.stderr.startswith("error: Candlewick already runs in")
    assert len(second.stderr.strip().splitlines()) == 1


def test_a_killed_collector_is_back_in_seconds(demo: Demo) -> None:
    command = ["--shard", "collector-okx"]
    victims = [process for process in family_of(demo.program) if command_of(process)[-2:] == command]
    assert len(victims) == 1
    victims[0].kill()

    def successor() -> bool:
        return any(
            command_of(process)[-2:] == command and process.pid != victims[0].pid
            for process in family_of(demo.program)
        )

    wait_for("another collector of okx", successor)


def test_ctrl_c_ends_every_process_a_second_start_finds_the_data_and_outlives_no_supervisor(
    demo: Demo,
) -> None:
    """The last of the demo's tests: it ends it."""
    with urlopen(f"{demo.url}/healthz", timeout=PATIENCE_S) as reply:
        assert reply.status == 200
    stored = wait_for("stored candles", lambda: stored_series(demo.home))
    family = family_of(demo.program)
    assert len(family) > 6
    assert demo.program.end() == 0
    wait_until_gone(family)
    assert "Traceback" not in demo.program.log.read_text()

    again = Program(
        "up", "--demo", "--port", str(demo.port), environment={"CANDLEWICK_HOME": str(demo.home)},
        log=demo.home.parent / "again.log",
    )  # fmt: skip
    try:
        wait_until_open(again, demo.url)
        assert stored_series(demo.home) >= stored
        family = family_of(again)
        if sys.platform == "linux":  # orphans are ended by the kernel's signal there
            again.kill()
    finally:
        again.end()
    wait_until_gone(family)
    assert "Traceback" not in again.log.read_text()


def stored_series(home: Path) -> int:
    """How many series of candles, of a market and a time frame, the store holds."""
    listed = candlewick("data", "markets", "--json", home=home)
    if listed.returncode != 0:
        return 0
    return sum(len(market["timeframes"]) for market in json.loads(listed.stdout)["markets"])


def test_a_taken_port_is_one_clear_sentence(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        port = taken.getsockname()[1]
        refused = candlewick("up", "--demo", "--port", str(port), home=tmp_path / "home")
    assert refused.returncode == 2
    assert f"port {port} on 127.0.0.1 is taken" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1


def test_a_folder_that_cannot_be_written_is_one_clear_sentence(tmp_path: Path) -> None:
    blocked = tmp_path / "a file"
    blocked.write_text("")
    refused = candlewick("up", "--demo", "--port", str(free_port()), home=blocked / "home")
    assert refused.returncode == 2
    assert "cannot be written" in refused.stderr
    assert "CANDLEWICK_HOME" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1


def test_a_wrong_database_password_is_one_clear_sentence_without_the_password(
    tmp_path: Path, postgres: EmbeddedPostgres
) -> None:
    right = postgres.url("postgres")
    password = right.split(":", 2)[2].split("@")[0]
    wrong = right.replace(password, "not-the-password")
    refused = candlewick(
        "up", "--demo", "--port", str(free_port()), home=tmp_path / "home", DATABASE_URL=wrong
    )
    assert refused.returncode == 2
    assert "password" in refused.stderr
    assert "not-the-password" not in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1


def test_venues_that_cannot_be_reached_are_told_in_plain_words_that_name_the_demo(tmp_path: Path) -> None:
    closed = f"127.0.0.1:{free_port()}"
    environment = {
        "CANDLEWICK_HOME": str(tmp_path / "home"),
        "OKX_REST_URL": f"http://{closed}",
        "OKX_WS_URL": f"ws://{closed}",
        "BINANCE_REST_URL": f"http://{closed}",
        "BINANCE_WS_URL": f"ws://{closed}",
    }
    arguments = ("up", "--port", str(free_port()))
    with running(*arguments, environment=environment, log=tmp_path / "up.log") as program:
        told: set[str] = set()
        while len(told) < 2:
            line = program.line()
            if "cannot be reached" in line:
                assert "--demo" in line
                told.add(line.split()[0])
        assert told == {"okx", "binance"}
        assert program.process.poll() is None  # it keeps trying
        os.kill(program.process.pid, signal.SIGTERM)
        assert program.process.wait(PATIENCE_S) == 0
