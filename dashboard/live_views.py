"""What a browser tab may watch, and how a message of the bus becomes what the tab applies. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from bots.messages import ALL_BOTS, ALL_SIGNALS, CONTROL_TOPIC
from dashboard.figures.price_chart import candle_ticks
from dashboard.forming_candles import Completed
from dashboard.market_day import MarketDay
from dashboard.number_formats import direction, duration, percent, plain, price
from dashboard.theme import Theme
from data.messages import CollectorHealth, TradeBatch
from data.models import Market
from data.timeframes import SECOND_US, Timeframe
from data.topics import ALL_CANDLES, ALL_HEALTH, ALL_QUOTES, ALL_REPAIRS, ALL_TRADES, candles_topic
from jobs.messages import ALL_JOBS, JobUpdate
from jobs.model import JobProgress

QUOTES = "quotes"  # last prices of all markets
HEALTH = "health"  # collectors
BOTS = "bots"  # something about a bot changed
SIGNALS = "signals"  # a strategy said something
JOBS = "jobs"  # every job's progress; "jobs.7" is that of one
CHART = "chart"  # its stored candles are others than they were
DESK = "desk"  # a person asked something of a bot, or of all of them
DEFAULT_OVERLAY = "ema"
BUS_PATTERNS = (
    ALL_TRADES,
    ALL_QUOTES,
    ALL_CANDLES,
    ALL_REPAIRS,
    ALL_HEALTH,
    ALL_SIGNALS,
    ALL_BOTS,
    ALL_JOBS,
    CONTROL_TOPIC,
)

_MAX_TOPIC = 600

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Patch:
    """One change for a tab. Of patches with the same key only the newest counts."""

    key: tuple[str | int, ...]
    body: Body


@dataclass(frozen=True, slots=True)
class ChartView:
    """One chart: a market, a time frame, the overlays and the colour scheme."""

    market: Market
    timeframe: Timeframe
    overlay: str
    scheme: str

    @property
    def key(self) -> str:
        """What identifies the chart's data, for the browser to drop what came too late."""
        return f"{self.market}:{self.timeframe}:{self.overlay}"

    @property
    def candle_topic(self) -> str:
        return candles_topic(self.market, self.timeframe)

    @property
    def topic(self) -> str:
        """What a tab subscribes to."""
        return "|".join(
            (
                "chart",
                self.market.exchange,
                self.market.symbol,
                self.timeframe,
                self.overlay,
                self.scheme,
            )
        )


def parse_chart_view(topic: str) -> ChartView | None:
    """The chart a topic names, or None for anything else. Topics come from browsers: nothing is trusted."""
    parts = topic.split("|")
    if len(topic) > _MAX_TOPIC or len(parts) != 6 or parts[0] != "chart" or not all(parts):
        return None
    try:
        timeframe = Timeframe(parts[3])
    except ValueError:
        return None
    return ChartView(Market(parts[1], parts[2]), timeframe, parts[4], parts[5])


def quote_patch(payload: bytes, day: MarketDay | None, before: float | None) -> tuple[Patch, float] | None:
    """The newest price of a batch of trades with its change, and that price as a number.

    `before` is the price last shown: it gives the direction of the flash. None without trades, or while
    nothing is known of the market, not even how its prices are written.
    """
    trades = msgspec.json.decode(payload, type=TradeBatch).trades
    if not trades or day is None:
        return None
    trade = trades[-1]
    market = Market(trade.exchange, trade.symbol)
    change = day.change_rate(trade.price)
    moved = 0.0 if before is None else trade.price - before
    body: Body = {
        "k": "quote",
        "m": str(market),
        "p": price(trade.price, day.decimals),
        "w": "up" if moved > 0 else "down" if moved < 0 else "flat",
        "c": percent(change),
        "cw": direction(None if change is None else change * 100),
        "a": trade.traded_at_us,
    }
    if day.high is not None and day.low is not None:
        body["h"] = price(max(day.high, trade.price), day.decimals)
        body["l"] = price(min(day.low, trade.price), day.decimals)
    return Patch(("quote", str(market)), body), trade.price


def candle_patches(drawn: Completed, view: ChartView, theme: Theme) -> list[Patch]:
    """The ticks of a candle for one chart; what it lacks goes with them."""
    ticks = candle_ticks(drawn.candle, theme)
    lacks: Body = {"note": drawn.note} if drawn.note else {}
    if drawn.since_us is not None:
        lacks["since"] = drawn.since_us // SECOND_US
    return tick_patches([{**tick, **lacks} for tick in ticks], view)


def tick_patches(ticks: list[Body], view: ChartView) -> list[Patch]:
    """Ticks as patches; several revisions of a bar become one."""
    return [
        Patch(("tick", view.key, tick["id"], tick["bar"]["time"]), {"k": "tick", "key": view.key, **tick})
        for tick in ticks
    ]


def health_patch(health: CollectorHealth) -> Patch:
    """A collector's state for the badge in the header."""
    body = {
        "k": "health",
        "e": health.exchange,
        "s": health.state,
        "lag": round(health.lag_ms),
        "a": health.sent_at_us,
    }
    return Patch(("health", health.exchange), body)


def job_patch(update: JobUpdate) -> Patch:
    """How far a job is, for its bar and the words beside it."""
    body = {
        "k": "job",
        "i": update.id,
        "s": update.state.value,
        "p": progress_percent(update.progress),
        "w": progress_words(update.progress),
    }
    return Patch(("job", update.id), body)


def progress_percent(progress: JobProgress | None) -> float:
    """0 to 100; 0 while it is not known how much there is to do."""
    if progress is None or progress.total <= 0:
        return 0.0
    return round(min(100.0, 100 * progress.done / progress.total), 1)


def progress_words(progress: JobProgress | None) -> str:
    """`1,200 of 4,000 · 350 a second · 8s left · trials`."""
    if progress is None:
        return ""
    parts = [f"{progress.done:,} of {progress.total:,}" if progress.total > 0 else f"{progress.done:,}"]
    if progress.rate is not None:
        parts.append(f"{plain(progress.rate, 1 if progress.rate < 10 else 0)} a second")
    if progress.left_s is not None and progress.done < progress.total:
        parts.append(f"{duration(round(progress.left_s * SECOND_US))} left")
    if progress.message:
        parts.append(progress.message)
    return " · ".join(parts)


def nudge_patch(name: str) -> Patch:
    """Asks the page to read something again."""
    return Patch(("nudge", name), {"k": "nudge", "n": name})
