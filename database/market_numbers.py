"""The numbers by which tables name markets."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy.ext.asyncio import AsyncEngine

from data.models import Market


class MarketNumbers:
    """Looks up markets' numbers, gives new markets new ones, and remembers them; asyncio."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._ids: dict[Market, int] = {}

    async def of(self, markets: Collection[Market]) -> dict[Market, int]:
        """The number of each market. Raises what the driver raises."""
        unknown = [market for market in markets if market not in self._ids]
        if unknown:
            columns = ([market.exchange for market in unknown], [market.symbol for market in unknown])
            # Only what is absent is inserted: a number is used up even by an insert that conflicts.
            async with self._engine.begin() as connection:
                await connection.exec_driver_sql(
                    """
                    INSERT INTO markets (exchange, symbol)
                    SELECT new.exchange, new.symbol
                    FROM unnest(%s::text[], %s::text[]) AS new (exchange, symbol)
                    WHERE NOT EXISTS (
                        SELECT FROM markets m WHERE m.exchange = new.exchange AND m.symbol = new.symbol
                    )
                    ON CONFLICT DO NOTHING
                    """,
                    columns,
                )
                rows = await connection.exec_driver_sql(
                    """
                    SELECT exchange, symbol, market_id
                    FROM markets JOIN unnest(%s::text[], %s::text[]) AS wanted (exchange, symbol)
                        USING (exchange, symbol)
                    """,
                    columns,
                )
                found = {Market(row["exchange"], row["symbol"]): row["market_id"] for row in rows.mappings()}
            # Kept only after the commit: a number that was rolled back may come to name another market.
            self._ids |= found
        return {market: self._ids[market] for market in markets}
