"""One user of a data folder at a time, by a lock that the kernel lifts when its holder ends in any way."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from data.errors import InstallationError


class FolderLock:
    """An exclusive lock on `path`, a file that holds its holder's process id for the message to others."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def acquire(self, what: str) -> None:
        """Take the lock, unless we have it. Raises InstallationError naming the process that has it."""
        if self._file is not None:
            return
        file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(file, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(file)
            raise InstallationError(
                f"{what} is in use by another Candlewick (process {holder}); "
                "stop that one, or choose another folder with CANDLEWICK_HOME"
            ) from None
        os.ftruncate(file, 0)
        os.write(file, str(os.getpid()).encode("ascii"))
        self._file = file

    def release(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
