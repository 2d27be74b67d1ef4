"""What was received and is not safely stored yet, on disk: an append-only log in segment files.

A record is framed by its length and two checksums. A write that a crash tore off is known by that and left
out; bytes that are wrong in any other way are copied to `damaged/`, told of, and the records behind them are
read all the same.

A record is with the operating system when `append` returns: it outlives `kill -9`. It is on the disk, and
outlives a power cut, after `sync`.
"""

from __future__ import annotations

import fcntl
import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec
import structlog

from data.errors import InstallationError, TransientError
from data.models import Market
from data.stores import MarketBatch

log = structlog.get_logger()

_MARK = b"CWJ1"
# The mark, the payload's length, its trades, its checksum; behind them the checksum of these.
_HEADER = struct.Struct("<4sIII")
_HEADER_BYTES = _HEADER.size + 4
_CHECKSUM = struct.Struct("<I")
_STORED = struct.Struct("<QQ")
_SUFFIX = ".journal"


class JournalUnwritable(TransientError):
    """The disk takes no more, or the journal is as large as it may be."""


class JournalRecord(msgspec.Struct, frozen=True, array_like=True):
    """A batch as it waited to be stored, and the times of trades that its closed candles lack."""

    batch: MarketBatch
    late: tuple[tuple[Market, tuple[int, ...]], ...] = ()


class Position(NamedTuple):
    """A place between records."""

    segment: int
    offset: int


@dataclass(frozen=True, slots=True)
class JournalPage:
    """Records in a row, and where the next one begins."""

    records: list[JournalRecord]
    end: Position


# Rows rather than columns: msgspec writes a `Trade` in 0.17 us, gathering its columns takes 0.6 us.
_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(JournalRecord)


