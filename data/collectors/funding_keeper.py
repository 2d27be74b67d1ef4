"""The funding that was paid: streams tell what is expected, and only REST tells all that became of it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NoReturn

import structlog

from data.collectors.backoff import Backoff
from data.collectors.rest import VenueRest
from data.collectors.tuning import CollectorTuning
from data.errors import BadDataError, TransientError
from data.exchanges.base import FundingMessage, MarkMessage, VenueMessage
from data.models import FundingRate, Market
from data.stores import FundingTimesReader

log = structlog.get_logger()

# Whatever was paid, whenever that was.
_ANY_US = 0


@dataclass(slots=True)
class _Line:
    """One perpetual: what its stream says is paid next, and what is asked for."""

    market: Market
    backoff: Backoff
    owed: set[int] = field(default_factory=lambda: {_ANY_US})  # payments, asked for until they are told
    due_s: float = 0.0  # loop time of the next question
    expected_us: int | None = None  # paid next, as the stream says
    settled_us: int = 0  # the newest that the stream or a reply told as paid
    # The venue's clock as it was heard last, and the loop's time then.
    heard_us: int = 0
    heard_s: float = 0.0

    def venue_us(self, now_s: float) -> int:
        """The venue's clock now: never ahead, for a message is under way for a while."""
        return self.heard_us + int((now_s - self.heard_s) * 1_000_000)


class FundingKeeper:
    """Asks for each funding once it is paid, until it is told, and at first for those that were missed.

    One question at a time: neither many markets nor a venue that does not answer disturb what else is asked.
    """

    def __init__(
        self,
        rest: VenueRest,
        stored: FundingTimesReader,
        exchange: str,
        clock_us: Callable[[], int],
        tuning: CollectorTuning,
        *,
        wanted: Callable[[], Iterable[str]],
        take: Callable[[VenueMessage], None],
    ) -> None:
        """`wanted` names the symbols whose funding is recorded now; `take` keeps what is to be stored."""
        self._rest, self._stored, self._exchange = rest, stored, exchange
        self._clock_us, self._tuning = clock_us, tuning
        self._wanted, self._take = wanted, take
        self._lines: dict[str, _Line] = {}  # by symbol

    def note(self, parsed: VenueMessage) -> None:
        """Learn from a stream what is paid next, and what it tells as paid itself."""
        if isinstance(parsed, FundingMessage):
            # What is paid first: it says what the change of the next time means.
            for rate in sorted(parsed.rates, key=lambda rate: not rate.settled):
                self._note(rate)
        elif isinstance(parsed, MarkMessage) and parsed.funding is not None:
            self._note(parsed.funding)

    async def run(self) -> NoReturn:
        """Ask when it is time, until cancelled."""
        while True:
            self._follow()
            now_s = asyncio.get_running_loop().time()
            for line in self._lines.values():
                self._look(line, now_s)
            due = [line for line in self._lines.values() if line.owed and line.due_s <= now_s]
            if due:
                await self._ask(min(due, key=lambda line: line.due_s))
            else:
                await asyncio.sleep(self._tuning.funding_look_s)

    def _follow(self) -> None:
        """Of a market that comes, what was paid while nobody listened is owed; one that goes is forgotten."""
        wanted = dict.fromkeys(self._wanted())
        for symbol in [symbol for symbol in self._lines if symbol not in wanted]:
            del self._lines[symbol]
        for symbol in wanted:
            if symbol not in self._lines:
                backoff = Backoff(self._tuning.funding_first_s, self._tuning.funding_longest_s)
                self._lines[symbol] = _Line(Market(self._exchange, symbol), backoff)

    def _note(self, rate: FundingRate) -> None:
        line = self._lines.get(rate.symbol)
        if line is None:
            return
        if rate.settled:
            line.settled_us = max(line.settled_us, rate.funding_at_us)
            # It says nothing of those before it.
            line.owed.discard(rate.funding_at_us)
            return
        if rate.seen_at_us < line.heard_us:
            return  # of a connection that has a successor already
        now_s = asyncio.get_running_loop().time()
        if line.heard_us and rate.seen_at_us - line.heard_us > self._tuning.funding_silence_s * 1_000_000:
            # Times of payment may have come and gone that were never announced.
            self._owe(line, _ANY_US, now_s)
        line.heard_us, line.heard_s = rate.seen_at_us, now_s
        if rate.funding_at_us != line.expected_us:
            # Until its time has come a payment may be moved, and then the former time means nothing.
            self._look(line, now_s)
            line.expected_us = rate.funding_at_us

    def _look(self, line: _Line, now_s: float) -> None:
        """Ask soon for a payment whose time has come, unless it was told."""
        expected_us = line.expected_us
        if expected_us is None or line.venue_us(now_s) < expected_us:
            return
        line.expected_us = None
        if expected_us > line.settled_us:
            self._owe(line, expected_us, now_s)

    def _owe(self, line: _Line, paid_us: int, now_s: float) -> None:
        if paid_us in line.owed:
            return  # a stream may go on announcing what is past
        line.owed.add(paid_us)
        line.backoff.reset()
        # Desks that follow the same markets do not ask at the same moment.
        line.due_s = now_s + self._tuning.funding_first_s * random.uniform(1.0, 2.0)

    async def _ask(self, line: _Line) -> None:
        market, why = line.market, "the venue has not told it yet"
        now_us = self._clock_us()
        try:
            rates = await self._rest.funding_history(market.symbol, now_us)
            stored = await self._stored.funding_times(market, rates[0].funding_at_us if rates else 0)
        except (TransientError, BadDataError) as error:
            why = str(error)
        else:
            if self._lines.get(market.symbol) is not line:
                return  # nobody wants it any more
            fresh = [rate for rate in rates if not stored.get(rate.funding_at_us, False)]
            if fresh:
                log.info("funding_fetched", market=str(market), rates=len(fresh))
                self._take(FundingMessage(fresh, 0))
            newest_us = rates[-1].funding_at_us if rates else _ANY_US
            line.settled_us = max(line.settled_us, newest_us)
            if _ANY_US in line.owed:
                # What a process before this one expected may have been paid just now.
                line.owed |= {
                    at_us for at_us, is_settled in stored.items() if not is_settled and at_us <= now_us
                }
            # A reply tells all that was paid up to its newest; what it lacks of that was moved.
            line.owed = {at_us for at_us in line.owed if at_us > newest_us}
            if not line.owed:
                line.backoff.reset()
                return
        retry_in_s = line.backoff.next_s()
        line.due_s = asyncio.get_running_loop().time() + retry_in_s
        log.warning("funding_not_told", market=str(market), why=why, retry_in_s=round(retry_in_s, 1))
