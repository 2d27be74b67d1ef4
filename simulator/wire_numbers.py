"""Whole numbers of units as the decimals that venues write."""

from __future__ import annotations

_PLACES = 8  # Binance writes all of them, always


def plain(value: int, decimals: int) -> str:
    """OKX's way: no digit more than needed, "30236", "0.00001"."""
    if not decimals:
        return str(value)
    whole, part = divmod(value, 10**decimals)
    digits = f"{part:0{decimals}d}".rstrip("0")
    return f"{whole}.{digits}" if digits else str(whole)


def padded(value: int, decimals: int) -> str:
    """Binance's way: eight decimals, "61837.63000000"."""
    whole, part = divmod(value * 10 ** (_PLACES - decimals), 10**_PLACES)
    return f"{whole}.{part:08d}"


def plain_float(value: float) -> str:
    """A sum that is not counted in units, without an exponent."""
    text = f"{value:.8f}".rstrip("0").rstrip(".")
    return text or "0"


def fixed(value: int, decimals: int) -> str:
    """The way of Binance's futures: the instrument's own number of decimals, "28145.10"."""
    if not decimals:
        return str(value)
    whole, part = divmod(value, 10**decimals)
    return f"{whole}.{part:0{decimals}d}"
