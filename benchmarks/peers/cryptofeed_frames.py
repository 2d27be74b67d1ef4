"""cryptofeed's own handler over recorded frames, run by bench_frames.py.

    python cryptofeed_frames.py EXCHANGE FRAMES_FILE

The interpreter must have cryptofeed; FRAMES_FILE has one message a line. Prints the trades that the handler
makes, then, for each line read from standard input, passes all frames to the handler once more with a
callback that does nothing and prints the CPU seconds.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

from cryptofeed.defines import TRADES
from cryptofeed.exchanges import OKX, Binance
from cryptofeed.symbols import Symbols
from cryptofeed.types import Trade

FEEDS = {"binance": (Binance, "BTCUSDT"), "okx": (OKX, "BTC-USDT")}
SYMBOL = "BTC-USDT"


async def serve(exchange: str, frames: list[str]) -> None:
    kind, venue_symbol = FEEDS[exchange]
    Symbols.set(kind.id, {SYMBOL: venue_symbol}, {"instrument_type": {SYMBOL: "spot"}})
    trades: list[list[object]] = []

    async def keep(trade: Trade, received_at: float) -> None:
        trades.append(
            [
                int(trade.id),
                float(trade.price),
                float(trade.amount),
                trade.side,
                round(trade.timestamp * 1_000_000),
            ]
        )

    async def nothing(trade: Trade, received_at: float) -> None:
        pass

    checking = kind(symbols=[SYMBOL], channels=[TRADES], callbacks={TRADES: keep})
    for frame in frames:
        await checking.message_handler(frame, None, 0.0)
    answer(trades)
    handle = kind(symbols=[SYMBOL], channels=[TRADES], callbacks={TRADES: nothing}).message_handler
    for _ in sys.stdin:
        begun = time.process_time()
        for frame in frames:
            await handle(frame, None, 0.0)
        answer(time.process_time() - begun)


def answer(value: object) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], Path(sys.argv[2]).read_text().splitlines()))
