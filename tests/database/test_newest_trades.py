from __future__ import annotations

import pytest

from data.models import Market
from database.repositories.market_facts_repository import MarketFactsRepository
from database.repositories.market_repository import MarketRepository
from tests.database.test_market_repository import batch_of, run_of, trades_of

pytestmark = pytest.mark.integration


async def test_the_last_trades_come_in_the_order_of_their_ids(store_url: str) -> None:
    market = Market("okx", "NEWEST-USDT")
    writer, facts = MarketRepository(store_url), MarketFactsRepository(store_url)
    try:
        assert facts.newest_trades(market, 3) == []
        trades = trades_of(market, 1, 9)
        await writer.save(batch_of(trades=trades, runs=[(market, run_of(1, 9))]))
        assert facts.newest_trades(market, 3) == trades[-3:]
        assert facts.newest_trades(market, 100) == trades
    finally:
        await writer.close()
        facts.close()
