"""Versions of instruments and the events of markets in their tables, inside a caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from data.models import (
    Instrument,
    InstrumentKind,
    InstrumentStatus,
    InstrumentVersion,
    Market,
    MarketEvent,
    MarketEventKind,
)
from data.timeframes import to_datetime, to_us
from database.binary_arrays import integers, times

_COLUMNS = (
    "venue_symbol, kind, base, quote, tick_size, lot_size, min_quantity, min_notional, contract_size, status"
)
_RULES = ("tick_size", "lot_size", "min_quantity", "min_notional", "contract_size", "venue_symbol", "kind")
_NEW_STATUS = {
    InstrumentStatus.TRADING: (MarketEventKind.RESUMED, "trading again"),
    InstrumentStatus.HALTED: (MarketEventKind.HALTED, "the venue has halted it"),
    InstrumentStatus.DELISTED: (MarketEventKind.DELISTED, "the venue has delisted it"),
}


async def keep_versions(
    connection: AsyncConnection, versions: Sequence[InstrumentVersion], ids: Mapping[Market, int]
) -> list[MarketEvent]:
    """Store each version that differs from the newest stored one; the events that this makes.

    A version that claims to be older than the newest begins right behind it: clocks may go back, rules not.
    """
    if not versions:
        return []
    # The lock keeps a second writer from storing the same version at once.
    await connection.exec_driver_sql(
        "SELECT FROM markets WHERE market_id = ANY(%b) ORDER BY market_id FOR NO KEY UPDATE",
        (integers(sorted({ids[version.instrument.market] for version in versions})),),
    )
    newest = await _newest(connection, {version.instrument.market for version in versions}, ids)
    fresh: list[InstrumentVersion] = []
    events: list[MarketEvent] = []
    for version in sorted(versions, key=lambda version: version.valid_from_us):
        market = version.instrument.market
        before = newest.get(market)
        if before is not None and before.instrument == version.instrument:
            continue
        if before is not None and version.valid_from_us <= before.valid_from_us:
            version = InstrumentVersion(instrument=version.instrument, valid_from_us=before.valid_from_us + 1)
        newest[market] = version
        fresh.append(version)
        events += _events(None if before is None else before.instrument, version)
    await _insert(connection, fresh, ids)
    return events


async def save_events(
    connection: AsyncConnection, events: Sequence[MarketEvent], ids: Mapping[Market, int]
) -> None:
    """Store the events; one of the same market, kind and time stands already and stays."""
    if not events:
        return
    await connection.exec_driver_sql(
        """
        INSERT INTO market_events (market_id, at, kind, detail)
        SELECT * FROM unnest(%b::integer[], %b::timestamptz[], %s::text[], %s::text[])
        ON CONFLICT DO NOTHING
        """,
        (
            integers([ids[event.market] for event in events]),
            times([event.at_us for event in events]),
            [event.kind.value for event in events],
            [event.detail for event in events],
        ),
    )


def instrument_of(market: Market, row: Mapping[str, Any]) -> Instrument:
    """A row of the table as a value."""
    return Instrument(
        exchange=market.exchange,
        symbol=market.symbol,
        venue_symbol=row["venue_symbol"],
        kind=InstrumentKind(row["kind"]),
        base=row["base"],
        quote=row["quote"],
        tick_size=row["tick_size"],
        lot_size=row["lot_size"],
        min_quantity=row["min_quantity"],
        min_notional=row["min_notional"],
        contract_size=row["contract_size"],
        status=InstrumentStatus(row["status"]),
    )


async def _newest(
    connection: AsyncConnection, markets: set[Market], ids: Mapping[Market, int]
) -> dict[Market, InstrumentVersion]:
    by_id = {ids[market]: market for market in markets}
    rows = await connection.exec_driver_sql(
        f"SELECT DISTINCT ON (market_id) market_id, valid_from, {_COLUMNS} FROM instruments "
        "WHERE market_id = ANY(%b) ORDER BY market_id, valid_from DESC",
        (integers(sorted(by_id)),),
    )
    return {
        by_id[row["market_id"]]: InstrumentVersion(
            instrument=instrument_of(by_id[row["market_id"]], dict(row)),
            valid_from_us=to_us(row["valid_from"]),
        )
        for row in rows.mappings()
    }


async def _insert(
    connection: AsyncConnection, versions: Sequence[InstrumentVersion], ids: Mapping[Market, int]
) -> None:
    for version in versions:
        instrument = version.instrument
        await connection.exec_driver_sql(
            f"INSERT INTO instruments (market_id, valid_from, {_COLUMNS}) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            (
                ids[instrument.market],
                to_datetime(version.valid_from_us),
                instrument.venue_symbol,
                instrument.kind.value,
                instrument.base,
                instrument.quote,
                instrument.tick_size,
                instrument.lot_size,
                instrument.min_quantity,
                instrument.min_notional,
                instrument.contract_size,
                instrument.status.value,
            ),
        )


def _events(before: Instrument | None, version: InstrumentVersion) -> list[MarketEvent]:
    now, at_us = version.instrument, version.valid_from_us
    events = []
    if before is None:
        events.append((MarketEventKind.LISTED, "first seen"))
    if (before is None and now.status is not InstrumentStatus.TRADING) or (
        before is not None and before.status is not now.status
    ):
        events.append(_NEW_STATUS[now.status])
    if before is not None:
        changes = [
            f"{name.replace('_', ' ')} {getattr(before, name)} is now {getattr(now, name)}"
            for name in _RULES
            if getattr(before, name) != getattr(now, name)
        ]
        if changes:
            events.append((MarketEventKind.RULES_CHANGED, "; ".join(changes)))
    return [MarketEvent(market=now.market, kind=kind, at_us=at_us, detail=detail) for kind, detail in events]
