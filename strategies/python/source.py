"""From the text of a Python strategy to its class: what it may import and name, and nothing else.

The fence is for mistakes and for code that was not read: it keeps a strategy away from files, the network,
clocks and other code's insides as long as it does not set out to break through. It is no wall against an
attacker; see the decision record on Python strategies.
"""

from __future__ import annotations

import ast
import builtins
import hashlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Final, NoReturn

from data.errors import InvalidInput, Problem
from strategies.python.api import PythonStrategy
from strategies.python.strategy import LoadedPythonStrategy

LARGEST_SOURCE: Final = 200_000  # bytes
MODULES: Final = (
    "__future__",
    "bisect",
    "collections",
    "dataclasses",
    "datetime",
    "decimal",
    "enum",
    "functools",
    "heapq",
    "itertools",
    "math",
    "numpy",
    "operator",
    "pydantic",
    "statistics",
    "talib",
    "typing",
    "data.models",
    "data.timeframes",
    "strategies.base",
    "strategies.higher_timeframe",
    "strategies.indicators",
    "strategies.python.api",
)
_NO_BUILTINS = frozenset(
    (
        "__import__",
        "breakpoint",
        "compile",
        "delattr",
        "eval",
        "exec",
        "exit",
        "getattr",
        "globals",
        "help",
        "input",
        "locals",
        "memoryview",
        "open",
        "quit",
        "setattr",
        "vars",
    )
)
# Doors out of numpy and the standard library: files, foreign functions, clocks, unseeded randomness.
_NO_ATTRIBUTES = frozenset(
    (
        "_os",
        "_sys",
        "builtins",
        "ctypes",
        "ctypeslib",
        "DataSource",
        "distutils",
        "dump",
        "f2py",
        "fromfile",
        "fromregex",
        "genfromtxt",
        "importlib",
        "inspect",
        "io",
        "load",
        "loads",
        "loadtxt",
        "memmap",
        "modules",
        "now",
        "open_memmap",
        "os",
        "parse_file",
        "parse_raw",
        "path",
        "random",
        "save",
        "savetxt",
        "savez",
        "savez_compressed",
        "subprocess",
        "sys",
        "testing",
        "today",
        "tofile",
        "utcnow",
    )
)
_DUNDERS = frozenset(("__init__", "__name__", "__doc__", "__len__"))


def read_source(path: Path) -> str:
    """The text of a strategy file. Raises InvalidInput."""
    where = str(path)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        _refuse(where, "", "", "no such file")
    except OSError as error:
        _refuse(where, "", "", f"it cannot be read: {error.strerror}")
    if len(content) > LARGEST_SOURCE:
        _refuse(where, "", f"{len(content):,} bytes", f"a strategy file has at most {LARGEST_SOURCE:,}")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        _refuse(where, f"line {line}", "", "it must be UTF-8 text")


def read_class(source: str, where: str) -> type[PythonStrategy]:
    """Run `source` within the fence and return the one strategy class it defines.

    Running it is what this does: call it in the process that checks, or after the check has passed. Raises
    InvalidInput for what the fence forbids and for a file that does not define exactly one strategy.
    """
    tree = _parsed(source, where)
    problems = _forbidden(tree, where)
    if problems:
        raise InvalidInput(*problems)
    name = f"candlewick_strategy_{hashlib.sha256(source.encode()).hexdigest()[:16]}"
    module = ModuleType(name)
    module.__dict__["__builtins__"] = _fenced_builtins(where)
    # Pydantic resolves annotations through sys.modules.
    sys.modules[name] = module
    try:
        exec(compile(tree, where, "exec", dont_inherit=True), module.__dict__)
    except InvalidInput:
        raise
    # Whatever a person's code raises is that person's to read.
    except Exception as error:  # noqa: BLE001
        _refuse(where, _line_of(error, where), f"{type(error).__name__}: {error}", "the file must load")
    made = [
        found
        for found in vars(module).values()
        if isinstance(found, type) and issubclass(found, PythonStrategy) and found.__module__ == name
    ]
    if len(made) != 1:
        names = ", ".join(found.__name__ for found in made) or "none"
        _refuse(where, "", names, "expected exactly one class that subclasses PythonStrategy")
    return made[0]


