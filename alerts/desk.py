"""Collecting alerts and delivering them, one turn at a time. No clock of its own, no loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import structlog

from alerts.model import Alert, AlertKind, ChannelHealth, DeliveryState, DueDelivery, StoredAlert
from alerts.settings import AlertSettings
from alerts.stores import AlertStore, DeliveryFailed, Sender
from data.errors import InvalidInput, Problem
from data.timeframes import to_datetime

_MINUTE_US = 60_000_000
_DAY_US = 86_400_000_000
# Minutes between attempts: a service that is away for an evening still gets what happened.
_PAUSES_US = tuple(minutes * _MINUTE_US for minutes in (1, 2, 5, 15, 30, 60, 120, 240))
_AT_ONCE = 20  # deliveries a turn
_HEALTH_DAYS = 7

log = structlog.get_logger(__name__)


class AlertDesk:
    """Turns what the store knows into messages on people's channels."""

    def __init__(
        self,
        store: AlertStore,
        sender: Sender,
        *,
        settings: Callable[[], AlertSettings],
        environment: Mapping[str, str],
        clock: Callable[[], int],
    ) -> None:
        """`settings` is asked at each turn, so that a changed file counts at once. `clock`: microseconds."""
        self._store, self._sender, self._settings = store, sender, settings
        self._environment, self._clock = environment, clock

    def turn(self) -> int:
        """Collect what is new, try what is due; how many alerts reached a channel. Raises TransientError."""
        settings, now_us = self._settings(), self._clock()
        self._store.collect(settings.channels_for, at_us=now_us)
        self._sum_up_the_day(settings, now_us)
        return sum(self._deliver(due, settings) for due in self._store.due(at_us=now_us, limit=_AT_ONCE))

    def test(self, channel: str, *, who: str) -> StoredAlert:
        """Send a test message to one channel now. Raises InvalidInput for an unknown channel."""
        settings, now_us = self._settings(), self._clock()
        if channel not in settings.channels:
            known = ", ".join(settings.channels) or "none is configured"
            raise InvalidInput(
                Problem(where="alerts", field="channel", value=channel, expected=f"the channels: {known}")
            )
        alert = Alert(
            key=f"test:{channel}:{now_us}",
            kind=AlertKind.TEST,
            at_us=now_us,
            title="Candlewick: a test",
            body=f"This channel works. {who} asked for this message.",
        )
        stored = self._store.add(alert, {channel: 1_000}, at_us=now_us)
        assert stored is not None, "its key names this microsecond"
        self._deliver(DueDelivery(delivery=stored.deliveries[0], alert=alert), settings)
        found = self._store.alert(stored.alert_id)
        assert found is not None, "it was just stored"
        return found

    def newest(self, limit: int = 100) -> list[StoredAlert]:
        """The newest alerts first, each with how telling it went."""
        return self._store.newest(limit=limit)

    def channels(self) -> list[tuple[ChannelHealth, str]]:
        """Every configured channel: how it did in the last seven days, and what is wrong with its address."""
        settings = self._settings()
        since_us = self._clock() - _HEALTH_DAYS * _DAY_US
        known = {one.channel: one for one in self._store.channel_health(since_us=since_us)}
        found = []
        for name, channel in settings.channels.items():
            missing = "" if self._environment.get(channel.url_from) else f"{channel.url_from} is not set"
            unused = ChannelHealth(channel=name, sent=0, failed=0, waiting=0)
            found.append((known.get(name, unused), missing))
        return found

    def _sum_up_the_day(self, settings: AlertSettings, now_us: int) -> None:
        midnight_us = now_us // _DAY_US * _DAY_US
        if now_us < midnight_us + settings.summary_minute * _MINUTE_US:
            return
        day = f"{to_datetime(midnight_us - _DAY_US):%Y-%m-%d}"
        probe = Alert(
            key=f"daily_summary:{day}", kind=AlertKind.DAILY_SUMMARY, at_us=now_us, title="", body=""
        )
        channels = settings.channels_for(probe)
        if not channels:
            return
        alert = Alert(
            key=probe.key,
            kind=AlertKind.DAILY_SUMMARY,
            at_us=now_us,
            title=f"Candlewick: {day}",
            body=self._store.summary(midnight_us - _DAY_US, midnight_us),
        )
        self._store.add(alert, channels, at_us=now_us)

    def _deliver(self, due: DueDelivery, settings: AlertSettings) -> bool:
        channel = settings.channels.get(due.delivery.channel)
        now_us = self._clock()
        if channel is None:
            self._store.settle(
                due,
                DeliveryState.DROPPED,
                error="the channel is no longer configured",
                at_us=now_us,
                next_try_at_us=None,
            )
            return False
        try:
            self._sender.send(self._url(channel.url_from), due.alert.title, due.alert.body)
        except DeliveryFailed as failure:
            attempts = due.delivery.attempts + 1
            gives_up = attempts > len(_PAUSES_US)
            log.warning("alert_not_delivered", channel=channel.name, attempts=attempts, error=str(failure))
            self._store.settle(
                due,
                DeliveryState.FAILED if gives_up else DeliveryState.PENDING,
                error=str(failure),
                at_us=now_us,
                next_try_at_us=None if gives_up else now_us + _PAUSES_US[attempts - 1],
            )
            return False
        self._store.settle(due, DeliveryState.SENT, error="", at_us=self._clock(), next_try_at_us=None)
        return True

    def _url(self, variable: str) -> str:
        url = self._environment.get(variable)
        if not url:
            raise DeliveryFailed(f"the environment variable {variable} is not set")
        return url
