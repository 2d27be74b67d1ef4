"""What goes wrong on purpose: a plan of faults, and the board that each message and each answer passes.

Nothing here reads a clock or touches a socket; the hub asks and carries out.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from data.errors import InvalidInput, Problem
from simulator.instruments import EXCHANGES, VENUES, exchange_of

FAULT_HELP = """\
A plan is a JSON list of faults. Each is an object:

\b
  fault           what goes wrong, see below (required)
  at_s            begin that many seconds after the start (of the post, for POST /sim/faults)
  after_messages  or: begin once the exchange has sent that many data messages
                  (neither: begin at once)
  for_s           last that many seconds; without it until the end
  exchange        "okx" or "binance", or "binance_usdm": its futures alone; without it all
  symbol          only this symbol: "BTC-USDT" or the venue's name
  channel         only this channel: "trades-all", "trade", "kline_1m"
  connections     only the that many oldest connections

\b
Faults and their own parameters:
  disconnect      cut connections; "code": close with that WebSocket code instead;
                  "mid_message": true: cut inside a message
  half_open       connections fall silent for good and stay open; with for_s new ones too
  delay           "ms": every data message comes that much later, in order
  duplicate       "times" (2): how often each message comes; "every" (1): each n-th only
  reorder         "ms": each message is held back by a random time up to that
  malformed       "every" (1): each n-th message is cut off in the middle
  withhold        trades of "symbol" (required) that the streams leave out:
                  "from_id" and "to_id", or "count" from the next one on;
                  "permanent" (false): the REST history lacks them too
  silent          messages of matching subscriptions do not come, all else does
  refuse          new connections and REST requests are cut
  rest_error      "status" (required): 418, 429 or any 4xx, 5xx; 200: OKX's 50011 in an
                  answer that looks fine; "retry_after_s"; "path": only paths that
                  contain it; "count": only that many answers
  rest_delay      "ms": REST answers come that much later
  rest_lag        "ms": REST does not know the newest trades yet
  slow_acks       "ms": answers to requests on sockets come that much later
  clock_skew      "ms": the venue tells a time that is that much ahead, below 0 behind
  upgrade         OKX announces a service upgrade (64008), Binance serverShutdown;
                  connections close "close_after_s" (60) later

\b
And what happens to a made-up market ("symbol" required):
  halt            it stops trading
  resume          it goes on
  delist          it ends
  list            a symbol the venue did not have is listed, and trades at once
  tick            "tick" (required, such as "0.5"): prices get that coarser step
