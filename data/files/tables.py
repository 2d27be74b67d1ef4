"""CSV and Parquet files as Arrow columns, with the place of a bad cell when a person needs to know it."""

from __future__ import annotations

import contextlib
import csv
import gzip
import math
import os
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from data.errors import InvalidInput, Problem
from data.files.time_numbers import A_TIME, UnlikelyTime, microseconds_of
from data.models import BoolArray, FloatArray, IntArray
from data.timeframes import to_us

_SHOWN = 60  # characters of a bad value
_SAFE_DIGITS = 15  # a double holds any decimal of so many
_CSV_SUFFIXES = (".csv", ".csv.gz")
_JSON_SUFFIXES = (".json", ".json.gz")
_PARQUET_SUFFIXES = (".parquet", ".pq")
_SPOKEN: Mapping[tuple[str, ...], str] = {
    _CSV_SUFFIXES: "CSV",
    _PARQUET_SUFFIXES: "Parquet",
    _JSON_SUFFIXES: "JSON",
}
_UNREADABLE = (OSError, EOFError, zlib.error, pa.ArrowException, UnicodeDecodeError)


@dataclass(frozen=True, slots=True)
class SourceTable:
    """Columns of one file under the names we asked for; `spelled` has the file's own."""

    path: Path
    table: pa.Table
    spelled: Mapping[str, str]
    rows: IntArray | None = None  # the file's row of each of ours, where some were left out

    def __len__(self) -> int:
        rows: int = self.table.num_rows
        return rows

    def has(self, column: str) -> bool:
        return column in self.spelled

    def where(self, keep: BoolArray) -> SourceTable:
        """The rows for which `keep` is true."""
        return SourceTable(self.path, self.table.filter(pa.array(keep)), self.spelled, np.flatnonzero(keep))

    def floats(self, column: str) -> FloatArray:
        """Doubles, NaN where a cell is empty. Raises InvalidInput for a cell that holds no number."""
        values = self.table.column(column)
        if not pa.types.is_float64(values.type):
            try:
                values = _numbers(values)
            except pa.ArrowException as error:
                raise self._first_bad(column, _is_number, "a number") from error
        return _doubles(values)

    def exact(self, column: str) -> BoolArray:
        """Whether a double holds each cell's number: false where it would not print back as the same decimal.

        True for cells whose text is not known, as in Parquet files of doubles, and for those of no number.
        """
        found = np.ones(len(self), dtype=np.bool_)
        values = self.table.column(column)
        if pa.types.is_decimal(values.type):
            values = values.cast(pa.string())
        if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
            # A sign or an exponent only makes a text longer, so short ones are safe unseen.
            rows = np.flatnonzero(_lengths(values) > _SAFE_DIGITS)
            compute = _compute()
            digits = compute.replace_substring(values.take(pa.array(rows)), ".", "")
            digits = compute.utf8_rtrim(compute.utf8_ltrim(digits, characters="0"), characters="0")
            rows = rows[_lengths(digits) > _SAFE_DIGITS]
            found[rows] = [_prints_back(text) for text in values.take(pa.array(rows)).to_pylist()]
        return found

    def ints(self, column: str) -> IntArray:
        """Whole numbers. Raises InvalidInput naming the first cell that holds none."""
        values = self.table.column(column)
        try:
            if values.null_count:
                raise pa.ArrowInvalid("an empty cell")
            numbers: IntArray = writable(values.cast(pa.int64()).to_numpy())
        except pa.ArrowException as error:
            raise self._first_bad(column, _is_whole, "a whole number") from error
        return numbers

    def times_us(self, column: str, *, unit_us: float | None = None) -> IntArray:
        """Microseconds since the epoch. ISO 8601 text without a zone is UTC.

        A number's unit is `unit_us` microseconds, or follows from the column's size (`time_numbers`). Raises
        InvalidInput naming the first cell that holds no time.
        """
        values = self.table.column(column)
        kind = values.type
        if values.null_count:
            raise self._first_bad(column, lambda text: bool(text), A_TIME)
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            # Numbers a file keeps as text.
            with contextlib.suppress(pa.ArrowException):
                values = values.cast(pa.int64())
                kind = values.type
        if pa.types.is_date(kind):
            kind = pa.timestamp("us")
            values = values.cast(kind)
        if pa.types.is_timestamp(kind):
            return _timestamps_us(values)
        if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
            return self._counted_us(column, values, unit_us)
        if pa.types.is_dictionary(kind):
            values = values.cast(pa.string())
        elif not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            raise self._first_bad(column, lambda text: False, A_TIME)
        try:
            return np.array([_parsed_us(text) for text in values.to_pylist()], dtype=np.int64)
        except ValueError as error:
            raise self._bad_time(column) from error

    def _counted_us(self, column: str, values: pa.ChunkedArray, unit_us: float | None) -> IntArray:
        try:
            numbers = _plain_numbers(values)
            if not np.isfinite(numbers).all():
                raise self._first_bad(column, lambda text: math.isfinite(float(text)), A_TIME)
            return microseconds_of(writable(numbers), unit_us)
        except UnlikelyTime as error:
            raise InvalidInput(self.problem(error.row, column, error.expected)) from error

    def problem(self, row: int, column: str, expected: str, *, value: str | None = None) -> Problem:
        """What is wrong with one cell; `row` counts from 0."""
        line, cells = self._raw_row(row)
        name = self.spelled.get(column, column)
        if value is None:
            value = cells.get(name) if cells is not None else None
        if value is None:
            found = self.table.column(column)[row].as_py()
            value = "" if found is None else str(found)
        place = self.line(row) if line is None else f"line {line}"
        return _problem(self.path, f"{place}, column {name}", value or "empty", expected)

    def line(self, row: int) -> str:
        """Where a row stands, in words: "line 17", or "row 16" in a Parquet file."""
        line, _ = self._raw_row(row)
        return f"row {self._file_row(row) + 1}" if line is None else f"line {line}"

    def _file_row(self, row: int) -> int:
        return row if self.rows is None else int(self.rows[row])

    def _raw_row(self, row: int) -> tuple[int | None, dict[str, str] | None]:
        return _raw_row(self.path, self._file_row(row))

    def _bad_time(self, column: str) -> InvalidInput:
        """Text cells of which one at least is no ISO time: that one, or the first unlike those before it."""
        texts = ["" if value is None else str(value) for value in self.table.column(column).to_pylist()]
        for row, text in enumerate(texts):
            if not _is_number(text) and not _is_time(text):
                return InvalidInput(self.problem(row, column, A_TIME, value=text))
        numbers = [_is_number(text) for text in texts]
        row = next((row for row, number in enumerate(numbers) if number != numbers[0]), 0)
        return InvalidInput(self.problem(row, column, "times spelled alike in all rows", value=texts[row]))

    def _first_bad(self, column: str, is_good: Callable[[str], bool], expected: str) -> InvalidInput:
        for row, value in enumerate(self.table.column(column).to_pylist()):
            text = "" if value is None else str(value)
            try:
                good = is_good(text)
            except ValueError:
                good = False
            if not good:
                return InvalidInput(self.problem(row, column, expected, value=text))
        return refusal(self.path, f"column {self.spelled[column]}", "", expected)


