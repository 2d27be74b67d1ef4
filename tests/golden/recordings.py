"""Readers of the recorded frames and replies; the folder's README says what each file holds."""

from __future__ import annotations

import csv
import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_CRYPTOFEED_RECEIVED = re.compile(rb"^\d+\.\d+: ")


def received_frames(path: Path, containing: bytes = b"") -> Iterator[bytes]:
    """The messages of a recording whose lines begin with a receive time; only those `containing` this."""
    with gzip.open(path) as lines:
        for line in lines:
            if containing in line:
                yield line.split(b" ", 1)[1].strip()


def cryptofeed_frames(path: Path) -> Iterator[bytes]:
    """The received messages of a cryptofeed recording, without what was sent and REST replies."""
    with gzip.open(path) as lines:
        for line in lines:
            if _CRYPTOFEED_RECEIVED.match(line):
                yield line.split(b": ", 1)[1].strip()


def json_body(path: Path) -> Any:
    with gzip.open(path) as file:
        return json.load(file)


def fixture_body(path: Path, name: str) -> Any:
    """The body whose source file is called `name`, of a file of JSON lines."""
    with gzip.open(path, "rt") as lines:
        for line in lines:
            row = json.loads(line)
            if row["file"].endswith(name):
                return row["body"]
    raise LookupError(name)


def csv_rows(path: Path) -> list[dict[str, str]]:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt") as file:
        return list(csv.DictReader(file))
