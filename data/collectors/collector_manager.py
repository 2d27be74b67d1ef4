"""Which collector processes run; starting and restarting them is the supervisor's work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from data.collectors.settings import VenueSettings
from data.errors import InvalidInput, Problem


@dataclass(frozen=True, slots=True)
class CollectorPlan:
    """One process to run: one venue, so that a venue's trouble stays its own."""

    name: str  # of the process: "collector-okx"
    settings: VenueSettings


def plan_collectors(venues: Mapping[str, VenueSettings], only: Sequence[str] = ()) -> list[CollectorPlan]:
    """A process for each venue of the settings, or for those of `only`, in order of name.

    Raises InvalidInput for a venue that the settings do not have.
    """
    for exchange in only:
        if exchange not in venues:
            raise InvalidInput(
                Problem(
                    where="venue",
                    field="",
                    value=exchange,
                    expected=f"the collectors' settings have {', '.join(sorted(venues))}",
                )
            )
    return [CollectorPlan(f"collector-{exchange}", venues[exchange]) for exchange in sorted(only or venues)]
