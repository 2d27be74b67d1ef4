"""What an embedded service keeps beside its data: its password, its port and its log."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import tempfile
from pathlib import Path
from typing import IO

from data.errors import InstallationError

LOG_LIMIT_BYTES = 10 * 1024 * 1024
LOOPBACK = "127.0.0.1"


def prepare_home(home: Path) -> None:
    """Make `home` with its `run` and `secrets`. Raises InstallationError when it cannot be written."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        (home / "run").mkdir(exist_ok=True)
        (home / "secrets").mkdir(mode=0o700, exist_ok=True)
        with tempfile.TemporaryFile(dir=home):
            pass
    except OSError as error:
        raise InstallationError(
            f"{home} cannot be written ({error.strerror}); make it writable for this user "
            "or name another folder with CANDLEWICK_HOME"
        ) from error


def write_private(path: Path, text: str) -> None:
    """Write `text` whole or not at all, readable by its owner alone from its first byte."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")  # mkstemp gives mode 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def saved_password(path: Path) -> str | None:
    """The password in `path`, None where there is none. Raises InstallationError when it is unreadable."""
    try:
        return path.read_text(encoding="ascii").strip() or None
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise InstallationError(f"{path} cannot be read; run Candlewick as the user who owns it") from error


def new_password(path: Path) -> str:
    """Make a password and keep it in `path`. Its letters need no quoting in a URL or a configuration file."""
    password = secrets.token_urlsafe(32)
    write_private(path, password + "\n")
    return password


def port_is_free(port: int, host: str = LOOPBACK) -> bool:
    """Whether a server could listen on `port` now; lingering connections of an earlier one do not count."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        probe = socket.socket(family, socket.SOCK_STREAM)
    except OSError:
        return False  # this machine has no such addresses
    with probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # As asyncio's servers do: "::" is every address of IPv6 and none of IPv4.
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            probe.bind((host, port))
            # Linux lets two sockets bind with SO_REUSEADDR while neither listens, so listening is the proof.
            probe.listen(1)
        except OSError:
            return False
    return True


def remembered_port(path: Path) -> int | None:
    """The port noted in `path`, or None where there is no note or no number in it."""
    try:
        return int(path.read_text(encoding="ascii"))
    except (FileNotFoundError, ValueError):
        return None


def free_port(remembered: int | None) -> int:
    """The remembered port where it is free, else any free one on the loopback interface."""
    if remembered is not None and port_is_free(remembered):
        return remembered
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def open_log(path: Path) -> IO[bytes]:
    """Open a log to append to; one that has grown past the limit becomes `<name>.1` first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size > LOG_LIMIT_BYTES:
            path.replace(path.with_name(path.name + ".1"))
    return path.open("ab")


def log_tail(path: Path, *, since: int = 0, lines: int = 5) -> str:
    """The last lines written after byte `since`, on one line; empty where there is no log."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(min(since, size), size - 8192))
            text = file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
    return " | ".join([line.strip() for line in text.splitlines() if line.strip()][-lines:])
