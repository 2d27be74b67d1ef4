"""What the Settings page needs from outside; `app` hands over what satisfies it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import msgspec

from alerts.model import ChannelHealth, StoredAlert
from dashboard.writing import LOCAL_ZONE, NUMBERS, known_zone


class Display(msgspec.Struct, frozen=True, kw_only=True):
    """How the pages look, for every browser that opens them."""

    theme: Literal["dark", "light", "system"] = "dark"
    palette: Literal["default", "cvd"] = "default"
    zone: str = "UTC"  # a name of the IANA database, or "local": the browser's own
    numbers: str = "comma-point"  # one of `dashboard.writing.NUMBERS`
    chart: Literal["canvas", "plotly"] = "canvas"  # what draws prices

    def __post_init__(self) -> None:
        if self.zone != LOCAL_ZONE and not known_zone(self.zone):
            raise ValueError(f"zone {self.zone!r} is none of the system's")
        if self.numbers not in NUMBERS:
            raise ValueError(f"numbers must be one of {', '.join(NUMBERS)}")


class SettingsDesk(Protocol):
    """The files and the table in which settings are kept. Synchronous.

    What saves raises InvalidInput with every problem, and then nothing is changed; the database's absence is
    a TransientError.
    """

    def collectors(self) -> Mapping[str, Any]:
        """What is recorded, as its file has it. Raises InvalidInput for a file that cannot be used."""
        ...

    def save_collectors(self, body: Mapping[str, Any]) -> None: ...

    def notifications(self) -> Mapping[str, Any]:
        """Channels and rules, as their file has them. Raises InvalidInput for one that cannot be used."""
        ...

    def save_notifications(self, body: Mapping[str, Any]) -> None: ...

    def channels(self) -> Sequence[tuple[ChannelHealth, str]]:
        """Every channel, how it does, and what is wrong with its address; empty if nothing is."""
        ...

    def told(self, limit: int) -> Sequence[StoredAlert]:
        """The newest alerts first, with their deliveries."""
        ...

    def test_channel(self, name: str, who: str) -> StoredAlert:
        """Send a test message now."""
        ...

    def retention(self) -> Mapping[str, int | None]:
        """Days by kind of data; None: kept for good."""
        ...

    def save_retention(self, days: Mapping[str, int | None], who: str) -> None: ...

    def display(self) -> Display: ...

    def save_display(self, display: Mapping[str, Any], who: str) -> None: ...
