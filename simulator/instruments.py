"""The instruments of the simulated venues: made-up ones, and those that recordings tell of."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from data.errors import InvalidInput, Problem

BINANCE = "binance"
OKX = "okx"
EXCHANGES = (BINANCE, OKX)
# An exchange's product with sockets, limits and names of its own.
USDM = "binance_usdm"
VENUES = (*EXCHANGES, USDM)

# How Binance's joined names are split; the longest match wins.
_QUOTES = (
    "FDUSD", "USDT", "USDC", "BUSD", "TUSD", "USDP", "USD", "EUR", "GBP", "TRY", "BRL", "RUB", "AUD", "JPY",
    "DAI", "BTC", "ETH", "BNB", "TRX", "XRP", "DOGE",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class SimInstrument:
    """One instrument as a venue lists it. Steps are whole units of the decimals beside them."""

    exchange: str
    symbol: str  # as Candlewick writes it: "BTC-USDT", "BTC-USDT-PERP"
    venue_symbol: str  # as the venue writes it: "BTCUSDT", "BTC-USDT-SWAP"
    kind: str  # OKX's word: "SPOT", "SWAP", "FUTURES", "OPTION"
    base: str
    quote: str
    price_decimals: int
    size_decimals: int
    tick: int = 1  # in units of 10 ** -price_decimals
    lot: int = 1  # in units of 10 ** -size_decimals
    min_size: int = 1  # in units of 10 ** -size_decimals
    min_notional: Decimal = Decimal(5)  # quote currency
    contract_value: Decimal = Decimal(1)  # of one contract, in `contract_currency`; 1 on spot
    contract_currency: str = ""
    raw: Mapping[str, Any] | None = field(default=None, compare=False)  # the venue's own row, served as it is
    product: str = ""  # USDM for Binance's futures

    @property
    def venue(self) -> str:
        """Who trades it: the exchange, or its product apart."""
        return self.product or self.exchange

    @property
    def tick_size(self) -> Decimal:
        return Decimal(self.tick).scaleb(-self.price_decimals)

    @property
    def lot_size(self) -> Decimal:
        return Decimal(self.lot).scaleb(-self.size_decimals)

    @property
    def base_per_size(self) -> Decimal | None:
        """Base currency in one unit of venue size; None where it depends on the price (inverse contracts)."""
        if self.kind == "SPOT":
            return Decimal(1)
        return self.contract_value if self.contract_currency in ("", self.base) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketShape:
    """What a made-up market looks like: where its price hovers, how it moves and how busy it is."""

    instrument: SimInstrument
    price: float  # quote currency, the long-run middle
    daily_move: float  # typical move in a day, as a fraction
    trades_per_s: float
    typical_notional: float  # quote currency, the median trade


@dataclass(frozen=True, slots=True)
class _Asset:
    price: float
    daily_move: float
    trades_per_s: float  # on Binance; OKX trades a little less
    typical_notional: float
    tick: str  # on Binance
    lot: str  # on Binance
    okx_tick: str
    okx_lot: str
    okx_min: str


_ASSETS: Mapping[str, _Asset] = {
    "BTC": _Asset(64_000.0, 0.025, 6.0, 350.0, "0.01", "0.00001", "0.1", "0.00000001", "0.00001"),
    "ETH": _Asset(3_100.0, 0.03, 4.0, 250.0, "0.01", "0.0001", "0.01", "0.000001", "0.0001"),
    "SOL": _Asset(152.0, 0.04, 2.5, 150.0, "0.01", "0.001", "0.01", "0.000001", "0.01"),
    "XRP": _Asset(2.15, 0.04, 1.5, 120.0, "0.0001", "0.1", "0.00001", "0.000001", "1"),
    "DOGE": _Asset(0.162, 0.045, 0.8, 90.0, "0.00001", "1", "0.00001", "0.000001", "10"),
    "BNB": _Asset(590.0, 0.025, 1.2, 140.0, "0.01", "0.001", "0.1", "0.000001", "0.001"),
    "ADA": _Asset(0.48, 0.04, 0.6, 80.0, "0.0001", "0.1", "0.0001", "0.000001", "1"),
    "LINK": _Asset(14.2, 0.04, 0.5, 90.0, "0.01", "0.01", "0.001", "0.000001", "0.1"),
    "AVAX": _Asset(27.5, 0.045, 0.4, 90.0, "0.01", "0.01", "0.01", "0.000001", "0.1"),
    "LTC": _Asset(83.0, 0.035, 0.2, 80.0, "0.01", "0.001", "0.01", "0.000001", "0.01"),
    "DOT": _Asset(6.4, 0.04, 0.1, 60.0, "0.001", "0.01", "0.001", "0.000001", "0.1"),
    "ATOM": _Asset(7.1, 0.04, 0.02, 50.0, "0.001", "0.01", "0.001", "0.000001", "0.1"),
}

DEFAULT_SYMBOLS = ("BTC-USDT", "ETH-USDT", "SOL-USDT", "XRP-USDT", "DOGE-USDT", "BTC-USDT-PERP")
KNOWN_SYMBOLS = (
    *(f"{base}-USDT" for base in _ASSETS),
    *(f"{base}-USDT-PERP" for base in ("BTC", "ETH", "SOL")),
)


def shapes_of(symbols: Iterable[str]) -> list[MarketShape]:
    """The made-up markets of `symbols` on both exchanges; perpetuals are OKX swaps and Binance USD-M futures.

    Raises InvalidInput for a symbol outside KNOWN_SYMBOLS.
    """
    shapes = []
    for symbol in dict.fromkeys(symbols):
        if symbol not in KNOWN_SYMBOLS:
            raise InvalidInput(
                Problem(
                    where="--symbols", field="", value=symbol, expected=f"one of {', '.join(KNOWN_SYMBOLS)}"
                )
            )
        asset = _ASSETS[symbol.split("-")[0]]
        if symbol.endswith("-PERP"):
            shapes += [_okx_swap(symbol, asset), _binance_usdm(symbol, asset)]
        else:
            shapes += [_binance_spot(symbol, asset), _okx_spot(symbol, asset)]
    return shapes


def _binance_spot(symbol: str, asset: _Asset) -> MarketShape:
    base, quote = symbol.split("-")
    instrument = SimInstrument(
        exchange=BINANCE,
        symbol=symbol,
        venue_symbol=base + quote,
        kind="SPOT",
        base=base,
        quote=quote,
        price_decimals=decimals_of(asset.tick),
        size_decimals=decimals_of(asset.lot),
    )
    return MarketShape(
        instrument=instrument,
        price=asset.price,
        daily_move=asset.daily_move,
        trades_per_s=asset.trades_per_s,
        typical_notional=asset.typical_notional,
    )


def _okx_spot(symbol: str, asset: _Asset) -> MarketShape:
    base, quote = symbol.split("-")
    size_decimals = decimals_of(asset.okx_lot)
    instrument = SimInstrument(
        exchange=OKX,
        symbol=symbol,
        venue_symbol=symbol,
        kind="SPOT",
        base=base,
        quote=quote,
        price_decimals=decimals_of(asset.okx_tick),
        size_decimals=size_decimals,
        min_size=int(Decimal(asset.okx_min).scaleb(size_decimals)),
        min_notional=Decimal(0),
    )
    return MarketShape(
        instrument=instrument,
        price=asset.price,
        daily_move=asset.daily_move,
        trades_per_s=asset.trades_per_s * 0.8,
        typical_notional=asset.typical_notional,
    )


def _okx_swap(symbol: str, asset: _Asset) -> MarketShape:
    base, quote, _ = symbol.split("-")
    value = {"BTC": "0.01", "ETH": "0.1", "SOL": "1"}[base]
    instrument = SimInstrument(
        exchange=OKX,
        symbol=symbol,
        venue_symbol=f"{base}-{quote}-SWAP",
        kind="SWAP",
        base=base,
        quote=quote,
        price_decimals=decimals_of(asset.okx_tick),
        size_decimals=2,
        min_notional=Decimal(0),
        contract_value=Decimal(value),
        contract_currency=base,
    )
    return MarketShape(
        instrument=instrument,
        # Perpetuals trade a touch above spot while funding is paid by those who are long.
        price=asset.price * 1.0003,
        daily_move=asset.daily_move,
        trades_per_s=asset.trades_per_s * 1.1,
        typical_notional=asset.typical_notional * 3,
    )


def _binance_usdm(symbol: str, asset: _Asset) -> MarketShape:
    base, quote, _ = symbol.split("-")
    tick, lot = {"BTC": ("0.1", "0.001"), "ETH": ("0.01", "0.001"), "SOL": ("0.01", "0.01")}[base]
    instrument = SimInstrument(
        exchange=BINANCE,
        product=USDM,
        symbol=symbol,
        venue_symbol=base + quote,
        kind="SWAP",
        base=base,
        quote=quote,
        price_decimals=decimals_of(tick),
        size_decimals=decimals_of(lot),
        contract_currency=base,
    )
    return MarketShape(
        instrument=instrument,
        price=asset.price * 1.0002,
        daily_move=asset.daily_move,
        trades_per_s=asset.trades_per_s * 1.3,
        typical_notional=asset.typical_notional * 4,
    )


def exchange_of(venue: str) -> str:
    """The exchange a venue belongs to."""
    return BINANCE if venue == USDM else venue


def decimals_of(text: str) -> int:
    """Decimal places that carry a digit: 2 for "0.010"."""
    return len(text.partition(".")[2].rstrip("0"))


def inferred_okx(venue_symbol: str, price_decimals: int, size_decimals: int) -> SimInstrument:
    """An OKX instrument of which only the name and the decimals of its trades are known."""
    parts = venue_symbol.split("-")
    base, quote = parts[0], parts[1] if len(parts) > 1 else ""
    kinds = {2: "SPOT", 3: "SWAP" if parts[-1] == "SWAP" else "FUTURES"}
    kind = kinds.get(len(parts), "OPTION")
    symbol = f"{base}-{quote}-PERP" if kind == "SWAP" else venue_symbol
    return SimInstrument(
        exchange=OKX,
        symbol=symbol,
        venue_symbol=venue_symbol,
        kind=kind,
        base=base,
        quote=quote,
        price_decimals=price_decimals,
        size_decimals=size_decimals,
        min_notional=Decimal(0),
        # Swaps and futures quoted in dollars are worth dollars; the others, and options, coins.
        contract_currency="" if kind == "SPOT" else "USD" if quote == "USD" and kind != "OPTION" else base,
    )


def inferred_binance(venue_symbol: str, price_decimals: int, size_decimals: int) -> SimInstrument:
    """A Binance instrument of which only the name and the decimals of its trades are known."""
    pair, _, suffix = venue_symbol.partition("_")
    quote = max((quote for quote in _QUOTES if pair.endswith(quote)), key=len, default="")
    base = pair.removesuffix(quote) if quote else pair
    names = {"": f"{base}-{quote}", "PERP": f"{base}-{quote}-PERP"}
    return SimInstrument(
        exchange=BINANCE,
        symbol=names.get(suffix, f"{base}-{quote}-{suffix}"),
        venue_symbol=venue_symbol,
        kind="SPOT" if not suffix else "SWAP" if suffix == "PERP" else "FUTURES",
        base=base,
        quote=quote,
        price_decimals=price_decimals,
        size_decimals=size_decimals,
    )


def read_instrument_rows(paths: Sequence[Path]) -> dict[tuple[str, str], Mapping[str, Any]]:
    """The venues' own rows by (exchange, venue symbol), from recorded exchangeInfo and instruments bodies.

    Raises InvalidInput for a file that is neither.
    """
    rows: dict[tuple[str, str], Mapping[str, Any]] = {}
    for path in paths:
        for exchange, name, row in _rows_of(path):
            rows[exchange, name] = row
    return rows


def _rows_of(path: Path) -> list[tuple[str, str, Mapping[str, Any]]]:
    expected = (
        "a recorded body of Binance's exchangeInfo or of OKX's public/instruments (JSON, may be gzipped)"
    )
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
        body = msgspec.json.decode(content)
    except (OSError, EOFError, msgspec.DecodeError) as error:
        raise InvalidInput(Problem(where=str(path), field="", value=str(error), expected=expected)) from error
    if isinstance(body, dict) and isinstance(body.get("symbols"), list):
        exchange, key, found = BINANCE, "symbol", body["symbols"]
    elif isinstance(body, dict) and isinstance(body.get("data"), list):
        exchange, key, found = OKX, "instId", body["data"]
    else:
        raise InvalidInput(Problem(where=str(path), field="", value="", expected=expected))
    for position, row in enumerate(found):
        if not isinstance(row, dict) or not isinstance(row.get(key), str):
            place = "symbols" if exchange == BINANCE else "data"
            raise InvalidInput(
                Problem(
                    where=str(path),
                    field=f"{place}[{position}].{key}",
                    value="",
                    expected="an instrument's name",
                )
            )
    return [(exchange, row[key], row) for row in found]


def with_row(instrument: SimInstrument, row: Mapping[str, Any]) -> SimInstrument:
    """The instrument with the steps of the venue's own row; decimals grow to hold both row and trades."""
    if instrument.exchange == OKX:
        tick, lot, smallest = str(row["tickSz"]), str(row["lotSz"]), str(row["minSz"])
        contract_value = Decimal(row.get("ctVal") or 1) * Decimal(row.get("ctMult") or 1)
        contract_currency = str(row.get("ctValCcy") or "")
        min_notional = Decimal(0)
    else:
        filters = {entry["filterType"]: entry for entry in row["filters"]}
        tick, lot = filters["PRICE_FILTER"]["tickSize"], filters["LOT_SIZE"]["stepSize"]
        smallest = filters["LOT_SIZE"]["minQty"]
        notional = filters.get("NOTIONAL") or filters.get("MIN_NOTIONAL") or {}
        min_notional = Decimal(notional.get("minNotional") or notional.get("notional") or 0)
        contract_value, contract_currency = Decimal(1), ""
    price_decimals = max(instrument.price_decimals, decimals_of(tick))
    size_decimals = max(instrument.size_decimals, decimals_of(lot), decimals_of(smallest))
    return SimInstrument(
        exchange=instrument.exchange,
        symbol=instrument.symbol,
        venue_symbol=instrument.venue_symbol,
        kind=instrument.kind,
        base=instrument.base,
        quote=instrument.quote,
        price_decimals=price_decimals,
        size_decimals=size_decimals,
        tick=int(Decimal(tick).scaleb(price_decimals)),
        lot=int(Decimal(lot).scaleb(size_decimals)),
        min_size=int(Decimal(smallest).scaleb(size_decimals)),
        min_notional=min_notional,
        contract_value=contract_value,
        contract_currency=contract_currency,
        raw=row,
    )