def read_table(
    path: Path,
    names: Mapping[str, Sequence[str]],
    *,
    required: Sequence[str],
    floats: Sequence[str],
    keep_texts: bool = False,
) -> SourceTable:
    """The columns of a file under our names.

    `names` has for each of ours the spellings to look for, best first, whatever their case; `floats` are
    those of ours that hold numbers; with `keep_texts` a CSV file's stay text, so that `exact` can tell.
    Raises InvalidInput for a file that is absent, of another kind, damaged, or without a required column.
    """
    if not path.is_file():
        raise refusal(path, "", "", "an existing file")
    kind = _kind(path)
    try:
        if kind is _CSV_SUFFIXES:
            return _read_csv(path, names, required, floats, keep_texts)
        if kind is _JSON_SUFFIXES:
            return _read_json(path, names, required)
        # One file: `read_table` would load what reads folders of them, and leave the columns in pieces.
        with pa.parquet.ParquetFile(path) as file:
            spelled = _spelled(path, file.schema_arrow.names, names, required)
            table = file.read(columns=list(dict.fromkeys(spelled.values())))
    except _UNREADABLE as error:
        raise refusal(path, "", str(error), f"a whole {_SPOKEN[kind]} file") from error
    return _picked(path, table, spelled)


def write_table(path: Path, columns: Mapping[str, pa.Array]) -> None:
    """Write columns as CSV, gzipped CSV or Parquet, as the name ends; the file appears whole or not at all.

    Raises InvalidInput for another ending or a folder that cannot be written to.
    """
    table = pa.table(dict(columns))
    kind = _kind(path, writing=True)
    try:
        with _replacing(path) as temporary:
            if kind is _PARQUET_SUFFIXES:
                # Prices repeat too little for a dictionary to be worth its time.
                texts = [field.name for field in table.schema if pa.types.is_string(field.type)]
                pa.parquet.write_table(table, temporary, compression="zstd", use_dictionary=texts)
                return
            options = pa.csv.WriteOptions(quoting_style="none", quoting_header="none")
            with temporary.open("wb") as plain:
                if path.suffix.lower() != ".gz":
                    pa.csv.write_csv(table, plain, options)
                    return
                # No name and no time inside: the same candles give the same file.
                with gzip.GzipFile("", "wb", compresslevel=5, fileobj=plain, mtime=0) as zipped:
                    pa.csv.write_csv(table, zipped, options)
    except OSError as error:
        raise refusal(path, "", error.strerror or str(error), "a place that can be written to") from error


