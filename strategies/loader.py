"""Strategies from files and documents."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from data.errors import InvalidInput, Problem
from data.timeframes import Timeframe
from strategies.definition_reader import read_definition
from strategies.rules import RuleStrategy

LARGEST_FILE = 1_000_000  # bytes; people write these by hand


def load_strategy(
    path: Path,
    parameters: Mapping[str, float | str] | None = None,
    timeframe: Timeframe | str | None = None,
) -> RuleStrategy:
    """The strategy in the file at `path`.

    `parameters` replace defaults and must keep their bounds and steps; `timeframe` replaces the file's own.
    Raises InvalidInput with everything that is wrong with the file or with what replaces parts of it.
    """
    return parse_strategy(read_document(path), str(path), parameters, timeframe)


def parse_strategy(
    document: object,
    where: str,
    parameters: Mapping[str, float | str] | None = None,
    timeframe: Timeframe | str | None = None,
) -> RuleStrategy:
    """The strategy that `document`, a JSON object, describes; `where` names it. Raises InvalidInput."""
    return RuleStrategy(read_definition(document, where, parameters, timeframe))


def read_document(path: Path) -> Any:
    """The JSON in the file at `path`. Raises InvalidInput naming line and column where it is no JSON."""
    where = str(path)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        _refuse(where, "", "no such file")
    except OSError as error:
        _refuse(where, "", f"it cannot be read: {error.strerror}")
    if len(content) > LARGEST_FILE:
        _refuse(where, f"{len(content):,} bytes", f"a strategy file has at most {LARGEST_FILE:,}")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        _refuse(where, "", f"line {line} is not UTF-8 text")
    return parse_document(text, where)


def parse_document(text: str, where: str) -> Any:
    """The JSON in `text`. Keys given twice and numbers that are none (NaN, Infinity) are refused."""
    try:
        return json.loads(text, object_pairs_hook=_Pairs(where), parse_constant=_Constants(where))
    except json.JSONDecodeError as error:
        lines = text.splitlines() or [""]
        found = lines[min(error.lineno, len(lines)) - 1].strip()[:60]
        _refuse(where, found, f"not JSON at line {error.lineno}, column {error.colno}: {error.msg}")
    except ValueError as error:  # a number of thousands of digits
        _refuse(where, "", f"not JSON that can be read: {error}")
    except RecursionError:
        _refuse(where, "", "not a strategy: lists and objects lie too deep in each other")


class _Pairs:
    """Makes JSON objects, and refuses one in which a key stands twice: which of the two is meant?"""

    def __init__(self, where: str) -> None:
        self._where = where

    def __call__(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                _refuse(self._where, "", f'the key "{key}" stands twice in one object; keep one', key)
            found[key] = value
        return found


class _Constants:
    """Refuses what Python's parser takes for numbers but JSON has not."""

    def __init__(self, where: str) -> None:
        self._where = where

    def __call__(self, found: str) -> NoReturn:
        _refuse(self._where, found, "JSON has no such number")


def _refuse(where: str, found: str, expected: str, field: str = "") -> NoReturn:
    raise InvalidInput(Problem(where=where, field=field, value=found, expected=expected))
