"""Which product trades a symbol, and which adapter speaks for it."""

from __future__ import annotations

import pytest

from data.exchanges.registry import EXCHANGES, adapter_for, product_of, products


@pytest.mark.parametrize(
    ("exchange", "symbol", "product"),
    [
        ("okx", "BTC-USDT", "okx"),
        ("okx", "BTC-USDT-PERP", "okx"),
        ("binance", "BTC-USDT", "spot"),
        ("binance", "BTC-USDT-PERP", "usdm"),
        ("binance", "BTC-USDT-260327", "usdm"),
    ],
)
def test_every_symbol_has_the_product_that_trades_it(exchange: str, symbol: str, product: str) -> None:
    assert product_of(exchange, symbol) == product
    adapter = adapter_for(exchange, product)
    assert (adapter.name, adapter.product) == (exchange, product)


def test_the_first_product_stands_for_the_exchange() -> None:
    assert products("binance") == ("spot", "usdm")
    assert {name: adapter.product for name, adapter in EXCHANGES.items()} == {"okx": "okx", "binance": "spot"}
    assert adapter_for("okx", "okx", "trades").channel == "trades"
    with pytest.raises(KeyError):
        adapter_for("okx", "spot")
