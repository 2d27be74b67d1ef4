"""What the store knows of trades that a bot's candles may have been made without."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from bots.parity import Cause, Evidence, iso
from data.models import Market
from data.timeframes import Timeframe
from database.proving import prove
from database.repositories.candle_repository import CandleRepository


def trade_evidence(
    candles: CandleRepository,
    market: Market,
    *,
    start_us: int,
    end_us: int,
    expires_us: int,
) -> Sequence[Evidence]:
    """Trades of `[start_us, end_us)` that came late, are missing, or were altered since.

    Retention may have taken any trade of before `expires_us`.
    """
    found = [
        Evidence(
            cause=Cause.MISSING_TRADE,
            start_us=repair.touches()[0],
            end_us=repair.touches()[1],
            detail=f"trades {repair.first_id} to {repair.last_id} were missing ({repair.reason}), "
            + ("and still are" if repair.repaired_at_us is None else f"until {iso(repair.repaired_at_us)}"),
        )
        for repair in candles.repairs(market)
    ]
    proof = prove(candles, market, (Timeframe.M1,), start_us=start_us, end_us=end_us, expires_us=expires_us)
    found += [
        Evidence(
            cause=Cause.MISSING_TRADE,
            start_us=before.last_at_us,
            end_us=after.first_at_us + 1,
            detail=f"trades {before.last_id + 1} to {after.first_id - 1} are not stored",
        )
        for before, after in pairwise(proof.runs)
    ]
    found += [
        Evidence(
            cause=Cause.MISSING_TRADE,
            start_us=since_us,
            end_us=until_us + 1,
            detail=f"trades between {iso(since_us)} and {iso(until_us)} are in the store no more",
        )
        for since_us, until_us in proof.absent
    ]
    found += [
        Evidence(
            cause=Cause.MISSING_TRADE if changed.stored < changed.written else Cause.CHANGED_CANDLE,
            start_us=changed.minute_us,
            end_us=changed.minute_us + Timeframe.M1.us,
            detail=f"{changed.written} trades of {iso(changed.minute_us)} were written, "
            f"{changed.stored} others are stored now",
        )
        for changed in proof.changed
    ]
    return [one for one in found if one.start_us < end_us and one.end_us > start_us]
