"""All streams of one process: which topic goes where, within what a connection may carry."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from data.collectors.rate_limit import TokenBucket
from data.collectors.tuning import CollectorTuning
from data.collectors.venue_stream import StreamOwner, VenueStream
from data.exchanges.base import Channel, ExchangeAdapter, RestBudget, Subscription


class StreamSet:
    """Spreads topics over streams, and keeps the venue's pace of new connections over all of them.

    Trades have connections of their own: what else a market brings can neither delay nor end them.
    """

    def __init__(
        self,
        adapter: ExchangeAdapter,
        base_url: str,
        owner: StreamOwner,
        tuning: CollectorTuning,
        clock_us: Callable[[], int],
        *,
        on_new: Callable[[VenueStream], None],
    ) -> None:
        """`on_new` starts a stream, `clock_us` is our clock."""
        self._adapter, self._base_url, self._owner = adapter, base_url, owner
        self._tuning, self._clock_us, self._on_new = tuning, clock_us, on_new
        pace = adapter.limits.connects_per_s
        self._connects = TokenBucket(RestBudget(per_s=pace, burst=max(1.0, pace)))
        self._streams: list[VenueStream] = []
        self._stream_of: dict[Subscription, VenueStream] = {}

    @property
    def streams(self) -> list[VenueStream]:
        return self._streams

    @property
    def of_trades(self) -> list[VenueStream]:
        return [stream for stream in self._streams if stream.symbols]

    @property
    def topics(self) -> set[Subscription]:
        return set(self._stream_of)

    def stream_of(self, topic: Subscription) -> VenueStream | None:
        return self._stream_of.get(topic)

    def add(self, topics: Iterable[Subscription]) -> None:
        """Bring these too, on streams that have room or on new ones."""
        by_place: dict[tuple[str, bool], list[Subscription]] = {}
        for topic in topics:
            if topic not in self._stream_of:
                by_place.setdefault(self._place(topic), []).append(topic)
        for place, found in by_place.items():
            self._add_at(place, found)

    def drop(self, topics: Iterable[Subscription]) -> list[VenueStream]:
        """Bring these no more. Returns the streams that have nothing left to bring, for the caller to end."""
        by_stream: dict[int, list[Subscription]] = {}
        for topic in topics:
            stream = self._stream_of.pop(topic, None)
            if stream is not None:
                by_stream.setdefault(self._streams.index(stream), []).append(topic)
        streams = [(self._streams[number], gone) for number, gone in by_stream.items()]
        empty = []
        for stream, gone in streams:
            if len(gone) == len(stream.topics):
                self._streams.remove(stream)
                empty.append(stream)
            else:
                stream.drop(gone)
        return empty

    def _on_announced(self, why: str) -> None:
        """A connection's end was announced: those that are told nothing end with it."""
        for stream in self._streams:
            if stream.endpoint in self._adapter.unannounced and stream.live:
                stream.replace(why)

    def _place(self, topic: Subscription) -> tuple[str, bool]:
        symbol, channel = topic
        return self._adapter.endpoint_of(channel, symbol), channel is Channel.TRADES

    def _add_at(self, place: tuple[str, bool], topics: list[Subscription]) -> None:
        size = self._adapter.limits.topics_per_connection
        left = list(topics)
        for stream in self._streams:
            if self._place(next(iter(stream.topics))) == place and left:
                fitting, left = left[: size - len(stream.topics)], left[size - len(stream.topics) :]
                stream.add(fitting)
                self._stream_of.update(dict.fromkeys(fitting, stream))
        endpoint, is_trades = place
        for start in range(0, len(left), size):
            part = left[start : start + size]
            stream = VenueStream(
                self._adapter,
                self._base_url,
                endpoint,
                part,
                self._owner,
                self._tuning,
                connects=self._connects,
                clock_us=None if is_trades else self._clock_us,
                on_announced=self._on_announced,
            )
            self._streams.append(stream)
            self._stream_of.update(dict.fromkeys(part, stream))
            self._on_new(stream)
