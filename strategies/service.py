"""What people do with saved strategies, on the command line and the page alike."""

from __future__ import annotations

import difflib
import itertools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from data.errors import InvalidInput, Problem
from data.timeframes import Timeframe
from strategies.base import Strategy
from strategies.loader import parse_document, parse_strategy, read_document
from strategies.lookahead import LEAST_CANDLES, candles_to_try, prove_streamed
from strategies.python.check import CheckReport, CheckRequest
from strategies.python.checker import PythonStrategyFactory, problems_of
from strategies.python.source import read_source
from strategies.versions import (
    Badge,
    ProofStatus,
    StrategyKind,
    StrategyStore,
    StrategySummary,
    StrategyVersion,
)

_LONGEST_NAME = 100
_SHORTEST_HASH = 6  # letters of a hash that may stand for all of it
_PROOF_S = 10.0


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One place in which two versions differ; None where one of them has nothing there."""

    path: str  # "long.entry.all[1].gt[0]"; of Python sources "line 12", in the newer one
    before: Any
    after: Any


class StrategyService:
    """Saved strategies for people. Synchronous: a page calls it in a thread.

    A method that takes a name raises InvalidInput for an unknown one, naming the known; every method raises
    TransientError while the database cannot answer.
    """

    def __init__(
        self,
        store: StrategyStore,
        python: PythonStrategyFactory,
        *,
        clock: Callable[[], int],
        stopwatch: Callable[[], float],
        proof_candles: int = LEAST_CANDLES,
    ) -> None:
        """`clock` gives now in microseconds, `stopwatch` the seconds that proofs are measured by.

        A strategy that is saved is proven on `proof_candles`, or on more where it needs more to get warm.
        """
        self._store = store
        self._python = python
        self._clock = clock
        self._stopwatch = stopwatch
        self._proof_candles = proof_candles

    def save_file(self, path: Path, *, who: str, why: str = "") -> StrategyVersion:
        """Save the strategy in a `.json` or `.py` file; see `save`. Python is named like its file."""
        if path.suffix == ".py":
            return self.save(
                path.stem, read_source(path), StrategyKind.PYTHON, who=who, why=why, where=str(path)
            )
        document = read_document(path)
        strategy = parse_strategy(document, str(path))
        content = json.dumps(document, indent=2, ensure_ascii=False)
        return self.save(strategy.name, content, StrategyKind.JSON, who=who, why=why, where=str(path))

    def save(
        self, name: str, content: str, kind: StrategyKind, *, who: str, why: str = "", where: str = ""
    ) -> StrategyVersion:
        """Check and prove `content` and add it to the versions of `name`.

        A refuted strategy is saved as well, with its badge: JSON can be read and mended. Refuted or refused
        Python is not. Saving what decides the same as a saved version brings that one back to the front.
        Raises InvalidInput with everything that is wrong; then nothing is saved.
        """
        where = where or f"strategy {name}"
        _check_name(name, where)
        if kind is StrategyKind.PYTHON:
            report = self._checked(content, where, name)
            assert report.badge is not None
            version, badge = report.version, report.badge
        else:
            strategy = parse_strategy(parse_document(content, where), where)
            if strategy.name != name:
                raise _invalid(where, "name", f'"{strategy.name}"', f'expected "{name}"')
            version, badge = strategy.version, self.prove(strategy)
        return self._store.save(
            StrategyVersion(
                name=name,
                version=version,
                number=0,  # the store counts
                kind=kind,
                content=content,
                saved_at_us=self._clock(),
                who=who,
                why=why,
                badge=badge,
            )
        )

    def prove(self, strategy: Strategy) -> Badge:
        """The look-ahead proof of a strategy of rules, on generated candles of its time frame."""
        tried = candles_to_try(strategy, self._proof_candles)
        return prove_streamed(strategy, tried, clock=self._stopwatch, budget_s=_PROOF_S)

    def list_strategies(self, *, archived: bool = False) -> list[StrategySummary]:
        """Every strategy in order of name, without the archived ones unless `archived`."""
        return list(self._store.summaries(archived=archived))

    def history(self, name: str) -> list[StrategyVersion]:
        """Every version of a strategy, the one in front first. Also of an archived one."""
        found = list(self._store.history(name))
        if not found:
            raise self._unknown(name)
        return found

    def show(self, reference: str) -> StrategyVersion:
        """The version that `reference` means.

        "trend" is the one in front, "trend@2" the second saved, "trend@4be1c0" the one whose hash begins so.
        """
        name, at, which = reference.rpartition("@")
        if not at:
            return self.history(reference)[0]
        history = self.history(name)
        if which.isdecimal() and len(which) < _SHORTEST_HASH:
            found = [one for one in history if one.number == int(which)]
        else:
            found = [one for one in history if len(which) >= _SHORTEST_HASH and one.version.startswith(which)]
        if len(found) != 1:
            known = ", ".join(f"{one.number} ({one.version[:12]})" for one in reversed(history))
            raise _invalid("strategy", "", f'"{reference}"', f"versions of {name} are {known}")
        return found[0]

    def load(
        self,
        reference: str,
        parameters: Mapping[str, float | str] | None = None,
        timeframe: Timeframe | str | None = None,
    ) -> Strategy:
        """The strategy of a saved version, ready to run. Raises InvalidInput for refused Python."""
        found = self.show(reference)
        if found.kind is StrategyKind.PYTHON:
            return self._python.load_text(found.content, reference, found.name, parameters, timeframe)
        return parse_strategy(parse_document(found.content, reference), reference, parameters, timeframe)

    def clone(self, reference: str, to: str, *, who: str, why: str = "") -> StrategyVersion:
        """Save a version under a new name, as the first of a strategy of its own."""
        found = self.show(reference)
        self._check_free(to)
        return self.save(to, _named(found, to), found.kind, who=who, why=why or f"cloned from {reference}")

    def rename(self, name: str, to: str, *, who: str, why: str = "") -> StrategyVersion:
        """Call a strategy otherwise. Its versions go along; JSON gets a new one, which holds the new name."""
        newest = self.history(name)[0]
        self._check_free(to)
        if not self._store.rename(name, to):
            raise _invalid("strategy", "name", f'"{to}"', "is taken by another strategy; choose another name")
        why = why or f"renamed from {name}"
        return self.save(to, _named(newest, to), newest.kind, who=who, why=why)

    def diff(self, before: str, after: str) -> list[Difference]:
        """What changed from one version to another, path by path; empty where nothing did."""
        one, other = self.show(before), self.show(after)
        if one.kind is not other.kind:
            raise _invalid("strategy", "", f"{before}, {after}", "one is JSON, the other Python")
        if one.kind is StrategyKind.PYTHON:
            return _line_differences(one.content, other.content)
        return list(json_differences(json.loads(one.content), json.loads(other.content)))

    def delete(self, name: str) -> None:
        """Archive a strategy: it leaves the lists, its versions stay. Saving brings it back."""
        self.history(name)
        if not self._store.archive(name, self._clock()):
            raise _invalid("strategy", "", f'"{name}"', "is archived already")

    def _checked(self, source: str, where: str, name: str) -> CheckReport:
        report = self._python.verdict(
            CheckRequest(source=source, where=where, name=name, proof_candles=self._proof_candles)
        )
        if not report.passed:
            raise InvalidInput(*problems_of(report, where))
        return report

    def _check_free(self, name: str) -> None:
        _check_name(name, "strategy")
        if self._store.history(name):
            raise _invalid(
                "strategy", "name", f'"{name}"', "is taken by another strategy; choose another name"
            )

    def _unknown(self, name: str) -> InvalidInput:
        names = [one.name for one in self._store.summaries(archived=True)]
        near = difflib.get_close_matches(name, names, n=1)
        known = f"saved strategies are {', '.join(names)}" if names else "no strategy is saved yet"
        return _invalid(
            "strategy", "", f'unknown: "{name}"', f"did you mean {near[0]}? {known}" if near else known
        )


def json_differences(before: Any, after: Any, path: str = "") -> list[Difference]:
    """Where two JSON values differ, in the order of the first, then what only the second has."""
    if isinstance(before, dict) and isinstance(after, dict):
        keys = [*before, *(key for key in after if key not in before)]
        parts = [(f"{path}.{key}" if path else key, before.get(key), after.get(key)) for key in keys]
    elif isinstance(before, list) and isinstance(after, list):
        pairs = itertools.zip_longest(before, after)
        parts = [(f"{path}[{at}]", one, other) for at, (one, other) in enumerate(pairs)]
    elif before == after and isinstance(before, bool) is isinstance(after, bool):
        return []
    else:
        return [Difference(path=path, before=before, after=after)]
    return [one for part in parts for one in json_differences(part[1], part[2], part[0])]


def badge_text(badge: Badge) -> str:
    """A badge in one line, for a list."""
    return badge.status if badge.status is ProofStatus.PROVEN else f"{badge.status}: {badge.words}"


def _line_differences(before: str, after: str) -> list[Difference]:
    old, new = before.splitlines(), after.splitlines()
    found = []
    for what, i, j, k, m in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if what != "equal":
            found.append(
                Difference(
                    path=f"line {k + 1}",
                    before="\n".join(old[i:j]) if j > i else None,
                    after="\n".join(new[k:m]) if m > k else None,
                )
            )
    return found


def _named(version: StrategyVersion, name: str) -> str:
    """The content under another name: JSON says its name itself, Python does not."""
    if version.kind is StrategyKind.PYTHON:
        return version.content
    return json.dumps({**json.loads(version.content), "name": name}, indent=2, ensure_ascii=False)


def _check_name(name: str, where: str) -> None:
    if not 1 <= len(name) <= _LONGEST_NAME or not name.isprintable() or "@" in name or name != name.strip():
        expected = f"a name has 1 to {_LONGEST_NAME} characters, no @, and no space at either end"
        raise _invalid(where, "name", f'"{name[:60]}"', expected)


def _invalid(where: str, field: str, value: str, expected: str) -> InvalidInput:
    return InvalidInput(Problem(where=where, field=field, value=value, expected=expected))
