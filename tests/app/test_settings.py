"""What a person sets wrongly is named, with what would be right."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.cli import main
from config.settings import load_settings
from data.errors import InvalidInput


@pytest.fixture(autouse=True)
def empty_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No `.env` but the test's own, and a home that may be written."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CANDLEWICK_HOME", str(tmp_path / "home"))


@pytest.mark.parametrize("command", [["status"], ["bots", "list"], ["up"], ["web"]])
def test_a_setting_that_cannot_be_used_is_one_line_and_exit_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    monkeypatch.setenv("CANDLEWICK_PORT", "abc")
    with pytest.raises(SystemExit) as ended:
        main(command)
    assert ended.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "CANDLEWICK_PORT is 'abc'" in line
    assert "integer" in line


def test_every_wrong_setting_is_named_and_no_secret_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://desk:hidden@localhost/desk")
    monkeypatch.setenv("CANDLEWICK_PORT", "70000")
    monkeypatch.setenv("CANDLEWICK_VENUE_SOURCE", "both")
    with pytest.raises(InvalidInput) as refused:
        load_settings()
    assert {problem.field for problem in refused.value.problems} == {
        "CANDLEWICK_PORT",
        "CANDLEWICK_VENUE_SOURCE",
    }
    assert "hidden" not in str(refused.value)


def test_a_log_level_is_known_in_any_case_and_refused_when_it_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CANDLEWICK_LOG_LEVEL", "debug")
    assert load_settings().candlewick_log_level == "DEBUG"
    monkeypatch.setenv("CANDLEWICK_LOG_LEVEL", "foo")
    with pytest.raises(InvalidInput, match=r"CANDLEWICK_LOG_LEVEL is 'FOO'.*'WARNING'"):
        load_settings()
