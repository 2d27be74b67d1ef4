"""Time frames and the buckets they cut time into, in UTC microseconds since the epoch."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum

SECOND_US = 1_000_000
# The epoch was a Thursday; weeks open on Monday.
_MONDAY_OFFSET_US = 4 * 86_400 * SECOND_US
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Timeframe(StrEnum):
    """How long a candle lasts."""

    S1 = "1s"
    M1 = "1m"
    M3 = "3m"
    M5 = "5m"
    M15 = "15m"
    M30 = "30m"
    H1 = "1h"
    H2 = "2h"
    H4 = "4h"
    H6 = "6h"
    H12 = "12h"
    D1 = "1d"
    W1 = "1w"

    @property
    def seconds(self) -> int:
        return _SECONDS[self]

    @property
    def us(self) -> int:
        return _SECONDS[self] * SECOND_US

    @classmethod
    def of_seconds(cls, seconds: int) -> Timeframe:
        """The time frame of that length. Raises KeyError for any other length."""
        return _BY_SECONDS[seconds]


_SECONDS = {
    Timeframe.S1: 1,
    Timeframe.M1: 60,
    Timeframe.M3: 180,
    Timeframe.M5: 300,
    Timeframe.M15: 900,
    Timeframe.M30: 1_800,
    Timeframe.H1: 3_600,
    Timeframe.H2: 7_200,
    Timeframe.H4: 14_400,
    Timeframe.H6: 21_600,
    Timeframe.H12: 43_200,
    Timeframe.D1: 86_400,
    Timeframe.W1: 604_800,
}
_BY_SECONDS = {seconds: timeframe for timeframe, seconds in _SECONDS.items()}


def floor_to(at_us: int, timeframe: Timeframe) -> int:
    """The open of the interval that holds `at_us`."""
    if timeframe is Timeframe.W1:
        return at_us - (at_us - _MONDAY_OFFSET_US) % timeframe.us
    return at_us - at_us % timeframe.us


def to_us(at: datetime) -> int:
    """Microseconds since the epoch, exactly. `at` must be aware."""
    if at.tzinfo is None:
        raise ValueError(f"{at} has no time zone; give one, UTC for choice")
    return (at - _EPOCH) // timedelta(microseconds=1)


def to_datetime(at_us: int) -> datetime:
    """The aware UTC datetime, exactly."""
    return _EPOCH + timedelta(microseconds=at_us)
