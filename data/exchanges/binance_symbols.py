"""Binance's lists of symbols as instruments. Source: both API guides, "Exchange Information" and filters."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from data.models import Instrument, InstrumentKind, InstrumentStatus

_PERPETUALS = frozenset({"PERPETUAL", "TRADIFI_PERPETUAL"})
_GONE = frozenset({"DELIVERED", "CLOSE"})


class _Filter(msgspec.Struct):
    filterType: str
    tickSize: str = "0"
    stepSize: str = "0"
    minQty: str = "0"
    minNotional: str = "0"  # on spot
    notional: str = "0"  # on futures


class _SymbolRow(msgspec.Struct):
    symbol: str
    status: str
    baseAsset: str
    quoteAsset: str
    filters: list[_Filter]
    contractType: str = ""


class SymbolsReply(msgspec.Struct):
    """The body of `exchangeInfo`."""

    symbols: list[_SymbolRow]


def spot_instrument(row: _SymbolRow) -> Instrument:
    """A spot symbol. Raises InvalidOperation for a step that is no number."""
    return _instrument(row, f"{row.baseAsset}-{row.quoteAsset}", InstrumentKind.SPOT)


def futures_instrument(row: _SymbolRow) -> Instrument | None:
    """A USD-M contract; quantities are base currency. None for what is neither perpetual nor dated.

    Raises InvalidOperation for a step that is no number.
    """
    pair = f"{row.baseAsset}-{row.quoteAsset}"
    if row.contractType in _PERPETUALS:
        return _instrument(row, f"{pair}-PERP", InstrumentKind.PERPETUAL)
    _, _, delivery = row.symbol.partition("_")
    # While a contract is delivered its type may be empty; its name still tells the day.
    if delivery.isdigit():
        return _instrument(row, f"{pair}-{delivery}", InstrumentKind.FUTURE)
    return None


def _instrument(row: _SymbolRow, symbol: str, kind: InstrumentKind) -> Instrument:
    filters = {item.filterType: item for item in row.filters}
    lot = filters.get("LOT_SIZE", _Filter("LOT_SIZE"))
    notional = filters.get("NOTIONAL", filters.get("MIN_NOTIONAL", _Filter("NOTIONAL")))
    return Instrument(
        exchange="binance",
        symbol=symbol,
        venue_symbol=row.symbol,
        kind=kind,
        base=row.baseAsset,
        quote=row.quoteAsset,
        tick_size=_plain(filters.get("PRICE_FILTER", _Filter("PRICE_FILTER")).tickSize),
        lot_size=_plain(lot.stepSize),
        min_quantity=_plain(lot.minQty),
        min_notional=_plain(notional.minNotional if kind is InstrumentKind.SPOT else notional.notional),
        status=_status(row.status),
    )


def _status(text: str) -> InstrumentStatus:
    if text == "TRADING":
        return InstrumentStatus.TRADING
    return InstrumentStatus.DELISTED if text in _GONE else InstrumentStatus.HALTED


def _plain(text: str) -> Decimal:
    """Binance pads to eight places: 0.01000000 is 0.01."""
    return Decimal(text.rstrip("0").rstrip(".") if "." in text else text)
