"""The venue's own candles: for charts before the first trade, and where trades could not make one."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import NoReturn

import structlog

from data.collectors.backoff import Backoff
from data.collectors.rest import VenueRest
from data.collectors.tuning import CollectorTuning
from data.errors import BadDataError, TransientError
from data.messages import RepairNews
from data.models import Market
from data.stores import MarketPublisher, MarketWriter
from data.timeframes import Timeframe
from data.topics import repairs_topic

log = structlog.get_logger()

# The candle that ended uncovered, the one before it, and one in reserve.
_FEW_CANDLES = 3


@dataclass(frozen=True, slots=True)
class _Wish:
    symbol: str
    timeframe: Timeframe
    since_us: int | None  # None: the newest few


class HistoryKeeper:
    """Fetches one series after the other, so that it never crowds out the trades that are missing."""

    def __init__(
        self,
        rest: VenueRest,
        writer: MarketWriter,
        count: int,
        tuning: CollectorTuning,
        *,
        publisher: MarketPublisher | None = None,
    ) -> None:
        """`count` candles at most are fetched of a market and time frame; 0: none, ever.

        `publisher` is told what times were filled, for charts that were read before.
        """
        self._rest, self._writer, self._count, self._tuning = rest, writer, count, tuning
        self._publisher = publisher
        self._wishes: asyncio.Queue[_Wish] = asyncio.Queue()
        self._soon: set[_Wish] = set()

    def set_count(self, count: int) -> None:
        """From now on so many candles at most are fetched of a market and time frame."""
        self._count = count

    def ask(self, symbol: str, timeframe: Timeframe, since_us: int) -> None:
        """Fetch what ended since `since_us` (0: ever), as far as the count allows."""
        if self._count and _is_kept(timeframe):
            self._wishes.put_nowait(_Wish(symbol, timeframe, since_us))

    def ask_newest(self, symbol: str, timeframe: Timeframe) -> None:
        """Fetch the newest few once the venue has them: one that has just ended is not covered by trades."""
        wish = _Wish(symbol, timeframe, None)
        if self._count and _is_kept(timeframe) and wish not in self._soon:
            self._soon.add(wish)
            asyncio.get_running_loop().call_later(
                self._tuning.history_settle_s, self._wishes.put_nowait, wish
            )

    async def run(self) -> NoReturn:
        """Serve what is asked for until cancelled."""
        backoff = Backoff(self._tuning.backoff_first_s, self._tuning.backoff_longest_s)
        while True:
            wish = await self._wishes.get()
            self._soon.discard(wish)
            while True:
                try:
                    await self._serve(wish)
                except TransientError as error:
                    log.warning("history_failed", symbol=wish.symbol, error=str(error))
                    await asyncio.sleep(backoff.next_s())
                    continue
                except BadDataError as error:
                    log.warning("history_refused", symbol=wish.symbol, error=str(error))
                break
            backoff.reset()

    async def _serve(self, wish: _Wish) -> None:
        count = _FEW_CANDLES
        if wish.since_us is not None:
            ended = (await self._rest.server_time_us() - wish.since_us) // wish.timeframe.us
            count = ended + _FEW_CANDLES
        candles = await self._rest.klines(wish.symbol, wish.timeframe, min(count, self._count))
        await self._writer.save_history(candles)
        if self._publisher is not None and wish.since_us is not None and candles:
            first, last = candles[0], candles[-1]
            await self._publisher.publish(
                repairs_topic(Market(first.exchange, first.symbol)),
                RepairNews(
                    exchange=first.exchange,
                    symbol=first.symbol,
                    start_us=first.opened_at_us,
                    end_us=last.opened_at_us + wish.timeframe.us,
                ),
            )


def _is_kept(timeframe: Timeframe) -> bool:
    """Seconds are too many to fetch, and a thousand weeks are more than there were."""
    return Timeframe.M1.us <= timeframe.us <= Timeframe.D1.us
