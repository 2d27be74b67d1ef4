"""Stored funding rates of perpetuals."""

from __future__ import annotations

from data.models import FundingRate, Market
from database.market_queries import MarketReads, epoch_us, within


def funding_between(reads: MarketReads, market: Market, start_us: int, end_us: int) -> list[FundingRate]:
    """Funding that is paid in `[start_us, end_us)`, ascending; the last may be expected only."""
    bounds = " AND ".join(within("funding_at", start_us, end_us))
    rows = reads.rows(
        f"SELECT {epoch_us('funding_at')}, rate, settled, {epoch_us('seen_at')} FROM funding_rates "
        f"WHERE {reads.of(market)} AND {bounds} ORDER BY 1"
    )
    return [
        FundingRate(
            exchange=market.exchange,
            symbol=market.symbol,
            funding_at_us=row["funding_at"],
            rate=row["rate"],
            settled=row["settled"],
            seen_at_us=row["seen_at"],
        )
        for row in rows
    ]
