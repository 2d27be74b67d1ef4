"""Alerts from a real database to a real web hook on this machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from alerts.apprise_sender import AppriseSender
from alerts.desk import AlertDesk
from alerts.model import AlertKind, DeliveryState
from alerts.settings import AlertSettings, parse_alert_settings
from alerts.stores import DeliveryFailed
from data.errors import InvalidInput
from data.timeframes import to_datetime
from database.engine import sync_engine
from database.repositories.alert_repository import AlertRepository

pytestmark = [
    pytest.mark.integration,
    # One of Apprise's services, not ours, imports it.
    pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning"),
]

NOON_US = 1_767_268_800_000_000  # 2026-01-01 12:00 UTC
HOUR_US = 3_600_000_000


class Hook:
    """A web hook that keeps what it gets, and fails while it is told to."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.status = 200
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if hook.status == 200:
                    hook.messages.append(json.loads(body))
                self.send_response(hook.status)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"json://127.0.0.1:{self.server.server_port}/topsecrettoken"


@pytest.fixture
def hook() -> Iterator[Hook]:
    hook = Hook()
    yield hook
    hook.server.shutdown()
    hook.server.server_close()


class Desk:
    """An alert desk on a clock that is set by hand."""

    def __init__(self, url: str, hook: Hook) -> None:
        self.now_us = NOON_US
        self.environment = {"HOOK_URL": hook.url}
        self.settings = self.rules({"when": ["bot_failed", "order_filled", "hole_found"], "to": ["hook"]})
        self.repository = AlertRepository(url)
        self.desk = AlertDesk(
            self.repository,
            AppriseSender(),
            settings=lambda: self.settings,
            environment=self.environment,
            clock=lambda: self.now_us,
        )
        self._engine = sync_engine(url)

    def rules(self, *rules: dict[str, Any]) -> AlertSettings:
        return parse_alert_settings(
            {"channels": {"hook": {"url_from": "HOOK_URL"}}, "rules": list(rules)}, "test"
        )

    def fails(self, bot: str, why: str) -> None:
        with self._engine.begin() as connection:
            connection.exec_driver_sql(
                "INSERT INTO bot_events (bot_id, bot, at, who, what, why)"
                " VALUES (1, %s, %s, 'runner', 'failed', %s)",
                (bot, to_datetime(self.now_us), why),
            )

    def run(self, statement: str, *values: Any) -> None:
        with self._engine.begin() as connection:
            connection.exec_driver_sql(statement, values)

    def close(self) -> None:
        self.repository.close()
        self._engine.dispose()


@pytest.fixture
def desk(migrated_database: Callable[[], str], hook: Hook) -> Iterator[Desk]:
    url = migrated_database()
    desk = Desk(url, hook)
    yield desk
    desk.close()


def test_what_fails_is_told_once_and_the_past_is_not_told(desk: Desk, hook: Hook) -> None:
    desk.fails("old", "before anybody listened")
    assert desk.desk.turn() == 0
    desk.fails("trend", "division by zero")
    assert desk.desk.turn() == 1
    assert desk.desk.turn() == 0
    (message,) = hook.messages
    assert (message["title"], message["message"]) == ("Bot trend failed", "division by zero")
    (stored,) = desk.desk.newest()
    assert stored.alert.kind is AlertKind.BOT_FAILED
    assert [one.state for one in stored.deliveries] == [DeliveryState.SENT]


