"""How numbers and times are written on every page. What is unknown is an en dash, never a zero.

Separators and the time zone are those of the browser that asked (`dashboard.writing`), and by default
`12,843.55` and UTC. `assets/25-chart-formats.js` writes the same in the browser.
"""

from __future__ import annotations

import math
import re
from datetime import datetime
from decimal import Decimal

from dashboard.writing import current_writing
from data.models import FloatArray, Instrument
from data.timeframes import SECOND_US, to_datetime

MISSING = "–"  # noqa: RUF001  en dash
MINUS = "−"  # noqa: RUF001  minus sign, as wide as a plus
MAX_DECIMALS = 10
_BETWEEN_DIGITS = re.compile(r"(?<=\d)[.,](?=\d)")

Number = float | Decimal


def plain(value: Number | None, decimals: int) -> str:
    """Grouped in thousands with exactly so many decimals: `12,843.55`."""
    if value is None or not math.isfinite(value):
        return MISSING
    # `z` makes what rounds to zero a zero without a sign.
    return _separated(f"{value:z,.{decimals}f}".replace("-", MINUS))


def _separated(text: str) -> str:
    """`12,843.55` with the separators in force."""
    return text.translate(current_writing().separators)


def whole(count: int) -> str:
    """A count, grouped in thousands: `1,436`."""
    return plain(count, 0)


def rewritten(text: str) -> str:
    """Words that were written elsewhere, `close 61,250.5 > trend`, with the separators in force."""
    return (
        _BETWEEN_DIGITS.sub(lambda sign: _separated(sign[0]), text) if current_writing().separators else text
    )


def price(value: Number | None, decimals: int) -> str:
    """A price with the decimals of its instrument's tick."""
    return plain(value, decimals)


def money(value: Number | None) -> str:
    """An amount of quote currency, to the cent; one below a cent to three significant digits."""
    if value is None or not math.isfinite(value):
        return MISSING
    size = abs(float(value))
    small = 0 < size < 0.005
    return plain(value, min(MAX_DECIMALS, 2 - math.floor(math.log10(size))) if small else 2)


def signed(value: Number | None, decimals: int = 2) -> str:
    """With its sign, `+318.44`; what rounds to zero has none."""
    if value is None or not math.isfinite(value):
        return MISSING
    shown = plain(value if value >= 0 else -value, decimals)
    if not any(digit in shown for digit in "123456789"):
        return shown
    return ("+" if value > 0 else MINUS) + shown


def percent(rate: Number | None, decimals: int = 2) -> str:
    """A fraction as signed percent: 0.0184 is `+1.84%`; zero is `0.00%`."""
    if rate is None or not math.isfinite(rate):
        return MISSING
    return signed(rate * 100, decimals) + "%"


def share(rate: Number | None, decimals: int = 1) -> str:
    """A fraction as unsigned percent, for shares and win rates: `56.8%`."""
    return MISSING if rate is None or not math.isfinite(rate) else plain(rate * 100, decimals) + "%"


def direction(value: Number | None, decimals: int = 2) -> str:
    """`up`, `down` or `flat`: the way of what `signed` shows, so that `0.00` has neither colour nor arrow."""
    shown = signed(value, decimals)
    return "up" if shown[0] == "+" else "down" if shown[0] == MINUS else "flat"


def arrow(way: str) -> str:
    """The sign that stands beside a colour, for those who do not see it."""
    return {"up": "▲", "down": "▼"}.get(way, "")


def compact(value: Number | None) -> str:
    """Three significant digits with K, M, B or T: `5.82K`."""
    if value is None or not math.isfinite(value):
        return MISSING
    size = abs(float(value))
    for limit, suffix in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K")):
        # 999.95K would otherwise round to 1000K.
        if size >= limit * 0.9995:
            scaled = size / limit
            return ("" if value >= 0 else MINUS) + _significant(scaled) + suffix
    return ("" if value >= 0 else MINUS) + _significant(size)


def _significant(size: float) -> str:
    rounded = float(f"{size:.2e}")  # first, so that 9.999 counts as a number of two digits
    if rounded == 0:
        return "0"
    decimals = min(MAX_DECIMALS, max(0, 2 - math.floor(math.log10(rounded))))
    return _separated(f"{rounded:.{decimals}f}")


def quantity(value: Decimal | None) -> str:
    """Base currency with the decimals it has, trailing zeros cut: `0.1482`."""
    if value is None:
        return MISSING
    shown = f"{value:,f}".replace("-", MINUS)
    return _separated(shown.rstrip("0").rstrip(".") if "." in shown else shown)


def duration(us: int) -> str:
    """The two largest units: `2h 17m`, `9d 4h`, `41s`."""
    seconds = max(0, us) // SECOND_US
    days, hours, minutes = seconds // 86_400, seconds // 3_600 % 24, seconds // 60 % 60
    if days:
        return f"{days}d {hours}h"
    if hours:
        return f"{hours}h {minutes:02d}m"
    if minutes:
        return f"{minutes}m {seconds % 60:02d}s"
    return f"{seconds}s"


def clock(at_us: int | None) -> str:
    """Time of day, `14:32:07`; `zone_name` stands beside it."""
    return MISSING if at_us is None else _local(at_us).strftime("%H:%M:%S")


def day_and_time(at_us: int | None) -> str:
    """`21 Nov 14:32:07`; `zone_name` stands beside it."""
    return MISSING if at_us is None else _local(at_us).strftime("%d %b %H:%M:%S")


def full_time(at_us: int | None) -> str:
    """`2026-11-21 14:32:07 UTC`, for tool tips."""
    if at_us is None:
        return MISSING
    local = _local(at_us)
    name = local.strftime("%Z")
    # Where a zone has no letters of its own its offset stands in their place.
    return f"{local:%Y-%m-%d %H:%M:%S} {f'UTC{name}' if name[:1] in '+-' else name}"


def day_and_minute(at_us: int | None) -> str:
    """`21 Nov 2026 14:32`; `zone_name` stands beside it."""
    return MISSING if at_us is None else _local(at_us).strftime("%d %b %Y %H:%M")


def sortable_time(at_us: int | None) -> str:
    """`2026-11-21 14:32:07`; `zone_name` stands beside it."""
    return MISSING if at_us is None else _local(at_us).strftime("%Y-%m-%d %H:%M:%S")


def utc_clock(at_us: int | None) -> str:
    """Time of day in UTC whatever the preference, for what is laid out by days in UTC."""
    return MISSING if at_us is None else to_datetime(at_us).strftime("%H:%M:%S")


def zone_name() -> str:
    """The zone that times are written in, as words: `UTC`, `Berlin`."""
    return current_writing().zone_words


def in_zone(heading: str) -> str:
    """A heading such as `Time, UTC` with the zone in force; one such as `Time (UTC)` stays as it is."""
    return f"{heading.removesuffix('UTC')}{zone_name()}" if heading.endswith(", UTC") else heading


def _local(at_us: int) -> datetime:
    return to_datetime(at_us).astimezone(current_writing().zone)


def price_decimals(instrument: Instrument | None, closes: FloatArray) -> int:
    """Decimals of the instrument's tick; without one, as many as the newest closes need to print."""
    if instrument is not None and instrument.tick_size > 0:
        exponent = instrument.tick_size.normalize().as_tuple().exponent
        assert isinstance(exponent, int)  # a tick is finite
        return min(MAX_DECIMALS, max(0, -exponent))
    newest = [Decimal(repr(float(close))).normalize().as_tuple().exponent for close in closes[-50:]]
    return min(MAX_DECIMALS, max([2, *(-exponent for exponent in newest if isinstance(exponent, int))]))
