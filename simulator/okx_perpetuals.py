"""OKX's rows of funding rates and mark prices. Source: OKX API guide, "Public Data"."""

from __future__ import annotations

from simulator.instruments import SimInstrument
from simulator.markets import Market
from simulator.perpetuals import FUNDING_MS, funding_rate, marks_at, next_funding_ms, settled_fundings

FUNDING_CHANNEL = "funding-rate"
MARK_CHANNEL = "mark-price"


def has_channel(instrument: SimInstrument, channel: str) -> bool:
    """Whether the instrument has such a channel: marks are of derivatives, funding of swaps."""
    if channel == FUNDING_CHANNEL:
        return instrument.kind == "SWAP"
    return channel != MARK_CHANNEL or instrument.kind != "SPOT"


def funding_row(market: Market, now_ms: int) -> dict[str, str]:
    """The rate to come, with the one paid last."""
    next_ms = next_funding_ms(now_ms)
    return {
        "formulaType": "withRate",
        "fundingRate": f"{funding_rate(market, next_ms):f}",
        "fundingTime": str(next_ms),
        "instId": market.instrument.venue_symbol,
        "instType": market.instrument.kind,
        "method": "current_period",
        "maxFundingRate": "0.00375",
        "minFundingRate": "-0.00375",
        "nextFundingRate": "",
        "nextFundingTime": str(next_ms + FUNDING_MS),
        "prevFundingTime": str(next_ms - FUNDING_MS),
        "settFundingRate": f"{funding_rate(market, next_ms - FUNDING_MS):f}",
        "settState": "settled",
        "ts": str(now_ms),
    }


def funding_history_rows(market: Market, *, before_ms: int, now_ms: int, count: int) -> list[dict[str, str]]:
    """Rates that were paid, the newest first."""
    return [
        {
            "formulaType": "withRate",
            "fundingRate": f"{rate:f}",
            "fundingTime": str(at_ms),
            "instId": market.instrument.venue_symbol,
            "instType": market.instrument.kind,
            "method": "current_period",
            "realizedRate": f"{rate:f}",
        }
        for at_ms, rate in settled_fundings(market, before_ms=before_ms, now_ms=now_ms, count=count)
    ]


def mark_row(market: Market, now_ms: int) -> dict[str, str] | None:
    """The mark price of this second; None before the first trade."""
    marks = marks_at(market, now_ms)
    if marks is None:
        return None
    return {
        "instId": market.instrument.venue_symbol,
        "instType": market.instrument.kind,
        "markPx": f"{marks.mark.normalize():f}",
        "ts": str(marks.at_ms),
    }
