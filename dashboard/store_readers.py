"""What the Data page needs from outside, beside `dashboard.readers`; `app` hands over what satisfies it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from dashboard.readers import JobDesk
from data.coverage import TradeRepair
from data.messages import CollectorHealth
from data.models import FeedState, Market, MarketEvent
from data.stores import CoverageReader, InstrumentHistory


class LedgerReader(CoverageReader, Protocol):
    """What the ledger of trade ids knows. Synchronous; raises TransientError without the database."""

    def recorded_markets(self) -> list[Market]:
        """Every market whose trades were recorded, in order of name."""
        ...

    def repairs(self, market: Market) -> list[TradeRepair]:
        """Ids that were fetched later than they came, or were found lost, ascending."""
        ...


class FactsReader(InstrumentHistory, Protocol):
    """What is known of markets and collectors. Synchronous; raises TransientError without the database."""

    def known_markets(self) -> list[Market]: ...
    def feeds(self) -> list[FeedState]: ...
    def events(
        self,
        market: Market | None = None,
        *,
        start_us: int | None = None,
        end_us: int | None = None,
        limit: int = 100,
    ) -> list[MarketEvent]: ...
    def health(self) -> list[CollectorHealth]: ...
    def health_history(self, shard: str, start_us: int, end_us: int) -> list[CollectorHealth]: ...


class FileRoom(Protocol):
    """The installation's folders of files that come in and go out. Synchronous."""

    def keep(self, name: str, content: bytes) -> str:
        """Put an upload where an import finds it; the name to import. Raises InvalidInput."""
        ...

    def imports(self) -> Sequence[str]:
        """Files that can be imported, by name."""
        ...

    def exported(self, name: str) -> Path | None:
        """Where the export of that name is; None for anything that is no plain name of one."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreDesk:
    """What the Data page reads and asks for."""

    ledger: LedgerReader
    facts: FactsReader
    jobs: JobDesk
    files: FileRoom
