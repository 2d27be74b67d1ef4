"""Machine code of other sources than today's is never found."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from data.kernel_cache import KERNEL_SOURCES, PROJECT, compiled, fingerprint, kernel_folder, use_folder

# Everything that people's own compiled code may want of the linear algebra that was not loaded.
_LINEAR_ALGEBRA = """
import sys
import bots.wide_integers
print("scipy.linalg" in sys.modules, "cffi" in sys.modules)
import numba, numpy as np

@numba.njit
def solved(a, b):
    return np.linalg.solve(a, np.dot(a, b)), np.convolve(b, b)

found = solved(np.array([[2.0, 1.0], [1.0, 3.0]]), np.array([4.0, 5.0]))
import cffi, scipy.linalg
assert cffi.FFI().sizeof("int") == 4
print(*np.round(found[0], 9), *found[1], scipy.linalg.det(np.eye(2)))
"""

ROOMS = ("app", "backtesting", "bots", "dashboard", "data", "database", "strategies")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The kernels' sources in a project of their own."""
    for source in KERNEL_SOURCES:
        (tmp_path / source).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT / source, tmp_path / source)
    return tmp_path


@pytest.mark.parametrize("source", KERNEL_SOURCES)
def test_a_change_to_any_kernel_source_changes_the_fingerprint(copy: Path, source: str) -> None:
    before = fingerprint(copy)
    assert before == fingerprint(PROJECT)
    text = (copy / source).read_text()
    (copy / source).write_text(text.replace("\n", "\n\n", 1))
    assert fingerprint(copy) != before
    (copy / source).write_text(text)
    assert fingerprint(copy) == before


def test_the_folder_in_use_carries_the_fingerprint() -> None:
    folder = kernel_folder()
    assert folder is not None
    assert folder.name.endswith(f"-{fingerprint()}")


def test_a_new_folder_takes_the_place_of_older_ones_and_leaves_other_projects_alone(tmp_path: Path) -> None:
    old, other = use_folder(tmp_path, "candlewick-aaaa-1"), use_folder(tmp_path, "candlewick-bbbb-1")
    assert old is not None
    assert other is not None
    (old / "kernel.nbc").touch()
    new = use_folder(tmp_path, "candlewick-aaaa-2")
    assert new is not None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["candlewick-aaaa-2", "candlewick-bbbb-1"]


def test_where_nothing_can_be_written_there_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    assert use_folder(tmp_path / "taken", "candlewick-aaaa-1") is None


def test_a_module_that_is_not_among_the_sources_cannot_compile() -> None:
    def double(number: int) -> int:
        return 2 * number

    with pytest.raises(ValueError, match="KERNEL_SOURCES"):
        compiled(double)


def test_nothing_but_the_cache_and_what_adds_instructions_reaches_for_numba() -> None:
    reaches = re.compile(r"^\s*(from|import) numba\b", re.MULTILINE)
    paths = [path for room in ROOMS for path in (PROJECT / room).rglob("*.py")]
    found = {path.relative_to(PROJECT).as_posix() for path in paths if reaches.search(path.read_text())}
    assert found == {"data/kernel_cache.py", "data/exchanges/byte_words.py", "bots/wide_integers.py"}


def test_all_that_compiled_functions_take_from_other_modules_is_among_the_sources() -> None:
    for source in KERNEL_SOURCES:
        module = ast.parse((PROJECT / source).read_text())
        origin = {
            name.asname or name.name: f"{(node.module or '').replace('.', '/')}.py"
            for node in module.body
            if isinstance(node, ast.ImportFrom)
            for name in node.names
        }
        used = {
            name.id
            for function in module.body
            if isinstance(function, ast.FunctionDef) and function.decorator_list
            for statement in function.body
            for name in ast.walk(statement)
            if isinstance(name, ast.Name)
        }
        outside = {origin[name] for name in used & origin.keys()} - set(KERNEL_SOURCES)
        assert not {path for path in outside if (PROJECT / path).is_file()}, source


@pytest.mark.integration
def test_linear_algebra_is_not_loaded_with_the_kernels_and_is_there_for_who_wants_it() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LINEAR_ALGEBRA], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "False", "4.0", "5.0", "16.0", "40.0", "25.0", "1.0"]
