"""What one EMA(12/26) backtest of 1,000,000 candles costs: the kernel, the whole run and the command.

Run as `python benchmarks/bench_backtest.py`. Candles are seeded and synthetic. CPU seconds, best of several.
"""

from __future__ import annotations

import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numba import njit

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from backtesting.engine import run_backtest, simulate  # noqa: E402  # found through the line above
from bots.booking import events_of, fill_of  # noqa: E402
from bots.fill_records import flat_state, terms_of  # noqa: E402
from bots.ledger import Ledger  # noqa: E402
from bots.orders import Costs, TradingRules  # noqa: E402
from data.models import Ohlcv  # noqa: E402
from data.timeframes import Timeframe  # noqa: E402
from strategies.loader import parse_strategy  # noqa: E402

CANDLES = 1_000_000
STARTS_AT_MS = 1_577_836_800_000
RULES = TradingRules(tick_size=Decimal("0.01"), lot_size=Decimal("0.00001"))
COSTS = Costs(fee_bps=Decimal(10), maker_fee_bps=Decimal(10))


def trending(count: int) -> Ohlcv:
    """Minute candles whose trends last long enough for the crossover to survive a fee of 0.1 % a side."""
    random = np.random.default_rng(7)
    typical = 0.0009
    volatility = typical * np.exp(np.clip(np.cumsum(random.normal(0, 0.01, count)), -1, 1))
    drift, kept = np.empty(count), 0.98
    trend = 0.0
    for row, shock in enumerate(random.normal(0, 1, count).tolist()):
        trend = kept * trend + shock
        drift[row] = trend
    returns = random.standard_t(5, count) * volatility * 0.7 + drift * math.sqrt(1 - kept**2) * 1.6e-4
    closes = np.round(30_000 * np.exp(np.cumsum(returns - returns.mean())), 2)
    opens = np.concatenate(([closes[0]], closes[:-1]))
    reach = 1 + np.abs(random.normal(0, 0.6 * typical, (2, count)))
    return Ohlcv(
        timeframe=Timeframe.M1,
        opened_at_us=(STARTS_AT_MS + np.arange(count) * 60_000) * 1_000,
        open=opens,
        high=np.round(np.maximum(opens, closes) * reach[0], 2),
        low=np.round(np.minimum(opens, closes) / reach[1], 2),
        close=closes,
        volume=np.round(random.random(count) * 10, 4),
    )


def synthetic(count: int) -> Ohlcv:
    """Minute candles with fat tails and slow swings of volatility, prices on the cent."""
    random = np.random.default_rng(20_261_101)
    volatility = 5e-4 * np.exp(np.clip(np.cumsum(random.normal(0, 0.01, count)), -1, 1))
    closes = np.round(30_000 * np.exp(np.cumsum(random.standard_t(5, count) * volatility * 0.7)), 2)
    opens = np.concatenate(([closes[0]], closes[:-1]))
    reach = 1 + np.abs(random.normal(0, 3e-4, (2, count)))
    return Ohlcv(
        timeframe=Timeframe.M1,
        opened_at_us=(STARTS_AT_MS + np.arange(count) * 60_000) * 1_000,
        open=opens,
        high=np.round(np.maximum(opens, closes) * reach[0], 2),
        low=np.round(np.minimum(opens, closes) / reach[1], 2),
        close=closes,
        volume=np.round(random.random(count) * 10, 4),
    )


def definition(protection: dict[str, float]) -> dict[str, object]:
    """The crossover as a strategy file would have it."""
    return {
        "name": "ema-cross",
        "timeframe": "1m",
        "indicators": {"fast": {"type": "ema", "period": 12}, "slow": {"type": "ema", "period": 26}},
        "long": {
            "entry": {"crosses_above": ["fast", "slow"]},
            "exit": {"crosses_below": ["fast", "slow"]},
        },
        "protection": protection,
        "sizing": {"type": "fraction_of_equity", "value": 1.0},
    }


