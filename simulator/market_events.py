"""What happens to made-up markets by plan: halts, ends, new listings, coarser price steps."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal, InvalidOperation

from data.errors import InvalidInput, Problem
from simulator.faults import MARKET_EVENTS, Fault
from simulator.instruments import KNOWN_SYMBOLS, MarketShape, SimInstrument, shapes_of
from simulator.markets import Market, MarketList, MarketStatus
from simulator.scripted_market import ScriptedMarket
from simulator.tapes import Clock, GeneratedTape

log = logging.getLogger(__name__)


class MarketEvents:
    """Carries out the plan's market events on whichever venues they name."""

    def __init__(
        self,
        markets: MarketList,
        make: Callable[[MarketShape, int], Market],
        clock: Clock,
        changed: Callable[[Market], None],
    ) -> None:
        self._markets = markets
        self._make = make  # of a shape, listed at a time
        self._clock = clock
        self._changed = changed

    def check(self, faults: Sequence[Fault]) -> None:
        """Raises InvalidInput for an event of a market that cannot have it."""
        problems = [
            problem
            for fault in faults
            if fault.name in MARKET_EVENTS and (problem := self._problem(fault, faults)) is not None
        ]
        if problems:
            raise InvalidInput(*problems)

    def happen(self, fault: Fault) -> None:
        """Carry out one event, from the next millisecond on."""
        next_ms = self._clock() + 1
        if fault.name == "list":
            for shape in self._unlisted(fault):
                market = self._make(shape, next_ms)
                self._markets.add(market)
                self._changed(market)
            return
        for market in self._named(fault):
            synthetic, tape = market.synthetic, market.tape
            if not isinstance(synthetic, ScriptedMarket) or not isinstance(tape, GeneratedTape):
                continue
            if market.status is MarketStatus.DELISTED:
                continue
            if fault.name == "resume":
                synthetic.resume(next_ms)
                market.status = MarketStatus.LIVE
            elif fault.name == "tick":
                tick = _units(market.instrument, fault.parameters["tick"])
                if tick is not None:
                    synthetic.coarsen(next_ms, tick)
                    market.instrument = replace(market.instrument, tick=tick)
            else:
                synthetic.halt(next_ms)
                ended = fault.name == "delist"
                market.status = MarketStatus.DELISTED if ended else MarketStatus.HALTED
            log.info("market_event event=%s market=%s", fault.name, market.instrument.symbol)
            tape.forget_future()
            self._changed(market)

    def _problem(self, fault: Fault, faults: Sequence[Fault]) -> Problem | None:
        symbol = fault.symbol or ""
        if fault.name == "list":
            if symbol in KNOWN_SYMBOLS and self._unlisted(fault):
                return None
            expected = f"a symbol that is not listed yet, of {', '.join(KNOWN_SYMBOLS)}"
        elif any(other.name == "list" and other.symbol == symbol for other in faults):
            return None
        elif not self._named(fault):
            listed = dict.fromkeys(market.instrument.symbol for market in self._markets)
            expected = f"one of {', '.join(listed)}"
        elif fault.name == "tick" and not all(
            _units(market.instrument, fault.parameters["tick"]) for market in self._named(fault)
        ):
            steps = {str(market.instrument.tick_size) for market in self._named(fault)}
            return Problem(
                where="the plan",
                field="tick",
                value=str(fault.parameters["tick"]),
                expected=f"a multiple of the step now: {', '.join(sorted(steps))}",
            )
        else:
            return None
        return Problem(where="the plan", field=f"{fault.name}.symbol", value=symbol, expected=expected)

    def _named(self, fault: Fault) -> list[Market]:
        return [
            market
            for market in self._markets
            if market.instrument.symbol == fault.symbol and fault.meets(market.instrument.venue)
        ]

    def _unlisted(self, fault: Fault) -> list[MarketShape]:
        listed = {(market.instrument.venue, market.instrument.symbol) for market in self._markets}
        return [
            shape
            for shape in shapes_of([fault.symbol or ""])
            if fault.meets(shape.instrument.venue)
            and (shape.instrument.venue, shape.instrument.symbol) not in listed
        ]


def _units(instrument: SimInstrument, tick: str) -> int | None:
    """The step in the instrument's units; None where it is no multiple of the present one."""
    try:
        units = Decimal(tick).scaleb(instrument.price_decimals)
    except InvalidOperation:
        return None
    if units <= 0 or units % instrument.tick:
        return None
    return int(units)
