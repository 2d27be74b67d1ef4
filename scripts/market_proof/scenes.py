"""Which trials there are, in which order."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from scripts.market_proof.desk import SHARDS
from scripts.market_proof.trials import (
    Stage,
    database_hangs,
    faults,
    halts,
    history,
    journal_alone,
    killed,
    lost_for_good,
    outage_with_trades,
    outage_without_trades,
    settings_change,
    silent_subscription,
    withheld,
)

Trial = Callable[[Stage], str]

_CUT = {"fault": "disconnect"}

# Each is performed once in this order; what is REPEATED then fills the time that is left.
REPEATED: Mapping[str, Trial] = {
    "duplicated frames": faults([{"fault": "duplicate", "times": 3, "every": 2, "for_s": 6}], 6),
    "reordered frames": faults([{"fault": "reorder", "ms": 800, "for_s": 6}], 6),
    "delayed frames": faults([{"fault": "delay", "ms": 1500, "for_s": 6}], 6),
    "malformed frames": faults([{"fault": "malformed", "every": 25, "for_s": 6}], 6),
    "frames that never come": withheld,
    "connections cut": faults([_CUT], 0.5),
    "connections cut inside a frame": faults([{**_CUT, "mid_message": True}], 0.5),
    "connections closed with code 1012": faults([{**_CUT, "code": 1012}], 0.5),
    "connections refused for 10 s": faults([{"fault": "refuse", "for_s": 10}, _CUT], 10),
    "429 while trades are missing": faults(
        [{"fault": "rest_error", "status": 429, "retry_after_s": 3, "count": 4}, _CUT], 0.5
    ),
    "418 while trades are missing": faults(
        [
            {"fault": "rest_error", "exchange": "binance", "status": 418, "retry_after_s": 5, "count": 2},
            {**_CUT, "exchange": "binance"},
        ],
        0.5,
    ),
    "503 for 8 s while trades are missing": faults(
        [{"fault": "rest_error", "status": 503, "for_s": 8}, _CUT], 8
    ),
    "OKX's 50011 in an answer that looks fine": faults(
        [
            {"fault": "rest_error", "exchange": "okx", "status": 200, "count": 4},
            {**_CUT, "exchange": "okx"},
        ],
        0.5,
    ),
    "REST 3 s behind the streams": faults([{"fault": "rest_lag", "ms": 3000, "for_s": 8}, _CUT], 8),
    "acknowledgements 3 s late": faults([{"fault": "slow_acks", "ms": 3000, "for_s": 8}, _CUT], 8),
    "the venue's clock 5 s behind": faults([{"fault": "clock_skew", "ms": -5000, "for_s": 8}], 8),
    "all at once": faults(
        [
            {"fault": "duplicate", "times": 2, "for_s": 10},
            {"fault": "reorder", "ms": 500, "for_s": 10},
            {"fault": "malformed", "every": 50, "for_s": 10},
            {"fault": "rest_error", "status": 503, "at_s": 3, "count": 3},
            {**_CUT, "at_s": 2},
            {**_CUT, "at_s": 5},
        ],
        10,
    ),
}
ONCE: Mapping[str, Trial] = {
    "history fetched, which the venue has lost in part": history,
    **REPEATED,
    "OKX's notice 64008": faults([{"fault": "upgrade", "exchange": "okx", "close_after_s": 30}], 32),
    "Binance's serverShutdown": faults(
        [{"fault": "upgrade", "exchange": "binance", "close_after_s": 30}], 32
    ),
    "a market of each exchange halted, all through what follows": halts,
    "a subscription that is acknowledged and silent": silent_subscription,
    "settings changed and changed back": settings_change,
    **{f"kill -9 of {shard}": killed(shard) for shard in SHARDS},
    "kill -9 of Valkey": killed("valkey"),
    "kill -9 of PostgreSQL": killed("postgres"),
    "PostgreSQL hangs for 30 s": database_hangs,
    "killed while PostgreSQL hangs, and the venue forgets": journal_alone,
    "half-open sockets": faults([{"fault": "half_open"}], 0.5),
    "trades that the venue tells to nobody": lost_for_good,
    "Binance unreachable for 75 s, trading on": outage_with_trades,
    "OKX unreachable, not trading": outage_without_trades,
}
# Announced ends of connections cost these shards no moment without one. USD-M futures announce nothing.
SEAMLESS = {"OKX's notice 64008": "collector-okx", "Binance's serverShutdown": "collector-binance"}
SHORT = (
    "history fetched, which the venue has lost in part",
    "all at once",
    "killed while PostgreSQL hangs, and the venue forgets",
)