@njit
def plain_loop(open_: np.ndarray, close: np.ndarray, fee: float) -> np.ndarray:
    """The same crossover in doubles: no tick, no lot, no exact cash. A yardstick for the machine."""
    fast = slow = close[0]
    was_above = False
    cash, held, due = 10_000.0, 0.0, 0
    equity = np.empty(len(close))
    for i in range(len(close)):
        if due == 1:
            held, cash = cash / (open_[i] * (1 + fee)), 0.0
        elif due == -1:
            cash, held = held * open_[i] * (1 - fee), 0.0
        due = 0
        fast += (close[i] - fast) * (2 / 13)
        slow += (close[i] - slow) * (2 / 27)
        above = fast > slow
        if i > 25 and above and not was_above and held == 0:
            due = 1
        elif i > 25 and was_above and not above and held > 0:
            due = -1
        was_above = above
        equity[i] = cash + held * close[i]
    return equity


def best(action: Callable[[], object], repeats: int = 7) -> float:
    """The least CPU seconds of several calls; the first, which compiles, is not counted."""
    action()
    spent = []
    for _ in range(repeats):
        begun = time.process_time()
        action()
        spent.append(time.process_time() - begun)
    return min(spent)


def command_seconds(arguments: list[str]) -> float:
    """CPU seconds of the whole program, compile caches warm: the best of three."""
    spent = []
    for _ in range(4):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, "-m", "app", "backtest", *arguments],
            cwd=PROJECT,
            env=os.environ | {"PYTHONPATH": str(PROJECT)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(spent[1:])


def tell(what: str, seconds: float) -> None:
    """One line of the table."""
    sys.stdout.write(f"{what:<58}{seconds * 1000:>10.1f} ms\n")
    sys.stdout.flush()


def main() -> None:
    """Measure and print."""
    ohlcv = trending(CANDLES)
    tell("a plain numba loop, for comparison", best(lambda: plain_loop(ohlcv.open, ohlcv.close, 0.001)))
    for name, protection in (
        ("plain", {}),
        (
            "stop 2 %, target 4 %, trail 1.5 %",
            {"stop_loss": 0.02, "take_profit": 0.04, "trailing_stop": 0.015},
        ),
    ):
        strategy = parse_strategy(definition(protection), "benchmark")
        terms = terms_of(COSTS, RULES, strategy.protection, strategy.sizing)
        state = flat_state(Decimal(10_000))
        signals = strategy.signals(ohlcv)
        events = simulate(signals, ohlcv, state=state, terms=terms).events
        tell(f"{name}: signals", best(lambda s=strategy: s.signals(ohlcv)))  # type: ignore[misc]
        tell(
            f"{name}: {len(events):,} fills and the equity curve",
            best(lambda s=signals, t=terms, a=state: simulate(s, ohlcv, state=a, terms=t)),  # type: ignore[misc]
        )

        def everything(s=strategy, t=terms, a=state) -> None:  # type: ignore[no-untyped-def]
            simulate(s.signals(ohlcv), ohlcv, state=a, terms=t)

        tell(f"{name}: signals, fills and equity together", best(everything))

        def book(records: np.typing.NDArray[np.void] = events) -> None:
            ledger = Ledger.opened_with(Decimal(10_000))
            for event in events_of(records):
                ledger.book(fill_of(event, 1, COSTS))

        tell(f"{name}: the same fills booked in decimals", best(book, 3))
        run = lambda s=strategy: run_backtest(s, ohlcv, capital=Decimal(10_000), costs=COSTS, rules=RULES)  # noqa: E731
        tell(f"{name}: run_backtest, metrics included", best(run, 3))
    with tempfile.TemporaryDirectory() as folder:
        strategy_file = Path(folder) / "ema.json"
        strategy_file.write_text(json.dumps(definition({})))
        candle_file = Path(folder) / "candles.parquet"
        columns = {"opened_at": ohlcv.opened_at_us // 1_000}
        columns |= {name: getattr(ohlcv, name) for name in ("open", "high", "low", "close", "volume")}
        pq.write_table(pa.table(columns), candle_file)
        arguments = ["--strategy", str(strategy_file), "--candles", str(candle_file)]
        tell("whole command from a Parquet file", command_seconds(arguments))
        tell("the same with --json", command_seconds([*arguments, "--json"]))


if __name__ == "__main__":
    main()
