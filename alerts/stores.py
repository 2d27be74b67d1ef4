"""What alerts need from a database and from a way to send; `app` hands over those that exist."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from alerts.model import Alert, ChannelHealth, DeliveryState, DueDelivery, StoredAlert


class DeliveryFailed(Exception):
    """A channel did not take an alert; the text says why, without secrets."""


class Sender(Protocol):
    def send(self, url: str, title: str, body: str) -> None:
        """Hand one message to the service at `url`; may block for some seconds. Raises DeliveryFailed."""
        ...


class AlertStore(Protocol):
    """Alerts and their deliveries. Synchronous; raises TransientError while the database cannot answer."""

    def collect(self, route: Callable[[Alert], Mapping[str, int]], *, at_us: int) -> list[Alert]:
        """Write down what happened since the last call, with a delivery for each channel it goes to.

        `route` gives the channels of an alert and how many an hour each may get. What happened before the
        first call is past. One transaction: nothing is told twice or forgotten, whenever the process dies.
        """
        ...

    def add(self, alert: Alert, channels: Mapping[str, int], *, at_us: int) -> StoredAlert | None:
        """Write down one alert; None if its key is known already."""
        ...

    def due(self, *, at_us: int, limit: int) -> list[DueDelivery]:
        """Pending deliveries whose time has come, the oldest first."""
        ...

    def settle(
        self,
        due: DueDelivery,
        state: DeliveryState,
        *,
        error: str,
        at_us: int,
        next_try_at_us: int | None,
    ) -> None:
        """Write down how an attempt went."""
        ...

    def newest(self, *, limit: int) -> list[StoredAlert]:
        """The newest first."""
        ...

    def alert(self, alert_id: int) -> StoredAlert | None: ...

    def channel_health(self, *, since_us: int) -> Sequence[ChannelHealth]:
        """How each channel that was ever used did since then, in order of name."""
        ...

    def summary(self, start_us: int, end_us: int) -> str:
        """What the bots did in `[start_us, end_us)`, in a few lines for a person."""
        ...
