"""Who is told what: `config/notifications.json`, read and checked. Addresses come from the environment."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from alerts.model import Alert, AlertKind
from data.errors import InvalidInput, Problem

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]{2,79}")
_TIME = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
_KINDS = [kind.value for kind in AlertKind if kind is not AlertKind.TEST]
_MOST_PER_HOUR = 1_000
_EXAMPLE = (
    '{"channels": {"phone": {"url_from": "TELEGRAM_URL"}}, '
    '"rules": [{"when": ["bot_failed"], "to": ["phone"]}]}'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """Somewhere an alert can go. The address holds secrets, so only the variable that holds it is written."""

    name: str
    url_from: str  # environment variable with an address as Apprise knows them: tgram://..., mailto://...


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Alerts of these kinds, about these bots and markets, go to these channels."""

    when: tuple[AlertKind, ...]
    to: tuple[str, ...]
    bots: tuple[str, ...] = ("*",)  # shell patterns
    markets: tuple[str, ...] = ("*",)
    at_most_per_hour: int = 60  # for each channel; what comes above it is written down as dropped

    def matches(self, alert: Alert) -> bool:
        return (
            alert.kind in self.when
            and (not alert.bot or any(fnmatch.fnmatchcase(alert.bot, one) for one in self.bots))
            and (not alert.market or any(fnmatch.fnmatchcase(alert.market, one) for one in self.markets))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertSettings:
    """The whole file."""

    channels: Mapping[str, Channel] = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()
    daily_summary_at: str = "00:05"  # UTC; the day before is summed up

    def channels_for(self, alert: Alert) -> dict[str, int]:
        """The channels the alert goes to, each once, with how many alerts an hour it may get."""
        found: dict[str, int] = {}
        for rule in self.rules:
            if rule.matches(alert):
                for channel in rule.to:
                    found[channel] = max(found.get(channel, 0), rule.at_most_per_hour)
        return found

    @property
    def summary_minute(self) -> int:
        """The minute of the day, in UTC."""
        hours, minutes = self.daily_summary_at.split(":")
        return int(hours) * 60 + int(minutes)


def load_alert_settings(path: Path) -> AlertSettings:
    """What the file says; without one nobody is told anything. Raises InvalidInput with all problems."""
    where = str(path)
    try:
        body = msgspec.json.decode(path.read_bytes())
    except FileNotFoundError:
        return AlertSettings()
    except OSError as error:
        raise InvalidInput(
            Problem(where=where, field="", value="", expected=f"it cannot be read: {error.strerror}")
        ) from error
    except msgspec.DecodeError as error:
        raise InvalidInput(
            Problem(where=where, field="", value="", expected=f"it must be JSON like {_EXAMPLE}: {error}")
        ) from error
    return parse_alert_settings(body, where)


def parse_alert_settings(body: object, where: str) -> AlertSettings:
    """Check the decoded file `where`. Raises InvalidInput with every problem found in it."""
    reader = _Reader(where)
    settings = reader.settings(body)
    if reader.problems:
        raise InvalidInput(*reader.problems)
    return settings


class _Reader:
    def __init__(self, where: str) -> None:
        self._where = where
        self.problems: list[Problem] = []

    def settings(self, body: object) -> AlertSettings:
        found = self._object("", body, ("channels", "rules", "daily_summary_at"))
        channels = {
            name: channel
            for name, value in self._object("channels", found.get("channels", {}), None).items()
            if (channel := self._channel(name, value)) is not None
        }
        rules = found.get("rules", [])
        if not isinstance(rules, list):
            self._wrong("rules", rules, "a list of rules is needed")
            rules = []
        at = found.get("daily_summary_at", "00:05")
        if not isinstance(at, str) or not _TIME.fullmatch(at):
            self._wrong("daily_summary_at", at, 'a time of day in UTC is needed, as in "00:05"')
            at = "00:05"
        return AlertSettings(
            channels=channels,
            rules=tuple(self._rule(number, rule, channels) for number, rule in enumerate(rules)),
            daily_summary_at=at,
        )

    def _channel(self, name: str, value: object) -> Channel | None:
        place = f"channels.{name}"
        if not _NAME.fullmatch(name):
            self._wrong(place, name, "name it with small letters, digits, _ and -")
            return None
        url_from = self._object(place, value, ("url_from",)).get("url_from")
        if not isinstance(url_from, str) or not _VARIABLE.fullmatch(url_from):
            # What was written may be the secret address itself: it is not shown.
            self.problems.append(
                Problem(
                    where=self._where,
                    field=f"{place}.url_from",
                    value="",
                    expected="the environment variable that holds the address, as in TELEGRAM_URL",
                )
            )
            return None
        return Channel(name=name, url_from=url_from)

    def _rule(self, number: int, value: object, channels: Mapping[str, Channel]) -> Rule:
        place = f"rules[{number}]"
        found = self._object(place, value, ("when", "to", "bots", "markets", "at_most_per_hour"))
        when = self._texts(f"{place}.when", found.get("when"), _KINDS)
        to = self._texts(f"{place}.to", found.get("to"), list(channels))
        most = found.get("at_most_per_hour", 60)
        if type(most) is not int or not 1 <= most <= _MOST_PER_HOUR:
            self._wrong(f"{place}.at_most_per_hour", most, f"a whole number from 1 to {_MOST_PER_HOUR}")
            most = 60
        return Rule(
            when=tuple(AlertKind(name) for name in when),
            to=to,
            bots=self._texts(f"{place}.bots", found.get("bots", ["*"]), None),
            markets=self._texts(f"{place}.markets", found.get("markets", ["*"]), None),
            at_most_per_hour=most,
        )

    def _texts(self, place: str, value: object, known: list[str] | None) -> tuple[str, ...]:
        if not isinstance(value, list) or not value or not all(isinstance(one, str) for one in value):
            choices = "" if known is None else f" of {', '.join(known) or 'channels (none is configured)'}"
            self._wrong(place, value, f"a list{choices} is needed")
            return ()
        good = []
        for number, one in enumerate(value):
            if known is not None and one not in known:
                expected = f"one of {', '.join(known)}" if known else "there is no channel yet; add one"
                self._wrong(f"{place}[{number}]", one, expected)
            else:
                good.append(one)
        return tuple(good)

    def _object(self, place: str, value: object, known: tuple[str, ...] | None) -> dict[str, Any]:
        if not isinstance(value, dict):
            self._wrong(place, value, f"an object is needed, as in {_EXAMPLE}")
            return {}
        for key in value:
            if known is not None and key not in known:
                self._wrong(f"{place}.{key}".lstrip("."), None, f"the keys are {', '.join(known)}")
        return value

    def _wrong(self, place: str, value: object, expected: str) -> None:
        shown = "" if value is None else msgspec.json.encode(value).decode()[:60]
        self.problems.append(Problem(where=self._where, field=place, value=shown, expected=expected))
