"""Reads from PostgreSQL straight into Arrow columns, without a Python object per row."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import adbc_driver_manager
import numpy as np
import pyarrow as pa

from data.files.tables import writable
from data.models import FloatArray, IntArray
from database.engine import database_errors, libpq_url

_MAX_IDLE = 4


class ArrowReader:
    """A few open connections, any thread's to use; opening one costs more than a small read.

    A connection that fails is thrown away and the read tried once more on a new one: reads are harmless to
    repeat.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._libpq_url = libpq_url(url)
        self._idle: list[Any] = []
        self._lock = threading.Lock()

    def read(self, sql: str, parameters: Sequence[Any] = ()) -> pa.Table:
        """The statement's rows; parameters stand as $1, $2. Raises TransientError, InstallationError."""
        with database_errors(self._url):
            connection = self._take()
            try:
                table = _fetch(connection, sql, parameters)
            except adbc_driver_manager.OperationalError:
                _discard(connection)
                # The others idled through the same fault.
                self.close()
                connection = self._open()
                try:
                    table = _fetch(connection, sql, parameters)
                except BaseException:
                    _discard(connection)
                    raise
            except BaseException:
                _discard(connection)
                raise
            self._give_back(connection)
            return table

    def close(self) -> None:
        """Close what idles; a later read opens anew."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            _discard(connection)

    def _take(self) -> Any:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return self._open()

    def _give_back(self, connection: Any) -> None:
        with self._lock:
            if len(self._idle) < _MAX_IDLE:
                self._idle.append(connection)
                return
        _discard(connection)

    def _open(self) -> Any:
        # Imported here: it loads much of Arrow, and many a process that may read candles never does.
        import adbc_driver_postgresql.dbapi as adbc

        # Without autocommit every read would leave its transaction open and hold back the server's vacuum.
        return adbc.connect(self._libpq_url, autocommit=True)


def floats(table: pa.Table, column: str) -> FloatArray:
    values: FloatArray = writable(table.column(column).to_numpy())
    return values


def ints(table: pa.Table, column: str) -> IntArray:
    """Whole numbers as int64; times as microseconds since the epoch."""
    values = table.column(column)
    if pa.types.is_timestamp(values.type):
        values = values.cast(pa.timestamp("us", tz="UTC")).cast(pa.int64())
    numbers: IntArray = writable(values.to_numpy().astype(np.int64, copy=False))
    return numbers


def _fetch(connection: Any, sql: str, parameters: Sequence[Any]) -> pa.Table:
    with connection.cursor() as cursor:
        cursor.execute(sql, tuple(parameters) or None)
        return cursor.fetch_arrow_table()


def _discard(connection: Any) -> None:
    try:
        connection.close()
    except adbc_driver_manager.Error:
        # It is broken already; there is nothing left to close.
        return
