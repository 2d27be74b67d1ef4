"""The embedded PostgreSQL, for real: a server is started in each test's own folder."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from data.errors import InstallationError
from embedded.postgres import EmbeddedPostgres
from embedded.postgres_binaries import installed_binaries
from embedded.processes import process_is_alive, processes_in
from embedded.service_files import write_private

pytestmark = pytest.mark.integration

PROJECT = Path(__file__).resolve().parents[2]

# A parent of its own: starts the server, tells its pid and waits to be killed.
PARENT = """
import sys, time
from pathlib import Path
from embedded.postgres import EmbeddedPostgres
home = Path(sys.argv[1])
server = EmbeddedPostgres(home, log=home / "logs" / "postgres.log")
server.start()
server.create_database("desk")
sys.stdout.write(f"{server.pid}\\n")
sys.stdout.flush()
time.sleep(600)
"""


def server_in(home: Path) -> EmbeddedPostgres:
    return EmbeddedPostgres(home, log=home / "logs" / "postgres.log")


def run_sql(server: EmbeddedPostgres, statement: str, database: str = "desk") -> list[tuple[object, ...]]:
    url = server.url(database).replace("postgresql+psycopg", "postgresql")
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def wait_for(condition: Callable[[], bool], *, within_s: float) -> bool:
    give_up_at = time.monotonic() + within_s
    while time.monotonic() < give_up_at:
        if condition():
            return True
        time.sleep(0.02)
    return False


def start_parent(home: Path) -> tuple[subprocess.Popen[str], psutil.Process]:
    """A process that runs the server, and the server."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(home)], cwd=PROJECT, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    line = parent.stdout.readline()
    parent.stdout.close()
    return parent, psutil.Process(int(line))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose database was made, filled and stopped; tests take copies, which saves making it again."""
    home = tmp_path_factory.mktemp("made") / "home"
    server = server_in(home)
    server.start()
    try:
        server.create_database("desk")
        run_sql(server, "create table fills (id int primary key)")
        run_sql(server, "insert into fills select generate_series(1, 1000)")
    finally:
        server.stop()
    return home


@pytest.fixture
def server(made: Path, tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A stopped server over a copy of the filled home in `tmp_path / "home"`."""
    shutil.copytree(made, tmp_path / "home", symlinks=True)
    (tmp_path / "home" / "run" / "postgres.port").unlink()
    server = server_in(tmp_path / "home")
    yield server
    server.stop()


def test_a_new_home_gets_a_server_that_demands_its_password_and_keeps_it_private(made: Path) -> None:
    secret = made / "secrets" / "postgres"
    assert secret.stat().st_mode & 0o777 == 0o600
    assert (made / "secrets").stat().st_mode & 0o777 == 0o700
    assert len(secret.read_text().strip()) >= 32
    assert not (made / "run" / "postgres.pwfile").exists()
    assert secret.read_text().strip() not in (made / "logs" / "postgres.log").read_text()
    rules = [
        line.split()
        for line in (made / "postgres" / "pg_hba.conf").read_text().splitlines()
        if line and line[0] != "#"
    ]
    assert {rule[-1] for rule in rules} == {"scram-sha-256"}


def test_the_server_is_on_the_loopback_alone_and_durable(server: EmbeddedPostgres) -> None:
    server.start()
    assert server.running()
    settings = {
        name: run_sql(server, f"show {name}")[0][0]
        for name in (
            "listen_addresses",
            "unix_socket_directories",
            "fsync",
            "full_page_writes",
            "synchronous_commit",
            "data_checksums",
            "TimeZone",
            "max_connections",
        )
    }
    assert settings == {
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "fsync": "on",
        "full_page_writes": "on",
        "synchronous_commit": "on",
        "data_checksums": "on",
        "TimeZone": "UTC",
        "max_connections": "60",
    }
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(
            server.url("desk").replace("+psycopg", "").replace("//candlewick:", "//candlewick:not-"),
            connect_timeout=5,
        ).close()


def test_the_password_is_on_no_command_line(server: EmbeddedPostgres, tmp_path: Path) -> None:
    server.start()
    secret = (tmp_path / "home" / "secrets" / "postgres").read_text().strip()
    assert server.pid is not None
    assert secret not in " ".join(psutil.Process(server.pid).cmdline())


def test_creating_a_database_twice_is_harmless(server: EmbeddedPostgres) -> None:
    server.start()
    server.create_database('odd "name"')
    server.create_database('odd "name"')
    assert run_sql(server, "select count(*) from pg_database where datname = 'odd \"name\"'") == [(1,)]


