"""What the process that tells people is made of."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from alerts.apprise_sender import AppriseSender
from alerts.desk import AlertDesk
from alerts.settings import AlertSettings, load_alert_settings
from app.composition import now_us
from config.settings import Settings
from data.errors import InvalidInput, TransientError
from database.repositories.alert_repository import AlertRepository

_LOOK_S = 2.0

log = structlog.get_logger(__name__)


@contextmanager
def alert_desk(settings: Settings, database_url: str, *, patient: bool = False) -> Iterator[AlertDesk]:
    """The desk over that database; a `patient` one goes by the last good settings while a file is broken."""
    repository = AlertRepository(database_url)
    try:
        yield AlertDesk(
            repository,
            AppriseSender(),
            settings=_PatientSettings(settings).read if patient else lambda: _load(settings),
            environment=os.environ,
            clock=now_us,
        )
    finally:
        repository.close()


async def tell_forever(desk: AlertDesk) -> None:
    """Collect and deliver every two seconds until cancelled; a database that is away is waited for."""
    away = False
    while True:
        try:
            await asyncio.to_thread(desk.turn)
            away = False
        except TransientError as error:
            if not away:
                log.warning("alerts_wait_for_the_database", error=str(error))
            away = True
        await asyncio.sleep(_LOOK_S)


def _load(settings: Settings) -> AlertSettings:
    return load_alert_settings(settings.candlewick_notifications)


class _PatientSettings:
    """The newest settings that could be read; a broken file is told of once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._good = _load(settings)
        self._told = ""

    def read(self) -> AlertSettings:
        try:
            self._good = _load(self._settings)
            self._told = ""
        except InvalidInput as error:
            if str(error) != self._told:
                self._told = str(error)
                log.error("notifications_file_is_broken", error=self._told)
        return self._good
