"""Bots in PostgreSQL. A step is one transaction, and the number of the step makes it happen once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
import psycopg
import sqlalchemy
from psycopg import Cursor
from sqlalchemy import Connection, Engine

from bots.config import symbols_in
from bots.gates import Gate, GateVerdict, Violation
from bots.lifecycle import BotState
from bots.orders import DepthUse, OrderReason, OrderStatus, PositionSide
from bots.shards import SLOTS, WHOLE, Shard
from bots.stores import AccountSummary, BotEvent, BotRecord, BotStep, Checkpoint, DecisionMade, Wish
from bots.views import (
    AuditView,
    BotView,
    DecisionView,
    EquityCurve,
    FillView,
    OrderView,
    SignalView,
    TradeView,
    VersionView,
)
from data.models import Market, Side
from data.timeframes import Timeframe, to_datetime, to_us
from database.array_inserts import insert_columns
from database.engine import database_errors, sync_engine
from database.step_guards import StepGuard
from strategies import records
from strategies.base import Decision

# Any fixed number; with a slot's number it makes the slot's lock.
_RUNNER_LOCK = 0x6C65626F
_ACTIONS = ("long_entry", "long_exit", "short_entry", "short_exit")  # bit 0 to bit 3 of `decisions.says`

# Binary arrays: in their text form every quote in a JSON document would have to be escaped.
_UPDATE = """
UPDATE bots AS b SET
    step = u.step,
    updated_at = u.at,
    state = u.state,
    health = u.health,
    desired_state = CASE WHEN b.desired_state = u.settle_from THEN u.settle_to ELSE b.desired_state END,
    flatten = b.flatten AND b.desired_state IS DISTINCT FROM u.settle_from,
    config = COALESCE(u.config::jsonb, b.config),
    strategy = COALESCE(u.strategy, b.strategy),
    strategy_version = COALESCE(u.strategy_version, b.strategy_version),
    market_id = COALESCE(
        (SELECT market_id FROM markets WHERE exchange = u.exchange AND symbol = u.symbol), b.market_id),
    timeframe_s = COALESCE(u.timeframe_s, b.timeframe_s),
    started_at = COALESCE(u.started_at, b.started_at),
    account = COALESCE(u.account::jsonb, b.account),
    summary = COALESCE(u.summary::jsonb, b.summary),
    last_candle_at = COALESCE(u.last_candle_at, b.last_candle_at),
    last_price = COALESCE(u.last_price, b.last_price),
    opened_candle_at = COALESCE(u.opened_candle_at, b.opened_candle_at),
    last_signal = COALESCE(u.last_signal, b.last_signal),
    last_signal_at = COALESCE(u.last_signal_at, b.last_signal_at)
FROM unnest(
    %b::integer[], %b::bigint[], %b::timestamptz[], %b::text[], %b::text[], %b::text[], %b::text[],
    %b::text[], %b::text[], %b::text[], %b::text[], %b::text[], %b::integer[], %b::timestamptz[], %b::text[],
    %b::text[], %b::timestamptz[], %b::double precision[], %b::timestamptz[], %b::text[], %b::timestamptz[]
) AS u(
    bot_id, step, at, state, health, settle_from, settle_to, config,
    strategy, strategy_version, exchange, symbol, timeframe_s, started_at, account, summary,
    last_candle_at, last_price, opened_candle_at, last_signal, last_signal_at
)
WHERE b.bot_id = u.bot_id AND b.step = u.step - 1
RETURNING b.bot_id
"""

_VIEW = """
SELECT b.name, b.strategy, b.strategy_version, m.exchange, m.symbol, b.timeframe_s, b.config, b.state,
       b.desired_state, b.summary, b.last_candle_at, b.last_price, b.last_signal, b.last_signal_at, b.health,
       b.created_at, b.started_at, b.updated_at
