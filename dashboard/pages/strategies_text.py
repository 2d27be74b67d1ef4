"""A strategy's JSON text: where its fields stand, and how one is changed without touching the rest."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from data.errors import InvalidInput, Problem
from strategies.loader import parse_document

WIDEST = 96  # characters of an object or list that is written on one line
_SPACE = re.compile(r"[ \t\r\n]*")
_ATOM = re.compile(r"[^\s,\]}]+")
_STRING = json.JSONDecoder()
_LINE = re.compile(r"\bline (\d+)")
_STEP = re.compile(r"\[(\d+)\]|([^.\[\]]+)")

Step = str | int


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands: the characters `[start, end)`; `from_key` is where its key begins."""

    from_key: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Marked:
    """A problem at its line of the text, counted from 1."""

    line: int
    field: str
    words: str


def steps_of(path: str) -> list[Step]:
    """ "long.entry.all[1].gt[0]" as keys and positions."""
    return [int(number) if number else key for number, key in _STEP.findall(path)]


def path_of(steps: Sequence[Step]) -> str:
    """The reverse of `steps_of`, as problems name fields."""
    path = ""
    for step in steps:
        path += f"[{step}]" if isinstance(step, int) else f".{step}" if path else step
    return path


def places_of(text: str) -> dict[str, Place]:
    """The place of every value of a JSON text, by its path; the whole document's is "". The text is valid."""
    places: dict[str, Place] = {}
    _scan(text, _skip(text, 0), "", 0, places)
    return places


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    assert found is not None  # it matches nothing as well
    return found.end()


def _scan(text: str, at: int, path: str, from_key: int, places: dict[str, Place]) -> int:
    """Note the value that begins at `at` and all within it; where it ends."""
    first, end = text[at], at
    if first == '"':
        end = _STRING.raw_decode(text, at)[1]
    elif first in "{[":
        end = _skip(text, at + 1)
        number = 0
        while text[end] not in "}]":
            begins, inside = end, f"{path}[{number}]"
            if first == "{":
                key, end = _STRING.raw_decode(text, end)
                end = _skip(text, _skip(text, end) + 1)
                inside = f"{path}.{key}" if path else key
            end = _skip(text, _scan(text, end, inside, begins, places))
            number += 1
            if text[end] == ",":
                end = _skip(text, end + 1)
        end += 1
    else:
        found = _ATOM.match(text, at)
        assert found is not None  # the text is valid
        end = found.end()
    places[path] = Place(from_key, at, end)
    return end


def marked(text: str, problems: Sequence[Problem]) -> list[Marked]:
    """Each problem at the line it is about: of its field, or of the nearest object around a missing one."""
    try:
        parse_document(text, "")
        places = places_of(text)
    except InvalidInput:
        places = {}
    found = []
    for problem in problems:
        words = f"{problem.value}: {problem.expected}" if problem.value else problem.expected
        found.append(Marked(_line_of(text, places, problem), problem.field, words))
    return sorted(found, key=lambda one: one.line)


def _line_of(text: str, places: dict[str, Place], problem: Problem) -> int:
    told = _LINE.search(problem.expected)
    if not places and told:
        return int(told[1])
    if not places and problem.field:
        at = text.rfind(f'"{problem.field}"')
        return text.count("\n", 0, max(0, at)) + 1
    steps = steps_of(problem.field)
    while steps and path_of(steps) not in places:
        steps.pop()
    place = places.get(path_of(steps))
    return 1 if place is None else text.count("\n", 0, place.from_key) + 1


def with_value(text: str, path: str, value: Any) -> str:
    """The text with the value at `path` put there; nothing else changes where it stands there already."""
    place = places_of(text).get(path)
    if place is not None and not isinstance(value, dict | list):
        return text[: place.start] + json.dumps(value, ensure_ascii=False) + text[place.end :]
    document = json.loads(text)
    steps = steps_of(path)
    if not steps:
        return written(value)
    holder = document
    for step in steps[:-1]:
        holder = holder.setdefault(step, {}) if isinstance(holder, dict) else holder[step]
    if isinstance(holder, list) and steps[-1] == len(holder):
        holder.append(value)
    else:
        holder[steps[-1]] = value
    return written(document)


def without(text: str, path: str) -> str:
    """The text without the key or the element at `path`."""
    document = json.loads(text)
    *before, last = steps_of(path)
    holder = document
    for step in before:
        holder = holder[step]
    del holder[last]
    return written(document)


def renamed(text: str, path: str, name: str) -> str:
    """The text with the key at `path` called otherwise, in its place. References to it are not followed."""
    place = places_of(text)[path]
    _, end = _STRING.raw_decode(text, place.from_key)
    return text[: place.from_key] + json.dumps(name, ensure_ascii=False) + text[end:]


def value_at(document: Any, path: str) -> Any:
    """The value at `path`, None where there is none."""
    for step in steps_of(path):
        if isinstance(document, dict) and isinstance(step, str):
            document = document.get(step)
        elif isinstance(document, list) and isinstance(step, int) and step < len(document):
            document = document[step]
        else:
            return None
    return document


def written(document: Any) -> str:
    """JSON as a person would write it: what is short on one line, two spaces a level."""
    return "".join(_lines(document, 0)) + "\n"


def _lines(value: Any, indent: int) -> Iterator[str]:
    short = json.dumps(value, ensure_ascii=False)
    if indent and (not isinstance(value, dict | list) or not value or len(short) + 2 * indent <= WIDEST):
        yield short
        return
    if not isinstance(value, dict | list) or not value:
        yield short
        return
    opening, closing = ("{", "}") if isinstance(value, dict) else ("[", "]")
    items = list(value.items()) if isinstance(value, dict) else [(None, item) for item in value]
    pad = "  " * (indent + 1)
    yield opening
    for number, (key, item) in enumerate(items):
        yield (",\n" if number else "\n") + pad
        if key is not None:
            yield json.dumps(key, ensure_ascii=False) + ": "
        # Sections of a strategy are read line by line: each of their entries has one of its own.
        if (
            indent == 0
            and isinstance(item, dict)
            and len(item) > 1
            and any(isinstance(one, dict) for one in item.values())
        ):
            yield from _section(item, indent + 1)
        else:
            yield from _lines(item, indent + 1)
    yield "\n" + "  " * indent + closing


def _section(section: dict[str, Any], indent: int) -> Iterator[str]:
    pad = "  " * (indent + 1)
    yield "{"
    for number, (key, item) in enumerate(section.items()):
        yield (",\n" if number else "\n") + pad + json.dumps(key, ensure_ascii=False) + ": "
        yield from _lines(item, indent + 1)
    yield "\n" + "  " * indent + "}"