def test_data_and_port_outlive_a_stop(server: EmbeddedPostgres, tmp_path: Path) -> None:
    server.start()
    url = server.url("desk")
    server.stop()
    assert not server.running()
    again = server_in(tmp_path / "home")
    assert again.url("desk") == url  # known before the start, from the folder
    again.start()
    try:
        assert again.url("desk") == url
        assert run_sql(again, "select count(*) from fills") == [(1000,)]
    finally:
        again.stop()


def test_a_killed_server_comes_back_on_its_port_with_every_committed_row(server: EmbeddedPostgres) -> None:
    server.start()
    url = server.url("desk")
    run_sql(server, "insert into fills values (1001)")
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    assert wait_for(lambda: not server.running(), within_s=60)  # its end may not be known to us yet
    server.start()
    assert server.url("desk") == url
    assert run_sql(server, "select count(*) from fills") == [(1001,)]


def test_the_server_ends_in_good_order_when_its_parent_is_killed(
    server: EmbeddedPostgres, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    parent, orphan = start_parent(home)
    parent.kill()
    parent.wait()
    assert wait_for(lambda: not process_is_alive(orphan), within_s=60)
    assert "fast shutdown" in (home / "logs" / "postgres.log").read_text()
    server.start()
    assert run_sql(server, "select count(*) from fills") == [(1000,)]


def test_a_start_ends_a_server_that_outlived_its_parent(server: EmbeddedPostgres, tmp_path: Path) -> None:
    home = tmp_path / "home"
    parent, orphan = start_parent(home)
    # Stopped, it cannot act on the signal of its parent's death: an orphan for the next start to find.
    orphan.suspend()
    parent.kill()
    parent.wait()
    woken = threading.Timer(1.0, orphan.resume)
    woken.start()
    server.start()
    woken.join()
    assert not process_is_alive(orphan)
    assert server.pid != orphan.pid
    assert run_sql(server, "select count(*) from fills") == [(1000,)]


def test_backends_left_by_a_killed_server_do_not_hinder_the_next(
    server: EmbeddedPostgres, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    server.start()
    url = server.url("desk").replace("+psycopg", "")
    with psycopg.connect(url, autocommit=True) as connection:
        [(backend,)] = connection.execute("select pg_backend_pid()").fetchall()
        os.kill(backend, signal.SIGSTOP)  # it cannot notice that its server dies
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        assert wait_for(lambda: server.pid is None, within_s=60)
        assert backend in [process.pid for process in processes_in(home / "postgres", ["postgres"])]
        server.start()
        assert backend not in [process.pid for process in processes_in(home / "postgres", ["postgres"])]
        assert run_sql(server, "select count(*) from fills") == [(1000,)]


def test_a_note_of_a_process_id_that_is_now_anothers_does_not_stop_the_start(
    server: EmbeddedPostgres, tmp_path: Path
) -> None:
    data = tmp_path / "home" / "postgres"
    # This test's own process stands for the stranger; the server itself would refuse to start beside it.
    (data / "postmaster.pid").write_text(f"{os.getppid()}\n{data}\n1700000000\n5432\n\n127.0.0.1\n\nready\n")
    assert not server.running()
    server.start()
    assert run_sql(server, "select count(*) from fills") == [(1000,)]
    assert psutil.pid_exists(os.getppid())


def test_a_taken_port_is_left_to_its_owner(server: EmbeddedPostgres, tmp_path: Path) -> None:
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        taken = stranger.getsockname()[1]
        write_private(tmp_path / "home" / "run" / "postgres.port", f"{taken}\n")
        server.start()
        assert f":{taken}/" not in server.url("desk")
        assert run_sql(server, "select 1") == [(1,)]


def test_a_second_candlewick_in_the_same_folder_is_told_who_has_it(
    server: EmbeddedPostgres, tmp_path: Path
) -> None:
    server.start()
    second = server_in(tmp_path / "home")
    with pytest.raises(InstallationError, match=rf"in use by another Candlewick \(process {os.getpid()}\)"):
        second.start()
    assert second.running()  # as seen from anywhere
    assert second.pid is None  # but not ours to stop
    second.stop()
    assert server.running()


def test_a_folder_of_another_major_version_is_refused_untouched(
    server: EmbeddedPostgres, tmp_path: Path
) -> None:
    version = tmp_path / "home" / "postgres" / "PG_VERSION"
    version.write_text("12\n")
    with pytest.raises(InstallationError, match=r"made by PostgreSQL 12 .* cannot open it; dump it"):
        server.start()
    assert version.read_text() == "12\n"
    assert server.pid is None


def test_a_lost_password_is_said_to_be_lost(server: EmbeddedPostgres, tmp_path: Path) -> None:
    (tmp_path / "home" / "secrets" / "postgres").unlink()
    with pytest.raises(InstallationError, match="secrets/postgres is missing; put back"):
        server.start()
    assert server.pid is None
    write_private(tmp_path / "home" / "secrets" / "postgres", "of-another-home\n")
    with pytest.raises(InstallationError, match="refuses the password in"):
        server.start()
    assert server.pid is None


def test_a_start_that_was_cut_off_while_making_the_database_begins_anew(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "postgres.new" / "base").mkdir(parents=True)
    (home / "postgres.new" / "PG_VERSION").write_text("18\n")
    server = server_in(home)
    server.start()
    try:
        assert server.running()
        assert not (home / "postgres.new").exists()
    finally:
        server.stop()


def test_a_server_that_a_passing_thread_started_outlives_that_thread(server: EmbeddedPostgres) -> None:
    thread = threading.Thread(target=server.start)
    thread.start()
    thread.join()
    time.sleep(0.3)
    assert server.running()
    assert run_sql(server, "select count(*) from fills") == [(1000,)]


def test_a_server_that_cannot_start_says_why(server: EmbeddedPostgres, tmp_path: Path) -> None:
    with (tmp_path / "home" / "postgres" / "postgresql.conf").open("a") as file:
        file.write("no_such_setting = 1\n")
    with pytest.raises(InstallationError, match=r"ended while starting: .*no_such_setting"):
        server.start()
    assert server.pid is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can hand the data folder to another user")
def test_root_falls_back_to_the_user_nobody_and_returns(
    server: EmbeddedPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    binaries = next(installed_binaries())
    probe = [sys.executable, "-c", "import os, sys; os.setuid(65534); os.stat(sys.argv[1])"]
    if (
        subprocess.run(
            [*probe, str(binaries.folder / "postgres")], check=False, capture_output=True
        ).returncode
        != 0
    ):
        pytest.skip("the server's programs lie where other users may not enter")
    for folder in (tmp_path, *tmp_path.parents[:3]):  # pytest's own folders are closed to others
        folder.chmod(0o755)
    monkeypatch.setattr("embedded.postgres._namespace", lambda: None)
    server.start()
    assert server.pid is not None
    assert psutil.Process(server.pid).username() == "nobody"
    assert run_sql(server, "select count(*) from fills") == [(1000,)]
    server.stop()
    monkeypatch.undo()
    server.start()
    assert psutil.Process(server.pid).username() == "root"
    assert run_sql(server, "select count(*) from fills") == [(1000,)]


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user needs no way around being root")
def test_root_without_any_way_is_told_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embedded.postgres._namespace", lambda: None)
    monkeypatch.setattr("embedded.postgres._nobody", lambda: None)
    with pytest.raises(
        InstallationError, match=r"does not run as root.* as an ordinary user, .* DATABASE_URL"
    ):
        server_in(tmp_path / "home").start()
    assert not (tmp_path / "home" / "postgres").exists()


@pytest.mark.skipif(shutil.which("unshare") is None, reason="another user is played in a user namespace")
@pytest.mark.parametrize("user", [65534, 1234])  # one with a name on this system, one without
def test_an_ordinary_user_runs_it_too(tmp_path: Path, user: int) -> None:
    program = (
        "import os, sys\nfrom pathlib import Path\nfrom embedded.postgres import EmbeddedPostgres\n"
        f"assert os.geteuid() == {user}\n"
        "server = EmbeddedPostgres(Path(sys.argv[1]) / 'home', log=Path(sys.argv[1]) / 'postgres.log')\n"
        "server.start(); server.create_database('desk'); server.stop(); sys.stdout.write('done')"
    )
    played = ("unshare", "--user", f"--map-user={user}", f"--map-group={user}")
    answer = subprocess.run(
        [*played, sys.executable, "-c", program, str(tmp_path)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    if "unshare:" in answer.stderr:
        pytest.skip(f"no user namespaces here: {answer.stderr.strip()}")
    assert answer.stdout == "done", answer.stderr


@pytest.mark.skipif(shutil.which("unshare") is None, reason="a read-only file system is mounted with unshare")
def test_a_read_only_home_is_named(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    program = (
        "import sys\nfrom pathlib import Path\nfrom embedded.postgres import EmbeddedPostgres\n"
        "EmbeddedPostgres(Path(sys.argv[1]) / 'desk', log=Path(sys.argv[2])).start()"
    )
    answer = subprocess.run(
        [
            *("unshare", "--user", "--map-root-user", "--mount", "sh", "-c"),
            'mount -t tmpfs -o ro none "$1" && exec "$2" -c "$3" "$1" "$4"',
            *("sh", str(home), sys.executable, program, str(tmp_path / "postgres.log")),
        ],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    if "mount:" in answer.stderr or "unshare:" in answer.stderr:
        pytest.skip(f"no user namespaces here: {answer.stderr.strip()}")
    assert f"{home / 'desk'} cannot be written (Read-only file system)" in answer.stderr
    assert "CANDLEWICK_HOME" in answer.stderr