def refusal(path: Path, field: str, value: str, expected: str) -> InvalidInput:
    """What is wrong with a file as a whole, or with the part of it that `field` names."""
    return InvalidInput(_problem(path, field, value, expected))


def iso_times(times_us: IntArray) -> pa.Array:
    """ISO 8601 text in UTC: whole seconds where all are whole, else with microseconds."""
    whole = not np.any(times_us % 1_000_000)
    # Without a zone the conversion to text is seven times faster; it is UTC either way.
    values = pa.array(times_us).cast(pa.timestamp("us"))
    if whole:
        values = values.cast(pa.timestamp("s"))
    compute = _compute()
    texts = compute.utf8_replace_slice(values.cast(pa.string()), start=10, stop=11, replacement="T")
    return compute.binary_join_element_wise(texts, "Z", "")


def time_column(path: Path, times_us: IntArray) -> pa.Array:
    """Times as the kind of file wants them: text in CSV, timestamps in Parquet."""
    if _kind(path, writing=True) is _PARQUET_SUFFIXES:
        return pa.array(times_us).cast(pa.timestamp("us", tz="UTC"))
    return iso_times(times_us)


def writable(values: Any) -> Any:
    """The same array, or a copy where Arrow owns the memory: compiled kernels want arrays they may write."""
    return values if values.flags.writeable else values.copy()


def _kind(path: Path, *, writing: bool = False) -> tuple[str, ...]:
    """The suffixes of the file's kind."""
    name = path.name.lower()
    kinds = (
        (_CSV_SUFFIXES, _PARQUET_SUFFIXES) if writing else (_CSV_SUFFIXES, _PARQUET_SUFFIXES, _JSON_SUFFIXES)
    )
    for suffixes in kinds:
        if name.endswith(suffixes):
            return suffixes
    raise refusal(path, "", "", "a name that ends in .csv, .csv.gz or .parquet")


