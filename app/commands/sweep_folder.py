"""A search's folder: what was asked, every trial, and the result."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from backtesting.manifest import Source
from backtesting.search.result import SearchResult
from backtesting.search.spec import SearchSpec, TrialRow
from backtesting.search.trials import FIGURES
from data.errors import InvalidInput, Problem

REQUEST_FILE = "search.json"
TRIALS_FILE = "trials.jsonl"


class StoredSearch(msgspec.Struct, frozen=True, kw_only=True):
    """A search as it is asked for again."""

    search: str
    source: Source
    spec: SearchSpec


class SearchFolder:
    """Keeps the trials of one search as lines of JSON; satisfies `backtesting.search.spec.TrialLog`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._encoder = msgspec.json.Encoder()

    def begin(self, stored: StoredSearch) -> None:
        """Make the folder this search's. Raises InvalidInput where it is another's or cannot be written."""
        kept = None
        if (self._folder / REQUEST_FILE).exists():
            kept = read_stored(self._folder)
        if kept is not None and kept.search != stored.search:
            expected = f"it holds the search {kept.search}, and this is {stored.search}: give another folder"
            raise _wrong(self._folder, expected)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._replace(REQUEST_FILE, msgspec.json.encode(stored))
            with (self._folder / TRIALS_FILE).open("ab"):
                pass
        except OSError as error:
            raise _wrong(self._folder, f"give a folder that can be written: {error.strerror}") from error

    def read(self) -> Iterable[TrialRow]:
        """The trials kept so far. A line that was cut off by a crash is left out and run again."""
        decoder = msgspec.json.Decoder(TrialRow)
        path = self._folder / TRIALS_FILE
        if not path.exists():
            return
        content = path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.truncate(path, whole)
        for number, line in enumerate(content[:whole].splitlines(), 1):
            try:
                yield decoder.decode(line)
            except msgspec.DecodeError as error:
                expected = f"line {number} is no trial ({error}): remove the line, it will be run again"
                raise _wrong(path, expected) from error

    def add(self, rows: Sequence[TrialRow]) -> None:
        """Append trials."""
        lines = b"".join(self._encoder.encode(row) + b"\n" for row in rows)
        with (self._folder / TRIALS_FILE).open("ab") as file:
            file.write(lines)

    def finish(self, stored: StoredSearch, result: SearchResult, document: bytes) -> tuple[str, ...]:
        """Write the result and a table of all trials; the names of the files."""
        names = [axis.name for axis in stored.spec.axes]
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([*names, *FIGURES, "refusal"])
        for row in sorted(self.read(), key=lambda row: row.point):
            figures = row.figures[0] if row.figures else [None] * len(FIGURES)
            writer.writerow([*row.values, *figures, row.refusal])
        self._replace("trials.csv", text.getvalue().encode())
        self._replace("result.json", document)
        return REQUEST_FILE, TRIALS_FILE, "trials.csv", "result.json"

    def _replace(self, name: str, content: bytes) -> None:
        part = self._folder / f".{name}.part"
        part.write_bytes(content)
        part.replace(self._folder / name)


def read_stored(folder: Path) -> StoredSearch:
    """What the search in `folder` was asked. Raises InvalidInput."""
    path = folder / REQUEST_FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=StoredSearch)
    except OSError as error:
        raise _wrong(path, f"give the folder of an earlier sweep: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _wrong(path, f"it is no search that can be read: {error}") from error


def _wrong(path: Path, expected: str) -> InvalidInput:
    return InvalidInput(Problem(where=str(path), field="", value="", expected=expected))
