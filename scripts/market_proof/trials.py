"""What is done to the venue and to the program, each trial until all has been caught up."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from data.models import Market
from scripts.market_proof.comparing import Expectations
from scripts.market_proof.desk import MARKETS, RECORDED, SHARDS, Desk
from scripts.market_proof.listening import Listener

_CATCH_UP_S = 900.0
_EVENT_S = 300.0  # until what was done shows
_SILENT_S = 45
Plan = Sequence[Mapping[str, object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a trial."""

    name: str
    recovery_s: float  # from the fault's end until everything that had happened by then was stored
    gaps: int  # holes that the collectors found meanwhile
    closed: int  # connections that ended without a successor
    remark: str = ""


@dataclass(slots=True)
class Stage:
    """Where trials happen, and what they leave behind to be expected."""

    desk: Desk
    listener: Listener
    expected: Expectations = field(default_factory=Expectations)
    injected: Counter[str] = field(default_factory=Counter)
    outcomes: list[Outcome] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def inject(self, plan: Plan) -> None:
        self.injected.update(str(fault["fault"]) for fault in plan)
        self.desk.inject(plan)

    def kill(self, name: str) -> None:
        self.injected[f"kill -9 {name}"] += 1
        self.desk.kill(name)

    def caught_up_s(self) -> float:
        """Wait until all that has happened by now is stored; returns the seconds that took."""
        wanted = self.desk.true_ends()

        def is_there() -> bool:
            ends = self.desk.stored_ends()
            return all(ends.get(market, 0) >= last_id for market, last_id in wanted.items())

        return self.desk.wait("the stored trades to catch up with the venue's", is_there, _CATCH_UP_S)

    def perform(self, name: str, trial: Callable[[Stage], str]) -> Outcome:
        """One trial, until all has been caught up. `trial` returns a remark when its fault is over."""
        self.listener.going_on = "faults"
        gaps, closed = self.listener.counted("gaps_found"), self.desk.log_lines("stream_closed")
        remark = trial(self)
        recovery_s = self.caught_up_s()
        time.sleep(1.2)  # the collectors count for themselves and tell once a second
        self.listener.going_on = "calm"
        outcome = Outcome(
            name=name,
            recovery_s=recovery_s,
            gaps=self.listener.counted("gaps_found") - gaps,
            closed=self.desk.log_lines("stream_closed") - closed,
            remark=remark,
        )
        self.outcomes.append(outcome)
        return outcome


def faults(plan: Plan, hold_s: float) -> Callable[[Stage], str]:
    """A trial that posts faults and waits until they are over."""

    def trial(stage: Stage) -> str:
        stage.inject(plan)
        time.sleep(hold_s)
        return ""

    return trial


def history(stage: Stage) -> str:
    """The minutes before the recording are fetched, and the venue has lost some of their trades for good."""
    market = Market("binance", "BTC-USDT")
    now_ms = int(stage.desk.state()["clock_ms"]["binance"])
    (lost, *_) = stage.desk.truth("trades", market, start=now_ms - 110_000, end=now_ms - 100_000)
    first_id = int(lost["id"])
    stage.inject(
        [
            {
                "fault": "withhold",
                "exchange": market.exchange,
                "symbol": market.symbol,
                "from_id": first_id,
                "to_id": first_id + 29,
                "permanent": True,
            }
        ]
    )
    start, end = (datetime.fromtimestamp(ms / 1_000, UTC).isoformat() for ms in (now_ms - 240_000, now_ms))
    done = stage.desk.candlewick(
        "data", "backfill", "--venue", market.exchange, "--symbol", market.symbol,
        "--from", start, "--to", end, "--timeframes", "1m", "--trades",
    )  # fmt: skip
    return (
        f"{done['trades']['trades_stored']} trades of four minutes, {done['trades']['absent_at_venue']} lost"
    )


