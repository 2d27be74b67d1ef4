"""The bots that a runner has loaded, by id and by the candles they read."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from bots.bot_life import BotLife, Series
from bots.lifecycle import ACTIVE


class Roster:
    """Knows at once who reads a candle, however many bots there are."""

    def __init__(self) -> None:
        self._bots: dict[int, BotLife] = {}
        self._readers: dict[Series, dict[int, BotLife]] = {}

    def __iter__(self) -> Iterator[BotLife]:
        return iter(self._bots.values())

    def get(self, bot_id: int) -> BotLife | None:
        return self._bots.get(bot_id)

    def add(self, bot: BotLife) -> None:
        """Take a bot in, in place of the one with its id."""
        self.remove(bot.bot_id)
        self._bots[bot.bot_id] = bot
        for series in bot.series:
            self._readers.setdefault(series, {})[bot.bot_id] = bot

    def remove(self, bot_id: int) -> None:
        """Forget a bot; one that is not there is no fault."""
        bot = self._bots.pop(bot_id, None)
        if bot is None:
            return
        for series in bot.series:
            readers = self._readers[series]
            del readers[bot_id]
            if not readers:
                del self._readers[series]

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

    def reading(self, series: Series) -> Collection[BotLife]:
        return self._readers.get(series, {}).values()
