"""How long each kind of data is kept: what was set on the page, else the defaults."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, fields
from typing import Any

from data.errors import InvalidInput, Problem
from database.features import Retention
from database.repositories.desk_repository import DeskRepository

NAME = "retention"
MOST_DAYS = 36_500


def kept_days(database_url: str) -> Retention:
    """What is in force in that database. Raises TransientError while it is away."""
    with closing(DeskRepository(database_url)) as desk:
        return retention_of(desk.get(NAME) or {})


def retention_of(days: Mapping[str, Any]) -> Retention:
    """Days by kind of data ("trades", "quotes"), None for good; kinds left out keep their default.

    What proves trades goes with them. Raises InvalidInput with everything that is wrong.
    """
    known = {field.name.removesuffix("_days") for field in fields(Retention)}
    problems = []
    for name, value in days.items():
        if name not in known:
            expected = f"the kinds are {', '.join(sorted(known))}"
            problems.append(Problem(where=NAME, field=name, value="", expected=expected))
        elif value is not None and (type(value) is not int or not 1 <= value <= MOST_DAYS):
            expected = f"give whole days from 1 to {MOST_DAYS:,}, or nothing to keep it for good"
            problems.append(Problem(where=NAME, field=name, value=str(value)[:20], expected=expected))
    if problems:
        raise InvalidInput(*problems)
    given = {f"{name}_days": value for name, value in days.items()}
    if "trades_days" in given:
        given["trade_digests_days"] = given["trades_days"]
    return Retention(**given)


def days_of(retention: Retention) -> dict[str, int | None]:
    """Days by kind of data; None: kept for good."""
    return {name.removesuffix("_days"): days for name, days in asdict(retention).items()}
