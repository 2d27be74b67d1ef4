"""What goes wrong on purpose: faults, and the board that each message and each answer passes.

Nothing here reads a clock or touches a socket; the hub asks and carries out.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from simulator.instruments import EXCHANGES, VENUES, exchange_of

# Events in the life of a market; they happen once and have no end.
MARKET_EVENTS = frozenset({"halt", "resume", "delist", "list", "tick"})


# These happen once; what they do afterwards is not a matter of time.
AT_ONCE = frozenset({"disconnect", "withhold", "upgrade"}) | MARKET_EVENTS


@dataclass(slots=True)
class Fault:
    """One fault of a plan and how far it has come."""

    name: str
    begins_at: float | None  # on the board's clock
    after_messages: int | None
    for_s: float | None
    exchange: str | None
    symbol: str | None
    channel: str | None
    connections: int | None
    parameters: Mapping[str, Any]
    began_at: float | None = None
    ended: bool = False
    seen: int = 0  # messages or answers it has met

    @property
    def active(self) -> bool:
        return self.began_at is not None and not self.ended

    def describe(self) -> dict[str, Any]:
        """The fault for a reader: its name, its filters, its parameters and its state."""
        state = "over" if self.ended else "active" if self.active else "waiting"
        filters = {
            key: getattr(self, key)
            for key in ("exchange", "symbol", "channel", "connections", "after_messages", "for_s")
            if getattr(self, key) is not None
        }
        return {"fault": self.name, **filters, **self.parameters, "state": state}

    def meets(self, venue: str) -> bool:
        """Whether it concerns that venue: an exchange, or one product of it."""
        return self.exchange in (None, venue, exchange_of(venue))


class Message(NamedTuple):
    """A data message on its way to subscribers."""

    exchange: str
    symbol: str  # Candlewick's
    venue_symbol: str
    channel: str  # "trades-all", "trade"
    first_id: int = 0  # of the trades inside; 0 for a message of another kind
    last_id: int = 0


class Delivery(NamedTuple):
    """How one connection gets a message: none, one or several of these."""

    delay_s: float
    keeps_order: bool
    cut: bool  # only the first half of the text


class RestAnswer(NamedTuple):
    """An error that takes an answer's place."""

    status: int
    retry_after_s: int | None


class WithheldRange(NamedTuple):
    """Trades that streams leave out and, where `permanent`, REST as well."""

    exchange: str
    symbol: str
    from_id: int
    to_id: int
    permanent: bool


_PLAIN = (Delivery(0.0, True, False),)