"""

# Events in the life of a market; they happen once and have no end.
MARKET_EVENTS = frozenset({"halt", "resume", "delist", "list", "tick"})


@dataclass(frozen=True, slots=True)
class _Parameter:
    """What a parameter of a fault must look like."""

    kind: type
    expected: str
    low: float = 1
    high: float = 1e12
    default: Any = None
    required: bool = False


_SYMBOL = _Parameter(str, 'a symbol such as "BTC-USDT"', required=True)
_MS = _Parameter(int, "a whole number of milliseconds above 0", required=True)
_EVERY = _Parameter(int, "a whole number from 1 on", default=1)

_COMMON_PARAMETERS: Mapping[str, _Parameter] = {
    "at_s": _Parameter(float, "seconds, 0 or more", low=0),
    "after_messages": _Parameter(int, "a whole number, 0 or more", low=0),
    "for_s": _Parameter(float, "seconds above 0", low=1e-3),
    "exchange": _Parameter(str, '"okx", "binance" or "binance_usdm"'),
    "symbol": _Parameter(str, 'a symbol such as "BTC-USDT"'),
    "channel": _Parameter(str, 'a channel such as "trades-all" or "trade"'),
    "connections": _Parameter(int, "a whole number from 1 on"),
}
_OWN_PARAMETERS: Mapping[str, Mapping[str, _Parameter]] = {
    "disconnect": {
        "code": _Parameter(int, "a WebSocket close code, 1000 to 4999", low=1000, high=4999),
        "mid_message": _Parameter(bool, "true or false", default=False),
    },
    "half_open": {},
    "delay": {"ms": _MS},
    "duplicate": {"times": _Parameter(int, "a whole number from 2 to 100", 2, 100, 2), "every": _EVERY},
    "reorder": {"ms": _MS},
    "malformed": {"every": _EVERY},
    "withhold": {
        "from_id": _Parameter(int, "a trade id", low=0),
        "to_id": _Parameter(int, "a trade id, from_id or more", low=0),
        "count": _Parameter(int, "how many trades, from 1 on"),
        "permanent": _Parameter(bool, "true or false", default=False),
    },
    "silent": {},
    "refuse": {},
    "rest_error": {
        "status": _Parameter(int, "an HTTP status from 400 to 599, or 200 for OKX", 200, 599, required=True),
        "retry_after_s": _Parameter(int, "whole seconds, 0 or more", low=0),
        "path": _Parameter(str, "a part of a request's path"),
        "count": _Parameter(int, "how many answers, from 1 on"),
    },
    "rest_delay": {"ms": _MS},
    "rest_lag": {"ms": _MS},
    "slow_acks": {"ms": _MS},
    "clock_skew": {"ms": _Parameter(int, "whole milliseconds", low=-1e9, high=1e9, required=True)},
    "halt": {"symbol": _SYMBOL},
    "resume": {"symbol": _SYMBOL},
    "delist": {"symbol": _SYMBOL},
    "list": {"symbol": _SYMBOL},
    "tick": {"symbol": _SYMBOL, "tick": _Parameter(str, 'a price step such as "0.5"', required=True)},
    "upgrade": {"close_after_s": _Parameter(float, "seconds, 0 or more", low=0, default=60.0)},
}
# These happen once; what they do afterwards is not a matter of time.
_AT_ONCE = frozenset({"disconnect", "withhold", "upgrade"}) | MARKET_EVENTS


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
        fault.ended = fault.name in _AT_ONCE or (fault.name == "half_open" and fault.for_s is None)

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


def read_fault_plan(path: Path, *, started_at: float) -> list[Fault]:
    """The faults of a plan file. Raises InvalidInput naming what is wrong with it."""
    try:
        plan = msgspec.json.decode(path.read_bytes())
    except OSError as error:
        raise InvalidInput(
            Problem(
                where=str(path),
                field="",
                value=error.strerror or str(error),
                expected="a readable fault plan",
            )
        ) from error
    except msgspec.DecodeError as error:
        raise InvalidInput(
            Problem(where=str(path), field="", value=str(error), expected="a JSON list of faults")
        ) from error
    return parse_fault_plan(plan, where=str(path), started_at=started_at)


def parse_fault_plan(plan: object, *, where: str, started_at: float) -> list[Fault]:
    """The faults of a plan; `at_s` counts from `started_at`. Raises InvalidInput naming every problem."""
    entries = plan if isinstance(plan, list) else [plan]
    problems: list[Problem] = []
    faults = []
    for position, entry in enumerate(entries):
        place = f"[{position}]" if isinstance(plan, list) else ""
        fault = _parse_fault(entry, where, place, started_at, problems)
        if fault is not None:
            faults.append(fault)
    if problems:
        raise InvalidInput(*problems)
    return faults


def _parse_fault(
    entry: object, where: str, place: str, started_at: float, problems: list[Problem]
) -> Fault | None:
    if not isinstance(entry, dict):
        problems.append(
            Problem(
                where=where,
                field=place,
                value=_shown(entry),
                expected='an object such as {"fault": "disconnect"}',
            )
        )
        return None
    name = entry.get("fault")
    if not isinstance(name, str) or name not in _OWN_PARAMETERS:
        problems.append(
            Problem(
                where=where,
                field=_at(place, "fault"),
                value=_shown(name),
                expected=f"one of {', '.join(_OWN_PARAMETERS)}",
            )
        )
        return None
    known = {**_COMMON_PARAMETERS, **_OWN_PARAMETERS[name]}
    found: dict[str, Any] = {}
    before = len(problems)
    for key, value in entry.items():
        if key == "fault":
            continue
        if key not in known:
            allowed = ", ".join(["fault", *known])
            problems.append(
                Problem(
                    where=where,
                    field=_at(place, key),
                    value=_shown(value),
                    expected=f"{name} knows {allowed}",
                )
            )
        elif not _fits(known[key], value) or (key == "exchange" and value not in VENUES):
            problems.append(
                Problem(where=where, field=_at(place, key), value=_shown(value), expected=known[key].expected)
            )
        else:
            found[key] = value
    for key, parameter in known.items():
        if parameter.required and key not in entry:
            problems.append(
                Problem(
                    where=where,
                    field=_at(place, key),
                    value="",
                    expected=f"{name} needs {parameter.expected}",
                )
            )
    problems += _contradictions(name, entry, where, place)
    if len(problems) > before:
        return None
    own = {
        key: found.get(key, parameter.default)
        for key, parameter in _OWN_PARAMETERS[name].items()
        if key in found or parameter.default is not None
    }
    return Fault(
        name=name,
        begins_at=started_at + found["at_s"] if "at_s" in found else None,
        after_messages=found.get("after_messages"),
        for_s=found.get("for_s"),
        exchange=found.get("exchange"),
        symbol=found.get("symbol"),
        channel=found.get("channel"),
        connections=found.get("connections"),
        parameters=own,
    )


def _contradictions(name: str, entry: Mapping[str, Any], where: str, place: str) -> list[Problem]:
    problems = []
    known = _OWN_PARAMETERS[name]
    if "at_s" in entry and "after_messages" in entry:
        problems.append(
            Problem(
                where=where,
                field=_at(place, "after_messages"),
                value="",
                expected="give it or at_s, not both",
            )
        )
    if name in _AT_ONCE and "for_s" in entry:
        problems.append(
            Problem(
                where=where,
                field=_at(place, "for_s"),
                value="",
                expected=f"{name} happens at once; leave it out",
            )
        )
    status = entry.get("status")
    # 200 is an error on OKX alone, whose body tells it.
    lowest = 201 if entry.get("exchange") == "okx" else 200
    if name == "rest_error" and isinstance(status, int) and lowest <= status < 400:
        problems.append(
            Problem(
                where=where,
                field=_at(place, "status"),
                value=_shown(status),
                expected=known["status"].expected,
            )
        )
    if name == "withhold":
        if "symbol" not in entry:
            problems.append(
                Problem(where=where, field=_at(place, "symbol"), value="", expected="withhold needs a symbol")
            )
        ids = [key for key in ("from_id", "to_id") if key in entry]
        if ("count" in entry) == bool(ids) or len(ids) == 1:
            problems.append(
                Problem(
                    where=where, field=place, value="", expected="withhold takes from_id and to_id, or count"
                )
            )
        elif ids and _fits(known["from_id"], entry["from_id"]) and _fits(known["to_id"], entry["to_id"]):
            if entry["to_id"] >= entry["from_id"]:
                return problems
            problems.append(
                Problem(
                    where=where,
                    field=_at(place, "to_id"),
                    value=_shown(entry["to_id"]),
                    expected="from_id or more",
                )
            )
    return problems


def _fits(parameter: _Parameter, value: object) -> bool:
    if parameter.kind is bool:
        return isinstance(value, bool)
    if parameter.kind is str:
        return isinstance(value, str) and bool(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if parameter.kind is int and not isinstance(value, int):
        return False
    return parameter.low <= value <= parameter.high


def _at(place: str, key: str) -> str:
    return f"{place}.{key}" if place else key


def _shown(value: object) -> str:
    return "missing" if value is None else msgspec.json.encode(value).decode()[:60]
