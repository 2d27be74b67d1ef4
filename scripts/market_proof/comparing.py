"""What is stored against what happened: trades, candles and the state of every minute."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from data.models import Market
from data.timeframes import Timeframe
from scripts.market_proof.desk import MARKETS, Desk, tell

_VOLUME_TOLERANCE = 1e-9  # relative: sums of doubles depend on their order
_MINUTE_MS = 60_000
_SHOWN = 5
# While a symbol is unknown the collectors ask at least so often which markets are halted.
_HALT_KNOWN_MS = 40_000
_UNBUILT_S = 60.0
_UNBUILT = """
    SELECT 1 FROM trade_repairs
        JOIN (SELECT market_id, max(last_at) AS last_at FROM trade_runs GROUP BY 1) AS known USING (market_id)
    WHERE repaired_at IS NOT NULL AND coalesce(candles_until, '-infinity')
        < least(to_timestamp(%s), known.last_at, end_at + INTERVAL '7 days')
"""

IdRange = tuple[int, int]  # both ends included
Row = tuple[int, float, float, int]  # ms, price, quantity, taker side


@dataclass(slots=True)
class Expectations:
    """What a run of the proof did to the venue and to the store, and so what coverage should say."""

    journalled: dict[Market, list[IdRange]] = field(
        default_factory=dict
    )  # the venue forgot them after they came
    halts: list[tuple[Market, int, int]] = field(default_factory=list)  # in ms, told by the venue
    outages: list[tuple[str, int, int]] = field(
        default_factory=list
    )  # a venue away and nothing traded, in ms
    deleted: dict[Market, set[int]] = field(default_factory=dict)

    def forgotten(self, market: Market, trade_id: int) -> bool:
        """Whether the venue gave the trade to nobody but those who were listening."""
        return any(first <= trade_id <= last for first, last in self.journalled.get(market, ()))


@dataclass(slots=True)
class Comparison:
    """Figures of one comparison; nothing differs where `problems` is empty."""

    trades: dict[Market, int] = field(default_factory=dict)
    lost: dict[Market, int] = field(default_factory=dict)  # the venue tells them to nobody
    candles: Counter[str] = field(default_factory=Counter)  # by time frame
    minutes: Counter[str] = field(default_factory=Counter)  # by state, all markets together
    reasons: Counter[str] = field(default_factory=Counter)
    trade_differences: int = 0
    candle_differences: int = 0
    minute_differences: int = 0
    problems: list[str] = field(default_factory=list)

    def trouble(self, sentence: str) -> None:
        if len(self.problems) < 40:
            self.problems.append(sentence)


def compare(desk: Desk, expected: Expectations) -> Comparison:
    """Compare every recorded market with the venue's truth, from its first stored trade to now."""
    result = Comparison()
    cutoff_ms = int(desk.state()["clock_ms"]["okx"]) - 6_000
    desk.wait(
        "candles that were in the making during a repair",
        lambda: not desk.rows(_UNBUILT, cutoff_ms / 1_000),
        _UNBUILT_S,
    )
    coverage = {row["market"]: row for row in desk.candlewick("data", "coverage")["markets"]}
    lost = _lost_ranges(desk, expected)
    for market in MARKETS:
        stored = _stored(desk, market, cutoff_ms)
        if not stored:
            result.trouble(f"{market}: no trade is stored")
            continue
        rows = desk.truth("trades", market, from_id=min(stored), end=cutoff_ms)
        truth = {
            int(row["id"]): (
                int(row["time"]),
                float(row["price"]),
                float(row["base_qty"]),
                1 if row["side"] == "buy" else -1,
            )
            for row in rows
        }
        gone = {
            trade_id
            for first, last in lost[market]
            for trade_id in range(max(first, min(truth)), last + 1)
            if trade_id in truth
        }
        known = {trade_id: row for trade_id, row in truth.items() if trade_id not in gone}
        _compare_trades(result, market, stored, known)
        result.trades[market], result.lost[market] = len(known), len(gone)
        times = {trade_id: row[0] for trade_id, row in truth.items()}
        _compare_candles(result, desk, market, times, gone, cutoff_ms)
        _compare_minutes(result, market, coverage[str(market)], times, gone, expected)
        tell(f"{market} compared: {len(known)} trades, {len(result.problems)} problems so far")
    return result


