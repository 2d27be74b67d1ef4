"""What the server offers beyond plain PostgreSQL, and how long data is kept with it or without it."""

from __future__ import annotations

from dataclasses import dataclass, field

import structlog
from sqlalchemy import Connection, exc

from data.timeframes import Timeframe, floor_to, to_datetime
from database.engine import database_errors, sync_engine

log = structlog.get_logger()

# Columnstore by its present name came with 2.18; before it, the SQL is another.
_COLUMNSTORE_SINCE = (2, 18)
_DELETE_ROWS = 50_000
# Two processes that start at once would add each policy twice. Any fixed number serves, as for migrations.
_LOCK = 0x63616E64_6C657770
_DAY_US = 86_400_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """Days each kind of data is kept by the venue's clock; None keeps it for good."""

    trades_days: int | None = 90
    trade_digests_days: int | None = 90  # as long as the trades that they prove
    second_candles_days: int | None = 30
    candles_days: int | None = None
    venue_candles_days: int | None = 90
    quotes_days: int | None = 14
    books_days: int | None = 7
    mark_prices_days: int | None = 30
    collector_figures_days: int | None = 30
    feed_changes_days: int | None = 90

    def days(self, table: str) -> int | None:
        kept: int | None = getattr(self, f"{table}_days")
        return kept


@dataclass(frozen=True, slots=True, kw_only=True)
class HypertableSpec:
    """How a table is cut into chunks and compressed. `order_by` follows the time inside a segment."""

    table: str
    time_column: str
    chunk_days: int
    segment_by: str
    order_by: str


