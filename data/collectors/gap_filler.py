"""Fetching the trades that a stream did not bring, and saying so when they cannot be had."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from data.collectors.backoff import Backoff
from data.collectors.market_recorder import MarketRecorder
from data.collectors.rest import VenueRest
from data.collectors.tuning import CollectorTuning
from data.errors import BadDataError, TransientError
from data.models import TradeRun
from data.sequencing import MissingRange

log = structlog.get_logger()

# With more of them at once, the venue's limits would make each one slow.
_FILLS_AT_ONCE = 3


class GapFiller:
    """Fills the holes of one venue's markets in id order, by pages, within the venue's limits."""

    def __init__(
        self,
        rest: VenueRest,
        page_ids: int,
        clock_us: Callable[[], int],
        tuning: CollectorTuning,
        on_recorded: Callable[[], None],
    ) -> None:
        """A page speaks for `page_ids` ids. `on_recorded` is called when a minute's candle was closed."""
        self._rest, self._page_ids, self._clock_us = rest, page_ids, clock_us
        self._tuning, self._on_recorded = tuning, on_recorded
        self._slots = asyncio.Semaphore(_FILLS_AT_ONCE)
        self._busy: set[MarketRecorder] = set()
        self.given_up = 0  # ranges
        self.found = 0  # holes that did not close by themselves
        self.repaired = 0  # of those, the ones that were closed wholly

    @property
    def under_way(self) -> int:
        """How many markets wait for missing trades."""
        return len(self._busy)

    def is_filling(self, recorder: MarketRecorder) -> bool:
        return recorder in self._busy

    async def fill(self, recorder: MarketRecorder) -> None:
        """Fetch what is missing until nothing is, or what is cannot be had; at most one at a time works."""
        if recorder in self._busy:
            return
        self._busy.add(recorder)
        try:
            # Missing ids may be on their way, merely out of order.
            await asyncio.sleep(self._tuning.fill_settle_s)
            if recorder.sequencer.missing() is None:
                return
            self.found += 1
            async with self._slots:
                run_before = recorder.run
                await self._fetch_missing(recorder)
            if _is_same_run(run_before, recorder.run):
                self.repaired += 1
        finally:
            self._busy.discard(recorder)

    def give_up(self, recorder: MarketRecorder, lost: MissingRange, reason: str) -> None:
        """Record that ids cannot be had, and go on with what waited for them."""
        self.given_up += 1
        log.warning(
            "trades_lost",
            market=str(recorder.market),
            first_id=lost.first_id,
            last_id=lost.last_id,
            reason=reason,
        )
        if recorder.give_up(lost, reason, self._clock_us()):
            self._on_recorded()

    async def _fetch_missing(self, recorder: MarketRecorder) -> None:
        patience = _Patience(self._tuning)
        while (missing := recorder.sequencer.missing()) is not None:
            if len(missing) > self._tuning.max_fill:
                self.give_up(recorder, missing, "too_long_for_collector")
                continue
            try:
                page = await self._rest.trades_from(recorder.market.symbol, missing.first_id)
            except (TransientError, BadDataError) as error:
                log.warning("fill_failed", market=str(recorder.market), error=str(error))
                if patience.over:
                    self.give_up(recorder, missing, "venue_unreachable")
                else:
                    await asyncio.sleep(patience.after_failure_s())
                continue
            # A page may begin below what was asked for.
            if recorder.accept([trade for trade in page if trade.trade_id >= missing.first_id]):
                self._on_recorded()
            await self._judge_page(recorder, missing, patience)

    async def _judge_page(self, recorder: MarketRecorder, asked: MissingRange, patience: _Patience) -> None:
        """After a page that was to bring `asked`: go on, wait for the venue, or give ids up."""
        missing = recorder.sequencer.missing()
        if missing is None or missing.first_id != asked.first_id:
            patience.renew()
            return
        # The very first id did not come: the venue lacks it, or its REST side lags behind its stream.
        retry_s = patience.after_absence_s()
        if retry_s is not None:
            await asyncio.sleep(retry_s)
            return
        last_id = min(missing.last_id, missing.first_id + self._page_ids - 1)
        self.give_up(recorder, MissingRange(missing.first_id, last_id), "history_unavailable")


def _is_same_run(before: TradeRun | None, after: TradeRun | None) -> bool:
    """Whether nothing was given up between the two."""
    return before is None or after is None or before.first_id == after.first_id


class _Patience:
    """How long one fill goes on asking."""

    def __init__(self, tuning: CollectorTuning) -> None:
        self._tuning = tuning
        self._backoff = Backoff(tuning.backoff_first_s, tuning.backoff_longest_s)
        self._began_s = asyncio.get_running_loop().time()
        self._absences = 0

    @property
    def over(self) -> bool:
        """Whether the venue has failed to answer for too long."""
        return asyncio.get_running_loop().time() - self._began_s > self._tuning.fill_patience_s

    def after_failure_s(self) -> float:
        """Seconds to wait after no answer."""
        return self._backoff.next_s()

    def after_absence_s(self) -> float | None:
        """Seconds to wait after an answer without the id; None: believe it.

        Once one page is known to be absent, the pages right behind it are asked for only once.
        """
        self._absences += 1
        if self._absences >= self._tuning.fill_attempts:
            return None
        return self._tuning.fill_retry_s * 2.0 ** (self._absences - 1)

    def renew(self) -> None:
        """Something came."""
        self._absences = 0
        self._began_s = asyncio.get_running_loop().time()
        self._backoff.reset()
