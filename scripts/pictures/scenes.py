"""What is photographed: an address of each page, and what a person would click there first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from playwright.sync_api import Page


def _stop_dialog(page: Page) -> None:
    page.locator("#stop-all").click()
    page.locator("#stop-all-do").wait_for()


def _shortcuts(page: Page) -> None:
    page.keyboard.press("?")
    page.locator("dialog[open]").wait_for()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One picture of each size. `{run}`, `{other}` and `{search}` stand for research the desk has made."""

    name: str
    address: str
    act: Callable[[Page], None] | None = None
    part: bool = False  # of a page that has a picture already: not on the widest window, and in dark alone


SCENES = (
    Scene(name="market", address="/market?venue=binance&symbol=BTC-USDT&tf=1m"),
    Scene(name="market-seconds", address="/market?venue=binance&symbol=ETH-USDT&tf=1s", part=True),
    Scene(name="bots", address="/bots"),
    Scene(name="bot", address="/bots?bot=pulse_btc"),
    Scene(name="bot-decisions", address="/bots?bot=pulse_btc&tab=decisions", part=True),
    Scene(name="bot-settings", address="/bots?bot=grid_btc&tab=settings", part=True),
    Scene(name="new-bot", address="/bots?new=grid"),
    Scene(name="portfolio", address="/portfolio"),
    Scene(name="backtests", address="/backtests"),
    Scene(name="new-backtest", address="/backtests?new=backtest&strategy=ema_crossover"),
    Scene(name="report", address="/backtests?run={run}"),
    Scene(name="sweeps", address="/backtests?view=sweeps", part=True),
    Scene(name="sweep", address="/backtests?search={search}"),
    Scene(name="compare", address="/backtests?compare={run},{other}"),
    Scene(name="strategies", address="/strategies?name=ema-crossover"),
    Scene(name="strategy-text", address="/strategies?name=ema-crossover&tab=text", part=True),
    Scene(name="strategy-preview", address="/strategies?name=ema-crossover&tab=preview", part=True),
    Scene(name="data", address="/data"),
    Scene(name="data-holes", address="/data?view=holes", part=True),
    Scene(name="data-history", address="/data?view=history"),
    Scene(name="data-instruments", address="/data?view=instruments", part=True),
    Scene(name="system", address="/system"),
    Scene(name="system-database", address="/system?view=database", part=True),
    Scene(name="system-logs", address="/system?view=logs", part=True),
    Scene(name="system-configuration", address="/system?view=configuration", part=True),
    Scene(name="settings", address="/settings"),
    Scene(name="settings-retention", address="/settings?view=retention", part=True),
    Scene(name="settings-notifications", address="/settings?view=notifications", part=True),
    Scene(name="settings-display", address="/settings?view=display", part=True),
    Scene(name="emergency-stop", address="/bots", act=_stop_dialog, part=True),
    Scene(name="shortcuts", address="/market?venue=binance&symbol=BTC-USDT&tf=1m", act=_shortcuts, part=True),
)
