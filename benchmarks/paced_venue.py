"""A venue of one stream that sends trades at an even rate, in Binance's protocol. Run by bench_latency.py.

    python -m benchmarks.paced_venue RATE MARKETS

Prints its port. Each trade's time is the moment of sending, cut to milliseconds as the venue does.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sys
import time

import msgspec
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State

_TICK_S = 0.001


async def send_trades(socket: ServerConnection, rate: int, markets: int) -> None:
    """Acknowledge the subscription, then send for ever; what is late goes with the next tick."""
    async for request in socket:
        asked = msgspec.json.decode(request)
        await socket.send(msgspec.json.encode({"result": None, "id": asked["id"]}).decode())
        if asked["method"] == "SUBSCRIBE":
            break
    begun, sent = time.monotonic(), 0
    numbers = [itertools.count(1) for _ in range(markets)]
    while socket.state is State.OPEN:
        due = int((time.monotonic() - begun) * rate)
        now_ms = time.time_ns() // 1_000_000
        # Whole frames in one write: a server that takes its time would be measured instead of the collector.
        socket.transport.write(
            b"".join(
                framed(number, next(numbers[number % markets]), now_ms, markets)
                for number in range(sent, due)
            )
        )
        sent = due
        await asyncio.sleep(_TICK_S)


def framed(number: int, trade_id: int, now_ms: int, markets: int) -> bytes:
    """One trade as a WebSocket text frame. Source: RFC 6455, 5.2."""
    market = number % markets
    text = (
        f'{{"stream":"t{market}usdt@trade","data":{{"e":"trade","E":{now_ms},"s":"T{market}USDT",'
        f'"t":{trade_id},"p":"{61_000 + number % 997 / 100:.8f}","q":"0.00{number % 9 + 1}00000",'
        f'"T":{now_ms},"m":{"true" if number % 2 else "false"},"M":true}}}}'
    ).encode()
    assert 125 < len(text) < 65_536
    return b"\x81\x7e" + len(text).to_bytes(2, "big") + text


async def main(rate: int, markets: int) -> None:
    async def handle(socket: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            await send_trades(socket, rate, markets)

    async with serve(handle, "127.0.0.1", 0, compression=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        sys.stdout.write(f"{port}\n")
        sys.stdout.flush()
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
