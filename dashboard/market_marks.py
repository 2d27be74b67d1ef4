"""Signals and fills as layers over the chart: where they stand, and what each says when it is opened."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from bots.views import BotView, FillView, SignalView
from dashboard.decision_words import why
from dashboard.figures.price_chart import (
    MAX_MARKERS,
    Row,
    buys,
    fill_markers,
    merged_markers,
    position_lines,
    signal_markers,
)
from dashboard.market_feed import whole_number
from dashboard.market_request import bot_href
from dashboard.market_sources import MarketSources
from dashboard.number_formats import full_time, money, price, quantity
from dashboard.theme import Theme, theme_named
from data.errors import InvalidInput, Problem
from data.models import Candle, Market, Ohlcv, Side
from data.timeframes import SECOND_US, Timeframe
from strategies.base import Signals, Strategy, StrategyStream

BOT, STRATEGY = "bot", "strategy"
NO_LAYER = "none"

_MOST_LAYERS = 12
_MOST_CANDLES = 20_000  # of a strategy's layer
_SETTLED_WARMUPS = 8
_LAST_SECOND = 2**40
_ACTIONS = {
    "long_entry": "long",
    "long_exit": "leave long",
    "short_entry": "short",
    "short_exit": "leave short",
}

Body = dict[str, Any]
Marked = list[tuple[Row, Body]]  # markers with what they say


def chosen_layers(text: str) -> list[tuple[str, str]] | None:
    """Kind and name of each layer of an address; None where it says nothing, which is every bot."""
    if not text:
        return None
    parts = (item.partition(":") for item in text.split(",")[:_MOST_LAYERS])
    return [(kind, name) for kind, _, name in parts if kind in (BOT, STRATEGY) and name]


def marks_body(sources: MarketSources, request: Mapping[str, Any]) -> Body:
    """Markers, lines of positions and the layers there are to choose from, from `first` (seconds) on."""
    resolved = sources.resolve(request)
    market = resolved.market
    first = whole_number(request, "first", least=0, most=_LAST_SECOND)
    if market is None:
        return {"key": "", "markers": [], "lines": [], "notes": {}, "choices": []}
    theme = theme_named(resolved.scheme)
    bots = [bot for bot in sources.bots.list_bots() if market in bot.markets]
    wanted = chosen_layers(str(request.get("layers", "")))
    shown = [bot for bot in bots if wanted is None or (BOT, bot.name) in wanted]
    marked = _bot_marks(sources, market, shown, resolved.timeframe, theme, everything=wanted is None)
    names = sources.chart.overlay_choices()
    strategies = [name for kind, name in wanted or [] if kind == STRATEGY and name in names]
    for name in strategies:
        marked += _strategy_marks(sources, name, market, resolved.timeframe, first, theme)
    notes = {f"m{index}": note for index, (_, note) in enumerate(marked)}
    rows = [{**row, "id": f"m{index}"} for index, (row, _) in enumerate(marked)]
    markers = merged_markers(rows, (), start_us=first * SECOND_US)
    kept = {row["id"] for row in markers}
    return {
        "key": resolved.view(market).key,
        "markers": markers,
        "lines": position_lines(
            {bot.name: held.position for bot in shown for held in bot.holdings if held.market == market},
            theme,
        ),
        "notes": {name: note for name, note in notes.items() if name in kept},
        "choices": [
            *({"value": f"{BOT}:{bot.name}", "label": bot.name, "on": bot in shown} for bot in bots),
            *({"value": f"{STRATEGY}:{name}", "label": name, "on": name in strategies} for name in names),
        ],
    }


def why_body(sources: MarketSources, request: Mapping[str, Any]) -> Body:
    """Why a strategy said what it said on the candle that opens at `at` (seconds), computed anew.

    Raises InvalidInput for what is not there.
    """
    resolved = sources.resolve(request)
    name, at = str(request.get("strategy", "")), whole_number(request, "at", least=0, most=_LAST_SECOND)
    if resolved.market is None or name not in sources.chart.overlay_choices():
        problem = Problem(where="address", field="strategy", value=name[:100], expected="one of this desk")
        raise InvalidInput(problem)
    strategy = sources.chart.strategy(name, resolved.timeframe)
    ohlcv = sources.chart.candles(
        resolved.market, resolved.timeframe, bars=_bars(strategy), end_us=at * SECOND_US + 1
    )
    return {"lines": _reasons(strategy.stream(), ohlcv, resolved.market, str(request.get("action", "")))}


def _reasons(stream: StrategyStream, ohlcv: Ohlcv, market: Market, action: str) -> list[str]:
    record: Mapping[str, Any] = {}
    for row in range(len(ohlcv)):
        record = stream.update(_candle(ohlcv, row, market)).record
    return why(record, action) or ["It is written in Python and keeps no conditions that could be shown."]


def _candle(ohlcv: Ohlcv, row: int, market: Market) -> Candle:
    return Candle(
        exchange=market.exchange,
        symbol=market.symbol,
        timeframe=ohlcv.timeframe,
        opened_at_us=int(ohlcv.opened_at_us[row]),
        open=float(ohlcv.open[row]),
        high=float(ohlcv.high[row]),
        low=float(ohlcv.low[row]),
        close=float(ohlcv.close[row]),
        volume=float(ohlcv.volume[row]),
        trades=0,
    )


def _bars(strategy: Strategy) -> int:
    return _SETTLED_WARMUPS * max(1, strategy.warmup) + 2


def _bot_marks(
    sources: MarketSources,
    market: Market,
    bots: Sequence[BotView],
    timeframe: Timeframe,
    theme: Theme,
    *,
    everything: bool,
) -> Marked:
    """Fills of the bots and signals of their strategies; with `everything` those of any strategy."""
    frames = {bot.timeframe for bot in bots if bot.timeframe} | ({timeframe} if everything else set())
    versions = {bot.strategy_version for bot in bots}
    said = [
        one
        for frame in sorted(frames, key=lambda frame: frame.us)
        for one in sources.bots.signals(market, frame, limit=MAX_MARKERS)
        if everything or one.version in versions
    ]
    fills = [
        fill
        for bot in bots
        for fill in sources.bots.fills(bot.name, limit=MAX_MARKERS)
        if fill.market == market
    ]
    decimals = sources.decimals(market)
    return [
        *zip(signal_markers(said, timeframe, theme), map(_signal_note, said), strict=True),
        *zip(fill_markers(fills, timeframe, theme), _fill_notes(fills, decimals), strict=True),
    ]


def _signal_note(signal: SignalView) -> Body:
    return {
        "title": f"{signal.strategy} said {_ACTIONS.get(signal.action, signal.action)}",
        "at": f"{full_time(signal.opened_at_us)}, candle of {signal.timeframe}",
        "lines": why(signal.record, signal.action),
    }


def _fill_notes(fills: Iterable[FillView], decimals: int) -> list[Body]:
    return [
        {
            "title": f"{fill.bot} {'bought' if fill.side is Side.BUY else 'sold'} "
            f"{quantity(fill.quantity)} at {price(fill.price, decimals)}",
            "at": full_time(fill.filled_at_us),
            "lines": [
                f"Why: {fill.reason.value.replace('_', ' ')}.",
                f"Notional {money(fill.price * fill.quantity)}, fee {money(fill.fee)}.",
                *(["Stop and target lay in one candle: the stop was taken."] if fill.ambiguous else []),
            ],
            "href": bot_href(fill.bot),
            "link": f"Open {fill.bot}",
        }
        for fill in fills
    ]


def _strategy_marks(
    sources: MarketSources, name: str, market: Market, timeframe: Timeframe, first: int, theme: Theme
) -> Marked:
    """What a strategy with its default parameters says on the stored candles from `first` on."""
    strategy = sources.chart.strategy(name, timeframe)
    ohlcv = sources.chart.candles(market, timeframe, bars=_MOST_CANDLES)
    begin = int(np.searchsorted(ohlcv.opened_at_us, first * SECOND_US))
    ohlcv = ohlcv.rows(max(0, begin - _bars(strategy)), len(ohlcv))
    found = [
        (int(ohlcv.opened_at_us[row]) // SECOND_US, action)
        for action, column in _columns(strategy.signals(ohlcv))
        for row in np.flatnonzero(column).tolist()
    ]
    newest = sorted(one for one in found if one[0] >= first)[-MAX_MARKERS:]
    return [
        (
            {
                "time": time,
                "position": "belowBar" if buys(action) else "aboveBar",
                "shape": "square",
                "color": theme.up_text if buys(action) else theme.down_text,
                "size": 0.6,
            },
            {
                "title": f"{name} says {_ACTIONS[action]}",
                "at": f"{full_time(time * SECOND_US)}, computed with its default parameters",
                "lines": [],
                "ask": {"strategy": name, "at": time, "action": action},
            },
        )
        for time, action in newest
    ]


def _columns(signals: Signals) -> list[tuple[str, Any]]:
    return [(action, getattr(signals, action)) for action in _ACTIONS]