FROM bots b LEFT JOIN markets m USING (market_id)
"""

_WISH = "SELECT bot_id, name, state, desired_state, flatten, step, asked_at, version FROM bots"


class BotRepository:
    """Bots, one row each, with what they did in tables of their own. Satisfies `bots.stores.BotStore`.

    Safe to use from several threads.
    """

    def __init__(self, url: str, *, pool_size: int = 4) -> None:
        self._url = url
        # Commits here are synchronous: an order that was reported must survive a power cut.
        self._engine: Engine = sync_engine(url, application_name="candlewick bots", pool_size=pool_size)
        self._known_markets: frozenset[Market] = frozenset()  # stored for sure: rows of markets stay

    def close(self) -> None:
        self._engine.dispose()

    # What the runner does

    def claim(self, shard: Shard = WHOLE) -> RunnerLock | None:
        with database_errors(self._url):
            connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            try:
                locked = connection.exec_driver_sql(
                    "SELECT bool_and(pg_try_advisory_lock(%s, slot)) FROM unnest(%s::integer[]) AS slot",
                    (_RUNNER_LOCK, list(shard.slots)),
                ).scalar_one()
            except BaseException:
                connection.close()
                raise
            # Out of the pool: the locks live and die with this one connection, those of a half claim too.
            connection.detach()
            if not locked:
                connection.close()
                return None
            return RunnerLock(connection)

    def wishes(self, shard: Shard = WHOLE) -> list[Wish]:
        rows = self._rows(
            f"{_WISH} WHERE bot_id %% %s = ANY(%s::integer[]) ORDER BY bot_id", (SLOTS, list(shard.slots))
        )
        return [_wish(row) for row in rows]

    def record(self, bot_id: int) -> BotRecord | None:
        rows = self._rows(
            "SELECT b.bot_id, b.name, b.config, source, state, desired_state, flatten, step,"
            " account::text AS account, strategy_version, last_candle_at, opened_candle_at, started_at,"
            " health, b.version, b.applied_version, v.config AS wanted, v.from_file, d.definition FROM bots b"
            " LEFT JOIN bot_versions v ON v.bot_id = b.bot_id AND v.version = b.version"
            " LEFT JOIN bot_definitions d USING (strategy_version) WHERE b.bot_id = %s",
            (bot_id,),
        )
        return _record(rows[0]) if rows else None

    def commit(self, steps: Sequence[BotStep]) -> frozenset[int]:
        if not steps:
            return frozenset()
        # One order for everybody: two runners that meet wait for each other instead of locking up.
        ordered = sorted(steps, key=lambda step: step.bot_id)
        with self._transaction() as connection:
            guard = StepGuard(connection, ordered)
            ordered = [step for step in ordered if guard.verdict(step).passes]
            if not ordered:
                return frozenset()
            markets = {market for step in ordered for market in _markets_of(step)} - self._known_markets
            _save_markets(connection, markets)
            columns = zip(*(_bot_columns(step) for step in ordered), strict=True)
            moved = connection.exec_driver_sql(_UPDATE, tuple(list(column) for column in columns))
            applied = frozenset(moved.scalars())
            driver = _driver_of(connection)
            # One round trip for all of it: whoever waits for the server here waits for Python's lock as well.
            with driver.pipeline(), driver.cursor() as cursor:
                _save_children(cursor, [step for step in ordered if step.bot_id in applied])
                guard.save(cursor, [step for step in ordered if step.bot_id in applied])
                _save_settings(cursor, [step for step in ordered if step.bot_id in applied])
        self._known_markets |= markets
        return applied

    def verdict(self, step: BotStep) -> GateVerdict:
        with self._transaction() as connection:
            return StepGuard(connection, [step]).verdict(step)

    # What people do

    def views(self) -> list[BotView]:
        return [_view(row) for row in self._rows(f"{_VIEW} ORDER BY b.name")]

    def view(self, name: str) -> BotView | None:
        rows = self._rows(f"{_VIEW} WHERE b.name = %s", (name,))
        return _view(rows[0]) if rows else None

    def wish(self, name: str) -> Wish | None:
        rows = self._rows(f"{_WISH} WHERE name = %s", (name,))
        return _wish(rows[0]) if rows else None

    def create(
        self,
        config: dict[str, Any],
        *,
        name: str,
        source: str,
        desired: BotState,
        health: str,
        event: BotEvent,
        reads_file: bool = True,
    ) -> bool:
        venue, symbols = config.get("venue"), symbols_in(config)
        symbol = symbols[0] if symbols else None
        with self._transaction() as connection:
            if venue:
                _save_markets(connection, [Market(venue, one) for one in symbols])
            at = to_datetime(event.at_us)
            timeframe = config.get("timeframe")
            bot_id = connection.exec_driver_sql(
                "INSERT INTO bots (name, config, source, market_id, timeframe_s, strategy, state,"
                " desired_state, health, asked_at, created_at, updated_at)"
                " VALUES (%s, %s::jsonb, %s,"
                " (SELECT market_id FROM markets WHERE exchange = %s AND symbol = %s),"
                " %s, %s, %s, %s, %s, %s, %s, %s)"
                " ON CONFLICT (name) DO NOTHING RETURNING bot_id",
                (
                    name,
                    _json(config),
                    source,
                    venue,
                    symbol,
                    None if timeframe is None else Timeframe(timeframe).seconds,
                    str(config.get("strategy", "")),
                    str(BotState.FAILED if health else BotState.CREATED),
                    str(desired),
                    health,
                    at,
                    at,
                    at,
                ),
            ).scalar_one_or_none()
            if bot_id is None:
                return False
            connection.exec_driver_sql(
                "INSERT INTO bot_versions (bot_id, version, config, at, who, why, from_file)"
                " VALUES (%s, 1, %s::jsonb, %s, %s, %s, %s)",
                (bot_id, _json(config), at, event.who, event.why, bool(source) and reads_file),
            )
            _note(connection, bot_id, event)
        return True

    def edit(
        self, seen: Wish, config: dict[str, Any], *, reverts_to: int | None = None, event: BotEvent
    ) -> bool:
        at = to_datetime(event.at_us)
        with self._transaction() as connection:
            version = connection.exec_driver_sql(
                "UPDATE bots SET version = version + 1, updated_at = %s WHERE bot_id = %s AND version = %s"
                " RETURNING version",
                (at, seen.bot_id, seen.version),
            ).scalar_one_or_none()
            if version is None:
                return False
            connection.exec_driver_sql(
                "INSERT INTO bot_versions (bot_id, version, config, at, who, why, from_file, reverts_to)"
                " VALUES (%s, %s, %s::jsonb, %s, %s, %s, false, %s)",
                (seen.bot_id, version, _json(config), at, event.who, event.why, reverts_to),
            )
            _note(connection, seen.bot_id, event)
        return True

    def versions(self, name: str) -> list[VersionView]:
        rows = self._rows(
            "SELECT b.name, v.* FROM bot_versions v JOIN bots b USING (bot_id) WHERE b.name = %s"
            " ORDER BY v.version DESC",
            (name,),
        )
        return [
            VersionView(
                bot=row["name"],
                version=row["version"],
                at_us=to_us(row["at"]),
                who=row["who"],
                why=row["why"],
                from_file=row["from_file"],
                reverts_to=row["reverts_to"],
                applied_at_us=_us(row["applied_at"]),
                config=row["config"],
            )
            for row in rows
        ]

    def checkpoints(self, name: str, *, start_us: int, end_us: int) -> list[Checkpoint]:
        rows = self._rows(
            "SELECT c.opened_at, c.config, c.strategy_version, c.account::text AS account"
            " FROM bot_checkpoints c JOIN bots b USING (bot_id)"
            " WHERE b.name = %s AND c.opened_at >= %s AND c.opened_at < %s ORDER BY c.opened_at",
            (name, to_datetime(start_us), to_datetime(end_us)),
        )
        return [
            Checkpoint(
                opened_at_us=to_us(row["opened_at"]),
                config=row["config"],
                strategy_version=row["strategy_version"],
                account=row["account"].encode(),
            )
            for row in rows
        ]

    def definition(self, strategy_version: str) -> str | None:
        rows = self._rows(
            "SELECT definition FROM bot_definitions WHERE strategy_version = %s", (strategy_version,)
        )
        return rows[0]["definition"] if rows else None

    def ask(self, seen: Wish, desired: BotState, *, flatten: bool, event: BotEvent) -> bool:
        with self._transaction() as connection:
            at = to_datetime(event.at_us)
            changed = connection.exec_driver_sql(
                "UPDATE bots SET desired_state = %s, flatten = %s, asked_at = %s, updated_at = %s"
                " WHERE bot_id = %s AND state = %s AND desired_state = %s AND flatten = %s",
                (
                    str(desired),
                    flatten,
                    at,
                    at,
                    seen.bot_id,
                    str(seen.state),
                    str(seen.desired),
                    seen.flatten,
                ),
            ).rowcount
            if changed:
                _note(connection, seen.bot_id, event)
        return bool(changed)

    def delete(self, seen: Wish, *, event: BotEvent) -> bool:
        with self._transaction() as connection:
            found = connection.exec_driver_sql(
                "SELECT 1 FROM bots WHERE bot_id = %s AND state = %s AND desired_state = %s FOR UPDATE",
                (seen.bot_id, str(seen.state), str(seen.desired)),
            ).scalar_one_or_none()
            if found is None:
                return False
            # The entry takes the name from the row, so it is written first.
            _note(connection, seen.bot_id, event)
            connection.exec_driver_sql("DELETE FROM bots WHERE bot_id = %s", (seen.bot_id,))
        return True

    def fills_between(self, name: str, *, start_us: int, end_us: int) -> list[FillView]:
        rows = self._rows(
            "SELECT b.name, m.exchange, m.symbol, f.* FROM bot_fills f JOIN bots b USING (bot_id)"
            " JOIN markets m ON m.market_id = f.market_id"
            " WHERE b.name = %s AND f.filled_at >= %s AND f.filled_at < %s"
            " ORDER BY f.filled_at, f.order_sequence",
            (name, to_datetime(start_us), to_datetime(end_us)),
        )
        return [_fill(row) for row in rows]

    def equity_between(self, name: str, *, start_us: int, end_us: int) -> dict[int, Decimal]:
        rows = self._rows(
            "SELECT e.at, e.equity FROM bot_equity e JOIN bots b USING (bot_id)"
            " WHERE b.name = %s AND e.at >= %s AND e.at < %s ORDER BY e.at",
            (name, to_datetime(start_us), to_datetime(end_us)),
        )
        return {to_us(row["at"]): row["equity"] for row in rows}

    def funding_between(self, name: str, *, start_us: int, end_us: int) -> dict[int, Decimal]:
        """What the bot's positions were paid at funding times, below 0 where they paid."""
        rows = self._rows(
            "SELECT j.at, sum(j.cash) AS paid FROM bot_journal j JOIN bots b USING (bot_id)"
            " WHERE b.name = %s AND j.order_sequence IS NULL AND j.at >= %s AND j.at < %s GROUP BY j.at",
            (name, to_datetime(start_us), to_datetime(end_us)),
        )
        return {to_us(row["at"]): row["paid"] for row in rows}

    def decisions_between(self, name: str, *, start_us: int, end_us: int) -> list[DecisionView]:
        rows = self._rows(
            "SELECT b.name, d.* FROM decisions d JOIN bots b USING (bot_id)"
            " WHERE b.name = %s AND d.opened_at >= %s AND d.opened_at < %s ORDER BY d.opened_at",
            (name, to_datetime(start_us), to_datetime(end_us)),
        )
        return [_decision(row) for row in rows]

    def fills(self, name: str | None, *, limit: int) -> list[FillView]:
        rows = self._rows(
            "SELECT b.name, m.exchange, m.symbol, f.* FROM bot_fills f JOIN bots b USING (bot_id)"
            " JOIN markets m ON m.market_id = f.market_id WHERE (%s::text IS NULL OR b.name = %s)"
            " ORDER BY f.filled_at DESC, f.bot_id, f.order_sequence DESC LIMIT %s",
            (name, name, limit),
        )
        return [_fill(row) for row in rows]

    def orders(self, name: str | None, *, limit: int) -> list[OrderView]:
        rows = self._rows(
            "SELECT b.name, m.exchange, m.symbol, o.* FROM bot_orders o JOIN bots b USING (bot_id)"
            " JOIN markets m ON m.market_id = o.market_id WHERE (%s::text IS NULL OR b.name = %s)"
            " ORDER BY o.decided_at DESC, o.bot_id, o.order_sequence DESC LIMIT %s",
            (name, name, limit),
        )
        return [_order(row) for row in rows]

    def orders_numbered(self, name: str, sequences: Sequence[int]) -> list[OrderView]:
        rows = self._rows(
            "SELECT b.name, m.exchange, m.symbol, o.* FROM bot_orders o JOIN bots b USING (bot_id)"
            " JOIN markets m ON m.market_id = o.market_id"
            " WHERE b.name = %s AND o.order_sequence = ANY(%s::bigint[]) ORDER BY o.order_sequence",
            (name, list(sequences)),
        )
        return [_order(row) for row in rows]

    def trades(self, name: str | None, *, limit: int) -> list[TradeView]:
        rows = self._rows(
            "SELECT b.name, m.exchange, m.symbol, t.* FROM bot_trades t JOIN bots b USING (bot_id)"
            " JOIN markets m ON m.market_id = t.market_id WHERE (%s::text IS NULL OR b.name = %s)"
            " ORDER BY t.exit_at DESC, t.bot_id, t.trade_sequence DESC LIMIT %s",
            (name, name, limit),
        )
        return [
            TradeView(
                bot=row["name"],
                market=Market(row["exchange"], row["symbol"]),
                sequence=row["trade_sequence"],
                side=PositionSide(row["side"]),
                entry_at_us=to_us(row["entry_at"]),
                entry_price=row["entry_price"],
                exit_at_us=to_us(row["exit_at"]),
                exit_price=row["exit_price"],
                quantity=row["quantity"],
                fees=row["fees"],
                pnl=row["pnl"],
                return_rate=row["return_rate"],
                exit_reason=OrderReason(row["exit_reason"]),
            )
            for row in rows
        ]

    def equity(self, name: str, *, start_us: int | None, end_us: int | None, max_points: int) -> EquityCurve:
        start, end = _moment(start_us), _moment(end_us)
        rows = self._rows(
            "SELECT at, equity::float8 AS equity, cash::float8 AS cash, position::float8 AS position FROM ("
            " SELECT e.*, row_number() OVER (ORDER BY at DESC) - 1 AS newer, count(*) OVER () AS points"
            " FROM bot_equity e WHERE bot_id = (SELECT bot_id FROM bots WHERE name = %s)"
            " AND (%s::timestamptz IS NULL OR at >= %s) AND (%s::timestamptz IS NULL OR at < %s)"
            ") AS thinned WHERE newer %% greatest(1, (points + %s - 1) / %s) = 0 ORDER BY at",
            (name, start, start, end, end, max_points, max_points),
        )
        return EquityCurve(
            at_us=np.array([to_us(row["at"]) for row in rows], dtype=np.int64),
            equity=np.array([row["equity"] for row in rows], dtype=np.float64),
            cash=np.array([row["cash"] for row in rows], dtype=np.float64),
            position=np.array([row["position"] for row in rows], dtype=np.float64),
        )

    def decisions(self, name: str, *, limit: int, saying_something: bool) -> list[DecisionView]:
        rows = self._rows(
            "SELECT b.name, d.* FROM decisions d JOIN bots b USING (bot_id) WHERE b.name = %s"
            + (" AND d.says <> 0" if saying_something else "")
            + " ORDER BY d.opened_at DESC LIMIT %s",
            (name, limit),
        )
        return [_decision(row) for row in rows]

    def decision(self, name: str, opened_at_us: int) -> DecisionView | None:
        rows = self._rows(
            "SELECT b.name, d.* FROM decisions d JOIN bots b USING (bot_id)"
            " WHERE b.name = %s AND d.opened_at = %s",
            (name, to_datetime(opened_at_us)),
        )
        return _decision(rows[0]) if rows else None

    def audit(self, name: str | None, *, limit: int) -> list[AuditView]:
        rows = self._rows(
            "SELECT bot, at, who, what, why FROM bot_events WHERE (%s::text IS NULL OR bot = %s)"
            " ORDER BY event_id DESC LIMIT %s",
            (name, name, limit),
        )
        return [
            AuditView(
                bot=row["bot"], at_us=to_us(row["at"]), who=row["who"], what=row["what"], why=row["why"]
            )
            for row in rows
        ]

    def signals(
        self, market: Market, timeframe: Timeframe, *, start_us: int | None, end_us: int | None, limit: int
    ) -> list[SignalView]:
        start, end = _moment(start_us), _moment(end_us)
        rows = self._rows(
            "SELECT s.* FROM signals s JOIN markets m USING (market_id)"
            " WHERE m.exchange = %s AND m.symbol = %s AND s.timeframe_s = %s"
            " AND (%s::timestamptz IS NULL OR s.opened_at >= %s)"
            " AND (%s::timestamptz IS NULL OR s.opened_at < %s)"
            " ORDER BY s.opened_at DESC, s.strategy, s.version, s.action LIMIT %s",
            (market.exchange, market.symbol, timeframe.seconds, start, start, end, end, limit),
        )
        return [
            SignalView(
                strategy=row["strategy"],
                version=row["version"],
                market=market,
                timeframe=timeframe,
                opened_at_us=to_us(row["opened_at"]),
                action=row["action"],
                close=row["close"],
                record=row["record"],
            )
            for row in reversed(rows)
        ]

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with database_errors(self._url), self._engine.begin() as connection:
            yield connection

    def _rows(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[Mapping[str, Any]]:
        with self._transaction() as connection:
            return [dict(row) for row in connection.exec_driver_sql(sql, parameters).mappings()]


class RunnerLock:
    """The advisory locks of one process's slots. Satisfies `bots.stores.RunnerClaim`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def held(self) -> bool:
        try:
            self._connection.exec_driver_sql("SELECT 1")
        except sqlalchemy.exc.DBAPIError:
            return False
        return True

    def release(self) -> None:
        # It is out of the pool, so this ends the session, and with it the lock.
        self._connection.close()


def _bot_columns(step: BotStep) -> tuple[Any, ...]:
    """One row for the arrays of `_UPDATE`, in their order."""
    speaking = [made.decision for made in step.decisions if not made.decision.says_nothing]
    last = speaking[-1] if speaking else None
    return (
        step.bot_id,
        step.step,
        to_datetime(step.at_us),
        str(step.state),
        step.health,
        None if step.settle is None else str(step.settle[0]),
        None if step.settle is None else str(step.settle[1]),
        None if step.config is None else _json(step.config),
        step.strategy,
        step.strategy_version,
        None if step.market is None else step.market.exchange,
        None if step.market is None else step.market.symbol,
        None if step.timeframe is None else step.timeframe.seconds,
        _moment(step.started_at_us),
        None if step.account is None else step.account.decode(),
        None if step.summary is None else _json(step.summary),
        _moment(step.last_candle_us),
        step.last_price,
        _moment(step.opened_candle_us),
        None if last is None else ", ".join(_said(last)),
        None if last is None else to_datetime(last.opened_at_us),
    )


def _save_markets(connection: Connection, markets: Iterable[Market]) -> None:
    unique = sorted(set(markets))
    if unique:
        # Known ones are left out first: a refused insert would still use up a number.
        connection.exec_driver_sql(
            "INSERT INTO markets (exchange, symbol) SELECT exchange, symbol"
            " FROM unnest(%s::text[], %s::text[]) AS u(exchange, symbol)"
            " WHERE (exchange, symbol) NOT IN (SELECT exchange, symbol FROM markets)"
            " ON CONFLICT DO NOTHING",
            ([market.exchange for market in unique], [market.symbol for market in unique]),
        )


def _save_children(cursor: Cursor[Any], steps: Sequence[BotStep]) -> None:
    """Everything below the bots' own rows."""
    insert_columns(
        cursor,
        "INSERT INTO bot_orders (bot_id, order_sequence, side, position_side, reason, status, decided_at,"
        " quantity, refusal, market_id)"
        " SELECT u.bot_id, u.number, u.side, u.position_side, u.reason, u.status, u.at, u.quantity,"
        " u.refusal, coalesce(m.market_id, b.market_id)"
        " FROM unnest(%b::integer[], %b::bigint[], %b::text[], %b::text[],"
        " %b::text[], %b::text[], %b::timestamptz[], %b::numeric[], %b::text[], %b::text[], %b::text[])"
        " AS u(bot_id, number, side, position_side, reason, status, at, quantity, refusal, exchange, symbol)"
        " LEFT JOIN markets m USING (exchange, symbol) JOIN bots b USING (bot_id)"
        " ON CONFLICT (bot_id, order_sequence) DO UPDATE SET status = excluded.status,"
        " quantity = excluded.quantity, refusal = excluded.refusal",
        [
            (
                step.bot_id,
                order.sequence,
                str(order.side),
                str(order.position_side),
                str(order.reason),
                str(order.status),
                to_datetime(order.decided_at_us),
                order.quantity,
                order.refusal,
                *_market_of(step, order.symbol),
            )
            for step in steps
            for order in step.orders
        ],
    )
    insert_columns(
        cursor,
        "INSERT INTO bot_fills (bot_id, order_sequence, side, position_side, reason, price, quantity, fee,"
        " slippage, filled_at, ambiguous, depth, market_id)"
        " SELECT u.bot_id, u.number, u.side, u.position_side, u.reason, u.price, u.quantity, u.fee,"
        " u.slippage, u.at, u.ambiguous, u.depth::jsonb, coalesce(m.market_id, b.market_id)"
        " FROM unnest(%b::integer[], %b::bigint[], %b::text[],"
        " %b::text[], %b::text[], %b::numeric[], %b::numeric[], %b::numeric[], %b::numeric[],"
        " %b::timestamptz[], %b::boolean[], %b::text[], %b::text[], %b::text[])"
        " AS u(bot_id, number, side, position_side, reason, price, quantity, fee, slippage, at, ambiguous,"
        " depth, exchange, symbol) LEFT JOIN markets m USING (exchange, symbol) JOIN bots b USING (bot_id)",
        [
            (
                step.bot_id,
                fill.order_sequence,
                str(fill.side),
                str(fill.position_side),
                str(fill.reason),
                fill.price,
                fill.quantity,
                fill.fee,
                fill.slippage,
                to_datetime(fill.filled_at_us),
                fill.ambiguous,
                None if fill.depth is None else msgspec.json.encode(fill.depth).decode(),
                *_market_of(step, fill.symbol),
            )
            for step in steps
            for fill in step.fills
        ],
    )
    insert_columns(
        cursor,
        "INSERT INTO bot_trades (bot_id, trade_sequence, side, entry_at, entry_price, exit_at, exit_price,"
        " quantity, fees, pnl, return_rate, exit_reason, market_id)"
        " SELECT u.bot_id, row_number() OVER (PARTITION BY u.bot_id ORDER BY u.place)"
        " + (SELECT COALESCE(max(t.trade_sequence), 0) FROM bot_trades t WHERE t.bot_id = u.bot_id),"
        " u.side, u.entry_at, u.entry_price, u.exit_at, u.exit_price, u.quantity, u.fees, u.pnl,"
        " u.return_rate, u.exit_reason, coalesce(m.market_id, b.market_id)"
        " FROM unnest(%b::integer[], %b::text[], %b::timestamptz[], %b::numeric[], %b::timestamptz[],"
        " %b::numeric[], %b::numeric[], %b::numeric[], %b::numeric[], %b::numeric[], %b::text[], %b::text[],"
        " %b::text[]) WITH ORDINALITY AS u(bot_id, side, entry_at, entry_price, exit_at, exit_price,"
        " quantity, fees, pnl, return_rate, exit_reason, exchange, symbol, place)"
        " LEFT JOIN markets m USING (exchange, symbol) JOIN bots b USING (bot_id)",
        [
            (
                step.bot_id,
                str(trade.side),
                to_datetime(trade.entry_at_us),
                trade.entry_price,
                to_datetime(trade.exit_at_us),
                trade.exit_price,
                trade.quantity,
                trade.fees,
                trade.pnl,
                trade.return_rate,
                str(trade.exit_reason),
                *_market_of(step, trade.symbol),
            )
            for step in steps
            for trade in step.trades
        ],
    )
    # Within one statement a row may change only once, so only the last word on a moment goes in.
    points = {(step.bot_id, point.at_us): point for step in steps for point in step.equity}
    insert_columns(
        cursor,
        # A position closed at an open changes the point of the close before it: the same moment.
        "INSERT INTO bot_equity (bot_id, at, equity, cash, position)"
        " SELECT * FROM unnest(%b::integer[], %b::timestamptz[], %b::numeric[], %b::numeric[], %b::numeric[])"
        " ON CONFLICT (bot_id, at) DO UPDATE SET equity = excluded.equity, cash = excluded.cash,"
        " position = excluded.position",
        [
            (bot_id, to_datetime(at_us), point.equity, point.cash, point.position)
            for (bot_id, at_us), point in points.items()
        ],
    )
    _save_decisions(cursor, [(step.bot_id, made) for step in steps for made in step.decisions])
    _save_events(cursor, [(step.bot_id, event) for step in steps for event in step.events])


def _save_settings(cursor: Cursor[Any], steps: Sequence[BotStep]) -> None:
    """Which version of its settings a bot runs, its checkpoints, and what its strategy is made of."""
    for step in steps:
        if step.from_file:
            cursor.execute(
                "WITH moved AS (UPDATE bots SET version = version + 1, applied_version = version + 1"
                " WHERE bot_id = %(bot_id)s RETURNING bot_id, version, config)"
                " INSERT INTO bot_versions (bot_id, version, config, at, who, why, from_file, applied_at)"
                " SELECT bot_id, version, config, %(at)s, 'runner', 'its file had changed', true, %(at)s"
                " FROM moved",
                {"bot_id": step.bot_id, "at": to_datetime(step.at_us)},
            )
        elif step.applied is not None:
            cursor.execute(
                "WITH moved AS (UPDATE bots SET applied_version = %(version)s WHERE bot_id = %(bot_id)s)"
                " UPDATE bot_versions SET applied_at = COALESCE(applied_at, %(at)s)"
                " WHERE bot_id = %(bot_id)s AND version = %(version)s",
                {"bot_id": step.bot_id, "version": step.applied, "at": to_datetime(step.at_us)},
            )
        if step.definition is not None and step.strategy_version is not None:
            cursor.execute(
                "INSERT INTO bot_definitions (strategy_version, definition) VALUES (%s, %s)"
                " ON CONFLICT DO NOTHING",
                (step.strategy_version, step.definition),
            )
    insert_columns(
        cursor,
        "INSERT INTO bot_checkpoints (bot_id, opened_at, config, strategy_version, account)"
        " SELECT u.bot_id, u.opened_at, u.config::jsonb, u.strategy_version, u.account::jsonb"
        " FROM unnest(%b::integer[], %b::timestamptz[], %b::text[], %b::text[], %b::text[])"
        " AS u(bot_id, opened_at, config, strategy_version, account)"
        " ON CONFLICT (bot_id, opened_at) DO UPDATE SET config = excluded.config,"
        " strategy_version = excluded.strategy_version, account = excluded.account",
        [
            (
                step.bot_id,
                to_datetime(kept.opened_at_us),
                _json(kept.config),
                kept.strategy_version,
                kept.account.decode(),
            )
            for step in steps
            for kept in step.checkpoints
        ],
    )


def _save_decisions(cursor: Cursor[Any], made: Sequence[tuple[int, DecisionMade]]) -> None:
    insert_columns(
        cursor,
        "INSERT INTO decisions (bot_id, opened_at, strategy_version, close, says, outcome, record)"
        " SELECT * FROM unnest(%b::integer[], %b::timestamptz[], %b::text[], %b::double precision[],"
        " %b::smallint[], %b::text[], %b::bytea[])",
        [
            (
                bot_id,
                to_datetime(one.decision.opened_at_us),
                one.decision.version,
                one.decision.close,
                sum(1 << bit for bit, action in enumerate(_ACTIONS) if getattr(one.decision, action)),
                one.outcome,
                _packed(one),
            )
            for bot_id, one in made
        ],
    )
    insert_columns(
        cursor,
        "INSERT INTO signals (strategy, version, market_id, timeframe_s, opened_at, action, close, record)"
        " SELECT u.strategy, u.version, coalesce(m.market_id, b.market_id), b.timeframe_s, u.opened_at,"
        " u.action, u.close, u.record::jsonb FROM unnest(%b::integer[], %b::text[], %b::text[],"
        " %b::timestamptz[], %b::text[], %b::double precision[], %b::text[], %b::text[])"
        " AS u(bot_id, strategy, version, opened_at, action, close, record, symbol)"
        " JOIN bots b USING (bot_id)"
        " LEFT JOIN markets own ON own.market_id = b.market_id"
        " LEFT JOIN markets m ON m.exchange = own.exchange AND m.symbol = u.symbol"
        " ON CONFLICT DO NOTHING",
        [
            (
                bot_id,
                one.decision.strategy,
                one.decision.version,
                to_datetime(one.decision.opened_at_us),
                action,
                close,
                _json(one.decision.record),
                symbol,
            )
            for bot_id, one in made
            for symbol, action, close in _said_of(one)
        ],
    )


def _save_events(cursor: Cursor[Any], events: Sequence[tuple[int, BotEvent]]) -> None:
    insert_columns(
        cursor,
        "INSERT INTO bot_events (bot_id, bot, at, who, what, why)"
        " SELECT b.bot_id, b.name, u.at, u.who, u.what, u.why"
        " FROM unnest(%b::integer[], %b::timestamptz[], %b::text[], %b::text[], %b::text[])"
        " WITH ORDINALITY AS u(bot_id, at, who, what, why, place) JOIN bots b USING (bot_id)"
        " ORDER BY u.place",
        [(bot_id, to_datetime(event.at_us), event.who, event.what, event.why) for bot_id, event in events],
    )


def _note(connection: Connection, bot_id: int, event: BotEvent) -> None:
    with _driver_of(connection).cursor() as cursor:
        _save_events(cursor, [(bot_id, event)])


def _driver_of(connection: Connection) -> psycopg.Connection[Any]:
    """psycopg's own connection, for its pipeline."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    return driver


def _markets_of(step: BotStep) -> Iterator[Market]:
    """The markets that a step names."""
    if step.market is None:
        return
    yield step.market
    symbols = {order.symbol for order in step.orders}
    symbols |= {part.symbol for made in step.decisions for part in made.parts}
    for symbol in symbols - {""}:
        yield Market(step.market.exchange, symbol)


def _market_of(step: BotStep, symbol: str) -> tuple[str | None, str | None]:
    """Venue and symbol of something that a step did; None where its bot's stored market is meant."""
    if step.market is None:
        return None, None
    return step.market.exchange, symbol or step.market.symbol


def _said_of(made: DecisionMade) -> list[tuple[str | None, str, float]]:
    """(symbol, action, close) of each signal; the symbol of a bot with one market is its own."""
    if made.parts:
        return [(part.symbol, part.action, part.close) for part in made.parts]
    return [(None, action, made.decision.close) for action in _said(made.decision)]


def _said(decision: Decision) -> list[str]:
    return [action for action in _ACTIONS if getattr(decision, action)]


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _moment(at_us: int | None) -> datetime | None:
    return None if at_us is None else to_datetime(at_us)


def _us(at: datetime | None) -> int | None:
    return None if at is None else to_us(at)


def _wish(row: Mapping[str, Any]) -> Wish:
    return Wish(
        bot_id=row["bot_id"],
        name=row["name"],
        state=BotState(row["state"]),
        desired=BotState(row["desired_state"]),
        flatten=row["flatten"],
        step=row["step"],
        asked_at_us=to_us(row["asked_at"]),
        version=row["version"],
    )


def _record(row: Mapping[str, Any]) -> BotRecord:
    return BotRecord(
        bot_id=row["bot_id"],
        name=row["name"],
        config=row["config"],
        source=row["source"],
        state=BotState(row["state"]),
        desired=BotState(row["desired_state"]),
        flatten=row["flatten"],
        step=row["step"],
        account=None if row["account"] is None else row["account"].encode(),
        strategy_version=row["strategy_version"],
        last_candle_us=_us(row["last_candle_at"]),
        opened_candle_us=_us(row["opened_candle_at"]),
        started_at_us=_us(row["started_at"]),
        health=row["health"],
        version=row["version"],
        applied=row["applied_version"],
        wanted=row["wanted"],
        reads_file=row["from_file"] is not False,
        definition=row["definition"],
    )


def _view(row: Mapping[str, Any]) -> BotView:
    config = row["config"]
    capital = Decimal(config["capital"]) if "capital" in config else Decimal(0)
    summary = None if row["summary"] is None else msgspec.convert(row["summary"], AccountSummary)
    positions = () if summary is None else summary.positions
    held_now = positions if summary is None or summary.position is None else (summary.position,)
    return BotView(
        name=row["name"],
        strategy=row["strategy"],
        strategy_version=row["strategy_version"],
        market=Market(row["exchange"], row["symbol"]) if row["exchange"] else None,
        timeframe=Timeframe.of_seconds(row["timeframe_s"]) if row["timeframe_s"] else None,
        mode=config.get("mode", "paper"),
        state=BotState(row["state"]),
        desired_state=BotState(row["desired_state"]),
        capital=capital,
        equity=capital if summary is None else summary.point.equity,
        cash=capital if summary is None else summary.point.cash,
        position=None if summary is None else summary.position,
        positions=positions,
        symbols=symbols_in(config) if "settings" in config and "symbol" not in config else (),
        realised_pnl=Decimal(0) if summary is None else summary.realised_pnl,
        unrealised_pnl=sum((held.unrealised_pnl for held in held_now), Decimal(0)),
        fees_paid=Decimal(0) if summary is None else summary.fees_paid,
        trades=0 if summary is None else summary.trades,
        wins=0 if summary is None else summary.wins,
        last_candle_us=_us(row["last_candle_at"]),
        last_price=row["last_price"],
        last_signal=row["last_signal"],
        last_signal_us=_us(row["last_signal_at"]),
        health=row["health"],
        created_at_us=to_us(row["created_at"]),
        started_at_us=_us(row["started_at"]),
        updated_at_us=to_us(row["updated_at"]),
    )


def _fill(row: Mapping[str, Any]) -> FillView:
    return FillView(
        bot=row["name"],
        market=Market(row["exchange"], row["symbol"]),
        order_sequence=row["order_sequence"],
        side=Side(row["side"]),
        position_side=PositionSide(row["position_side"]),
        reason=OrderReason(row["reason"]),
        price=row["price"],
        quantity=row["quantity"],
        fee=row["fee"],
        slippage=row["slippage"],
        filled_at_us=to_us(row["filled_at"]),
        ambiguous=row["ambiguous"],
        depth=None if row["depth"] is None else msgspec.convert(row["depth"], DepthUse),
    )


def _order(row: Mapping[str, Any]) -> OrderView:
    return OrderView(
        bot=row["name"],
        market=Market(row["exchange"], row["symbol"]),
        sequence=row["order_sequence"],
        side=Side(row["side"]),
        position_side=PositionSide(row["position_side"]),
        reason=OrderReason(row["reason"]),
        status=OrderStatus(row["status"]),
        decided_at_us=to_us(row["decided_at"]),
        quantity=row["quantity"],
        refusal=row["refusal"],
    )


def _packed(made: DecisionMade) -> bytes:
    """The record as it is stored, with what came of it where anything did."""
    record = made.decision.record
    if made.gate is not Gate.NONE:
        record = {**record, "gate": str(made.gate)}
    if made.orders:
        record = {**record, "orders": made.orders}
    if made.violations:
        record = {**record, "violations": msgspec.to_builtins(made.violations)}
    if made.seen is not None:
        record = {**record, "seen": made.seen}
    return records.pack(record)


def _decision(row: Mapping[str, Any]) -> DecisionView:
    says = row["says"]
    record = records.unpack(row["record"])
    gate, orders = Gate(record.pop("gate", Gate.NONE)), tuple(record.pop("orders", ()))
    violations = msgspec.convert(record.pop("violations", ()), tuple[Violation, ...])
    seen = record.pop("seen", None)
    return DecisionView(
        bot=row["name"],
        strategy_version=row["strategy_version"],
        opened_at_us=to_us(row["opened_at"]),
        close=row["close"],
        long_entry=bool(says & 1),
        long_exit=bool(says & 2),
        short_entry=bool(says & 4),
        short_exit=bool(says & 8),
        outcome=row["outcome"],
        record=record,
        gate=gate,
        orders=orders,
        violations=violations,
        seen=None if seen is None else tuple(seen),
    )