def _lost_ranges(desk: Desk, expected: Expectations) -> dict[Market, list[IdRange]]:
    """Ids that the venue gave to nobody, from its own word."""
    lost: dict[Market, list[IdRange]] = {market: [] for market in MARKETS}
    for gap in desk.state()["withheld"]:
        market = Market(gap["exchange"], gap["symbol"])
        if gap["permanent"] and market in lost and not expected.forgotten(market, gap["from_id"]):
            lost[market].append((gap["from_id"], gap["to_id"]))
    return lost


def _stored(desk: Desk, market: Market, cutoff_ms: int) -> dict[int, list[Row]]:
    found = desk.rows(
        "SELECT trade_id, (extract(epoch FROM traded_at) * 1000)::bigint, price, quantity, taker_side "
        "FROM trades JOIN markets USING (market_id) WHERE exchange = %s AND symbol = %s "
        "AND traded_at < to_timestamp(%s)",
        market.exchange,
        market.symbol,
        cutoff_ms / 1_000,
    )
    stored: dict[int, list[Row]] = {}
    for trade_id, *row in found:
        stored.setdefault(trade_id, []).append((row[0], row[1], row[2], row[3]))
    return stored


def _compare_trades(
    result: Comparison, market: Market, stored: Mapping[int, Sequence[Row]], truth: Mapping[int, Row]
) -> None:
    absent = sorted(truth.keys() - stored.keys())
    invented = sorted(stored.keys() - truth.keys())
    unlike = sorted(
        trade_id for trade_id in truth.keys() & stored.keys() if list(stored[trade_id]) != [truth[trade_id]]
    )
    result.trade_differences += len(absent) + len(invented) + len(unlike)
    for kind, ids in (("absent", absent), ("never happened", invented), ("other than it was", unlike)):
        if ids:
            result.trouble(f"{market}: {len(ids)} trades {kind}: {ids[:_SHOWN]}")


def _spans(times: Mapping[int, int], gone: set[int]) -> list[tuple[int, int]]:
    """First and last time of each stretch of ids without a hole, in ms."""
    spans = []
    for is_gone, ids in itertools.groupby(sorted(times), key=lambda trade_id: trade_id in gone):
        members = list(ids)
        if not is_gone:
            spans.append((times[members[0]], times[members[-1]]))
    return spans


def _compare_candles(
    result: Comparison, desk: Desk, market: Market, times: Mapping[int, int], gone: set[int], cutoff_ms: int
) -> None:
    spans = _spans(times, gone)
    for timeframe in Timeframe:
        width_ms = timeframe.us // 1_000
        table = "second_candles" if timeframe is Timeframe.S1 else "candles"
        found = desk.rows(
            "SELECT (extract(epoch FROM opened_at) * 1000)::bigint, open, high, low, close, volume, trades "
            f"FROM {table} JOIN markets USING (market_id) WHERE exchange = %s AND symbol = %s "
            "AND timeframe_s = %s AND NOT from_venue AND opened_at < to_timestamp(%s)",
            market.exchange,
            market.symbol,
            width_ms // 1_000,
            (cutoff_ms - width_ms) / 1_000,
        )
        start_ms, end_ms = spans[0][0], spans[-1][1]
        # What ends after the last trade may be closed already or not yet.
        stored = {row[0]: row[1:] for row in found if row[0] + width_ms <= end_ms}
        truth = {
            row["opened_at"]: row
            for row in desk.truth("candles", market, timeframe=timeframe.value, start=start_ms, end=cutoff_ms)
            if row["opened_at"] < cutoff_ms - width_ms
            and any(first < row["opened_at"] and row["opened_at"] + width_ms <= last for first, last in spans)
        }
        result.candles[timeframe.value] += len(truth)
        for opened_ms in sorted(truth.keys() ^ stored.keys()):
            result.candle_differences += 1
            kind = "absent" if opened_ms in truth else "made of trades that are not all there"
            result.trouble(f"{market}: {timeframe.value} candle of {opened_ms} {kind}")
        for opened_ms in truth.keys() & stored.keys():
            row, ours = truth[opened_ms], stored[opened_ms]
            prices = tuple(float(row[name]) for name in ("open", "high", "low", "close"))
            volume = math.isclose(float(row["base_volume"]), ours[4], rel_tol=_VOLUME_TOLERANCE)
            if ours[:4] != prices or not volume or ours[5] != row["trades"]:
                result.candle_differences += 1
                result.trouble(f"{market}: {timeframe.value} candle of {opened_ms}: {ours} is not {row}")


