"""What is known of markets beside trades and candles: rules, quotes, books, events, feeds; blocking."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from data.candles import BuiltCandles
from data.messages import CollectorHealth
from data.models import (
    BookSnapshot,
    FeedState,
    FundingRate,
    Instrument,
    InstrumentVersion,
    Market,
    MarketEvent,
    MarketEventKind,
    MarkPrice,
    Quote,
    Trade,
)
from data.timeframes import Timeframe
from database import book_queries
from database.funding_queries import funding_between
from database.health_columns import HEALTH_COLUMNS, health_of
from database.market_queries import MarketReads, epoch_us, within

_FEEDS = (
    "exchange, symbol, stale, coalesce((extract(epoch FROM last_trade_at) * 1000000)::bigint, 0) "
    f"AS last_trade_at, usual_pause_s, detail, {epoch_us('since')}"
)
_HEALTH = ", ".join(epoch_us(name) if name == "sent_at" else name for name in HEALTH_COLUMNS)


class MarketFactsRepository:
    """Satisfies `data.stores.InstrumentHistory`. Thread-safe.

    Every read raises TransientError while the database is away; what was never stored reads as empty.
    """

    def __init__(self, url: str) -> None:
        self._reads = MarketReads(url)

    def close(self) -> None:
        self._reads.close()

    def instrument_at(self, market: Market, at_us: int) -> Instrument | None:
        """The version in force at that time; the oldest known one for times before it; None if unknown."""
        return self._reads.instrument_at(market, at_us)

    def instrument_versions(self, market: Market) -> list[InstrumentVersion]:
        """Every version, the oldest first."""
        return self._reads.instrument_versions(market)

    def known_markets(self) -> list[Market]:
        """Every market whose rules are known, in order of name."""
        rows = self._reads.rows(
            "SELECT exchange, symbol FROM markets m "
            "WHERE EXISTS (SELECT FROM instruments i WHERE i.market_id = m.market_id) "
            'ORDER BY exchange COLLATE "C", symbol COLLATE "C"'
        )
        return [Market(row["exchange"], row["symbol"]) for row in rows]

    def newest_trades(self, market: Market, limit: int) -> list[Trade]:
        """The last `limit` stored trades, in id order."""
        return self._reads.newest_trades(market, limit).trades(market)

    def latest_quote(self, market: Market) -> Quote | None:
        """The newest stored best bid and ask, or None."""
        quotes = self._quotes(market, "ORDER BY q.at DESC LIMIT 1")
        return quotes[0] if quotes else None

    def quotes(self, market: Market, start_us: int, end_us: int) -> list[Quote]:
        """Stored quotes of `[start_us, end_us)`, ascending: at most about one a second."""
        return self._quotes(market, f"AND {_between('q.at', start_us, end_us)} ORDER BY q.at")

    def latest_book(self, market: Market) -> BookSnapshot | None:
        """The newest stored levels, or None."""
        return book_queries.latest_book(self._reads, market)

    def latest_mark(self, market: Market) -> MarkPrice | None:
        """The newest stored mark price, or None."""
        rows = self._reads.rows(
            f"SELECT {epoch_us('at')}, mark_price, index_price FROM mark_prices "
            f"WHERE {self._reads.of(market)} ORDER BY mark_prices.at DESC LIMIT 1"
        )
        if not rows:
            return None
        return MarkPrice(
            exchange=market.exchange,
            symbol=market.symbol,
            at_us=rows[0]["at"],
            mark_price=rows[0]["mark_price"],
            index_price=rows[0]["index_price"],
        )

    def funding(self, market: Market, start_us: int, end_us: int) -> list[FundingRate]:
        """Funding that is paid in `[start_us, end_us)`, ascending; the last may be expected only."""
        return funding_between(self._reads, market, start_us, end_us)

    def venue_candles(
        self, market: Market, timeframe: Timeframe, start_us: int | None = None, end_us: int | None = None
    ) -> BuiltCandles:
        """The venue's own candles as its stream told them, kept for comparing; ascending."""
        return self._reads.venue_candles(market, timeframe, start_us, end_us)

    def events(
        self,
        market: Market | None = None,
        *,
        start_us: int | None = None,
        end_us: int | None = None,
        limit: int = 100,
    ) -> list[MarketEvent]:
        """What happened to markets as a whole in `[start_us, end_us)`, the newest first."""
        where = ["true" if market is None else self._reads.of(market), *within("e.at", start_us, end_us)]
        rows = self._reads.rows(
            f"SELECT exchange, symbol, {epoch_us('at')}, kind, detail "
            f"FROM market_events e JOIN markets USING (market_id) WHERE {' AND '.join(where)} "
            f"ORDER BY e.at DESC, exchange, symbol LIMIT {max(limit, 0):d}"
        )
        return [
            MarketEvent(
                market=Market(row["exchange"], row["symbol"]),
                kind=MarketEventKind(row["kind"]),
                at_us=row["at"],
                detail=row["detail"],
            )
            for row in rows
        ]

    def feeds(self) -> list[FeedState]:
        """The newest state of every market's feed, in order of name."""
        return _feeds(
            self._reads.rows(f"SELECT {_FEEDS} FROM feeds JOIN markets USING (market_id) ORDER BY 1, 2")
        )

    def feed_changes(self, market: Market, start_us: int, end_us: int) -> list[FeedState]:
        """The states that began in `[start_us, end_us)`, ascending."""
        return _feeds(
            self._reads.rows(
                f"SELECT {_FEEDS} FROM feed_changes JOIN markets USING (market_id) "
                f"WHERE {self._reads.of(market)} AND {_between('since', start_us, end_us)} "
                "ORDER BY feed_changes.since"
            )
        )

    def health(self) -> list[CollectorHealth]:
        """The newest word of every shard that ever told one, in order of name."""
        rows = self._reads.rows(f"SELECT {_HEALTH} FROM collector_health ORDER BY shard")
        return [health_of(row) for row in rows]

    def health_history(self, shard: str, start_us: int, end_us: int) -> list[CollectorHealth]:
        """A shard's words of `[start_us, end_us)`, ascending; `shard` as `health` names it."""
        rows = self._reads.rows(
            f"SELECT {_HEALTH} FROM collector_figures WHERE shard = $1 "
            f"AND {_between('sent_at', start_us, end_us)} ORDER BY collector_figures.sent_at",
            (shard,),
        )
        return [health_of(row) for row in rows]

    def _quotes(self, market: Market, rest: str) -> list[Quote]:
        rows = self._reads.rows(
            f"SELECT {epoch_us('q.at')}, bid_price, bid_quantity, ask_price, ask_quantity FROM quotes q "
            f"WHERE {self._reads.of(market)} {rest}"
        )
        return [
            Quote(
                exchange=market.exchange,
                symbol=market.symbol,
                at_us=row["at"],
                bid_price=row["bid_price"],
                bid_quantity=row["bid_quantity"],
                ask_price=row["ask_price"],
                ask_quantity=row["ask_quantity"],
            )
            for row in rows
        ]


def _between(column: str, start_us: int, end_us: int) -> str:
    return " AND ".join(within(column, start_us, end_us))


def _feeds(rows: Sequence[dict[str, Any]]) -> list[FeedState]:
    return [
        FeedState(
            market=Market(row["exchange"], row["symbol"]),
            stale=row["stale"],
            since_us=row["since"],
            last_trade_at_us=row["last_trade_at"],
            usual_pause_s=row["usual_pause_s"],
            detail=row["detail"],
        )
        for row in rows
    ]
