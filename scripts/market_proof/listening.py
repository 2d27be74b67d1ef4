"""Listening to the news beside the program: how late trades come, and what collectors say."""

from __future__ import annotations

import threading
import time
from collections import defaultdict

import redis

from data.messages import CollectorHealth, FeedNews, TradeBatch
from data.models import Market
from messaging.encoding import decode

_TOPICS = ("trades.*", "health.*", "feeds.*")
# Counters of a process: each begins at 0 when the process does.
COUNTED = ("reconnects", "gaps_found", "gaps_repaired", "duplicates", "malformed")


class Listener:
    """A subscriber in a thread of its own, which comes back when the bus does."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._newest: dict[tuple[str, int], dict[str, int]] = {}  # by shard and number of its life
        self.lags: dict[str, list[float]] = defaultdict(list)  # ms, by what was going on
        self.feeds: list[tuple[float, Market, bool]] = []  # when (monotonic), and whether it became stale
        self.going_on = "calm"
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(5)

    def counted(self, name: str) -> int:
        """A counter over all processes and their lives."""
        with self._lock:
            return sum(figures[name] for figures in self._newest.values())

    def percentiles(self, going_on: str) -> tuple[int, float, float, float]:
        """Trades, and the median, 99th percentile and largest lag of them, in ms."""
        lags = sorted(self.lags[going_on]) or [0.0]
        return len(self.lags[going_on]), lags[len(lags) // 2], lags[int(len(lags) * 0.99)], lags[-1]

    def _run(self) -> None:
        while not self._stop.is_set():
            client = redis.Redis.from_url(self._url, socket_timeout=2)
            try:
                heard = client.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
                heard.psubscribe(*_TOPICS)
                while not self._stop.is_set():
                    message = heard.get_message(timeout=0.5)
                    if message is not None:
                        self._take(message["channel"].decode(), message["data"])
            except (redis.ConnectionError, redis.TimeoutError):
                time.sleep(0.2)
            finally:
                client.close()

    def _take(self, topic: str, payload: bytes) -> None:
        news = decode(topic, payload)
        if isinstance(news, TradeBatch):
            now_us = time.time_ns() // 1_000
            self.lags[self.going_on] += [(now_us - trade.traded_at_us) / 1_000 for trade in news.trades]
        elif isinstance(news, CollectorHealth):
            with self._lock:
                self._newest[news.shard, news.restarts] = {name: getattr(news, name) for name in COUNTED}
        elif isinstance(news, FeedNews):
            told = [stale for _, market, stale in self.feeds if market == news.feed.market]
            if told[-1:] != [news.feed.stale]:  # what lasts is repeated
                self.feeds.append((time.monotonic(), news.feed.market, news.feed.stale))
