"""Approval without limits, to rehearse compiled code. An import contract keeps it from everybody else."""

from __future__ import annotations

from bots.risk.approval import Approved
from bots.risk.seal import SEAL
from strategies.base import Decision


def unlimited(decision: Decision) -> Approved:
    """All of the decision may become orders."""
    return Approved(decision, may_enter=True, may_add=True, seal=SEAL)