class Journal:
    """One process's journal, in a folder of its own. Synchronous: its writes go to memory of the system."""

    def __init__(self, folder: Path, *, segment_bytes: int = 8 * 2**20, max_bytes: int = 8 * 2**30) -> None:
        self.folder = folder
        self._segment_bytes, self._max_bytes = segment_bytes, max_bytes
        self._lock: int | None = None
        self._file: int | None = None  # open for appending
        self._end = Position(0, 0)
        self._released = Position(0, 0)
        self._sizes: dict[int, int] = {}  # bytes of each segment that is there
        self._stored_file: int | None = None
        self._unsynced = False
        self.damaged: list[str] = []  # in words, since it was opened

    @property
    def begin(self) -> Position:
        """Where the first record stands that was not released."""
        return self._released

    @property
    def end(self) -> Position:
        """Where the next record will stand."""
        return self._end

    @property
    def size(self) -> int:
        """How much disk it takes, in bytes."""
        return sum(self._sizes.values())

    def open(self) -> None:
        """Take the folder, made at first use. Raises InstallationError where that cannot be."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._stored_file = os.open(self.folder / "stored", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except BlockingIOError:
            self.close()
            raise InstallationError(
                f"the journal in {self.folder} is in use by another collector; stop that one"
            ) from None
        except OSError as error:
            self.close()
            raise InstallationError(
                f"the journal in {self.folder} cannot be opened: {error.strerror}"
            ) from error
        self._sizes = {int(path.stem): path.stat().st_size for path in self.folder.glob(f"*{_SUFFIX}")}
        stored = self._read_stored()
        first = min(self._sizes, default=0)
        self._released = max(stored, Position(first, 0))
        # What a crash left half-written stays as it is: a process appends only to segments of its own.
        newest = max(*self._sizes, stored.segment) if self._sizes else stored.segment
        self._end = Position(newest + 1, 0)
        if self._released.segment not in self._sizes:
            self._released = self._next_place(self._released)

    def close(self) -> None:
        """Let go of the folder. What waits stays for the next one."""
        for file in (self._file, self._stored_file, self._lock):
            if file is not None:
                os.close(file)
        self._file = self._stored_file = self._lock = None

    def append(self, record: JournalRecord) -> Position:
        """Write one record and return where it begins. Raises JournalUnwritable, and nothing is written."""
        payload = _ENCODER.encode(record)
        header = _HEADER.pack(_MARK, len(payload), len(record.batch.trades), zlib.crc32(payload))
        framed = b"".join((header, _CHECKSUM.pack(zlib.crc32(header)), payload))
        if self.size + len(framed) > self._max_bytes:
            raise JournalUnwritable(f"the journal in {self.folder} holds the {self._max_bytes} bytes it may")
        try:
            if self._file is None or self._end.offset >= self._segment_bytes:
                self._begin_segment()
            assert self._file is not None
            self._write(self._file, framed)
        except OSError as error:
            raise JournalUnwritable(
                f"the journal in {self.folder} cannot be written: {error.strerror}"
            ) from error
        begin = self._end
        self._end = Position(begin.segment, begin.offset + len(framed))
        self._sizes[begin.segment] = self._end.offset
        self._unsynced = True
        return begin

    def sync(self) -> None:
        """Have the disk take what was appended; may take long. Raises JournalUnwritable."""
        self.begin_sync()()

    def begin_sync(self) -> Callable[[], None]:
        """`sync` in two steps: what is returned may be called in another thread, at any time, once."""
        if self._file is None or not self._unsynced:
            return _nothing
        self._unsynced = False
        return partial(_sync, os.dup(self._file))

    def read(self, begin: Position, max_trades: int) -> JournalPage:
        """Records from `begin` on, about `max_trades` trades or all there are. Raises JournalUnwritable."""
        records: list[JournalRecord] = []
        trades = 0
        place = begin
        while trades < max_trades and place < self._end:
            record, place = self._read_one(place)
            if record is not None:
                records.append(record)
                trades += len(record.batch.trades)
        return JournalPage(records, place)

    def trades_from(self, begin: Position) -> int:
        """How many trades the records from `begin` on hold, by their headers."""
        trades = 0
        for segment in sorted(self._sizes):
            offset = begin.offset if segment == begin.segment else 0
            if segment < begin.segment:
                continue
            with self._path(segment).open("rb") as file:
                while True:
                    file.seek(offset)
                    header = _header(file.read(_HEADER_BYTES))
                    if header is None:
                        break
                    length, count, _ = header
                    trades += count
                    offset += _HEADER_BYTES + length
        return trades

    def release(self, end: Position) -> None:
        """Everything before `end` is safely stored; the disk gets it back, a segment at a time."""
        if end <= self._released:
            return
        if end == self._end and self._file is not None:
            # Nothing waits: the segment that was being written goes too, and a next one begins.
            os.close(self._file)
            self._file = None
            end = self._end = Position(end.segment + 1, 0)
        self._released = end
        assert self._stored_file is not None
        place = _STORED.pack(*end)
        try:
            # First what makes room: a full disk may refuse the note.
            for segment in [segment for segment in self._sizes if segment < end.segment]:
                self._path(segment).unlink(missing_ok=True)
                del self._sizes[segment]
            os.pwrite(self._stored_file, place + _CHECKSUM.pack(zlib.crc32(place)), 0)
        except OSError as error:
            # Nothing is lost: it would be stored once more, which is harmless.
            log.warning("journal_not_released", folder=str(self.folder), error=str(error))

    def _begin_segment(self) -> None:
        number = self._end.segment if self._file is None and not self._end.offset else self._end.segment + 1
        file = os.open(
            self._path(number), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600
        )
        if self._file is not None:
            os.close(self._file)
        self._file = file
        self._end = Position(number, 0)
        self._sizes[number] = 0

    def _write(self, file: int, framed: bytes) -> None:
        written = 0
        try:
            while written < len(framed):
                written += os.write(file, framed[written:])
        except OSError:
            # Half a record in the middle of a segment would look like damage.
            os.ftruncate(file, self._end.offset)
            raise

    def _read_stored(self) -> Position:
        assert self._stored_file is not None
        found = os.pread(self._stored_file, _STORED.size + 4, 0)
        place = found[: _STORED.size]
        if len(found) < _STORED.size + 4 or found[_STORED.size :] != _CHECKSUM.pack(zlib.crc32(place)):
            return Position(0, 0)
        return Position(*_STORED.unpack(place))

    def _read_one(self, place: Position) -> tuple[JournalRecord | None, Position]:
        size = self._sizes.get(place.segment, 0)
        if place.offset >= size:
            return None, self._next_place(place)
        try:
            with self._path(place.segment).open("rb") as file:
                file.seek(place.offset)
                found = file.read(_HEADER_BYTES)
                header = _header(found)
                if header is not None:
                    length, _, checksum = header
                    payload = file.read(length)
                    if len(payload) < length:
                        return self._torn(place, size)
                    record = _record(payload, checksum)
                    if record is not None:
                        return record, Position(place.segment, place.offset + _HEADER_BYTES + length)
                elif len(found) < _HEADER_BYTES:
                    return self._torn(place, size)
                file.seek(place.offset)
                return self._keep_damaged(place, file.read())
        except OSError as error:
            raise JournalUnwritable(
                f"the journal in {self.folder} cannot be read: {error.strerror}"
            ) from error

    def _torn(self, place: Position, size: int) -> tuple[None, Position]:
        """The end of a segment whose writer was killed in the middle of a record."""
        log.info("journal_record_torn", segment=place.segment, bytes=size - place.offset)
        return None, self._next_place(place)

    def _keep_damaged(self, place: Position, rest: bytes) -> tuple[None, Position]:
        """Put bytes aside that are no record, up to the next one in the segment or its end."""
        at = rest.find(_MARK, 1)
        while at >= 0 and not _is_record(rest, at):
            at = rest.find(_MARK, at + 1)
        damaged = rest if at < 0 else rest[:at]
        folder = self.folder / "damaged"
        folder.mkdir(exist_ok=True)
        path = folder / f"{place.segment:012d}-{place.offset}"
        path.write_bytes(damaged)
        told = f"{len(damaged)} bytes of the journal are damaged and kept in {path}"
        if told not in self.damaged:
            self.damaged.append(told)
            log.error("journal_damaged", segment=place.segment, offset=place.offset, bytes=len(damaged))
        if at < 0:
            return None, self._next_place(place)
        return None, Position(place.segment, place.offset + at)

    def _next_place(self, place: Position) -> Position:
        """Where the next segment begins, or the end."""
        later = [segment for segment in self._sizes if segment > place.segment]
        return Position(min(later), 0) if later else self._end

    def _path(self, segment: int) -> Path:
        return self.folder / f"{segment:012d}{_SUFFIX}"


def journals_in(folder: Path) -> list[Path]:
    """The folders below `folder` that hold a journal with something in it."""
    return sorted({segment.parent for segment in folder.glob(f"*/*{_SUFFIX}")})


def _nothing() -> None:
    """All is on the disk."""


def _sync(file: int) -> None:
    try:
        os.fsync(file)
    except OSError as error:
        raise JournalUnwritable(f"the journal cannot be written to the disk: {error.strerror}") from error
    finally:
        os.close(file)


def _header(found: bytes) -> tuple[int, int, int] | None:
    """Length, trades and checksum of the payload; None where no header stands."""
    if len(found) < _HEADER_BYTES or found[_HEADER.size : _HEADER_BYTES] != _CHECKSUM.pack(
        zlib.crc32(found[: _HEADER.size])
    ):
        return None
    mark, length, trades, checksum = _HEADER.unpack_from(found)
    return (length, trades, checksum) if mark == _MARK else None


def _record(payload: bytes, checksum: int) -> JournalRecord | None:
    """None for bytes that are not what was written, or that another version wrote."""
    if zlib.crc32(payload) != checksum:
        return None
    try:
        return _DECODER.decode(payload)
    except msgspec.DecodeError:
        return None


def _is_record(rest: bytes, at: int) -> bool:
    header = _header(rest[at : at + _HEADER_BYTES])
    if header is None:
        return False
    length, _, checksum = header
    payload = rest[at + _HEADER_BYTES : at + _HEADER_BYTES + length]
    # A record that a crash tore off is known by its header alone.
    return len(payload) < length or zlib.crc32(payload) == checksum
