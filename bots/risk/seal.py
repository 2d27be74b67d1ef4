"""What an approval is sealed with. An import contract lets the gate alone have it; see pyproject.toml."""

from __future__ import annotations

from typing import Final


class Seal:
    """There is one."""


SEAL: Final = Seal()
