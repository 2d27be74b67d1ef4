"""What reading any venue's replies has in common: one way to fail, and numbers beside the trades'."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal, InvalidOperation

import msgspec

from data.errors import MalformedMessage
from data.exchanges.base import InexactValue

_INFINITY = float("inf")
_SAFE_DIGITS = 15


@contextmanager
def reading(exchange: str, message: object) -> Iterator[None]:
    """Turn what goes wrong while a message or a decoded reply is read into MalformedMessage."""
    try:
        yield
    except (msgspec.MsgspecError, KeyError, IndexError, ValueError, InvalidOperation) as error:
        shown = message if isinstance(message, str | bytes) else msgspec.json.encode(message)
        raise MalformedMessage(exchange, shown) from error


def exact_signed(exchange: str, text: str) -> float:
    """The double nearest to a decimal that may be zero or negative, such as a funding rate.

    Raises InexactValue if it would not print back the same, and ValueError for what is no finite number.
    """
    value = float(text)
    if not -_INFINITY < value < _INFINITY:
        raise ValueError(f"{text} is no finite number")
    if len(text) > _SAFE_DIGITS and Decimal(repr(value)) != Decimal(text):
        raise InexactValue(exchange, text)
    return value


def volume_of(text: str) -> float:
    """The double nearest to a candle's volume: a sum, which need not print back. Raises ValueError."""
    value = float(text)
    if not 0.0 <= value < _INFINITY:
        raise ValueError(f"{text} is no volume")
    return value
