"""What to record: `config/collectors.json`, read and checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from data.errors import InvalidInput, Problem
from data.exchanges.registry import EXCHANGES
from data.timeframes import Timeframe

_DEFAULT_HISTORY_CANDLES = 1_000
_MAX_HISTORY_CANDLES = 20_000
_KEYS = ("symbols", "channels", "history_candles", "timeframes")
_SYMBOL = re.compile(r"[A-Z0-9]+-[A-Z0-9]+(-[A-Z0-9]+)*")
_SHOWN_CHARACTERS = 60
_EXAMPLE = '{"okx": {"symbols": ["BTC-USDT"]}}'


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueSettings:
    """What one venue's collector records."""

    exchange: str
    symbols: tuple[str, ...]
    channel: str  # the kind of trade stream, one of the adapter's
    history_candles: int = _DEFAULT_HISTORY_CANDLES  # the venue's own, a time frame; 0: none
    timeframes: tuple[Timeframe, ...] = tuple(Timeframe)


def load_collector_settings(path: Path) -> dict[str, VenueSettings]:
    """The venues of the file, by name. Raises InvalidInput with every problem found in it."""
    where = str(path)
    try:
        body = msgspec.json.decode(path.read_bytes())
    except OSError as error:
        raise InvalidInput(
            _problem(where, "", None, f"it cannot be read: {error.strerror}; it should be like {_EXAMPLE}")
        ) from error
    except msgspec.DecodeError as error:
        raise InvalidInput(_problem(where, "", None, f"it must be JSON: {error}")) from error
    return parse_collector_settings(body, where)


def parse_collector_settings(body: object, where: str) -> dict[str, VenueSettings]:
    """Check the decoded file `where`. Raises InvalidInput with every problem found in it."""
    if not isinstance(body, dict) or not body:
        raise InvalidInput(_problem(where, "", body, f"an object of venues is needed, like {_EXAMPLE}"))
    reader = _Reader(where)
    venues = {exchange: reader.venue(exchange, venue) for exchange, venue in body.items()}
    if reader.problems:
        raise InvalidInput(*reader.problems)
    return {exchange: venue for exchange, venue in venues.items() if venue is not None}


class _Reader:
    """Reads one file's fields and gathers what is wrong with them."""

    def __init__(self, where: str) -> None:
        self._where = where
        self.problems: list[Problem] = []

    def venue(self, exchange: str, venue: object) -> VenueSettings | None:
        if exchange not in EXCHANGES:
            self._wrong(exchange, None, f"the venues are {', '.join(EXCHANGES)}")
            return None
        if not isinstance(venue, dict):
            self._wrong(exchange, venue, f"an object is needed, as in {_EXAMPLE}")
            return None
        for key in venue:
            if key not in _KEYS:
                self._wrong(f"{exchange}.{key}", None, f"the keys are {', '.join(_KEYS)}")
        return VenueSettings(
            exchange=exchange,
            symbols=self._symbols(f"{exchange}.symbols", venue.get("symbols")),
            channel=self._channel(exchange, venue),
            history_candles=self._history_candles(exchange, venue),
            timeframes=self._timeframes(exchange, venue),
        )

    def _symbols(self, field: str, symbols: object) -> tuple[str, ...]:
        if not isinstance(symbols, list) or not symbols:
            self._wrong(field, symbols, 'a list is needed, like ["BTC-USDT", "ETH-USDT"]')
            return ()
        for number, symbol in enumerate(symbols):
            if not isinstance(symbol, str) or not _SYMBOL.fullmatch(symbol):
                self._wrong(f"{field}[{number}]", symbol, "write BASE-QUOTE, like BTC-USDT, or BTC-USDT-PERP")
            elif symbol in symbols[:number]:
                self._wrong(f"{field}[{number}]", symbol, "name each symbol once")
        return tuple(map(str, symbols))

    def _channel(self, exchange: str, venue: Mapping[str, Any]) -> str:
        known = EXCHANGES[exchange].channels
        channels = venue.get("channels", [known[0]])
        if not isinstance(channels, list) or len(channels) != 1 or channels[0] not in known:
            # Two kinds of one venue's trades would count every trade twice.
            allowed = " or ".join(f'["{channel}"]' for channel in known)
            self._wrong(f"{exchange}.channels", channels, f"it must be {allowed}")
            return known[0]
        return str(channels[0])

    def _history_candles(self, exchange: str, venue: Mapping[str, Any]) -> int:
        count = venue.get("history_candles", _DEFAULT_HISTORY_CANDLES)
        if type(count) is not int or not 0 <= count <= _MAX_HISTORY_CANDLES:
            self._wrong(
                f"{exchange}.history_candles", count, f"a whole number from 0 to {_MAX_HISTORY_CANDLES}"
            )
            return _DEFAULT_HISTORY_CANDLES
        return count

    def _timeframes(self, exchange: str, venue: Mapping[str, Any]) -> tuple[Timeframe, ...]:
        names = venue.get("timeframes", [timeframe.value for timeframe in Timeframe])
        known = [timeframe.value for timeframe in Timeframe]
        if not isinstance(names, list) or not names:
            self._wrong(f"{exchange}.timeframes", names, 'a list is needed, like ["1m", "1h"]')
            return ()
        for number, name in enumerate(names):
            if name not in known:
                self._wrong(
                    f"{exchange}.timeframes[{number}]", name, f"the time frames are {' '.join(Timeframe)}"
                )
        return tuple(timeframe for timeframe in Timeframe if timeframe.value in names)

    def _wrong(self, field: str, value: object, expected: str) -> None:
        self.problems.append(_problem(self._where, field, value, expected))


def _problem(where: str, field: str, value: object, expected: str) -> Problem:
    shown = "" if value is None else msgspec.json.encode(value).decode()[:_SHOWN_CHARACTERS]
    return Problem(where=where, field=field, value=shown, expected=expected)