# About a day of trades, and a month of the far fewer candles, stay in one chunk.
HYPERTABLES = (
    HypertableSpec(
        table="trades", time_column="traded_at", chunk_days=1, segment_by="market_id", order_by="trade_id"
    ),
    HypertableSpec(
        table="second_candles",
        time_column="opened_at",
        chunk_days=1,
        segment_by="market_id,timeframe_s",
        order_by="opened_at",
    ),
    HypertableSpec(
        table="candles",
        time_column="opened_at",
        chunk_days=30,
        segment_by="market_id,timeframe_s",
        order_by="opened_at",
    ),
    HypertableSpec(
        table="trade_digests",
        time_column="minute_at",
        chunk_days=7,
        segment_by="market_id",
        order_by="minute_at",
    ),
    HypertableSpec(
        table="venue_candles",
        time_column="opened_at",
        chunk_days=7,
        segment_by="market_id,timeframe_s",
        order_by="opened_at",
    ),
    HypertableSpec(table="quotes", time_column="at", chunk_days=1, segment_by="market_id", order_by="at"),
    HypertableSpec(table="books", time_column="at", chunk_days=1, segment_by="market_id", order_by="at"),
    HypertableSpec(
        table="mark_prices", time_column="at", chunk_days=7, segment_by="market_id", order_by="at"
    ),
)
# Small enough for plain deletes on every kind of server; the times their rows are told by.
_SMALL_TABLES = {"collector_figures": "sent_at", "feed_changes": "since"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFeatures:
    """What kind of server this is; `licence` is TimescaleDB's: "timescale" (all of it) or "apache"."""

    server_version: int  # 180006 for 18.6
    timescaledb: str | None  # its version, None where the extension is not installed
    licence: str | None

    @property
    def hypertables(self) -> bool:
        return self.timescaledb is not None

    @property
    def policies(self) -> bool:
        """Compression and retention by the server's own jobs."""
        if self.timescaledb is None or self.licence != "timescale":
            return False
        version = tuple(int(part) for part in self.timescaledb.split("-")[0].split(".")[:2])
        return version >= _COLUMNSTORE_SINCE


@dataclass(frozen=True, slots=True, kw_only=True)
class TimescaleState:
    """What has been turned on already."""

    hypertables: frozenset[str] = frozenset()
    columnstores: frozenset[str] = frozenset()
    columnstore_policies: frozenset[str] = frozenset()
    retention_days: dict[str, float] = field(default_factory=dict)


def find_features(url: str) -> ServerFeatures:
    """Look at the server. Raises TransientError, InstallationError."""
    engine = sync_engine(url)
    try:
        with database_errors(url), engine.connect() as connection:
            return _features(connection)
    finally:
        engine.dispose()


def apply_timescale_features(url: str, retention: Retention | None = None) -> ServerFeatures:
    """Turn on what the server can: hypertables, compression after a day, retention. Harmless at each start.

    Does nothing on plain PostgreSQL, where `apply_retention` deletes instead.
    """
    retention = retention or Retention()
    engine = sync_engine(url)
    try:
        with database_errors(url), engine.connect() as connection:
            # Each statement stands alone: CALL wants no transaction around it.
            connection = connection.execution_options(isolation_level="AUTOCOMMIT")
            connection.exec_driver_sql("SELECT pg_advisory_lock(%s)", (_LOCK,))
            try:
                _create_extension(connection)
                features = _features(connection)
                if features.hypertables:
                    for statement in timescale_statements(features, _state(connection, features), retention):
                        connection.exec_driver_sql(statement)
            finally:
                connection.exec_driver_sql("SELECT pg_advisory_unlock(%s)", (_LOCK,))
            return features
    finally:
        engine.dispose()


def timescale_statements(features: ServerFeatures, state: TimescaleState, retention: Retention) -> list[str]:
    """The SQL still needed, in order; none without the extension or when all is as it should be."""
    if not features.hypertables:
        return []
    statements = []
    for spec in HYPERTABLES:
        if spec.table not in state.hypertables:
            statements.append(
                f"SELECT create_hypertable('{spec.table}', by_range('{spec.time_column}', "
                f"INTERVAL '{spec.chunk_days} days'), if_not_exists => true, migrate_data => true, "
                "create_default_indexes => false)"
            )
        if not features.policies:
            continue
        if spec.table not in state.columnstores:
            statements.append(
                f"ALTER TABLE {spec.table} SET (timescaledb.enable_columnstore, "
                f"timescaledb.segmentby = '{spec.segment_by}', timescaledb.orderby = '{spec.order_by}')"
            )
        if spec.table not in state.columnstore_policies:
            statements.append(
                f"CALL add_columnstore_policy('{spec.table}', after => INTERVAL '1 day', "
                "if_not_exists => true)"
            )
        statements += _retention_statements(spec.table, state, retention)
    return statements


def apply_retention(url: str, retention: Retention, now_us: int) -> dict[str, int]:
    """Delete what is older than `retention`, and return how many rows went, by table.

    On plain PostgreSQL all of it; TimescaleDB's Apache edition drops whole chunks, counted here
    as one each; where the server's own jobs see to those, the small tables alone are left.
    """
    engine = sync_engine(url)
    deleted = {}
    try:
        with database_errors(url), engine.connect() as connection:
            connection = connection.execution_options(isolation_level="AUTOCOMMIT")
            features = _features(connection)
            for spec in HYPERTABLES:
                before = _expiry(retention, spec.table, now_us)
                if before is None or features.policies:
                    continue
                if features.hypertables:
                    chunks = connection.exec_driver_sql(
                        "SELECT drop_chunks(%s::regclass, older_than => %s::timestamptz)",
                        (spec.table, before),
                    )
                    deleted[spec.table] = len(chunks.all())
                else:
                    deleted[spec.table] = _delete_before(connection, spec, before)
            for table, column in _SMALL_TABLES.items():
                before = _expiry(retention, table, now_us)
                if before is not None:
                    gone = connection.exec_driver_sql(
                        f"DELETE FROM {table} WHERE {column} < %s::timestamptz", (before,)
                    )
                    deleted[table] = gone.rowcount
        return deleted
    finally:
        engine.dispose()


def _expiry(retention: Retention, table: str, now_us: int) -> str | None:
    """Before when rows go, or None. A whole minute: what is proven by the minute goes by the minute."""
    days = retention.days(table)
    if days is None:
        return None
    return to_datetime(floor_to(now_us - days * _DAY_US, Timeframe.M1)).isoformat()


def _retention_statements(table: str, state: TimescaleState, retention: Retention) -> list[str]:
    wanted, found = retention.days(table), state.retention_days.get(table)
    if wanted == found:
        return []
    statements = []
    if found is not None:
        statements.append(f"SELECT remove_retention_policy('{table}', if_exists => true)")
    if wanted is not None:
        statements.append(
            f"SELECT add_retention_policy('{table}', drop_after => INTERVAL '{wanted:d} days', "
            "if_not_exists => true)"
        )
    return statements


def _delete_before(connection: Connection, spec: HypertableSpec, before: str) -> int:
    """Delete in short transactions, so that writers and vacuum get their turn; market by market, by index."""
    market_ids = connection.exec_driver_sql("SELECT market_id FROM markets").scalars().all()
    deleted = 0
    for market_id in market_ids:
        while True:
            result = connection.exec_driver_sql(
                f"DELETE FROM {spec.table} WHERE ctid = ANY(ARRAY("
                f"SELECT ctid FROM {spec.table} WHERE market_id = %s AND {_time_condition(spec)} "
                f"LIMIT {_DELETE_ROWS}))",
                (market_id, before),
            )
            deleted += result.rowcount
            if result.rowcount < _DELETE_ROWS:
                break
    return deleted


def _time_condition(spec: HypertableSpec) -> str:
    # Naming the one length of its candles lets the primary key find the old rows.
    only_seconds = "timeframe_s = 1 AND " if spec.table == "second_candles" else ""
    return f"{only_seconds}{spec.time_column} < %s::timestamptz"


def _create_extension(connection: Connection) -> None:
    """Where a server has TimescaleDB loaded but this database does not use it yet."""
    # Only a loaded TimescaleDB has that setting; the list of loaded libraries is for superusers to see.
    ready = connection.exec_driver_sql(
        """
        SELECT EXISTS (SELECT FROM pg_available_extensions
                       WHERE name = 'timescaledb' AND installed_version IS NULL)
            AND current_setting('timescaledb.disable_load', true) IS NOT NULL
        """
    ).scalar_one()
    if not ready:
        return
    try:
        connection.exec_driver_sql("CREATE EXTENSION IF NOT EXISTS timescaledb")
    except exc.DBAPIError as error:
        # A role without that right still has a plain PostgreSQL to work with.
        log.warning("timescaledb_not_enabled", reason=str(error.orig).splitlines()[0])


def _features(connection: Connection) -> ServerFeatures:
    row = connection.exec_driver_sql(
        """
        SELECT current_setting('server_version_num')::integer AS server_version,
            (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb') AS timescaledb,
            current_setting('timescaledb.license', true) AS licence
        """
    ).mappings()
    return ServerFeatures(**row.one())


def _state(connection: Connection, features: ServerFeatures) -> TimescaleState:
    tables = connection.exec_driver_sql(
        "SELECT hypertable_name, compression_enabled FROM timescaledb_information.hypertables "
        "WHERE hypertable_schema = current_schema()"
    ).all()
    if not features.policies:
        return TimescaleState(hypertables=frozenset(name for name, _ in tables))
    jobs = connection.exec_driver_sql(
        "SELECT hypertable_name, proc_name, "
        "(extract(epoch FROM (config->>'drop_after')::interval) / 86400)::float8 AS days "
        "FROM timescaledb_information.jobs WHERE hypertable_schema = current_schema()"
    ).all()
    return TimescaleState(
        hypertables=frozenset(name for name, _ in tables),
        columnstores=frozenset(name for name, enabled in tables if enabled),
        columnstore_policies=frozenset(
            name for name, procedure, _ in jobs if procedure in ("policy_compression", "policy_columnstore")
        ),
        retention_days={name: days for name, procedure, days in jobs if procedure == "policy_retention"},
    )
