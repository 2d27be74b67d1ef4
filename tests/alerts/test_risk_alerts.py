"""Alerts of limits and of the emergency stop, from the tables they are stored in."""

# The fixtures come from the tests of delivery, and a test names them as arguments.
# ruff: noqa: F811

from __future__ import annotations

import pytest

from alerts.model import AlertKind
from data.timeframes import to_datetime
from tests.alerts.test_alert_delivery import NOON_US, Desk, Hook, desk, hook  # noqa: F401

pytestmark = [
    pytest.mark.integration,
    # One of Apprise's services, not ours, imports it.
    pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning"),
]


def test_a_limit_is_told_once_a_day_and_an_emergency_stop_at_once(desk: Desk, hook: Hook) -> None:
    desk.settings = desk.rules({"when": ["limit_hit", "emergency_stop"], "to": ["hook"]})
    desk.desk.turn()
    at = to_datetime(NOON_US)
    for minute in range(3):
        desk.run(
            "INSERT INTO risk_violations (bot_id, bot, account, opened_at, at, stored_at, limit_name, gate,"
            " used, allowed, detail) VALUES (7, 'trend', '', %s, %s, %s, 'max_daily_loss', 'limit', 51, 50,"
            " '51 lost today')",
            to_datetime(NOON_US + minute * 60_000_000),
            at,
            at,
        )
    desk.run(
        "INSERT INTO emergency_stops (engaged_at, who, why, flatten) VALUES (%s, 'anna', 'a storm.', true)",
        at,
    )
    assert desk.desk.turn() == 2
    assert {stored.alert.kind for stored in desk.desk.newest()} == {
        AlertKind.LIMIT_HIT,
        AlertKind.EMERGENCY_STOP,
    }
    told = {message["title"]: message["message"] for message in hook.messages}
    assert told == {
        "trend: max_daily_loss kept an entry back": "51 lost today.",
        "Emergency stop by anna": "a storm. Positions are closed.",
    }
