"""Where collectors put what is not trades: other channels, instruments, events, telemetry; asyncio."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from data.messages import CollectorHealth
from data.models import (
    BookSnapshot,
    Candle,
    FeedState,
    FundingRate,
    InstrumentVersion,
    Market,
    MarketEvent,
    MarkPrice,
    Quote,
)
from data.stores import ChannelBatch
from data.timeframes import to_datetime
from database.binary_arrays import doubles, integers, times
from database.engine import async_engine, database_errors
from database.health_columns import HEALTH_COLUMNS, health_row
from database.instrument_writes import keep_versions, save_events
from database.market_numbers import MarketNumbers
from database.market_queries import epoch_us

_Observed = Candle | Quote | BookSnapshot | FundingRate | MarkPrice
_Ids = dict[Market, int]


class ChannelRepository:
    """Satisfies `data.stores.ChannelWriter` and `FundingTimesReader`. All of it is harmless to repeat.

    Like the store of trades, commits do not wait for the disk.
    """

    def __init__(self, url: str, *, application_name: str = "candlewick channels") -> None:
        self._url = url
        self._engine = async_engine(
            url, application_name=application_name, pool_size=2, synchronous_commit=False
        )
        self._numbers = MarketNumbers(self._engine)

    async def close(self) -> None:
        await self._engine.dispose()

    async def save_channels(self, batch: ChannelBatch) -> None:
        """Store the batch in one transaction; a row that stands already is replaced.

        A funding rate that was settled is never replaced by an expected one, nor by an older word.
        """
        observed: tuple[_Observed, ...]
        observed = (*batch.venue_candles, *batch.quotes, *batch.books, *batch.funding, *batch.marks)
        if not observed:
            return
        with database_errors(self._url):
            ids = await self._numbers.of({_market_of(item) for item in observed})
            async with self._engine.begin() as connection:
                await _save_candles(connection, batch.venue_candles, ids)
                await _save_quotes(connection, batch.quotes, ids)
                await _save_books(connection, batch.books, ids)
                await _save_funding(connection, batch.funding, ids)
                await _save_marks(connection, batch.marks, ids)

    async def funding_times(self, market: Market, since_us: int) -> dict[int, bool]:
        """When funding is paid, of what is stored from `since_us` on, and whether it is settled."""
        with database_errors(self._url):
            async with self._engine.connect() as connection:
                rows = await connection.exec_driver_sql(
                    f"SELECT {epoch_us('funding_at')}, settled FROM funding_rates JOIN markets "
                    "USING (market_id) WHERE exchange = %s AND symbol = %s AND funding_at >= %s",
                    (market.exchange, market.symbol, to_datetime(since_us)),
                )
                return {row.funding_at: row.settled for row in rows}

    async def save_instrument_versions(self, versions: Sequence[InstrumentVersion]) -> list[MarketEvent]:
        """Keep each version that differs from the newest kept one, and the events that makes.

        Returns the events: a market's first version, another status, other rules.
        """
        if not versions:
            return []
        with database_errors(self._url):
            ids = await self._numbers.of({version.instrument.market for version in versions})
            async with self._engine.begin() as connection:
                events = await keep_versions(connection, versions, ids)
                await save_events(connection, events, ids)
            return events

    async def save_events(self, events: Sequence[MarketEvent]) -> None:
        """Store the events; one of the same market, kind and time stands already and stays."""
        if not events:
            return
        with database_errors(self._url):
            ids = await self._numbers.of({event.market for event in events})
            async with self._engine.begin() as connection:
                await save_events(connection, events, ids)

    async def save_feeds(self, feeds: Sequence[FeedState]) -> None:
        """Keep the newest state of each market's feed, and a history of its changes."""
        newest = {feed.market: feed for feed in sorted(feeds, key=lambda feed: feed.since_us)}
        if not newest:
            return
        with database_errors(self._url):
            ids = await self._numbers.of(newest)
            async with self._engine.begin() as connection:
                await _save_feeds(connection, list(newest.values()), ids)

    async def save_health(self, health: CollectorHealth) -> None:
        """Keep the newest word of a shard, and its figures over time."""
        names = ", ".join(HEALTH_COLUMNS)
        places = ", ".join(["%s"] * len(HEALTH_COLUMNS))
        updates = ", ".join(f"{name} = excluded.{name}" for name in HEALTH_COLUMNS)
        row = health_row(health)
        with database_errors(self._url):
            async with self._engine.begin() as connection:
                await connection.exec_driver_sql(
                    f"INSERT INTO collector_figures ({names}) VALUES ({places}) ON CONFLICT DO NOTHING", row
                )
                await connection.exec_driver_sql(
                    f"INSERT INTO collector_health AS old ({names}) VALUES ({places}) "
                    f"ON CONFLICT (shard) DO UPDATE SET {updates} WHERE old.sent_at <= excluded.sent_at",
                    row,
                )


