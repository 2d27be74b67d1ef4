"""What of a bot's settings may change, and when."""

from __future__ import annotations

from bots.config import BotConfig
from bots.ladders.settings import RebalanceSettings, type_of
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
    is_basket = isinstance(before.ladder, RebalanceSettings) or isinstance(now.ladder, RebalanceSettings)
    if has_traded and is_basket and (type(now.ladder) is not type(before.ladder)):
        unfit("type", _kind(now), f"must stay {_kind(before)}: the bot has traded; delete it to begin anew")
    elif has_traded and is_basket and (now.venue, now.symbols) != (before.venue, before.symbols):
        names = f"{before.venue}:{', '.join(before.symbols)}"
        expected = f"must stay {names} in this order: the bot has traded; its weights may change"
        unfit("settings.weights", ", ".join(now.symbols), expected)
    elif has_position and now.market != before.market:
        unfit("symbol", now.market, f"must stay {before.market} while a position is open there")
    if has_position and now.timeframe is not None and before.timeframe not in (None, now.timeframe):
        unfit("timeframe", now.timeframe, f"must stay {before.timeframe} while a position is open")
    if problems:
        raise InvalidInput(*problems)


def _kind(config: BotConfig) -> str:
    return "strategy" if config.ladder is None else str(type_of(config.ladder))
