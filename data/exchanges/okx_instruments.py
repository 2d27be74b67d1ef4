"""OKX's lists of instruments. Source: OKX API guide, "Public Data / Get instruments"."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from data.models import Instrument, InstrumentKind, InstrumentStatus

KINDS = {
    "SPOT": InstrumentKind.SPOT,
    "SWAP": InstrumentKind.PERPETUAL,
    "FUTURES": InstrumentKind.FUTURE,
    "OPTION": InstrumentKind.OPTION,
}


class InstrumentRow(msgspec.Struct):
    """One instrument; what it has not is empty."""

    instType: str
    instId: str
    tickSz: str
    lotSz: str
    minSz: str
    state: str
    baseCcy: str = ""
    quoteCcy: str = ""
    uly: str = ""
    instFamily: str = ""
    ctVal: str = ""
    ctMult: str = ""
    ctType: str = ""
    ctValCcy: str = ""


class InstrumentsReply(msgspec.Struct):
    """The body of a list."""

    data: list[InstrumentRow]


def instrument_list(symbol: str) -> tuple[tuple[str, str], ...]:
    """Parameters of the list with "BTC-USDT", with "BTC-USDT-PERP", or with a dated contract's own id."""
    parts = symbol.split("-")
    if len(parts) == 2:
        return (("instType", "SPOT"),)
    if parts[-1] == "PERP":
        return (("instType", "SWAP"),)
    if len(parts) == 3:
        return (("instType", "FUTURES"),)
    return (("instType", "OPTION"), ("instFamily", f"{parts[0]}-{parts[1]}"))


def is_usable(row: InstrumentRow) -> bool:
    """Inverse contracts are worth so much quote currency, and one not listed yet may lack its steps."""
    if row.instType not in KINDS or not (row.tickSz and row.lotSz and row.minSz):
        return False
    base = (row.uly or row.instFamily).partition("-")[0]
    return row.instType == "SPOT" or (row.ctValCcy == base and bool(row.ctVal))


def instrument_of(row: InstrumentRow) -> Instrument:
    kind = KINDS[row.instType]
    if kind is InstrumentKind.SPOT:
        base, quote, contract_size = row.baseCcy, row.quoteCcy, Decimal(1)
        symbol = f"{base}-{quote}"
    else:
        base, _, quote = (row.uly or row.instFamily).partition("-")
        contract_size = Decimal(row.ctVal) * Decimal(row.ctMult or 1)
        symbol = f"{base}-{quote}-PERP" if kind is InstrumentKind.PERPETUAL else row.instId
    return Instrument(
        exchange="okx",
        symbol=symbol,
        venue_symbol=row.instId,
        kind=kind,
        base=base,
        quote=quote,
        tick_size=Decimal(row.tickSz),
        lot_size=Decimal(row.lotSz) * contract_size,
        min_quantity=Decimal(row.minSz) * contract_size,
        min_notional=Decimal(0),  # OKX has no such rule
        contract_size=contract_size,
        status=InstrumentStatus.TRADING if row.state == "live" else InstrumentStatus.HALTED,
    )