def _spelled(
    path: Path, found: Sequence[str], names: Mapping[str, Sequence[str]], required: Sequence[str]
) -> dict[str, str]:
    lowered = [name.strip().lower() for name in found]
    by_lower = dict(zip(lowered, found, strict=True))
    spelled = {}
    for ours, spellings in names.items():
        match = next((by_lower[spelling] for spelling in spellings if spelling in by_lower), None)
        if match is None:
            continue
        if lowered.count(match.strip().lower()) > 1:
            raise refusal(path, "columns", ", ".join(found), f"one column of the name {match}")
        spelled[ours] = match
    absent = [ours for ours in required if ours not in spelled]
    if absent:
        wanted = "; ".join(" or ".join(names[ours]) for ours in absent)
        raise refusal(path, "columns", ", ".join(found), f"also {wanted}")
    return spelled


def _picked(path: Path, table: pa.Table, spelled: Mapping[str, str]) -> SourceTable:
    columns = {ours: table.column(name) for ours, name in spelled.items()}
    return SourceTable(path, pa.table(columns), dict(spelled))


def _read_csv(
    path: Path,
    names: Mapping[str, Sequence[str]],
    required: Sequence[str],
    floats: Sequence[str],
    keep_texts: bool,
) -> SourceTable:
    with _open_text(path) as lines:
        header = next((row for row in csv.reader(lines) if row), None)
    if header is None:
        raise refusal(path, "", "", f"a header line with {', '.join(required)}")
    spelled = _spelled(path, header, names, required)
    kind = pa.string() if keep_texts else pa.float64()
    try:
        table = pa.csv.read_csv(
            path,
            convert_options=pa.csv.ConvertOptions(
                include_columns=list(dict.fromkeys(spelled.values())),
                column_types={spelled[ours]: kind for ours in floats if ours in spelled},
                strings_can_be_null=keep_texts,
            ),
        )
    except pa.ArrowException as error:
        problem = _first_bad_csv_cell(path, header, [spelled[ours] for ours in floats if ours in spelled])
        problem = problem or _problem(path, "", str(error), "a CSV file with a header line")
        raise InvalidInput(problem) from error
    return _picked(path, table, spelled)


def _first_bad_csv_cell(path: Path, header: Sequence[str], numbers: Sequence[str]) -> Problem | None:
    """Search line by line for what stopped the fast reader."""
    with _open_text(path) as lines:
        reader = csv.reader(lines)
        next((row for row in reader if row), None)
        for row in reader:
            place = f"line {reader.line_num}"
            if row and len(row) != len(header):
                return _problem(path, place, f"{len(row)} cells", f"{len(header)} as in the header")
            for name, cell in zip(header, row, strict=False):
                if name in numbers and cell.strip() and not _is_number(cell):
                    return _problem(path, f"{place}, column {name}", cell, "a number")
    return None


def _read_json(path: Path, names: Mapping[str, Sequence[str]], required: Sequence[str]) -> SourceTable:
    content = path.read_bytes()
    try:
        rows = orjson.loads(gzip.decompress(content) if path.suffix == ".gz" else content)
    except orjson.JSONDecodeError as error:
        raise refusal(path, f"line {error.lineno}", error.msg, "a JSON document") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise refusal(path, "", "", "a JSON list of objects")
    keys = list(dict.fromkeys(key for row in rows for key in row))
    spelled = _spelled(path, keys, names, required)
    columns = {}
    for ours, key in spelled.items():
        values = [row.get(key) for row in rows]
        try:
            columns[ours] = pa.array(values)
        except pa.ArrowException:
            columns[ours] = pa.array([None if value is None else str(value) for value in values])
    return SourceTable(path, pa.table(columns), spelled)


