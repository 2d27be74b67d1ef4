"""Following `config/collectors.json` while collectors run."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import structlog

from data.collectors.settings import VenueSettings, load_collector_settings
from data.errors import InvalidInput
from data.files.stamps import stamp_of

log = structlog.get_logger()


class SettingsSource(Protocol):
    """Where a collector learns that it is to record something else."""

    @property
    def problem(self) -> str:
        """Why what a person wrote last cannot be used; empty when it can."""
        ...

    def changed(self) -> VenueSettings | None:
        """What is to be recorded from now on, where that has changed since it was last asked."""
        ...


class SettingsFile:
    """The file as it was when it last could be used, and what is wrong with it since.

    Where `last_good` names a place, what could be used is copied there: a process that begins while the file
    is broken records what was recorded before.
    """

    def __init__(self, path: Path, last_good: Path | None = None) -> None:
        self._path, self._last_good = path, last_good
        self._stamp = stamp_of(self._path)
        self.problem = ""

    def load(self) -> dict[str, VenueSettings]:
        """The venues by name as the file has them now. Raises InvalidInput."""
        self._stamp = stamp_of(self._path)
        venues = load_collector_settings(self._path)
        self.problem = ""
        self._remember()
        return venues

    def load_or_last_good(self) -> dict[str, VenueSettings]:
        """As `load`; while the file is broken the last good one. Raises InvalidInput where there is none."""
        try:
            return self.load()
        except InvalidInput as error:
            if self._last_good is None or not self._last_good.exists():
                raise
            self._refuse(error)
            return load_collector_settings(self._last_good)

    def changed(self) -> dict[str, VenueSettings] | None:
        """The venues by name, if the file was changed since it was last asked and can be used."""
        if stamp_of(self._path) == self._stamp:
            return None
        try:
            venues = self.load()
        except InvalidInput as error:
            self._refuse(error)
            return None
        log.info("settings_changed", file=str(self._path))
        return venues

    def _refuse(self, error: InvalidInput) -> None:
        self.problem = f"The changed settings are not used, the last good ones stay: {error}"
        log.warning("settings_refused", file=str(self._path), error=str(error))

    def _remember(self) -> None:
        if self._last_good is None:
            return
        # Every process of the installation writes the same here, so each does it in one step.
        part = self._last_good.with_name(f"{self._last_good.name}.{os.getpid()}")
        try:
            part.write_bytes(self._path.read_bytes())
            part.replace(self._last_good)
        except OSError as error:
            log.warning("settings_not_remembered", file=str(self._last_good), error=str(error))


class ShardSettings:
    """Satisfies `SettingsSource`: one shard's part of the file."""

    def __init__(
        self,
        file: SettingsFile,
        part_of: Callable[[dict[str, VenueSettings]], VenueSettings | None],
        current: VenueSettings,
    ) -> None:
        """`part_of` picks the shard's part, or None where it has none any more: then its process is ended."""
        self._file, self._part_of, self._current = file, part_of, current

    @property
    def problem(self) -> str:
        return self._file.problem

    def changed(self) -> VenueSettings | None:
        venues = self._file.changed()
        if venues is None:
            return None
        part = self._part_of(venues)
        if part is None or part == self._current:
            return None
        self._current = part
        return part
