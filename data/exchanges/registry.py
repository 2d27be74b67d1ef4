"""The venues Candlewick knows, by name."""

from __future__ import annotations

from collections.abc import Mapping

from data.exchanges.base import ExchangeAdapter
from data.exchanges.binance import BinanceAdapter
from data.exchanges.okx import OkxAdapter

EXCHANGES: Mapping[str, type[ExchangeAdapter]] = {
    OkxAdapter.name: OkxAdapter,
    BinanceAdapter.name: BinanceAdapter,
}
