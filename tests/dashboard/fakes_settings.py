"""Settings in memory, checked as the real ones are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from alerts.model import Alert, AlertKind, ChannelHealth, Delivery, DeliveryState, StoredAlert
from alerts.settings import parse_alert_settings
from app.retention import days_of, retention_of
from dashboard.settings_readers import Display
from data.collectors.settings import parse_collector_settings
from tests.dashboard.fakes import NOW_US


class FakeSettings:
    """`SettingsDesk` in memory."""

    def __init__(self, *, empty: bool = False) -> None:
        self.recorded: dict[str, Any] = {
            "okx": {"symbols": ["BTC-USDT"], "channels": ["trades", "quotes"], "history_candles": 500}
        }
        self.rules: dict[str, Any] = {}
        self.days: dict[str, int | None] = {}
        self.look = Display()
        self.sent: list[StoredAlert] = []
        if not empty:
            self.rules = {
                "channels": {"phone": {"url_from": "TELEGRAM_URL"}},
                "rules": [{"when": ["bot_failed"], "to": ["phone"]}],
                "daily_summary_at": "00:05",
            }

    def collectors(self) -> Mapping[str, Any]:
        return self.recorded

    def save_collectors(self, body: Mapping[str, Any]) -> None:
        parse_collector_settings(dict(body), "collectors.json")
        self.recorded = dict(body)

    def notifications(self) -> Mapping[str, Any]:
        return self.rules

    def save_notifications(self, body: Mapping[str, Any]) -> None:
        parse_alert_settings(dict(body), "notifications.json")
        self.rules = dict(body)

    def channels(self) -> Sequence[tuple[ChannelHealth, str]]:
        return [
            (ChannelHealth(channel=name, sent=3, failed=0, waiting=0), "")
            for name in self.rules.get("channels", {})
        ]

    def told(self, limit: int) -> Sequence[StoredAlert]:
        return self.sent[:limit]

    def test_channel(self, name: str, who: str) -> StoredAlert:
        alert = Alert(key=f"test:{name}", kind=AlertKind.TEST, at_us=NOW_US, title="A test", body=who)
        delivery = Delivery(
            alert_id=1, channel=name, state=DeliveryState.SENT, attempts=1, next_try_at_us=NOW_US
        )
        self.sent.insert(0, StoredAlert(alert_id=1, alert=alert, deliveries=(delivery,)))
        return self.sent[0]

    def retention(self) -> Mapping[str, int | None]:
        return days_of(retention_of(self.days))

    def save_retention(self, days: Mapping[str, int | None], who: str) -> None:
        retention_of(days)
        self.days = dict(days)

    def display(self) -> Display:
        return self.look

    def save_display(self, display: Mapping[str, Any], who: str) -> None:
        self.look = msgspec.convert(dict(display), Display)
