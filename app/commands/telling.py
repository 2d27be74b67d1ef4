"""Tells on standard error how far something long is."""

from __future__ import annotations

import time

import click

_TELL_EVERY_S = 1.0


class Teller:
    """Called with how much is done, and of how much; speaks about once a second, with an estimate."""

    def __init__(self, what: str) -> None:
        """`what` is counted, "trials"."""
        self._what = what
        self._begun = self._told = time.monotonic()
        self._first: int | None = None

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if self._first is None:
            # What was done earlier took no time.
            self._first = done
        if now - self._told < _TELL_EVERY_S and done < total:
            return
        self._told = now
        fresh, spent = done - self._first, now - self._begun
        left = f", about {spent / fresh * (total - done):,.0f} s left" if fresh and done < total else ""
        click.echo(f"{done:,} of {total:,} {self._what}{left}", err=True)
