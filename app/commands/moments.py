"""Times on the command line."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from data.timeframes import to_us


class Moment(click.ParamType[int]):
    """ISO 8601, UTC where it names no zone; microseconds since the epoch."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            return moment_us(str(value))
        except ValueError:
            self.fail(
                f"{value!r} is no time; expected one like 2024-08-08 or 2024-08-08T23:55:00Z", param, ctx
            )


def moment_us(text: str) -> int:
    """The time that ISO 8601 text names, UTC where it names no zone. Raises ValueError."""
    at = datetime.fromisoformat(text)
    return to_us(at if at.tzinfo is not None else at.replace(tzinfo=UTC))