def _raw_row(path: Path, row: int) -> tuple[int | None, dict[str, str] | None]:
    """The line number and the cells of a CSV file's data row as they stand there; None for other kinds."""
    if _kind(path) is not _CSV_SUFFIXES:
        return None, None
    with _open_text(path) as lines:
        reader = csv.reader(lines)
        # The fast reader leaves empty lines out, too.
        filled = (cells for cells in reader if cells)
        header = next(filled)
        for number, cells in enumerate(filled):
            if number == row:
                return reader.line_num, dict(zip(header, cells, strict=False))
    return None, None


@contextlib.contextmanager
def _open_text(path: Path) -> Iterator[TextIO]:
    if path.suffix.lower() == ".gz":
        with gzip.open(path, "rt", encoding="utf-8-sig", newline="") as zipped:
            yield zipped
    else:
        with path.open("r", encoding="utf-8-sig", newline="") as plain:
            yield plain


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A file beside `path` that takes its place when the block ends well."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp keeps the file to ourselves; the result is an ordinary one.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _numbers(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """As doubles. Raises ArrowException where one is no number."""
    try:
        return values.cast(pa.float64())
    except pa.ArrowInvalid:
        if not pa.types.is_string(values.type):
            raise
        return _compute().utf8_trim_whitespace(values).cast(pa.float64())


def _doubles(values: pa.ChunkedArray) -> FloatArray:
    """A column of doubles that may be written to; copied only where Arrow has it in pieces or shares it."""
    numbers: FloatArray
    if values.num_chunks == 1 and not values.null_count:
        (chunk,) = values.chunks
        _, held = chunk.buffers()
        if held is not None and held.is_mutable:
            numbers = np.frombuffer(held, dtype=np.float64, count=len(chunk), offset=chunk.offset * 8)
            return numbers
    numbers = writable(values.to_numpy())
    return numbers


def _plain_numbers(values: pa.ChunkedArray) -> IntArray | FloatArray:
    """As 64-bit integers, or as doubles what has fractions or is larger."""
    if pa.types.is_integer(values.type):
        with contextlib.suppress(pa.ArrowInvalid):
            whole: IntArray = values.cast(pa.int64()).to_numpy()
            return whole
    doubles: FloatArray = values.cast(pa.float64(), safe=False).to_numpy()
    return doubles


def _lengths(texts: pa.ChunkedArray) -> IntArray:
    lengths: IntArray = _compute().binary_length(texts).fill_null(0).to_numpy()
    return lengths


def _compute() -> Any:
    """Arrow's functions on texts: most files are read without them, and they take a while to load."""
    import pyarrow.compute

    return pyarrow.compute


def _timestamps_us(values: pa.ChunkedArray) -> IntArray:
    """Microseconds since the epoch of timestamps of any unit; what is finer is cut off."""
    steps = [chunk.view(pa.int64()).to_numpy() for chunk in values.chunks]
    times: IntArray = np.concatenate(steps) if steps else np.empty(0, dtype=np.int64)
    unit = values.type.unit
    return times // 1_000 if unit == "ns" else times * {"s": 1_000_000, "ms": 1_000, "us": 1}[unit]


def _prints_back(text: str) -> bool:
    try:
        return Decimal(text) == Decimal(repr(float(text)))
    except (ValueError, ArithmeticError):
        return True


def _parsed_us(text: str | None) -> int:
    at = datetime.fromisoformat((text or "").strip().removesuffix(" UTC"))
    return to_us(at if at.tzinfo is not None else at.replace(tzinfo=UTC))


def _is_time(text: str) -> bool:
    try:
        _parsed_us(text)
    except ValueError:
        return False
    return True


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    # Python takes 1_000 and the digits of every script for numbers, files of numbers have neither.
    return text.isascii() and "_" not in text


def _is_whole(text: str) -> bool:
    return -(2**63) <= float(text) < 2**63 and float(text).is_integer()


def _problem(path: Path, field: str, value: str, expected: str) -> Problem:
    value = " ".join(value.split())
    if len(value) > _SHOWN:
        value = value[: _SHOWN - 3] + "..."
    return Problem(where=str(path), field=field, value=value, expected=f"expected {expected}")
