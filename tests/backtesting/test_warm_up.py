"""After warming up no caller of the kernel has anything left to compile."""

from __future__ import annotations

from backtesting.warm_up import warm_up
from bots import fills


def test_every_entry_into_the_kernel_is_compiled_for_what_callers_hand_over() -> None:
    warm_up()
    entries = ("run_candles", "open_candle", "close_candle", "decide", "close_position", "arm")
    compiled = {name: len(getattr(fills, name).signatures) for name in entries}
    assert all(compiled.values()), compiled
