"""A batch goes on only from trades that the store has."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import count

import pytest
import pytest_asyncio

from data.collectors.unsaved import by_itself
from data.errors import StoreFellBehind
from data.models import Market, Trade, TradeRun
from data.stores import MarketBatch
from database.repositories.market_repository import MarketRepository
from tests.database.market_builders import trade_of

pytestmark = pytest.mark.integration

START_US = 1_723_161_300_000_000
_names = count(1)


@pytest.fixture
def market() -> Market:
    """A market no other test has touched."""
    return Market("okx", f"LEDGER{next(_names)}-USDT")


@pytest_asyncio.fixture
async def writer(store_url: str) -> AsyncIterator[MarketRepository]:
    repository = MarketRepository(store_url)
    yield repository
    await repository.close()


def trades_of(market: Market, first_id: int, last_id: int) -> list[Trade]:
    return [
        trade_of(market, trade_id, at_us=START_US + trade_id) for trade_id in range(first_id, last_id + 1)
    ]


def batch_of(market: Market, run_from: int, first_id: int, last_id: int) -> MarketBatch:
    """Trades `first_id` to `last_id`, of a run that began at `run_from`."""
    run = TradeRun(
        first_id=run_from, last_id=last_id, first_at_us=START_US + run_from, last_at_us=START_US + last_id
    )
    return MarketBatch(trades=trades_of(market, first_id, last_id), candles=[], runs=[(market, run)])


async def stored(writer: MarketRepository, market: Market) -> list[int]:
    return [trade.trade_id for trade in await writer.trades_between(market, 0, 2**62)]


async def last_run(writer: MarketRepository, market: Market) -> tuple[int, int]:
    run = await writer.last_run(market)
    assert run is not None
    return run.first_id, run.last_id


async def test_a_batch_that_goes_on_where_the_store_lost_trades_is_refused_whole(
    writer: MarketRepository, market: Market
) -> None:
    await writer.save(batch_of(market, 1, 1, 10))
    with pytest.raises(StoreFellBehind, match=f"no longer has trade 20 of {market}"):
        await writer.save(batch_of(market, 1, 21, 30))
    assert await stored(writer, market) == list(range(1, 11))
    assert await last_run(writer, market) == (1, 10)


async def test_a_batch_of_a_market_that_the_store_forgot_is_refused(
    writer: MarketRepository, market: Market
) -> None:
    with pytest.raises(StoreFellBehind, match="trade 20"):
        await writer.save(batch_of(market, 1, 21, 30))
    assert await writer.last_run(market) is None


async def test_once_the_lost_trades_are_stored_again_the_batch_is_taken(
    writer: MarketRepository, market: Market
) -> None:
    await writer.save(batch_of(market, 1, 1, 10))
    # What a journal gives back claims its own trades alone, and repeats some.
    await writer.save(by_itself(batch_of(market, 1, 6, 20)))
    await writer.save(batch_of(market, 1, 21, 30))
    assert await stored(writer, market) == list(range(1, 31))
    assert await last_run(writer, market) == (1, 30)


async def test_what_a_journal_gives_back_to_an_empty_store_claims_nothing_before_it(
    writer: MarketRepository, market: Market
) -> None:
    await writer.save(by_itself(batch_of(market, 1, 21, 30)))
    assert await last_run(writer, market) == (21, 30)


async def test_a_batch_is_taken_twice_and_after_its_run_was_joined_to_an_older_one(
    writer: MarketRepository, market: Market
) -> None:
    await writer.save(batch_of(market, 11, 11, 20))
    await writer.save(batch_of(market, 1, 1, 10))
    for _ in range(2):
        await writer.save(batch_of(market, 11, 21, 30))
    assert await last_run(writer, market) == (1, 30)