def _compare_minutes(
    result: Comparison,
    market: Market,
    coverage: Mapping[str, object],
    times: Mapping[int, int],
    gone: set[int],
    expected: Expectations,
) -> None:
    spans = coverage["spans"]
    assert isinstance(spans, list)
    told = {
        minute_ms: (span["state"], span["reason"])
        for span in spans
        for minute_ms in range(_ms(span["from"]), _ms(span["to"]), _MINUTE_MS)
    }
    missing = _minutes_around(times, gone)
    repaired = _minutes_around(times, expected.deleted.get(market, set()))
    down = _down(market, expected)
    for minute_ms, (state, reason) in told.items():
        wanted = (
            "missing"
            if minute_ms in missing
            else "venue_down"
            if minute_ms in down
            else "repaired"
            if minute_ms in repaired
            else "complete"
        )
        if minute_ms + _MINUTE_MS > max(times.values()):
            continue  # its last trades came after the truth was asked for
        result.minutes[state] += 1
        if reason:
            result.reasons[f"{state}: {reason}"] += 1
        if state != wanted:
            result.minute_differences += 1
            result.trouble(f"{market}: minute {minute_ms} is {state} ({reason or 'no reason'}), not {wanted}")
    first_ms = min(times.values())
    for minute_ms in range(first_ms - first_ms % _MINUTE_MS + _MINUTE_MS, max(times.values()), _MINUTE_MS):
        if minute_ms + _MINUTE_MS <= max(times.values()) and minute_ms not in told:
            result.minute_differences += 1
            result.trouble(f"{market}: coverage does not tell of minute {minute_ms}")


def _minutes_around(times: Mapping[int, int], ids: set[int]) -> set[int]:
    """Minutes in which trades of these ids may lie, for one who has only the others."""
    minutes: set[int] = set()
    known = sorted(times)
    for is_in, group in itertools.groupby(enumerate(known), key=lambda item: item[1] in ids):
        if not is_in:
            continue
        members = list(group)
        before_ms = times[known[max(members[0][0] - 1, 0)]]
        after_ms = times[known[min(members[-1][0] + 1, len(known) - 1)]]
        minutes.update(range(before_ms - before_ms % _MINUTE_MS, after_ms + 1, _MINUTE_MS))
    return minutes


def _down(market: Market, expected: Expectations) -> set[int]:
    """Whole minutes in which the venue did not trade the market, as it said or as nobody could reach it."""
    spans = [
        (start_ms + _HALT_KNOWN_MS, end_ms) for halted, start_ms, end_ms in expected.halts if halted == market
    ]
    spans += [
        (start_ms, end_ms) for exchange, start_ms, end_ms in expected.outages if exchange == market.exchange
    ]
    return {
        minute_ms
        for start_ms, end_ms in spans
        for minute_ms in range(-(-start_ms // _MINUTE_MS) * _MINUTE_MS, end_ms - _MINUTE_MS + 1, _MINUTE_MS)
    }


def _ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1_000)
