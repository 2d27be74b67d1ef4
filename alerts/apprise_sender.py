"""Messages to Telegram, Discord, Slack, e-mail, webhooks and whatever else Apprise knows."""

from __future__ import annotations

import logging
import re

import apprise

from alerts.stores import DeliveryFailed

_LONGEST_ERROR = 300
_ADDRESS = re.compile(r"\b[a-z][a-z0-9+.-]*://\S+", re.IGNORECASE)


class AppriseSender:
    """Satisfies `alerts.stores.Sender`."""

    def __init__(self) -> None:
        # Its own log lines may hold addresses: they are read here and go nowhere else.
        logging.getLogger("apprise").propagate = False

    def send(self, url: str, title: str, body: str) -> None:
        """Raises DeliveryFailed with what Apprise said, addresses left out: they hold tokens."""
        service = apprise.Apprise()
        if not service.add(url):
            raise DeliveryFailed("the address is none that Apprise understands, as in tgram://TOKEN/CHAT")
        with apprise.LogCapture(level=logging.WARNING) as said:  # type: ignore[no-untyped-call]
            delivered = service.notify(title=title, body=body)
            words = " ".join(said.getvalue().split())
        if not delivered:
            words = _ADDRESS.sub("(address)", words)
            for secret in _secrets_of(url):
                words = words.replace(secret, "(secret)")
            raise DeliveryFailed(words[:_LONGEST_ERROR] or "the service did not take it, and did not say why")


def _secrets_of(url: str) -> list[str]:
    """The parts of an address that are long enough to be a token or a password, the longest first."""
    return sorted((part for part in re.split(r"[/:@?&=,]+", url) if len(part) >= 6), key=len, reverse=True)
