"""Who starts the services, and who uses what another one has started."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from pydantic import SecretStr

from app.installation import Installation, Mode, RunningServices, this_process
from app.services import database_in_reach, services_in_reach
from config.settings import Settings
from data.errors import InstallationError

DATABASE = "postgresql://desk@127.0.0.1:1/desk"
BUS = "redis://127.0.0.1:1/0"


def settings_of(home: Path, *, database_url: str | None = None, redis_url: str | None = None) -> Settings:
    return Settings(
        candlewick_home=home,
        candlewick_venue_source="real",
        database_url=None if database_url is None else SecretStr(database_url),
        redis_url=None if redis_url is None else SecretStr(redis_url),
        _env_file=None,
    )


def announced(installation: Installation) -> RunningServices:
    pid, started_at = this_process()
    services = RunningServices(
        pid=pid, started_at=started_at, database_url=DATABASE, redis_url=BUS, mode=Mode.REAL
    )
    installation.announce(services)
    return services


def test_a_command_that_waits_for_its_turn_uses_the_services_once_they_are_announced(tmp_path: Path) -> None:
    installation = Installation(tmp_path)
    with installation.services_lock(timeout_s=0):  # as `up` does while it starts
        threading.Timer(0.3, announced, (installation,)).start()
        with database_in_reach(settings_of(tmp_path), Installation(tmp_path)) as url:
            assert url == DATABASE


@pytest.mark.parametrize("configured", [{}, {"database_url": DATABASE}, {"redis_url": BUS}])
def test_a_later_part_shares_what_the_first_one_has_started(
    tmp_path: Path, configured: dict[str, str]
) -> None:
    installation = Installation(tmp_path)
    services = announced(installation)
    settings = settings_of(tmp_path, **configured)
    with (
        installation.services_lock(timeout_s=0),  # the first part's
        services_in_reach(settings, Installation(tmp_path), prepared=False) as found,
    ):
        assert found == services


def test_a_part_with_another_database_does_not_share(tmp_path: Path) -> None:
    installation = Installation(tmp_path)
    announced(installation)
    settings = settings_of(tmp_path, database_url="postgresql://desk@127.0.0.1:1/other")
    with (
        installation.services_lock(timeout_s=0),
        pytest.raises(InstallationError, match="already runs"),
        services_in_reach(settings, Installation(tmp_path), prepared=False),
    ):
        pass
