"""What subscribers are kept under: OKX's "trades:BTC-USDT", Binance's stream name "btcusdt@trade"."""

from __future__ import annotations

from simulator.instruments import OKX


def okx_key(channel: str, venue_symbol: str) -> str:
    """The key of an OKX subscription."""
    return f"{channel}:{venue_symbol}"


def parts_of_key(exchange: str, key: str) -> tuple[str, str]:
    """Channel and venue symbol of a key."""
    if exchange == OKX:
        channel, _, symbol = key.partition(":")
        return channel, symbol
    symbol, _, channel = key.partition("@")
    return channel, symbol.upper()
