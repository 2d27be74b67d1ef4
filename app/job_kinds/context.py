"""What a job may use while it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from config.settings import Settings
from jobs.progress import ProgressTeller

RUNS = "runs"
EXPORTS = "exports"
IMPORTS = "imports"


class JobStopped(BaseException):
    """This process was told to end. Not an Exception: nothing that mends errors may take it for one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobContext:
    """One job's surroundings; `tell(done, total, message)` reports how far it is."""

    settings: Settings
    database_url: str
    tell: ProgressTeller
    now_us: Callable[[], int]

    def folder(self, name: str) -> Path:
        """A folder below CANDLEWICK_HOME, made if it is not there."""
        path = self.settings.candlewick_home / name
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path
