"""What the Settings page reads and changes: the files of this installation and its table of settings."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec

from alerts.desk import AlertDesk
from alerts.model import ChannelHealth, StoredAlert
from alerts.settings import load_alert_settings, parse_alert_settings
from app.composition import now_us
from app.processes.alerts import alert_desk
from app.retention import NAME as RETENTION
from app.retention import days_of, retention_of
from config.settings import Settings
from dashboard.settings_readers import Display
from data.collectors.settings import load_collector_settings, save_collector_settings
from data.errors import InvalidInput, Problem, TradingError
from database.repositories.desk_repository import DeskRepository

DISPLAY = "display"


class FilesAndTable:
    """Satisfies `dashboard.settings_readers.SettingsDesk`."""

    def __init__(
        self, settings: Settings, desk: DeskRepository, alerts: AlertDesk, *, clock: Callable[[], int]
    ) -> None:
        self._settings, self._desk, self._alerts, self._clock = settings, desk, alerts, clock

    def collectors(self) -> Mapping[str, Any]:
        """What is recorded, as its file has it. Raises InvalidInput for a file that cannot be used."""
        load_collector_settings(self._settings.candlewick_collectors)
        return _body(self._settings.candlewick_collectors)

    def save_collectors(self, body: Mapping[str, Any]) -> None:
        """Running collectors follow within seconds. Raises InvalidInput; then the old file stands."""
        try:
            save_collector_settings(self._settings.candlewick_collectors, body)
        except OSError as error:
            raise _unwritable(self._settings.candlewick_collectors, error) from error

    def notifications(self) -> Mapping[str, Any]:
        """Channels and rules, as their file has them. Raises InvalidInput for one that cannot be used."""
        path = self._settings.candlewick_notifications
        load_alert_settings(path)
        return _body(path) if path.exists() else {}

    def save_notifications(self, body: Mapping[str, Any]) -> None:
        """The process that tells people follows at its next turn. Raises InvalidInput."""
        path = self._settings.candlewick_notifications
        parse_alert_settings(dict(body), str(path))
        try:
            _replace(path, msgspec.json.format(msgspec.json.encode(body), indent=2) + b"\n")
        except OSError as error:
            raise _unwritable(path, error) from error

    def channels(self) -> Sequence[tuple[ChannelHealth, str]]:
        return self._alerts.channels()

    def told(self, limit: int) -> Sequence[StoredAlert]:
        return self._alerts.newest(limit)

    def test_channel(self, name: str, who: str) -> StoredAlert:
        return self._alerts.test(name, who=who)

    def retention(self) -> Mapping[str, int | None]:
        """Days by kind of data; None: kept for good."""
        return days_of(retention_of(self._desk.get(RETENTION) or {}))

    def save_retention(self, days: Mapping[str, int | None], who: str) -> None:
        """Maintenance deletes by it at its next turn. Raises InvalidInput."""
        retention_of(days)
        self._desk.set(RETENTION, dict(days), who=who, at_us=self._clock())

    def display(self) -> Display:
        return msgspec.convert(self._desk.get(DISPLAY) or {}, Display)

    def save_display(self, display: Mapping[str, Any], who: str) -> None:
        """Raises InvalidInput."""
        try:
            checked = msgspec.convert(dict(display), Display)
        except msgspec.ValidationError as error:
            raise InvalidInput(
                Problem(where=DISPLAY, field="", value="", expected=str(error).lower())
            ) from error
        self._desk.set(DISPLAY, msgspec.to_builtins(checked), who=who, at_us=self._clock())


@contextmanager
def open_settings_desk(settings: Settings, database_url: str) -> Iterator[FilesAndTable]:
    """The desk, closed with the block."""
    with ExitStack() as stack:
        desk = DeskRepository(database_url)
        stack.callback(desk.close)
        alerts = stack.enter_context(alert_desk(settings, database_url))
        yield FilesAndTable(settings, desk, alerts, clock=now_us)


def _body(path: Path) -> dict[str, Any]:
    body: dict[str, Any] = msgspec.json.decode(path.read_bytes())
    return body


def _replace(path: Path, content: bytes) -> None:
    """Put `content` there in one step, with the rights that the file has."""
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _unwritable(path: Path, error: OSError) -> TradingError:
    return InvalidInput(
        Problem(where=str(path), field="", value="", expected=f"it cannot be written: {error.strerror}")
    )
