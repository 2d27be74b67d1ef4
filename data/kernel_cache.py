"""Where machine code is kept, so that no run ever executes what was compiled from other sources.

Numba's cache looks only at the file that defines a function, not at the functions and constants it takes
from other files, and those are compiled into it. So the folder it may use carries a fingerprint of every
source that any kernel is made of and of the compiler: after a change there is nothing to find in it.
`compiled` is the only way into numba, and the folder is chosen before the first function is compiled.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])

PROJECT: Final = Path(__file__).resolve().parent.parent
# Every module that defines compiled functions or constants they read.
KERNEL_SOURCES: Final = (
    "backtesting/equity_json.py",
    "backtesting/search/bitmaps.py",
    "backtesting/search/kernel.py",
    "backtesting/search/samples.py",
    "bots/fill_events.py",
    "bots/fill_levels.py",
    "bots/fill_records.py",
    "bots/fills.py",
    "bots/portfolio_fills.py",
    "bots/wide_integers.py",
    "data/exchanges/byte_words.py",
    "data/exchanges/trade_frames.py",
    "data/kernel_cache.py",
    "strategies/base.py",
    "strategies/ordering.py",
)
_WARM: Final = "warm"  # a file that says that all kernels lie in the folder


def fingerprint(project: Path = PROJECT) -> str:
    """What the sources below `project` and the compiler's version come to, as 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for package in ("numba", "llvmlite"):
        digest.update(f"{package} {version(package)}\n".encode())
    for source in KERNEL_SOURCES:
        content = (project / source).read_bytes()
        digest.update(f"{source} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()[:16]


def _stamps() -> list[tuple[int, int]]:
    found = ((PROJECT / source).stat() for source in KERNEL_SOURCES)
    return [(status.st_mtime_ns, status.st_size) for status in found]


# Taken when this module is loaded, which is before any kernel's source is: what is loaded later from a file
# that has changed since is compiled, but not kept.
_STAMPS: Final = _stamps()
_FINGERPRINT: Final = fingerprint()


def use_folder(base: Path, name: str) -> Path | None:
    """The folder `base/name`, made where it is missing, its older siblings removed; None if that fails."""
    folder = base / name
    try:
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            stem = name.rpartition("-")[0]
            for sibling in base.iterdir():
                if sibling != folder and sibling.name.rpartition("-")[0] == stem:
                    shutil.rmtree(sibling, ignore_errors=True)
    except OSError:
        return None
    return folder


@cache
def kernel_folder() -> Path | None:
    """Where this process keeps machine code, None where nothing can be written.

    In `NUMBA_CACHE_DIR` if that is set, else among the project's byte code, else in the user's cache folder.
    """
    import numba
    from numba.misc.appdirs import AppDirs

    # Other copies of the project may share the folder: each removes only what it left there itself.
    given: str = numba.config.CACHE_DIR  # type: ignore[attr-defined]  # made by numba as it loads
    name = f"candlewick-{hashlib.sha256(bytes(PROJECT)).hexdigest()[:8]}-{_FINGERPRINT}"
    users = Path(AppDirs("candlewick", appauthor=False).user_cache_dir)  # type: ignore[no-untyped-call]  # numba has none
    for base in [Path(given)] if given else [PROJECT / "data" / "__pycache__", users]:
        folder = use_folder(base, name)
        if folder is not None:
            return folder
    return None


@cache
def _is_unchanged(module: str) -> bool:
    """Whether the sources are still those of the fingerprint; asked once for each module of kernels."""
    if f"{module.replace('.', '/')}.py" not in KERNEL_SOURCES:
        raise ValueError(f"{module} compiles functions and must stand in KERNEL_SOURCES")
    return _stamps() == _STAMPS


@cache
def _compiler() -> Any:
    """Numba, loaded without scipy's linear algebra and without cffi: 0.3 seconds at each start.

    Of the first numba only asks whether it is there, and loads it again for compiled code that uses it; calls
    into the second's libraries, which it can do without, no kernel of ours makes.
    """
    import numba

    with _not_to_be_had("scipy.linalg") as hidden:
        from numba.np import arraymath
    if hidden:
        arraymath._HAVE_BLAS = True  # what it would have found
    with _not_to_be_had("cffi"):
        import numba.core.typing.cffi_utils
    return numba


@contextmanager
def _not_to_be_had(module: str) -> Iterator[bool]:
    """Let whoever imports `module` in here find that it is not installed; whether it could be arranged."""
    # Another thread could be about to load it for itself.
    hidden = module not in sys.modules and threading.active_count() == 1
    if hidden:
        sys.modules[module] = None  # type: ignore[assignment]  # not to be had
    try:
        yield hidden
    finally:
        if hidden:
            del sys.modules[module]


def compiled(function: F, *, unlocked: bool = False) -> F:
    """The function compiled by numba, its code kept; `unlocked` ones run without the interpreter's lock."""
    numba = _compiler()
    settings = numba.config
    keeps = _is_unchanged(function.__module__) and kernel_folder() is not None
    outer = settings.CACHE_DIR
    try:
        # Read when a function is declared; put back, for there may be other users of numba.
        settings.CACHE_DIR = str(kernel_folder() or "")
        return cast(F, numba.njit(cache=keeps, nogil=unlocked)(function))
    finally:
        settings.CACHE_DIR = outer


def is_warm() -> bool:
    """Whether every kernel of these sources has been compiled and kept."""
    folder = kernel_folder()
    return folder is not None and (folder / _WARM).is_file()


def mark_warm() -> None:
    """Say that every kernel has been compiled and kept, unless sources have changed meanwhile."""
    folder = kernel_folder()
    if folder is not None and _stamps() == _STAMPS:
        (folder / _WARM).touch()
