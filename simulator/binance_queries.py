"""What Binance's REST requests ask for, read from their parameters."""

from __future__ import annotations

import re
from collections.abc import Mapping


class Refused(Exception):
    """A REST request that gets an error body."""

    def __init__(self, code: int, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code, self.message, self.status = code, message, status


def missing(name: str) -> Refused:
    """A parameter that must be given."""
    return Refused(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")


def number_of(query: Mapping[str, str], name: str) -> int | None:
    """A whole number, times in ms; None where it is not given."""
    value = query.get(name)
    if value is None:
        return None
    if not (value.isascii() and value.isdigit()):
        raise Refused(
            -1100, f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'."
        )
    found = int(value)
    # Times may be given in microseconds.
    return found // 1000 if name.endswith("Time") and found >= 10**14 else found


def limit_of(query: Mapping[str, str], default: int = 500, most: int = 1000) -> int:
    """How many rows, within what the venue gives."""
    asked = number_of(query, "limit")
    if asked == 0:
        raise Refused(-1130, "Data sent for parameter 'limit' is not valid.")
    return min(default if asked is None else asked, most)


def zone_ms(query: Mapping[str, str]) -> int:
    """The offset a client wants its days cut at: "0", "8", "-1:30"."""
    zone = query.get("timeZone", "0")
    found = re.fullmatch(r"([+-]?)(\d{1,2})(?::(\d{2}))?", zone)
    if found is None:
        raise Refused(-1130, "Data sent for parameter 'timeZone' is not valid.")
    sign = -1 if found[1] == "-" else 1
    return sign * (int(found[2]) * 60 + int(found[3] or 0)) * 60_000
