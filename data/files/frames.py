"""Files of raw frames: what a venue sent, one message a line, in the layouts that recorders leave behind.

Understood, plain or gzipped, one layout per line:
- `<receive time> <json>`: an integer in s, ms, us or ns since the epoch;
- cryptofeed's: `<url> <-> <time>` opens a connection, `<url> <- <time>: <json>` was sent by the client,
  `<url> -> <time>: <body>` answers a request, `configuration: ...` is the recorder's own, and
  `<time>: <json>` in seconds was received;
- `<json>` alone, or wrapped by a collection as `{"raw": "<json text>", ...}`: no receive time.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TextIO

import msgspec

from data.errors import InvalidInput, Problem

# A receive time's unit follows from its size: below each bound it is in that many microseconds.
_SECONDS_BELOW = 10**11
_MILLISECONDS_BELOW = 10**14
_MICROSECONDS_BELOW = 10**17

_SUFFIXES = frozenset({".log", ".jsonl", ".ndjson", ".txt"})


class Frame(NamedTuple):
    """One message as it came over the wire."""

    received_at_us: int | None  # the recorder's clock; None where the file does not say
    text: str


@dataclass(slots=True)
class FrameCounts:
    """What the lines of one or more files were; `malformed` lines are left out and counted, never fatal."""

    lines: int = 0
    frames: int = 0
    other: int = 0  # the recorder's own lines, sent messages, HTTP answers
    malformed: int = 0


class _Wrapped(msgspec.Struct):
    raw: str


_WRAPPED = msgspec.json.Decoder(_Wrapped)


def list_frame_files(path: Path) -> list[Path]:
    """The frame files at `path`, a file or a folder (searched to the bottom), in order of name.

    Raises InvalidInput where there is none.
    """
    if path.is_dir():
        files = sorted(found for found in path.rglob("*") if found.is_file() and _is_frame_file(found))
        if files:
            return files
        names = ", ".join(f"*{suffix}" for suffix in sorted(_SUFFIXES))
        raise InvalidInput(
            Problem(
                where=str(path),
                field="",
                value="",
                expected=f"a folder that holds {names} (or the same with .gz)",
            )
        )
    if not path.is_file():
        raise InvalidInput(
            Problem(where=str(path), field="", value="", expected="an existing file or folder of frames")
        )
    return [path]


def read_frames(path: Path, counts: FrameCounts | None = None) -> Iterator[Frame]:
    """Stream the received frames of one file, in file order; `counts` is kept up to date meanwhile.

    Raises InvalidInput for a file that cannot be read to its end.
    """
    counts = counts if counts is not None else FrameCounts()
    try:
        with _open_text(path) as lines:
            for line in lines:
                frame = parse_frame_line(line, counts)
                if frame is not None:
                    yield frame
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InvalidInput(
            Problem(
                where=str(path),
                field=f"line {counts.lines + 1}",
                value=str(error),
                expected="a whole gzip file",
            )
        ) from error
    except OSError as error:
        raise InvalidInput(
            Problem(where=str(path), field="", value=error.strerror or str(error), expected="a readable file")
        ) from error


def parse_frame_line(line: str, counts: FrameCounts) -> Frame | None:
    """The frame on one line, or None for a line that holds none; either way it is counted."""
    line = line.strip()
    if not line:
        return None
    counts.lines += 1
    first = line[0]
    if first in "{[":
        return _checked(None, _unwrapped(line), counts)
    if first.isdigit():
        head, _, text = line.partition(" ")
        received_at_us = _time_us(head.removesuffix(":"))
        if received_at_us is None:
            counts.malformed += 1
            return None
        return _checked(received_at_us, text.lstrip(), counts)
    if line.startswith(("ws://", "wss://", "http://", "https://", "configuration:")):
        counts.other += 1
    else:
        counts.malformed += 1
    return None


def _checked(received_at_us: int | None, text: str, counts: FrameCounts) -> Frame | None:
    # A line cut short by a crash lacks its end; whether the rest parses is for the venue's adapter to say.
    if len(text) < 2 or (text[0], text[-1]) not in (("{", "}"), ("[", "]")):
        counts.malformed += 1
        return None
    counts.frames += 1
    return Frame(received_at_us, text)


def _unwrapped(line: str) -> str:
    if '"raw"' not in line:
        return line
    try:
        return _WRAPPED.decode(line).raw.strip()
    except msgspec.DecodeError:
        return line


def _time_us(text: str) -> int | None:
    whole, _, fraction = text.partition(".")
    if not (whole.isascii() and whole.isdigit()):
        return None
    value = int(whole)
    if fraction:
        if not (fraction.isascii() and fraction.isdigit()) or value >= _SECONDS_BELOW:
            return None
        return value * 1_000_000 + int(fraction[:6].ljust(6, "0"))
    if value < _SECONDS_BELOW:
        return value * 1_000_000
    if value < _MILLISECONDS_BELOW:
        return value * 1_000
    return value if value < _MICROSECONDS_BELOW else value // 1_000


def _is_frame_file(path: Path) -> bool:
    if path.name.startswith("."):
        return False
    plain = path.with_suffix("") if path.suffix == ".gz" else path
    return plain.suffix in _SUFFIXES


def _open_text(path: Path) -> TextIO:
    # A venue's frames are UTF-8; a byte that is not must not end the reading of all that follows.
    with path.open("rb") as start:
        zipped = start.read(2) == b"\x1f\x8b"
    if zipped:
        return gzip.open(path, "rt", encoding="utf-8", errors="replace")
    return path.open("r", encoding="utf-8", errors="replace")