def _market_of(item: _Observed) -> Market:
    return Market(item.exchange, item.symbol)


def _numbers(items: Collection[_Observed], ids: _Ids) -> list[int]:
    return [ids[_market_of(item)] for item in items]


# One statement may write a row only once: of two values for the same key the later one stands.


async def _save_candles(connection: AsyncConnection, candles: Sequence[Candle], ids: _Ids) -> None:
    rows = {(_market_of(row), row.timeframe, row.opened_at_us): row for row in candles}.values()
    if not rows:
        return
    await connection.exec_driver_sql(
        """
        INSERT INTO venue_candles
            (market_id, timeframe_s, opened_at, open, high, low, close, volume, trades)
        SELECT * FROM unnest(%b::integer[], %b::integer[], %b::timestamptz[], %b::float8[], %b::float8[],
            %b::float8[], %b::float8[], %b::float8[], %b::integer[])
        ON CONFLICT (market_id, timeframe_s, opened_at) DO UPDATE SET
            open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close,
            volume = excluded.volume, trades = excluded.trades
        """,
        (
            integers(_numbers(rows, ids)),
            integers([row.timeframe.seconds for row in rows]),
            times([row.opened_at_us for row in rows]),
            doubles([row.open for row in rows]),
            doubles([row.high for row in rows]),
            doubles([row.low for row in rows]),
            doubles([row.close for row in rows]),
            doubles([row.volume for row in rows]),
            integers([row.trades for row in rows]),
        ),
    )


async def _save_quotes(connection: AsyncConnection, quotes: Sequence[Quote], ids: _Ids) -> None:
    rows = {(_market_of(row), row.at_us): row for row in quotes}.values()
    if not rows:
        return
    await connection.exec_driver_sql(
        """
        INSERT INTO quotes (market_id, at, bid_price, bid_quantity, ask_price, ask_quantity)
        SELECT * FROM unnest(%b::integer[], %b::timestamptz[], %b::float8[], %b::float8[], %b::float8[],
            %b::float8[])
        ON CONFLICT (market_id, at) DO UPDATE SET
            bid_price = excluded.bid_price, bid_quantity = excluded.bid_quantity,
            ask_price = excluded.ask_price, ask_quantity = excluded.ask_quantity
        """,
        (
            integers(_numbers(rows, ids)),
            times([row.at_us for row in rows]),
            doubles([row.bid_price for row in rows]),
            doubles([row.bid_quantity for row in rows]),
            doubles([row.ask_price for row in rows]),
            doubles([row.ask_quantity for row in rows]),
        ),
    )


async def _save_books(connection: AsyncConnection, books: Sequence[BookSnapshot], ids: _Ids) -> None:
    rows = {(_market_of(row), row.at_us): row for row in books}.values()
    if not rows:
        return
    # Sides differ in length, so each crosses as the text of an array: doubles keep their last bit in it.
    await connection.exec_driver_sql(
        """
        INSERT INTO books (market_id, at, bid_prices, bid_quantities, ask_prices, ask_quantities)
        SELECT market_id, at, bid_prices::float8[], bid_quantities::float8[], ask_prices::float8[],
            ask_quantities::float8[]
        FROM unnest(%b::integer[], %b::timestamptz[], %s::text[], %s::text[], %s::text[], %s::text[])
            AS new (market_id, at, bid_prices, bid_quantities, ask_prices, ask_quantities)
        ON CONFLICT (market_id, at) DO UPDATE SET
            bid_prices = excluded.bid_prices, bid_quantities = excluded.bid_quantities,
            ask_prices = excluded.ask_prices, ask_quantities = excluded.ask_quantities
        """,
        (
            integers(_numbers(rows, ids)),
            times([row.at_us for row in rows]),
            [_array([level.price for level in row.bids]) for row in rows],
            [_array([level.quantity for level in row.bids]) for row in rows],
            [_array([level.price for level in row.asks]) for row in rows],
            [_array([level.quantity for level in row.asks]) for row in rows],
        ),
    )


