"""Limits on the process that checks a strategy. They can be set and not taken back.

The kernel enforces time, memory and file size. The audit hook sees what goes through Python's own functions:
opened files, sockets, processes, foreign functions. Native code that calls the kernel by itself is not seen.
"""

from __future__ import annotations

import resource
import sys
import sysconfig
from pathlib import Path

import msgspec

_CODE = (".py", ".pyc", ".so", ".pyd", ".dylib")
_REFUSED = (
    "ctypes.",
    "fcntl.",
    "ftplib.",
    "http.",
    "imaplib.",
    "mmap.",
    "os.chdir",
    "os.chflags",
    "os.chmod",
    "os.chown",
    "os.exec",
    "os.fork",
    "os.kill",
    "os.link",
    "os.lockf",
    "os.mkdir",
    "os.posix_spawn",
    "os.putenv",
    "os.remove",
    "os.removexattr",
    "os.rename",
    "os.rmdir",
    "os.setxattr",
    "os.spawn",
    "os.startfile",
    "os.symlink",
    "os.system",
    "os.truncate",
    "os.unsetenv",
    "os.utime",
    "poplib.",
    "pty.",
    "shutil.",
    "signal.",
    "smtplib.",
    "socket.",
    "sqlite3.",
    "subprocess.",
    "syslog.",
    "tempfile.",
    "urllib.",
    "webbrowser.",
)


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a check may use."""

    cpu_s: int = 30
    wall_s: float = 60.0
    memory_bytes: int = 2 << 30  # address space, of which numpy's libraries take a part unused


class NotAllowed(Exception):
    """Raised inside checked code that reaches out. Not an OSError, which a `try` around it would expect."""


def confine(limits: Limits) -> list[str]:
    """Set the limits on this process, for good. Returns the list that refused events are added to."""
    resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu_s, limits.cpu_s + 1))
    resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, limits.memory_bytes))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    refused: list[str] = []
    roots = _code_folders()

    def audit(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open":
            path, mode, flags = arguments
            if _may_open(path, mode, flags, roots):
                return
            refused.append(f"open {path}")
        elif event.startswith(_REFUSED):
            refused.append(event)
        else:
            return
        raise NotAllowed(f"a strategy may not {refused[-1]}")

    sys.addaudithook(audit)
    return refused


def _code_folders() -> tuple[str, ...]:
    """Where imported code lies: Python's own, installed packages, this program."""
    paths = sysconfig.get_paths()
    found = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    found.add(str(Path(__file__).resolve().parents[2]))
    return tuple(f"{Path(path).resolve()}/" for path in found)


def _may_open(path: object, mode: object, flags: object, roots: tuple[str, ...]) -> bool:
    """Reading code, which an import inside a library may need to at any time, and nothing else."""
    if not isinstance(path, str | bytes):
        return False
    text = path.decode("utf-8", "replace") if isinstance(path, bytes) else path
    writes = isinstance(mode, str) and any(letter in mode for letter in "wax+")
    if isinstance(flags, int) and flags & 0b11:  # O_WRONLY or O_RDWR
        writes = True
    return not writes and text.endswith(_CODE) and ".." not in text and text.startswith(roots)
