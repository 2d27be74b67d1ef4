"""A decision that has been through the gate: the only kind an account makes orders of."""

from __future__ import annotations

from bots.risk.seal import SEAL, Seal
from strategies.base import Decision


class Approved:
    """What a strategy said, and which of it may become orders. Exits always may."""

    __slots__ = ("decision", "may_add", "may_enter")

    def __init__(self, decision: Decision, *, may_enter: bool, may_add: bool, seal: Seal) -> None:
        """Raises TypeError for a seal that is not the gate's."""
        if seal is not SEAL:
            raise TypeError("only the risk gate approves decisions")
        self.decision = decision
        self.may_enter = may_enter
        self.may_add = may_add
