"""What a page shows of the ledger of trade ids; blocking, for any thread."""

from __future__ import annotations

from data.coverage import TradeRepair
from data.models import Market
from database.repositories.coverage_repository import CoverageRepository


class LedgerRepository(CoverageRepository):
    """Coverage, and what it was told from. Every read raises TransientError while the database is away."""

    def recorded_markets(self) -> list[Market]:
        """Every market whose trades were recorded, in order of name."""
        return self._reads.recorded_markets()

    def repairs(self, market: Market) -> list[TradeRepair]:
        """Ids that were fetched later than they came, or were found lost, ascending."""
        return self._reads.repairs(market)
