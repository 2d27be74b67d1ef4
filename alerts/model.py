"""What is worth telling a person who is not looking at the page."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class AlertKind(StrEnum):
    BOT_FAILED = "bot_failed"
    LIMIT_HIT = "limit_hit"
    EMERGENCY_STOP = "emergency_stop"
    STALE_FEED = "stale_feed"
    HOLE_FOUND = "hole_found"
    MARKET_EVENT = "market_event"
    ORDER_FILLED = "order_filled"
    DAILY_SUMMARY = "daily_summary"
    TEST = "test"  # asked for by a person, to see whether a channel works


class DeliveryState(StrEnum):
    PENDING = "pending"
    SENT = "sent"
    FAILED = "failed"  # after the last attempt
    DROPPED = "dropped"  # the channel is no longer configured, or the alert came above the hourly limit


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened. `key` is the same however often it is seen, so that it is told once."""

    key: str
    kind: AlertKind
    at_us: int  # our clock, or the venue's where it happened there
    title: str
    body: str
    bot: str = ""
    market: str = ""  # "okx:BTC-USDT"


class StoredAlert(msgspec.Struct, frozen=True, kw_only=True):
    """An alert and how telling it went."""

    alert_id: int
    alert: Alert
    deliveries: tuple[Delivery, ...]


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One alert on its way to one channel."""

    alert_id: int
    channel: str
    state: DeliveryState
    attempts: int
    next_try_at_us: int
    error: str = ""  # of the last attempt, without secrets
    sent_at_us: int | None = None


class DueDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery that is to be tried now."""

    delivery: Delivery
    alert: Alert


class ChannelHealth(msgspec.Struct, frozen=True, kw_only=True):
    """How a channel did lately: a failing one is shown, never silently dead."""

    channel: str
    sent: int  # in the last seven days, as the others
    failed: int
    waiting: int
    last_error: str = ""
    last_error_at_us: int | None = None
    last_sent_at_us: int | None = None
