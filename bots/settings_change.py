"""What of a bot's settings may change, and when."""

from __future__ import annotations

from bots.config import BotConfig
from data.errors import InvalidInput, Problem


def check_fits(
    before: BotConfig, now: BotConfig, *, where: str, has_traded: bool, has_position: bool
) -> None:
    """Raise InvalidInput where a bot with settings `before` cannot go on with `now`."""
    problems = []

    def unfit(field: str, value: object, expected: str) -> None:
        problems.append(Problem(where=where, field=field, value=str(value), expected=expected))

    if now.name != before.name:
        unfit("name", now.name, f'must stay "{before.name}": this is the bot of that name')
    if has_traded and now.capital != before.capital:
        expected = f"must stay {before.capital}: the bot has traded; delete it to begin anew"
        unfit("capital", now.capital, expected)
    if has_position and now.market != before.market:
        unfit("symbol", now.market, f"must stay {before.market} while a position is open there")
    if has_position and now.timeframe is not None and before.timeframe not in (None, now.timeframe):
        unfit("timeframe", now.timeframe, f"must stay {before.timeframe} while a position is open")
    if problems:
        raise InvalidInput(*problems)
