"""Saved versions of strategies: immutable, named by what they decide, with the badge of their proof."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

import msgspec


class StrategyKind(StrEnum):
    JSON = "json"
    PYTHON = "python"


class ProofStatus(StrEnum):
    PROVEN = "proven"
    REFUTED = "refuted"
    NOT_PROVEN = "not proven yet"


class Fault(StrEnum):
    """What a counterexample shows."""

    LOOK_AHEAD = "look-ahead"  # the signal changes when later candles are taken away
    STREAM = "stream"  # candle by candle it says something else than over the whole series
    WINDOW = "window"  # it reads candles older than its declared window
    STATE = "state"  # the same candles give other signals on another call


class Counterexample(msgspec.Struct, frozen=True, kw_only=True):
    """The first bar found on which the promise is broken."""

    fault: Fault
    bar: int  # its row among the candles tried
    opened_at_us: int
    signal: str  # "long_entry"
    on_all: bool  # what it says there, given all candles
    on_past: bool  # what it says there without the candles it must not use
    reads_ahead: int | None = None  # candles it had to be given beyond the bar to say `on_all`


class Badge(msgspec.Struct, frozen=True, kw_only=True):
    """What the look-ahead proof of one version found."""

    status: ProofStatus
    words: str  # one sentence for a person
    bars: int  # candles tried
    covered: int  # bars on which every later candle was taken away or replaced, at least once
    signals: int  # bars on which the strategy said something
    alone: int = 0  # bars compared with a run that was given nothing later, as a bot is
    counterexample: Counterexample | None = None


class StrategyVersion(msgspec.Struct, frozen=True, kw_only=True):
    """One saved version; `content` is the JSON text or the Python source, exactly as it was saved."""

    name: str  # of the strategy, as it is called now
    version: str  # SHA-256 in hex, equal to `Strategy.version` with default parameters
    number: int  # counts the strategy's versions from 1
    kind: StrategyKind
    content: str
    saved_at_us: int
    who: str
    why: str
    badge: Badge


class StrategySummary(msgspec.Struct, frozen=True, kw_only=True):
    """One strategy as lists show it."""

    name: str
    kind: StrategyKind
    versions: int
    newest: str  # hash
    badge: Badge  # of the newest version
    saved_at_us: int
    archived: bool


class StrategyStore(Protocol):
    """Where versions are kept. Every method raises TransientError while the database cannot answer."""

    def summaries(self, *, archived: bool) -> Sequence[StrategySummary]:
        """Every strategy in order of name; the archived ones only where asked for."""
        ...

    def history(self, name: str) -> Sequence[StrategyVersion]:
        """Every version, newest first; empty for an unknown name. Archived strategies have one too."""
        ...

    def save(self, version: StrategyVersion) -> StrategyVersion:
        """Add a version and number it, bringing an archived strategy back.

        A version the strategy has already becomes its newest again, with the new badge if the proof got
        further; its content, author and time stay. Returns what is stored.
        """
        ...

    def rename(self, name: str, to: str) -> bool:
        """False where `to` is taken or `name` is unknown. Versions go along unchanged."""
        ...

    def archive(self, name: str, at_us: int) -> bool:
        """Take a strategy out of the lists. False for an unknown or archived one. Versions stay."""
        ...
