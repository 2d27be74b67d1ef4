"""The bots that a runner has loaded, by id and by the candles they read."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from bots.lifecycle import ACTIVE
from bots.paper_bot import PaperBot
from data.models import Market
from data.timeframes import Timeframe

Series = tuple[Market, Timeframe]


def series_of(bot: PaperBot) -> Series:
    return bot.market, bot.timeframe


class Roster:
    """Knows at once who reads a candle, however many bots there are."""

    def __init__(self) -> None:
        self._bots: dict[int, PaperBot] = {}
        self._readers: dict[Series, dict[int, PaperBot]] = {}

    def __iter__(self) -> Iterator[PaperBot]:
        return iter(self._bots.values())

    def get(self, bot_id: int) -> PaperBot | None:
        return self._bots.get(bot_id)

    def add(self, bot: PaperBot) -> None:
        """Take a bot in, in place of the one with its id."""
        self.remove(bot.bot_id)
        self._bots[bot.bot_id] = bot
        self._readers.setdefault(series_of(bot), {})[bot.bot_id] = bot

    def remove(self, bot_id: int) -> None:
        """Forget a bot; one that is not there is no fault."""
        bot = self._bots.pop(bot_id, None)
        if bot is None:
            return
        readers = self._readers[series_of(bot)]
        del readers[bot_id]
        if not readers:
            del self._readers[series_of(bot)]

    def clear(self) -> None:
        self._bots.clear()
        self._readers.clear()

    def keep(self, bot_ids: Collection[int]) -> None:
        """Forget all others."""
        for bot_id in [bot_id for bot_id in self._bots if bot_id not in bot_ids]:
            self.remove(bot_id)

    def drop_idle(self) -> None:
        """Forget those that stand still: they need no memory, and a wish brings them back."""
        for bot in [bot for bot in self if bot.state not in ACTIVE]:
            self.remove(bot.bot_id)

    def series(self) -> set[Series]:
        return set(self._readers)

    def reading(self, series: Series) -> Collection[PaperBot]:
        return self._readers.get(series, {}).values()