def load_source(
    source: str,
    where: str,
    *,
    name: str,
    parameters: Mapping[str, float | str] | None = None,
    timeframe: str | None = None,
) -> LoadedPythonStrategy:
    """The strategy in `source`, run in this process: see `read_class`. Raises InvalidInput."""
    made = read_class(source, where)
    try:
        return LoadedPythonStrategy(made, source, name=name, parameters=parameters, timeframe=timeframe)
    except InvalidInput:
        raise
    except Exception as error:  # noqa: BLE001 - the person's own code, as above
        _refuse(where, _line_of(error, where), f"{type(error).__name__}: {error}", "the class must be made")


def _line_of(error: BaseException, where: str) -> str:
    """The last line of the strategy's own file that the error passed through, as "line 12"."""
    found = ""
    at = error.__traceback__
    while at is not None:
        if at.tb_frame.f_code.co_filename == where:
            found = f"line {at.tb_lineno}"
        at = at.tb_next
    return found


def _parsed(source: str, where: str) -> ast.Module:
    try:
        return ast.parse(source, where)
    except SyntaxError as error:
        _refuse(where, f"line {error.lineno}", (error.text or "").strip()[:60], f"not Python: {error.msg}")
    except (ValueError, RecursionError, MemoryError) as error:
        _refuse(where, "", "", f"not Python that can be read: {error}")


def _forbidden(tree: ast.Module, where: str) -> list[Problem]:
    found = []
    for node in ast.walk(tree):
        for value, expected in _objections(node):
            line = f"line {getattr(node, 'lineno', 0)}"
            found.append(Problem(where=where, field=line, value=value, expected=expected))
    return found


def _objections(node: ast.AST) -> Sequence[tuple[str, str]]:
    allowed = f"may import {', '.join(MODULES)}"
    match node:
        case ast.Import(names):
            return [(f"import {one.name}", allowed) for one in names if not _may_import(one.name)]
        case ast.ImportFrom(module, names, level):
            if level or module is None:
                return [("a relative import", allowed)]
            if not _may_import(module):
                return [(f"from {module}", allowed)]
            return [
                (f"from {module} import {one.name}", "reaches files, clocks or foreign code")
                for one in names
                if one.name in _NO_ATTRIBUTES or one.name == "*"
            ]
        case ast.Name(name) if name in _NO_BUILTINS or (_is_dunder(name) and name not in _DUNDERS):
            return [(name, "this name reaches files, clocks or other code's insides")]
        case ast.Attribute(_, name) if name in _NO_ATTRIBUTES or (_is_dunder(name) and name not in _DUNDERS):
            return [(f".{name}", "this attribute reaches files, clocks or other code's insides")]
    return ()


def _is_dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


def _may_import(module: str) -> bool:
    return any(module == allowed or module.startswith(f"{allowed}.") for allowed in MODULES)


def _fenced_builtins(where: str) -> dict[str, Any]:
    fenced = {name: value for name, value in vars(builtins).items() if name not in _NO_BUILTINS}

    def guarded_import(
        name: str,
        globals: Mapping[str, object] | None = None,
        locals: Mapping[str, object] | None = None,
        fromlist: Sequence[str] = (),
        level: int = 0,
    ) -> ModuleType:
        if level or not _may_import(name):
            _refuse(where, "", f"import {name}", f"may import {', '.join(MODULES)}")
        return __import__(name, globals, locals, fromlist, level)

    fenced["__import__"] = guarded_import
    return fenced


def _refuse(where: str, field: str, value: str, expected: str) -> NoReturn:
    raise InvalidInput(Problem(where=where, field=field, value=value[:200], expected=expected))
