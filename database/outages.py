"""When a venue, or one market of it, had stopped, as collectors and the venue itself have told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from data.coverage import HALTED, UNREACHABLE, Span, VenueOutage, coverage_of, union_of, without
from data.models import Market
from data.timeframes import Timeframe, floor_to
from database.market_queries import MarketReads, epoch_us, within

_AWAY = frozenset({"unreachable", "reconnecting", "connecting"})
# A shard tells of itself every few seconds; a longer silence is its own and says nothing of the venue.
_SILENT_US = 60_000_000
# Whether something is traded every minute is judged by so long before, and by so much of it at least.
_USUAL_US = Timeframe.H1.us
_LEAST_USUAL_US = 3 * Timeframe.M1.us


def stopped_minutes(
    reads: MarketReads, markets: Sequence[Market], since_us: int
) -> list[tuple[Market, VenueOutage]]:
    """Whole minutes from that time on in which nothing was traded because trading had stopped.

    `markets` are all that are recorded of one venue. They were unreachable together and no trade of any of
    them was told later, or the venue had halted one. Where a venue on which something is traded every minute
    had trades told later, as it mostly trades again before collectors are back, the minutes count in which it
    had none. Only minutes that the ledger covers count: elsewhere a trade may have been missed.
    """
    if not markets:
        return []
    traded = {market: _traded(reads, market, since_us) for market in markets}
    proven = {market: coverage_of(reads.runs(market)).complete for market in markets}
    anything = union_of(span for spans in traded.values() for span in spans)
    unknown = union_of(hole for spans in proven.values() for hole in _holes(spans))
    away = [
        part
        for span in _away(reads, markets[0].exchange, since_us)
        if not any(_lacks(spans, span) for spans in proven.values())
        for part in _quiet_parts(span, anything, unknown)
    ]
    found = []
    for market in markets:
        covered = proven[market]
        for reason, spans in ((UNREACHABLE, away), (HALTED, _halted(reads, market, since_us))):
            for span in spans:
                inside = _common(_whole_minutes(span), covered)
                quiet = [part for each in inside for part in without(each, traded[market])]
                found += [
                    (market, VenueOutage(start_us=start_us, end_us=end_us, reason=reason))
                    for start_us, end_us in quiet
                ]
    return found


def _quiet_parts(span: Span, traded: Sequence[Span], unknown: Sequence[Span]) -> list[Span]:
    """When the venue had stopped while nobody reached it.

    `traded` are the minutes in which any of its markets had trades, `unknown` those that one has lost.
    """
    quiet = without(span, traded)
    if quiet == [span]:
        return quiet
    before_us = floor_to(span[0], Timeframe.M1)
    usual = without((max(before_us - _USUAL_US, traded[0][0]), before_us), unknown)
    if sum(end_us - start_us for start_us, end_us in usual) < _LEAST_USUAL_US:
        return []
    if any(without(part, traded) for part in usual):
        return []  # minutes without any trade are nothing unusual there
    return quiet


def _holes(proven: Sequence[Span]) -> list[Span]:
    return without((proven[0][0], proven[-1][1]), proven) if proven else []


def _lacks(proven: Sequence[Span], span: Span) -> bool:
    """Whether a market recorded before and after that time may have missed trades in it."""
    around = bool(proven) and proven[0][0] < span[0] and proven[-1][1] > span[1]
    return around and bool(without(_whole_minutes(span), proven))


def _traded(reads: MarketReads, market: Market, since_us: int) -> list[Span]:
    """Minutes with trades."""
    built = reads.built_candles(market, Timeframe.M1, since_us, None)
    return union_of((at_us, at_us + Timeframe.M1.us) for at_us in built.ohlcv.opened_at_us.tolist())


def _away(reads: MarketReads, exchange: str, since_us: int) -> list[Span]:
    """When none of the venue's shards could reach it."""
    rows = reads.rows(
        f"SELECT shard, {epoch_us('sent_at')}, state FROM collector_figures f "
        f"WHERE exchange = $1 AND {within('f.sent_at', since_us, None)[0]} ORDER BY shard, f.sent_at",
        (exchange,),
    )
    by_shard: dict[str, list[tuple[int, bool]]] = {}
    for row in rows:
        by_shard.setdefault(row["shard"], []).append((row["sent_at"], row["state"] in _AWAY))
    spans: list[Span] | None = None
    for words in by_shard.values():
        own = union_of(
            (at_us, next_us)
            for (at_us, is_away), (next_us, _) in pairwise(words)
            if is_away and next_us - at_us <= _SILENT_US
        )
        spans = own if spans is None else [part for span in spans for part in _common(span, own)]
    # A minute or less is in no state of its own.
    return [span for span in spans or [] if _whole_minutes(span)[0] < _whole_minutes(span)[1]]


def _halted(reads: MarketReads, market: Market, since_us: int) -> list[Span]:
    """From each halt that the venue told until trading was resumed; a halt that lasts has no end yet."""
    rows = reads.rows(
        f"SELECT {epoch_us('at')}, kind FROM market_events e WHERE {reads.of(market)} "
        "AND kind IN ('halted', 'resumed') ORDER BY e.at"
    )
    spans = []
    since: int | None = None
    for row in rows:
        if row["kind"] == "halted":
            since = row["at"] if since is None else since
        elif since is not None:
            if row["at"] > since_us:
                spans.append((max(since, since_us), row["at"]))
            since = None
    return spans


def _whole_minutes(span: Span) -> Span:
    return -floor_to(-span[0], Timeframe.M1), floor_to(span[1], Timeframe.M1)


def _common(span: Span, others: Iterable[Span]) -> list[Span]:
    """The parts of `span` that the others have, ascending."""
    return union_of((max(span[0], start_us), min(span[1], end_us)) for start_us, end_us in others)