def _array(values: Sequence[float]) -> str:
    return "{" + ",".join(map(repr, map(float, values))) + "}"


async def _save_funding(connection: AsyncConnection, funding: Sequence[FundingRate], ids: _Ids) -> None:
    rows = {
        (_market_of(row), row.funding_at_us): row
        for row in sorted(funding, key=lambda row: (row.settled, row.seen_at_us))
    }.values()
    if not rows:
        return
    await connection.exec_driver_sql(
        """
        INSERT INTO funding_rates AS old (market_id, funding_at, rate, settled, seen_at)
        SELECT market_id, funding_at, rate, settled = 1, seen_at
        FROM unnest(%b::integer[], %b::timestamptz[], %b::float8[], %b::integer[], %b::timestamptz[])
            AS new (market_id, funding_at, rate, settled, seen_at)
        ON CONFLICT (market_id, funding_at) DO UPDATE SET
            rate = excluded.rate, settled = excluded.settled, seen_at = excluded.seen_at
        WHERE excluded.settled OR (NOT old.settled AND old.seen_at <= excluded.seen_at)
        """,
        (
            integers(_numbers(rows, ids)),
            times([row.funding_at_us for row in rows]),
            doubles([row.rate for row in rows]),
            integers([int(row.settled) for row in rows]),
            times([row.seen_at_us for row in rows]),
        ),
    )


async def _save_marks(connection: AsyncConnection, marks: Sequence[MarkPrice], ids: _Ids) -> None:
    rows = {(_market_of(row), row.at_us): row for row in marks}.values()
    if not rows:
        return
    await connection.exec_driver_sql(
        """
        INSERT INTO mark_prices (market_id, at, mark_price, index_price)
        SELECT * FROM unnest(%b::integer[], %b::timestamptz[], %b::float8[], %b::float8[])
        ON CONFLICT (market_id, at) DO UPDATE SET
            mark_price = excluded.mark_price, index_price = excluded.index_price
        """,
        (
            integers(_numbers(rows, ids)),
            times([row.at_us for row in rows]),
            doubles([row.mark_price for row in rows]),
            doubles([row.index_price for row in rows]),
        ),
    )


async def _save_feeds(connection: AsyncConnection, feeds: Sequence[FeedState], ids: _Ids) -> None:
    columns = (
        integers([ids[feed.market] for feed in feeds]),
        times([feed.since_us for feed in feeds]),
        [feed.stale for feed in feeds],
        [to_datetime(feed.last_trade_at_us) if feed.last_trade_at_us else None for feed in feeds],
        doubles([feed.usual_pause_s for feed in feeds]),
        [feed.detail for feed in feeds],
    )
    new = """
        SELECT * FROM unnest(%b::integer[], %b::timestamptz[], %s::boolean[], %s::timestamptz[],
            %b::float8[], %s::text[]) AS new (market_id, since, stale, last_trade_at, usual_pause_s, detail)
    """
    # A change is a state that begins at a time of its own; what is repeated while it lasts is none.
    await connection.exec_driver_sql(
        "INSERT INTO feed_changes (market_id, since, stale, last_trade_at, usual_pause_s, detail)"
        f"{new} ON CONFLICT DO NOTHING",
        columns,
    )
    await connection.exec_driver_sql(
        f"""
        INSERT INTO feeds AS old (market_id, since, stale, last_trade_at, usual_pause_s, detail)
        {new}
        ON CONFLICT (market_id) DO UPDATE SET
            since = excluded.since, stale = excluded.stale, last_trade_at = excluded.last_trade_at,
            usual_pause_s = excluded.usual_pause_s, detail = excluded.detail
        WHERE old.since <= excluded.since
        """,
        columns,
    )