def withheld(stage: Stage) -> str:
    """Trades that the streams leave out and REST has."""
    stage.inject(
        [
            {"fault": "withhold", "exchange": market.exchange, "symbol": market.symbol, "count": 40}
            for market in MARKETS
        ]
    )
    return _past_withheld(stage)


def lost_for_good(stage: Stage) -> str:
    """Trades that the venue tells to nobody, neither by its streams nor by its history."""
    _until_halts_end(stage)
    stage.inject(
        [
            {
                "fault": "withhold",
                "exchange": market.exchange,
                "symbol": market.symbol,
                "count": 40,
                "permanent": True,
            }
            for market in MARKETS
        ]
    )
    return _past_withheld(stage)


def _past_withheld(stage: Stage) -> str:
    ends = {Market(gap["exchange"], gap["symbol"]): gap["to_id"] for gap in stage.desk.state()["withheld"]}

    def is_past() -> bool:
        true = stage.desk.true_ends()
        return all(true[market] > last_id for market, last_id in ends.items())

    stage.desk.wait("the withheld trades to pass", is_past, _EVENT_S)
    return ""


def killed(name: str) -> Callable[[Stage], str]:
    """A process dies at once, and its supervisor starts it again."""

    def trial(stage: Stage) -> str:
        stage.kill(name)
        return ""

    return trial


def database_hangs(stage: Stage) -> str:
    """Every process of PostgreSQL stands still for 30 s while trades come."""
    stage.injected["database SIGSTOP for 30 s"] += 1
    with stage.desk.stopped_database():
        time.sleep(30)
    return ""


def journal_alone(stage: Stage) -> str:
    """Trades are received while the database hangs, the collectors are killed, and the venue forgets them."""
    stage.caught_up_s()
    with stage.desk.stopped_database():
        first = {market: last_id + 1 for market, last_id in stage.desk.true_ends().items()}
        time.sleep(8)
        last = stage.desk.true_ends()
        ranges = {
            market: (first[market], last[market]) for market in MARKETS if last[market] >= first[market]
        }

        def is_journalled() -> bool:
            ends = stage.desk.journalled_ends()
            return all(ends.get(market, 0) >= last_id for market, (_, last_id) in ranges.items())

        stage.desk.wait("the journals to hold what came", is_journalled, _EVENT_S)
        for shard in SHARDS:
            stage.kill(shard)
        for market, (first_id, last_id) in ranges.items():
            stage.expected.journalled.setdefault(market, []).append((first_id, last_id))
        stage.inject(
            [
                {
                    "fault": "withhold",
                    "exchange": market.exchange,
                    "symbol": market.symbol,
                    "from_id": first_id,
                    "to_id": last_id,
                    "permanent": True,
                }
                for market, (first_id, last_id) in ranges.items()
            ]
        )
    count = sum(last_id - first_id + 1 for first_id, last_id in ranges.values())
    return f"{count} trades that only the journal had"


def settings_change(stage: Stage) -> str:
    """A symbol comes and goes while the others are recorded."""
    reconnects = stage.listener.counted("reconnects")
    stage.injected["settings reload"] += 2
    more = {exchange: [*symbols, "SOL-USDT"] for exchange, symbols in RECORDED.items()}
    stage.desk.record(more)
    added = [Market(exchange, "SOL-USDT") for exchange in RECORDED]
    took_s = stage.desk.wait(
        "the new symbol", lambda: set(added) <= stage.desk.stored_ends().keys(), _EVENT_S
    )
    stage.desk.record(RECORDED)
    time.sleep(4)
    again = stage.listener.counted("reconnects") - reconnects
    if again:
        stage.failures.append(f"a change of the settings made {again} connections begin anew")
    return f"first trades of the new symbol after {took_s:.1f} s, {again} reconnections"


