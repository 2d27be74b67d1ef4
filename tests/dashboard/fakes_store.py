"""In-memory stand-ins for what the Data page reads."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

from dashboard.readers import JobDesk
from dashboard.store_readers import StoreDesk
from data.coverage import MinuteState, StateSpan, TradeRepair
from data.messages import CollectorHealth
from data.models import FeedState, Instrument, InstrumentVersion, Market, MarketEvent, MarketEventKind
from data.timeframes import Timeframe, floor_to
from jobs.arguments import check_file_name
from tests.dashboard.fakes import BTC, OKX_BTC, FakeMarket

DAY_US = Timeframe.D1.us
MINUTE_US = Timeframe.M1.us


class FakeLedger:
    """`LedgerReader` in memory: complete, but for the holes that are put into it."""

    def __init__(self, *markets: Market, since_us: int) -> None:
        self.markets = list(markets)
        self.since_us = since_us
        self.others: dict[Market, list[StateSpan]] = {}  # ascending and apart
        self.mended: dict[Market, list[TradeRepair]] = {}
        self.failure: Exception | None = None

    def recorded_markets(self) -> list[Market]:
        if self.failure is not None:
            raise self.failure
        return self.markets

    def repairs(self, market: Market) -> list[TradeRepair]:
        return self.mended.get(market, [])

    def missing_minutes(self, market: Market, start_us: int, end_us: int) -> list[tuple[int, int]]:
        return []

    def minute_spans(self, market: Market, start_us: int, end_us: int) -> list[StateSpan]:
        spans: list[StateSpan] = []

        def add(first_us: int, last_us: int, state: MinuteState, reason: str = "") -> None:
            first_us, last_us = max(first_us, start_us), min(last_us, end_us)
            if first_us < last_us:
                spans.append(StateSpan(start_us=first_us, end_us=last_us, state=state, reason=reason))

        add(start_us, self.since_us, MinuteState.MISSING, "before_recording")
        at_us = self.since_us
        for one in self.others.get(market, []):
            add(at_us, one.start_us, MinuteState.COMPLETE)
            add(one.start_us, one.end_us, one.state, one.reason)
            at_us = one.end_us
        add(at_us, floor_to(end_us, Timeframe.M1), MinuteState.COMPLETE)
        return spans


class FakeFacts:
    """`FactsReader` in memory."""

    def __init__(self) -> None:
        self.versions: dict[Market, list[InstrumentVersion]] = {}
        self.happened: list[MarketEvent] = []
        self.fed: list[FeedState] = []

    def known_markets(self) -> list[Market]:
        return sorted(self.versions)

    def instrument_at(self, market: Market, at_us: int) -> Instrument | None:
        versions = self.versions.get(market)
        return versions[-1].instrument if versions else None

    def instrument_versions(self, market: Market) -> list[InstrumentVersion]:
        return self.versions.get(market, [])

    def feeds(self) -> list[FeedState]:
        return self.fed

    def events(
        self,
        market: Market | None = None,
        *,
        start_us: int | None = None,
        end_us: int | None = None,
        limit: int = 100,
    ) -> list[MarketEvent]:
        return [one for one in self.happened if market in (None, one.market)][:limit]

    def health(self) -> list[CollectorHealth]:
        return []

    def health_history(self, shard: str, start_us: int, end_us: int) -> list[CollectorHealth]:
        return []


class FakeFiles:
    """`FileRoom` in memory; exports are real files where a test puts them."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.folder: Path | None = None

    def keep(self, name: str, content: bytes) -> str:
        check_file_name(name)
        self.kept[name] = content
        return name

    def imports(self) -> Sequence[str]:
        return sorted(self.kept)

    def exported(self, name: str) -> Path | None:
        path = None if self.folder is None else self.folder / name
        return path if path is not None and path.is_file() else None


def store_desk(jobs: JobDesk, now_us: int, *, empty: bool = False) -> StoreDesk:
    """Ten days of two markets: a hole, a repair, a venue that was down, a changed rule."""
    today_us = floor_to(now_us, Timeframe.D1)
    ledger = FakeLedger(since_us=today_us - 10 * DAY_US + 7 * MINUTE_US)
    facts = FakeFacts()
    if not empty:
        ledger.markets = [BTC, OKX_BTC]
        hole_us, mended_us = today_us - 2 * DAY_US + 843 * MINUTE_US, today_us - 5 * DAY_US + 61 * MINUTE_US
        ledger.others[BTC] = [
            _span(mended_us, 4, MinuteState.REPAIRED, "connection_lost"),
            _span(hole_us, 12, MinuteState.MISSING, "history_unavailable"),
        ]
        ledger.others[OKX_BTC] = [_span(today_us - DAY_US, 30, MinuteState.VENUE_DOWN, "halted")]
        ledger.mended[BTC] = [
            TradeRepair(
                first_id=7_001,
                last_id=7_400,
                start_us=mended_us,
                end_us=mended_us + 4 * MINUTE_US - 1,
                reason="connection_lost",
                repaired_at_us=mended_us + 9 * MINUTE_US,
            )
        ]
        older = _rules(BTC, "0.1")
        facts.versions = {
            BTC: [
                InstrumentVersion(instrument=older, valid_from_us=0),
                InstrumentVersion(instrument=_rules(BTC, "0.01"), valid_from_us=today_us - DAY_US),
            ],
            OKX_BTC: [InstrumentVersion(instrument=_rules(OKX_BTC, "0.1"), valid_from_us=0)],
        }
        facts.happened = [
            MarketEvent(
                market=BTC,
                kind=MarketEventKind.RULES_CHANGED,
                at_us=today_us - DAY_US,
                detail="tick size 0.1 to 0.01",
            )
        ]
        facts.fed = [
            FeedState(
                market=BTC,
                stale=True,
                since_us=now_us - 90 * 1_000_000,
                last_trade_at_us=now_us - 120 * 1_000_000,
                usual_pause_s=0.4,
                detail="no trade for 2m, usually one each 0.4 s",
            )
        ]
    return StoreDesk(ledger=ledger, facts=facts, jobs=jobs, files=FakeFiles())


def _span(start_us: int, minutes: int, state: MinuteState, reason: str) -> StateSpan:
    return StateSpan(start_us=start_us, end_us=start_us + minutes * MINUTE_US, state=state, reason=reason)


def _rules(market: Market, tick: str) -> Instrument:
    known = FakeMarket()
    known.ticks[market] = Decimal(tick)
    found = known.instrument(market)
    assert found is not None
    return found
