"""Plans of faults as people write them, read and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from data.errors import InvalidInput, Problem
from simulator.faults import AT_ONCE, Fault
from simulator.instruments import VENUES

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
    if name in AT_ONCE and "for_s" in entry:
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