def silent_subscription(stage: Stage) -> str:
    """A topic is acknowledged and does not come, while all others do; its feed is told to be stale."""
    market = Market("okx", "BTC-USDT")
    began_s = time.monotonic()
    stage.inject(
        [{"fault": "silent", "exchange": market.exchange, "symbol": market.symbol, "for_s": _SILENT_S}]
    )
    stale_s = _told(stage, market, began_s, stale=True)
    time.sleep(max(0.0, began_s + _SILENT_S - time.monotonic()))
    over_s = time.monotonic()
    fresh_s = _told(stage, market, over_s - _SILENT_S, stale=False)
    return f"told to be stale after {stale_s - began_s:.1f} s, fresh {fresh_s - over_s:.1f} s after its end"


def _told(stage: Stage, market: Market, since_s: float, *, stale: bool) -> float:
    def found() -> list[float]:
        return [
            at_s
            for at_s, of, is_stale in stage.listener.feeds
            if (of, is_stale) == (market, stale) and at_s > since_s
        ]

    stage.desk.wait(f"word that {market} is {'stale' if stale else 'fresh'}", found, _EVENT_S)
    return found()[-1]


def halts(stage: Stage) -> str:
    """A market of each exchange is halted for two minutes and a half, in the background."""
    _until_second(stage, 10)
    now_ms = int(stage.desk.state()["clock_ms"]["okx"])
    for exchange in RECORDED:
        halted = {"exchange": exchange, "symbol": "ETH-USDT"}
        stage.inject([{"fault": "halt", **halted}, {"fault": "resume", **halted, "at_s": 150}])
        stage.expected.halts.append((Market(exchange, "ETH-USDT"), now_ms + 2_000, now_ms + 149_000))
    return "for 150 s"


def outage_with_trades(stage: Stage) -> str:
    """Nobody reaches Binance for 75 s, and it trades on."""
    plan: Plan = [
        {"fault": "refuse", "exchange": "binance", "for_s": 75},
        {"fault": "disconnect", "exchange": "binance"},
    ]
    stage.inject(plan)
    time.sleep(75)
    return "75 s"


def outage_without_trades(stage: Stage) -> str:
    """OKX stops trading and cannot be reached, for at least one whole minute."""
    _until_halts_end(stage)
    _until_second(stage, 38)
    began_ms = int(stage.desk.state()["clock_ms"]["okx"])
    symbols = ["SOL-USDT", *RECORDED["okx"]]
    plan: list[Mapping[str, object]] = [
        {"fault": "refuse", "exchange": "okx", "for_s": 3_600},
        {"fault": "disconnect", "exchange": "okx"},
    ]
    plan += [{"fault": "halt", "exchange": "okx", "symbol": symbol} for symbol in symbols]
    stage.inject(plan)

    def words() -> list[int]:
        return stage.desk.away_ms("okx", began_ms + 1_000)

    stage.desk.wait("word that OKX is away", words, _EVENT_S)
    since_ms = words()[0]
    whole_ms = -(-since_ms // 60_000) * 60_000 + 60_000
    stage.desk.wait("a whole minute of it", lambda: words()[-1] >= whole_ms, _EVENT_S)
    if stage.desk.second() > 30:  # it trades again early in a minute, lest one passes without a trade
        _until_second(stage, 5)
    until_ms = int(stage.desk.state()["clock_ms"]["okx"])
    stage.desk.clear_faults()
    stage.inject([{"fault": "resume", "exchange": "okx", "symbol": symbol} for symbol in symbols])
    stage.expected.outages.append(("okx", since_ms, until_ms))
    return f"for {(until_ms - began_ms) / 1_000:.0f} s"


def _until_halts_end(stage: Stage) -> None:
    end_ms = max((end_ms for _, _, end_ms in stage.expected.halts), default=0)
    time.sleep(max(0.0, (end_ms - int(stage.desk.state()["clock_ms"]["okx"])) / 1_000 + 3))


def _until_second(stage: Stage, second: int) -> None:
    """Wait for that second of a minute, by the venue's clock."""
    now_ms = int(stage.desk.state()["clock_ms"]["okx"])
    time.sleep((second * 1_000 - now_ms % 60_000) % 60_000 / 1_000)
