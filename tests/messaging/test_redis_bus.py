from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import msgspec
import pytest
import pytest_asyncio

from data.errors import InstallationError, TransientError
from data.messages import CandleUpdate, TradeBatch
from data.models import Market
from data.topics import trades_topic
from embedded.valkey import EmbeddedValkey
from messaging.encoding import decode
from messaging.redis_bus import RedisBus
from messaging.redis_publisher import RedisPublisher
from tests.messaging.test_encoding import CANDLE, HEALTH, TRADE

PATIENCE_S = 60.0


class Listener:
    """Collects what a subscription brings, in the background."""

    def __init__(self, bus: RedisBus, *patterns: str) -> None:
        self.heard: list[tuple[str, bytes]] = []
        self.connections = 0
        self._task = asyncio.get_running_loop().create_task(self._listen(bus, patterns))

    async def _listen(self, bus: RedisBus, patterns: tuple[str, ...]) -> None:
        async for message in bus.subscribe(patterns, on_connected=self._connected):
            self.heard.append(message)

    def _connected(self) -> None:
        self.connections += 1

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110  the condition is another process's doing
            await asyncio.sleep(0.01)


@pytest_asyncio.fixture
async def bus(valkey: EmbeddedValkey) -> AsyncIterator[RedisBus]:
    bus = RedisBus(valkey.url())
    yield bus
    await bus.close()


async def test_a_publisher_without_redis_never_waits_and_counts_what_it_drops() -> None:
    bus = RedisBus("redis://127.0.0.1:1/0", queue_limit=10)

    for number in range(25):
        publishing = bus.publish("topic", str(number).encode())
        with pytest.raises(StopIteration):  # at its end, without a moment for anything else
            publishing.send(None)

    assert bus.dropped == 15
    assert not bus.connected
    with pytest.raises(TransientError, match=r"127\.0\.0\.1:1"):
        await bus.recall("topic")
    await bus.close()


def test_a_url_that_is_none_is_refused_without_showing_it() -> None:
    with pytest.raises(InstallationError, match="REDIS_URL") as refused:
        RedisBus("hunter2")
    assert "hunter2" not in str(refused.value)


@pytest.mark.integration
async def test_subscribers_hear_what_matches_in_order(bus: RedisBus) -> None:
    listener = Listener(bus, "trades.okx.*", "control.bots")
    await until(lambda: listener.connections == 1)
    messages = [(f"trades.okx.COIN{number}", b"%d" % number) for number in range(2_000)]

    await bus.publish("trades.binance.COIN", b"not for us")
    await bus.publish_many(messages)
    await bus.publish("control.bots", b"\x00\xff")

    await until(lambda: len(listener.heard) >= 2_001)
    assert listener.heard == [*messages, ("control.bots", b"\x00\xff")]
    await listener.stop()


@pytest.mark.integration
async def test_close_sends_what_still_waits(valkey: EmbeddedValkey) -> None:
    sender, receiver = RedisBus(valkey.url()), RedisBus(valkey.url())
    listener = Listener(receiver, "late.*")
    await until(lambda: listener.connections == 1)

    await sender.publish_many([("late.news", b"%d" % number) for number in range(1_500)])
    await sender.close()

    await until(lambda: len(listener.heard) == 1_500)
    await listener.stop()
    await receiver.close()


@pytest.mark.integration
async def test_a_remembered_value_is_recalled_until_its_time_is_up(bus: RedisBus) -> None:
    await bus.remember("short", b"1", ttl_s=1)
    await bus.remember("long", b"2", ttl_s=100)
    await bus.remember("long", b"3", ttl_s=100)

    async with asyncio.timeout(PATIENCE_S):
        while await bus.recall("long") != b"3":  # noqa: ASYNC110  the condition is another process's doing
            await asyncio.sleep(0.01)
    assert await bus.recall("short") == b"1"
    assert await bus.recall("absent") is None
    await asyncio.sleep(1.1)
    assert await bus.recall("short") is None


@pytest.mark.integration
async def test_a_command_that_redis_refuses_holds_up_nothing(bus: RedisBus) -> None:
    await bus.remember("refused", b"", ttl_s=-1)
    await bus.remember("taken", b"1", ttl_s=100)

    async with asyncio.timeout(PATIENCE_S):
        while await bus.recall("taken") != b"1":  # noqa: ASYNC110  the condition is another process's doing
            await asyncio.sleep(0.01)
    await until(lambda: bus.dropped == 1)


@pytest.mark.integration
async def test_a_wrong_password_is_told_at_the_check(valkey: EmbeddedValkey) -> None:
    scheme, rest = valkey.url().split("://", 1)
    bus = RedisBus(f"{scheme}://:hunter2@{rest.rpartition('@')[2]}")

    with pytest.raises(InstallationError) as refused:
        await bus.check()
    assert "hunter2" not in str(refused.value)
    await bus.close()


@pytest.mark.integration
async def test_both_sides_come_back_after_redis_was_away(valkey: EmbeddedValkey) -> None:
    bus = RedisBus(valkey.url(), queue_limit=5)
    await bus.check()
    listener = Listener(bus, "news.*")
    await until(lambda: listener.connections == 1)
    await bus.publish("news.before", b"1")
    await until(lambda: len(listener.heard) == 1 and bus.connected)

    valkey.stop()
    # The first goes out on the broken connection and is kept for the next; five more find room behind it.
    await bus.publish("news.lost", b"2")
    await until(lambda: not bus.connected)
    for number in range(8):
        await bus.remember(f"waiting.{number}", b"%d" % number, ttl_s=100)
    assert bus.dropped == 3
    valkey.start()

    # What waits is sent first: one more message would take the room of the oldest.
    await until(lambda: listener.connections == 2 and bus.connected)
    await bus.publish("news.after", b"3")
    await until(lambda: ("news.after", b"3") in listener.heard and bus.connected)
    waited = [await bus.recall(f"waiting.{number}") for number in range(8)]
    assert waited == [None, None, None, b"3", b"4", b"5", b"6", b"7"]
    await listener.stop()
    await bus.close()


@pytest.mark.integration
async def test_the_publisher_sends_each_markets_trades_and_remembers_the_last(bus: RedisBus) -> None:
    listener = Listener(bus, "trades.*", "candles.*", "health.*")
    await until(lambda: listener.connections == 1)
    publisher = RedisPublisher(bus)
    other = Market("binance", "ETH-USDT")
    last = msgspec.structs.replace(TRADE, trade_id=8)
    update = CandleUpdate(candle=CANDLE, closed=True, covered=True)

    await publisher.publish_trades([TRADE, last])
    await publisher.publish_candles([update])
    await publisher.publish_health(HEALTH)

    await until(lambda: len(listener.heard) == 3)
    news = [decode(topic, payload) for topic, payload in listener.heard]
    assert news == [TradeBatch(trades=[TRADE, last]), update, HEALTH]
    topic = trades_topic(Market(TRADE.exchange, TRADE.symbol))
    remembered = await bus.recall(topic)
    assert remembered is not None
    assert decode(topic, remembered) == TradeBatch(trades=[last])
    assert await bus.recall(trades_topic(other)) is None
    await listener.stop()
