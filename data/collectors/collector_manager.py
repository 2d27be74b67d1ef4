"""Which collector processes run; starting and restarting them is the supervisor's work."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from data.collectors.settings import VenueSettings
from data.errors import InvalidInput, Problem
from data.exchanges.registry import adapter_for, product_of, products

# Reading more than these keeps one processor busy; another shard may use another processor.
_CONNECTIONS_PER_SHARD = 2
_SYMBOLS_PER_SHARD = 200


@dataclass(frozen=True, slots=True)
class CollectorPlan:
    """One process to run: a part of one product of a venue, so that its trouble stays its own."""

    name: str  # of the process: "collector-okx", "collector-binance-usdm", "collector-okx-2"
    settings: VenueSettings  # with the symbols of this part alone
    product: str
    share: float = 1.0  # of what the venue allows this address, for it is shared by the product's parts


def plan_collectors(venues: Mapping[str, VenueSettings], only: Sequence[str] = ()) -> list[CollectorPlan]:
    """Processes for each venue of the settings, or for those of `only`, in order of name.

    A symbol stays in its shard as long as their number does; when that changes few symbols move.
    Raises InvalidInput for a venue that the settings do not have.
    """
    for exchange in only:
        if exchange not in venues:
            raise InvalidInput(
                Problem(
                    where="venue",
                    field="",
                    value=exchange,
                    expected=f"the collectors' settings have {', '.join(sorted(venues))}",
                )
            )
    return [plan for exchange in sorted(only or venues) for plan in _plans_of(venues[exchange])]


def plan_named(venues: Mapping[str, VenueSettings], name: str) -> CollectorPlan | None:
    """The plan of the process `name`, or None where the settings need no such process."""
    return next((plan for plan in plan_collectors(venues) if plan.name == name), None)


def _plans_of(venue: VenueSettings) -> list[CollectorPlan]:
    plans = []
    for number, product in enumerate(products(venue.exchange)):
        symbols = [symbol for symbol in venue.symbols if product_of(venue.exchange, symbol) == product]
        if not symbols:
            continue
        # The first product has the venue's own name.
        name = f"collector-{venue.exchange}" + (f"-{product}" if number else "")
        count = _shards(venue, product, symbols)
        names = [name if shard == 1 else f"{name}-{shard}" for shard in range(1, count + 1)]
        parts: dict[str, list[str]] = {each: [] for each in names}
        for symbol in symbols:
            parts[max(names, key=lambda each: _affinity(each, symbol))].append(symbol)
        plans += [
            CollectorPlan(
                each,
                replace(
                    venue,
                    symbols=tuple(part),
                    channels={symbol: venue.channels.get(symbol, ()) for symbol in part},
                ),
                product,
                1 / count,
            )
            for each, part in parts.items()
            if part
        ]
    return plans


def _shards(venue: VenueSettings, product: str, symbols: Sequence[str]) -> int:
    per_connection = adapter_for(venue.exchange, product).limits.topics_per_connection
    topics = sum(1 + len(venue.channels.get(symbol, ())) for symbol in symbols)
    return max(
        math.ceil(topics / (per_connection * _CONNECTIONS_PER_SHARD)),
        math.ceil(len(symbols) / _SYMBOLS_PER_SHARD),
    )


def _affinity(name: str, symbol: str) -> int:
    """Highest random weight (Thaler and Ravishankar 1998): the same in every process, and stable."""
    return zlib.crc32(f"{name}:{symbol}".encode())
