from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from alerts.model import Alert, AlertKind
from alerts.settings import load_alert_settings, parse_alert_settings
from data.errors import InvalidInput

GOOD = {
    "channels": {"phone": {"url_from": "TELEGRAM_URL"}, "mail": {"url_from": "MAIL_URL"}},
    "rules": [
        {"when": ["order_filled"], "to": ["phone"], "bots": ["trend_*"], "at_most_per_hour": 5},
        {"when": ["order_filled", "bot_failed"], "to": ["phone", "mail"], "bots": ["*"]},
    ],
}


def alert(kind: AlertKind, bot: str = "", market: str = "") -> Alert:
    return Alert(key="k", kind=kind, at_us=0, title="t", body="b", bot=bot, market=market)


def test_an_alert_goes_to_the_channels_of_every_rule_that_matches_it() -> None:
    settings = parse_alert_settings(GOOD, "file")
    assert settings.channels_for(alert(AlertKind.ORDER_FILLED, "trend_1")) == {"phone": 60, "mail": 60}
    assert settings.channels_for(alert(AlertKind.BOT_FAILED, "other")) == {"phone": 60, "mail": 60}
    assert settings.channels_for(alert(AlertKind.HOLE_FOUND)) == {}


def test_a_rule_may_name_bots_and_markets_by_pattern() -> None:
    body = {
        "channels": {"a": {"url_from": "A_URL"}},
        "rules": [{"when": ["order_filled"], "to": ["a"], "bots": ["x*"], "markets": ["okx:*"]}],
    }
    settings = parse_alert_settings(body, "file")
    assert settings.channels_for(alert(AlertKind.ORDER_FILLED, "x1", "okx:BTC-USDT")) == {"a": 60}
    assert settings.channels_for(alert(AlertKind.ORDER_FILLED, "y1", "okx:BTC-USDT")) == {}
    assert settings.channels_for(alert(AlertKind.ORDER_FILLED, "x1", "binance:BTC-USDT")) == {}


def test_without_a_file_nobody_is_told_anything(tmp_path: Path) -> None:
    settings = load_alert_settings(tmp_path / "none.json")
    assert (settings.channels, settings.rules) == ({}, ())


def test_the_files_that_come_with_the_project_can_be_read() -> None:
    folder = Path(__file__).resolve().parents[2] / "config"
    load_alert_settings(folder / "notifications.json")
    assert load_alert_settings(folder / "notifications.example.json").rules


def test_every_problem_of_a_file_is_named_at_its_place() -> None:
    body = {
        "channels": {"Phone": {"url_from": "X_URL"}, "mail": {"url_from": "mailto://me:secret@host"}},
        "rules": [{"when": ["sunrise"], "to": ["nobody"], "at_most_per_hour": 0, "extra": 1}],
        "daily_summary_at": "25:00",
        "colour": "red",
    }
    with pytest.raises(InvalidInput) as caught:
        parse_alert_settings(body, "file")
    assert sorted(problem.field for problem in caught.value.problems) == [
        "channels.Phone",
        "channels.mail.url_from",
        "colour",
        "daily_summary_at",
        "rules[0].at_most_per_hour",
        "rules[0].extra",
        "rules[0].to[0]",
        "rules[0].when[0]",
    ]


def test_an_address_written_into_the_file_is_refused_and_never_shown() -> None:
    body = {"channels": {"mail": {"url_from": "mailto://me:hunter2secret@host"}}}
    with pytest.raises(InvalidInput) as caught:
        parse_alert_settings(body, "file")
    assert "hunter2secret" not in str(caught.value)


@pytest.mark.parametrize("body", [[], {"channels": []}, {"rules": {}}, {"rules": ["x"]}])
def test_a_file_of_another_shape_is_refused(body: object) -> None:
    with pytest.raises(InvalidInput):
        parse_alert_settings(body, "file")


def test_a_file_that_is_no_json_is_named(tmp_path: Path) -> None:
    path = tmp_path / "n.json"
    path.write_text("{")
    with pytest.raises(InvalidInput, match=r"n\.json"):
        load_alert_settings(path)
    path.write_bytes(msgspec.json.encode(GOOD))
    assert set(load_alert_settings(path).channels) == {"phone", "mail"}
