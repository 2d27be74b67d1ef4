from __future__ import annotations

import pytest

from dashboard.market_request import component_key, market_href, markets_words, resolve
from data.models import Market
from data.timeframes import Timeframe
from tests.dashboard.fakes import BTC, ETH, OKX_BTC

MARKETS = [BTC, ETH, OKX_BTC]


def test_an_address_resolves_to_the_market_it_names() -> None:
    asked = {"venue": "okx", "symbol": "BTC-USDT", "tf": "5m", "overlay": "macd", "scheme": "light"}
    found = resolve(asked, MARKETS, ["macd"])
    assert (found.market, found.timeframe, found.overlay, found.scheme) == (
        OKX_BTC,
        Timeframe.M5,
        "macd",
        "light",
    )


def test_an_empty_address_is_the_first_bitcoin_market_in_minutes() -> None:
    found = resolve({}, [ETH, BTC], [])
    assert (found.market, found.timeframe, found.overlay, found.scheme) == (BTC, Timeframe.M1, "ema", "dark")


def test_a_symbol_without_a_venue_is_found_on_any() -> None:
    assert resolve({"symbol": "ETH-USDT"}, MARKETS, []).market == ETH


def test_a_market_that_does_not_exist_is_named_and_not_replaced() -> None:
    found = resolve({"venue": "okx", "symbol": "ETH-USDT"}, MARKETS, [])
    assert found.market is None
    assert found.unknown == "ETH-USDT on OKX"


@pytest.mark.parametrize(
    "bad", [{"tf": "7m"}, {"tf": 5}, {"overlay": "../x"}, {"scheme": "neon"}, {"venue": None}]
)
def test_what_a_browser_makes_up_falls_back_to_the_default(bad: dict[str, object]) -> None:
    assert resolve(bad, MARKETS, []) == resolve({}, MARKETS, [])


def test_an_address_survives_its_own_parsing() -> None:
    assert (
        market_href(OKX_BTC, Timeframe.H4, "macd") == "/market?venue=okx&symbol=BTC-USDT&tf=4h&overlay=macd"
    )


def test_a_component_never_has_a_dot_in_its_name() -> None:
    assert "." not in component_key(Market("okx", "A.B-USDT"))


def test_markets_are_told_as_people_say_them_and_files_by_their_names() -> None:
    assert markets_words(["binance:BTC-USDT", "binance:ETH-USDT"]) == "BTC-USDT, ETH-USDT · Binance"
    assert markets_words(["okx:BTC-USDT", "binance:BTC-USDT"]) == "BTC-USDT · OKX; BTC-USDT · Binance"
    assert markets_words(["my_candles.csv"]) == "my_candles.csv"
