"""What to record: `config/collectors.json`, read and checked."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from data.errors import InvalidInput, Problem
from data.exchanges.base import Channel, ExchangeAdapter
from data.exchanges.registry import EXCHANGES, adapter_for, product_of, products
from data.timeframes import Timeframe

_DEFAULT_HISTORY_CANDLES = 1_000
_MAX_HISTORY_CANDLES = 20_000
_KEYS = ("symbols", "channels", "history_candles", "timeframes")
_SYMBOL = re.compile(r"[A-Z0-9]+-[A-Z0-9]+(-[A-Z0-9]+)*")
_SHOWN_CHARACTERS = 60
_EXAMPLE = '{"okx": {"symbols": ["BTC-USDT"]}}'
_SYMBOLS_EXAMPLE = '["BTC-USDT", "ETH-USDT"] or {"BTC-USDT": ["trades", "quotes"]}'


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueSettings:
    """What is recorded of one venue. The trades of every symbol are."""

    exchange: str
    symbols: tuple[str, ...]
    channel: str | None = None  # the kind of trade stream, one of the adapter's; None: the best
    channels: Mapping[str, tuple[Channel, ...]] = field(default_factory=dict)  # by symbol, beside the trades
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


def save_collector_settings(path: Path, body: Mapping[str, object]) -> dict[str, VenueSettings]:
    """Check `body`, what the file is to hold, and put it there in one step; running collectors follow it.

    Returns what it means. Raises InvalidInput with every problem, and OSError; then the old file stands.
    """
    venues = parse_collector_settings(dict(body), str(path))
    text = msgspec.json.format(msgspec.json.encode(body), indent=2) + b"\n"
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return venues


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
        symbols = self._symbols(f"{exchange}.symbols", venue.get("symbols"))
        channels, channel = self._channels(exchange, venue, symbols)
        return VenueSettings(
            exchange=exchange,
            symbols=symbols,
            channel=channel,
            channels=channels,
            history_candles=self._history_candles(exchange, venue),
            timeframes=self._timeframes(exchange, venue),
        )

    def _symbols(self, place: str, symbols: object) -> tuple[str, ...]:
        if not isinstance(symbols, list | dict) or not symbols:
            self._wrong(place, symbols, f"name what to record, like {_SYMBOLS_EXAMPLE}")
            return ()
        seen: list[str] = []
        for number, symbol in enumerate(symbols):
            field_name = f"{place}[{number}]" if isinstance(symbols, list) else f"{place}.{symbol}"
            if not isinstance(symbol, str) or not _SYMBOL.fullmatch(symbol):
                self._wrong(field_name, symbol, "write BASE-QUOTE, like BTC-USDT, or BTC-USDT-PERP")
            elif symbol in seen:
                self._wrong(field_name, symbol, "name each symbol once")
            else:
                seen.append(symbol)
        return tuple(seen)

    def _channels(
        self, exchange: str, venue: Mapping[str, Any], symbols: tuple[str, ...]
    ) -> tuple[dict[str, tuple[Channel, ...]], str | None]:
        """What is heard of each symbol beside its trades, and the kind of trade stream that is named."""
        offers = {product: adapter_for(exchange, product) for product in products(exchange)}
        default = self._names(exchange, f"{exchange}.channels", venue.get("channels", ["trades"]), offers)
        by_symbol = venue.get("symbols")
        streams: dict[str, None] = {}
        found: dict[str, tuple[Channel, ...]] = {}
        for symbol in symbols:
            offer = offers[product_of(exchange, symbol)]
            names, is_own = default, isinstance(by_symbol, dict)
            place = f"{exchange}.channels"
            if isinstance(by_symbol, dict):
                place = f"{exchange}.symbols.{symbol}"
                names = self._names(exchange, place, by_symbol[symbol], offers)
            own = []
            for name in names:
                if name not in tuple(Channel):
                    if name in offer.channels:
                        streams[name] = None
                    elif is_own:
                        self._wrong(place, name, f"the trade stream of {symbol} is {offer.channels[0]}")
                elif offer.supports(symbol, Channel(name)):
                    own.append(Channel(name))
                elif is_own:
                    self._wrong(place, name, f"{exchange} has no {name} of {symbol}")
            found[symbol] = tuple(channel for channel in Channel if channel in own and channel != "trades")
        if symbols and not isinstance(by_symbol, dict):
            for name in default:
                if not any(_has(offers[product_of(exchange, symbol)], symbol, name) for symbol in symbols):
                    self._wrong(f"{exchange}.channels", name, f"none of {exchange}'s symbols here has it")
        return found, next(iter(streams), None)

    def _names(
        self, exchange: str, place: str, names: object, offers: Mapping[str, ExchangeAdapter]
    ) -> list[str]:
        """The names of a list that are channels, or kinds of trade stream of a product."""
        known = dict.fromkeys(channel.value for channel in Channel)
        known |= dict.fromkeys(offer.channels[0] for offer in offers.values())
        if not isinstance(names, list):
            self._wrong(place, names, f"a list is needed, of {', '.join(known)}")
            return []
        for number, name in enumerate(names):
            if not isinstance(name, str) or name not in known:
                self._wrong(f"{place}[{number}]", name, f"the channels of {exchange} are {', '.join(known)}")
            elif name in names[:number]:
                self._wrong(f"{place}[{number}]", name, "name each channel once")
        return [name for name in known if name in names]

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


def _has(offer: ExchangeAdapter, symbol: str, name: str) -> bool:
    return offer.supports(symbol, Channel(name)) if name in tuple(Channel) else name in offer.channels


def _problem(where: str, field: str, value: object, expected: str) -> Problem:
    shown = "" if value is None else msgspec.json.encode(value).decode()[:_SHOWN_CHARACTERS]
    return Problem(where=where, field=field, value=shown, expected=expected)