def test_fills_and_holes_are_told_with_their_figures(desk: Desk, hook: Hook) -> None:
    desk.run("INSERT INTO markets (exchange, symbol) VALUES ('okx', 'BTC-USDT')")
    desk.run(
        "INSERT INTO bots (name, config, source, market_id, strategy, state, desired_state, asked_at,"
        " created_at, updated_at)"
        " SELECT 'trend', '{}', '', market_id, 's', 'running', 'running', now(), now(), now() FROM markets"
    )
    desk.desk.turn()
    at = to_datetime(desk.now_us)
    desk.run(
        "INSERT INTO bot_orders (bot_id, order_sequence, side, position_side, reason, status, decided_at,"
        " market_id) SELECT bot_id, 1, 'buy', 'long', 'entry', 'filled', %s, market_id FROM bots",
        at,
    )
    desk.run(
        "INSERT INTO bot_fills (bot_id, order_sequence, side, position_side, reason, price, quantity, fee,"
        " slippage, filled_at, ambiguous, market_id)"
        " SELECT bot_id, 1, 'buy', 'long', 'stop_loss', 60000.10, 0.0500, 3.0, 0, %s, false, market_id"
        " FROM bots",
        at,
    )
    desk.run(
        "INSERT INTO trade_gaps (market_id, first_id, last_id, reason, found_at)"
        " SELECT market_id, 11, 1510, 'history_unavailable', %s FROM markets",
        at,
    )
    assert desk.desk.turn() == 2
    assert [(message["title"], message["message"]) for message in hook.messages] == [
        (
            "trend bought 0.05 BTC-USDT at 60000.1",
            "stop loss, fee 3, 2026-01-01 12:00:00 UTC, paper",
        ),
        ("okx:BTC-USDT: 1,500 trades are missing", "Ids 11 to 1510: history unavailable."),
    ]
    assert desk.desk.turn() == 0


def test_a_channel_that_fails_is_tried_again_and_shown(desk: Desk, hook: Hook) -> None:
    desk.desk.turn()
    hook.status = 500
    desk.fails("trend", "once")
    assert desk.desk.turn() == 0
    ((health, problem),) = desk.desk.channels()
    assert (health.waiting, health.sent, problem) == (1, 0, "")
    assert "500" in health.last_error
    assert "topsecrettoken" not in health.last_error
    hook.status = 200
    assert desk.desk.turn() == 0  # its time has not come
    desk.now_us += 61_000_000
    assert desk.desk.turn() == 1
    assert len(hook.messages) == 1


def test_after_the_last_attempt_a_delivery_has_failed_for_good(desk: Desk, hook: Hook) -> None:
    desk.desk.turn()
    hook.status = 503
    desk.fails("trend", "for ever")
    for _ in range(12):
        desk.desk.turn()
        desk.now_us += 5 * HOUR_US
    (stored,) = desk.desk.newest()
    assert [(one.state, one.attempts) for one in stored.deliveries] == [(DeliveryState.FAILED, 9)]


def test_an_address_that_is_not_set_is_said_and_the_alert_waits(desk: Desk, hook: Hook) -> None:
    desk.desk.turn()
    url = desk.environment.pop("HOOK_URL")
    desk.fails("trend", "x")
    desk.desk.turn()
    ((health, problem),) = desk.desk.channels()
    assert problem == "HOOK_URL is not set"
    assert health.waiting == 1
    desk.environment["HOOK_URL"] = url
    desk.now_us += HOUR_US
    assert desk.desk.turn() == 1


def test_more_than_the_hourly_limit_is_written_down_as_dropped(desk: Desk, hook: Hook) -> None:
    desk.settings = desk.rules({"when": ["bot_failed"], "to": ["hook"], "at_most_per_hour": 2})
    desk.desk.turn()
    for number in range(4):
        desk.fails(f"bot{number}", "x")
    assert desk.desk.turn() == 2
    states = [one.deliveries[0].state for one in desk.desk.newest()]
    assert sorted(states) == ["dropped", "dropped", "sent", "sent"]
    desk.now_us += 2 * HOUR_US
    desk.fails("later", "x")
    assert desk.desk.turn() == 1


def test_the_day_is_summed_up_once(desk: Desk, hook: Hook) -> None:
    desk.settings = desk.rules({"when": ["daily_summary"], "to": ["hook"]})
    assert desk.desk.turn() == 1
    desk.now_us += HOUR_US
    assert desk.desk.turn() == 0
    (message,) = hook.messages
    assert message["title"] == "Candlewick: 2025-12-31"
    assert "Holes found in the market data: 0" in message["message"]


def test_a_test_message_goes_out_at_once_and_an_unknown_channel_is_refused(desk: Desk, hook: Hook) -> None:
    told = desk.desk.test("hook", who="anna")
    assert told.deliveries[0].state is DeliveryState.SENT
    assert "anna" in hook.messages[0]["message"]
    with pytest.raises(InvalidInput, match="hook"):
        desk.desk.test("phone", who="anna")


def test_a_nonsense_address_is_refused_without_showing_it() -> None:
    with pytest.raises(DeliveryFailed) as caught:
        AppriseSender().send("nonsense://secretvalue", "t", "b")
    assert "secretvalue" not in str(caught.value)
