"""The database server itself: how large its tables are and what takes it long; blocking."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from database.engine import database_errors, sync_engine

_LARGEST = 30
_SLOWEST = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerRow:
    """Version, size and connections."""

    version: str
    timescaledb: str  # empty where the extension is not there
    bytes: int
    connections: int
    most_connections: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRow:
    """A table with its indexes and chunks; `rows` as the server estimates."""

    name: str
    bytes: int
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementRow:
    """A statement and its time in milliseconds; `calls` is None for one that runs just now."""

    text: str
    calls: int | None
    mean_ms: float
    total_ms: float


class ServerRepository:
    """Raises TransientError while the database is away."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._engine = sync_engine(url)

    def close(self) -> None:
        self._engine.dispose()

    def server(self) -> ServerRow:
        with database_errors(self._url), self._engine.connect() as connection:
            row = connection.exec_driver_sql(
                """
                SELECT current_setting('server_version') AS version,
                    coalesce((SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'), '')
                        AS timescaledb,
                    pg_database_size(current_database()) AS bytes,
                    (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()) AS connections,
                    current_setting('max_connections')::integer AS most_connections
                """
            ).mappings()
            return ServerRow(**row.one())

    def tables(self) -> list[TableRow]:
        """The largest first. Chunks of a hypertable count to it."""
        with database_errors(self._url), self._engine.connect() as connection:
            rows = connection.exec_driver_sql(_tables_sql(connection)).all()
        return [TableRow(name=name, bytes=size, rows=count) for name, size, count in rows]

    def statements(self) -> tuple[list[StatementRow], bool]:
        """The dearest statements since the server began to count, and True; without pg_stat_statements those
        that run just now, and False."""
        with database_errors(self._url), self._engine.connect() as connection:
            counts = connection.exec_driver_sql(
                "SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_stat_statements')"
            ).scalar_one()
            if counts:
                sql = (
                    "SELECT query, calls, mean_exec_time, total_exec_time FROM pg_stat_statements "
                    "WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) "
                    f"ORDER BY total_exec_time DESC LIMIT {_SLOWEST}"
                )
            else:
                sql = (
                    "SELECT query, NULL, ms, ms FROM (SELECT query, "
                    "(extract(epoch FROM clock_timestamp() - query_start) * 1000)::float8 AS ms "
                    "FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' "
                    f"AND pid <> pg_backend_pid()) running ORDER BY ms DESC LIMIT {_SLOWEST}"
                )
            rows = connection.exec_driver_sql(sql).all()
        found = [
            StatementRow(text=" ".join(text.split()), calls=calls, mean_ms=mean_ms, total_ms=total_ms)
            for text, calls, mean_ms, total_ms in rows
        ]
        return found, bool(counts)


def _tables_sql(connection: Connection) -> str:
    plain = """
        SELECT relname::text AS name, pg_total_relation_size(relid)::bigint AS bytes,
            greatest(n_live_tup, 0)::bigint AS rows
        FROM pg_stat_user_tables WHERE schemaname = current_schema()
    """
    has_chunks = connection.exec_driver_sql(
        "SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb')"
    ).scalar_one()
    if not has_chunks:
        return f"SELECT * FROM ({plain}) tables ORDER BY bytes DESC, name LIMIT {_LARGEST}"
    return f"""
        SELECT tables.name, coalesce(hypertable_size(h.place), tables.bytes)::bigint AS bytes,
            coalesce(approximate_row_count(h.place), tables.rows)::bigint
        FROM ({plain}) tables LEFT JOIN (
            SELECT hypertable_name::text AS name,
                (quote_ident(hypertable_schema) || '.' || quote_ident(hypertable_name))::regclass AS place
            FROM timescaledb_information.hypertables WHERE hypertable_schema = current_schema()
        ) h USING (name) ORDER BY 2 DESC, 1 LIMIT {_LARGEST}
    """
