"""The venues Candlewick knows, by name, and the products each is divided into."""

from __future__ import annotations

from collections.abc import Mapping

from data.exchanges.base import ExchangeAdapter
from data.exchanges.binance import BinanceAdapter
from data.exchanges.binance_usdm import BinanceUsdmAdapter
from data.exchanges.okx import OkxAdapter

# The first is the one meant where a venue is named and a product is not.
_PRODUCTS: Mapping[str, tuple[type[ExchangeAdapter], ...]] = {
    OkxAdapter.name: (OkxAdapter,),
    BinanceAdapter.name: (BinanceAdapter, BinanceUsdmAdapter),
}

EXCHANGES: Mapping[str, type[ExchangeAdapter]] = {
    exchange: adapters[0] for exchange, adapters in _PRODUCTS.items()
}


def products(exchange: str) -> tuple[str, ...]:
    """The exchange's products, each with hosts and limits of its own. Raises KeyError."""
    return tuple(adapter.product for adapter in _PRODUCTS[exchange])


def product_of(exchange: str, symbol: str) -> str:
    """The product that trades `symbol`, told by the symbol's form. Raises KeyError for an exchange."""
    if exchange != BinanceAdapter.name:
        return _PRODUCTS[exchange][0].product
    # BASE-QUOTE is spot; "BTC-USDT-PERP" and "BTC-USDT-260327" are contracts.
    return BinanceAdapter.product if symbol.count("-") < 2 else BinanceUsdmAdapter.product


def adapter_for(exchange: str, product: str, channel: str | None = None) -> ExchangeAdapter:
    """An adapter of that product, for the kind of trade stream `channel` or the best. Raises KeyError."""
    adapters = {adapter.product: adapter for adapter in _PRODUCTS[exchange]}
    return adapters[product](channel)
