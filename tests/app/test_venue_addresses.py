from __future__ import annotations

from pathlib import Path

import pytest

from app.installation import Installation, Mode, RunningServices, this_process
from app.venue_addresses import at_own_venue
from config.settings import Settings
from data.errors import InstallationError


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    return tmp_path


def announce(home: Path, mode: Mode, venue_url: str | None) -> None:
    pid, started_at = this_process()
    installation = Installation(home)
    installation.remember_mode(mode)
    installation.announce(
        RunningServices(
            pid=pid, started_at=started_at, database_url="", redis_url="", mode=mode, venue_url=venue_url
        )
    )


def test_a_command_beside_a_demo_asks_the_demos_venue(home: Path) -> None:
    announce(home, Mode.SIMULATED, "http://127.0.0.1:8700")
    settings = at_own_venue(Settings(candlewick_home=home))
    assert settings.okx_rest_url == settings.binance_rest_url == "http://127.0.0.1:8700"
    assert settings.binance_futures_ws_url == "ws://127.0.0.1:8700/fstream"


def test_real_data_comes_from_the_real_venues(home: Path) -> None:
    announce(home, Mode.REAL, None)
    assert at_own_venue(Settings(candlewick_home=home)).okx_rest_url == "https://www.okx.com"


def test_hosts_that_are_set_stand(home: Path) -> None:
    announce(home, Mode.SIMULATED, "http://127.0.0.1:8700")
    settings = Settings(candlewick_home=home, okx_rest_url="http://127.0.0.1:1")
    assert at_own_venue(settings).okx_rest_url == "http://127.0.0.1:1"


def test_the_real_venue_is_never_asked_for_simulated_data(home: Path) -> None:
    announce(home, Mode.SIMULATED, "http://127.0.0.1:8700")
    Installation(home).withdraw()
    with pytest.raises(InstallationError, match="up --demo"):
        at_own_venue(Settings(candlewick_home=home))