@dataclass
class FaultBoard:
    """All faults, past and to come. `now` is always a monotonic time in seconds."""

    last_known_id: Callable[[str, str], int | None]  # of (exchange, symbol), for `withhold` by count
    faults: list[Fault] = field(default_factory=list)
    withheld: list[WithheldRange] = field(default_factory=list)
    _waiting: bool = False
    _shaping: list[Fault] = field(default_factory=list)
    _sent: dict[str, int] = field(default_factory=lambda: dict.fromkeys(VENUES, 0))
    _random: random.Random = field(default_factory=lambda: random.Random(1))

    def schedule(self, plan: Sequence[Fault]) -> None:
        """Add faults; counts of messages start from what has been sent so far."""
        for fault in plan:
            if fault.after_messages is not None:
                fault.after_messages += self._count(fault.exchange)
            self.faults.append(fault)
        self._waiting = True

    def clear(self) -> None:
        """End every fault; withheld trades stay withheld."""
        for fault in self.faults:
            fault.ended = True
        self._refresh()

    def advance(self, now: float) -> list[Fault]:
        """Begin and end what is due; returns the faults that have just begun."""
        if not self._waiting:
            return []
        begun = []
        for fault in self.faults:
            if fault.began_at is None and not fault.ended and self._due(fault, now):
                fault.began_at = now
                begun.append(fault)
                self._begin(fault)
            if fault.active and fault.for_s is not None and fault.began_at is not None:
                fault.ended = now - fault.began_at >= fault.for_s
        self._refresh()
        return begun

    def passes(self, message: Message, position: int) -> Sequence[Delivery]:
        """How the connection at `position` among the exchange's, oldest first, gets `message`."""
        if self.withheld and message.last_id and self._is_withheld(message):
            return ()
        if not self._shaping:
            return _PLAIN
        delay_s, keeps_order, cut, copies = 0.0, True, False, 1
        for fault in self._shaping:
            if not _concerns(fault, message, position):
                continue
            if fault.name == "silent":
                return ()
            fault.seen += 1
            hit = fault.seen % fault.parameters.get("every", 1) == 0
            if fault.name == "delay":
                delay_s += fault.parameters["ms"] / 1000
            elif fault.name == "reorder":
                delay_s += self._random.uniform(0, fault.parameters["ms"] / 1000)
                keeps_order = False
            elif fault.name == "malformed":
                cut = cut or hit
            elif fault.name == "duplicate" and hit:
                copies *= fault.parameters["times"]
        return (Delivery(delay_s, keeps_order, cut),) * copies

    def count_sent(self, exchange: str) -> None:
        """Note one data message of the exchange."""
        self._sent[exchange] += 1

    def sent(self) -> Mapping[str, int]:
        """Data messages handed to connections, by exchange."""
        return self._sent

    def refuses(self, exchange: str) -> bool:
        """Whether new connections and requests are to be cut."""
        return any(self._of("refuse", exchange))

    def opens_dead(self, exchange: str) -> bool:
        """Whether a connection made now stays silent from its first moment."""
        return any(fault.for_s is not None for fault in self._of("half_open", exchange))

    def rest_answer(self, exchange: str, path: str) -> RestAnswer | None:
        """The error that takes the place of the answer to `path`, if any."""
        for fault in self._of("rest_error", exchange):
            parameters = fault.parameters
            if parameters.get("path", "") not in path:
                continue
            fault.seen += 1
            if fault.seen >= parameters.get("count", fault.seen + 1):
                fault.ended = True
            return RestAnswer(parameters["status"], parameters.get("retry_after_s"))
        return None

    def added_ms(self, name: str, venue: str) -> int:
        """The sum of what the active faults of that name ask for, in ms."""
        return sum(fault.parameters["ms"] for fault in self._of(name, venue))

    def absent(self, exchange: str, *names: str) -> list[tuple[int, int]]:
        """Id ranges, both ends included, that the REST history lacks for good of the symbol of these name"""
        return [
            (gap.from_id, gap.to_id)
            for gap in self.withheld
            if gap.permanent and gap.exchange == exchange and gap.symbol in names
        ]

    def _due(self, fault: Fault, now: float) -> bool:
        if fault.after_messages is not None:
            return self._count(fault.exchange) >= fault.after_messages
        return fault.begins_at is None or now >= fault.begins_at

    def _begin(self, fault: Fault) -> None:
        if fault.name == "withhold":
            self._withhold(fault)
        fault.ended = fault.name in AT_ONCE or (fault.name == "half_open" and fault.for_s is None)

    def _withhold(self, fault: Fault) -> None:
        assert fault.symbol is not None
        for exchange in [exchange_of(fault.exchange)] if fault.exchange else EXCHANGES:
            first, last = fault.parameters.get("from_id"), fault.parameters.get("to_id")
            if first is None or last is None:
                known = self.last_known_id(exchange, fault.symbol)
                if known is None:
                    continue
                first, last = known + 1, known + fault.parameters["count"]
            self.withheld.append(
                WithheldRange(exchange, fault.symbol, first, last, fault.parameters["permanent"])
            )

    def _refresh(self) -> None:
        shaping = ("delay", "duplicate", "reorder", "malformed", "silent")
        self._shaping = [fault for fault in self.faults if fault.active and fault.name in shaping]
        self._waiting = any(not fault.ended for fault in self.faults)

    def _of(self, name: str, exchange: str) -> list[Fault]:
        return [
            fault for fault in self.faults if fault.active and fault.name == name and fault.meets(exchange)
        ]

    def _is_withheld(self, message: Message) -> bool:
        return any(
            gap.exchange == exchange_of(message.exchange)
            and gap.symbol in (message.symbol, message.venue_symbol)
            and gap.from_id <= message.last_id
            and gap.to_id >= message.first_id
            for gap in self.withheld
        )

    def _count(self, exchange: str | None) -> int:
        return sum(
            count for venue, count in self._sent.items() if exchange in (None, venue, exchange_of(venue))
        )


def _concerns(fault: Fault, message: Message, position: int) -> bool:
    return (
        fault.meets(message.exchange)
        and fault.symbol in (None, message.symbol, message.venue_symbol)
        and fault.channel in (None, message.channel)
        and (fault.connections is None or position < fault.connections)
    )
