"""How a fill met the recorded order book, in words, and what two such fills differ in."""

from __future__ import annotations

from enum import Enum, auto

from bots.orders import DepthUse
from data.timeframes import to_datetime


class DepthChange(Enum):
    """What has become of the snapshot that filled an order."""

    CHANGED = auto()  # it holds other levels
    LOST = auto()  # it is stored no more
    LATE = auto()  # a newer one came into the store afterwards


def depth_in_words(use: DepthUse | None) -> str:
    """For a line of text; empty for a fill that has nothing to do with the book."""
    if use is None:
        return ""
    if use.plain:
        return f"at the candle's open: {use.plain}"
    count = len(use.levels)
    levels = f"{count} level{'' if count == 1 else 's'}"
    behind = (
        f" and {use.beyond.normalize():f} behind them at {use.behind.normalize():f}" if use.beyond else ""
    )
    return f"through {levels}{behind} of the order book of {_iso(use.snapshot_us)}"


def change_of_depth(bot: DepthUse | None, replay: DepthUse | None) -> tuple[DepthChange, str] | None:
    """What is otherwise with the book that `bot` met than with the one of `replay`, and a sentence of it.

    None where both met the same book, whatever they took of it.
    """
    if bot is None or replay is None:
        return None
    then, now = bot.snapshot_us, replay.snapshot_us
    if then == now:
        if (bot.digest, bot.plain) == (replay.digest, replay.plain):
            return None
        return DepthChange.CHANGED, f"the order book of {_iso(then)} holds other levels now"
    if then is None or (now is not None and now > then):
        found = "no order book" if then is None else f"that of {_iso(then)}"
        return DepthChange.LATE, f"the order book of {_iso(now)} was stored later; the bot found {found}"
    newest = "none is older" if now is None else f"the one before it is of {_iso(now)}"
    return DepthChange.LOST, f"the order book of {_iso(then)} is in the store no more; {newest}"


def _iso(at_us: int | None) -> str:
    return "no time" if at_us is None else to_datetime(at_us).isoformat().replace("+00:00", "Z")
