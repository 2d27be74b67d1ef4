"""What one EMA(12/26) backtest of 1,000,000 candles costs, its parts, the command, and a peer beside it.

    python -m benchmarks.bench_backtest [--peer PYTHON] [--rounds 15] [--commands 5]

PYTHON is an interpreter that has vectorbt (requirements-peers.txt). Candles are seeded and synthetic; all
rows take turns in every round. CPU seconds, the least and the median, compiled and warm; of the command, of
whole processes with warm compile caches. Prints one JSON document.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numba import njit

from backtesting.engine import run_backtest, simulate
from bots.booking import events_of, fill_of
from bots.fill_records import flat_state, terms_of
from bots.ledger import Ledger
from bots.orders import Costs, TradingRules
from data.models import Ohlcv
from data.timeframes import Timeframe
from strategies.base import Strategy
from strategies.loader import load_strategy, parse_strategy

PROJECT = Path(__file__).resolve().parent.parent
CANDLES = 1_000_000
STARTS_AT_MS = 1_577_836_800_000
RULES = TradingRules(tick_size=Decimal("0.01"), lot_size=Decimal("0.00001"))
CAPITAL = Decimal(10_000)
PROTECTIONS: dict[str, dict[str, float]] = {
    "plain": {},
    "exits": {"stop_loss": 0.02, "take_profit": 0.04, "trailing_stop": 0.015},
}
TEMPLATE_CANDLES = 100_000
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


Action = Callable[[], object]


def cpu_s(action: Action) -> float:
    begun = time.process_time()
    action()
    return time.process_time() - begun


def in_turn(actions: dict[str, Callable[[], float]], rounds: int) -> dict[str, dict[str, float]]:
    """Each action says its CPU seconds; all take turns. The first turn, which compiles, is not counted."""
    for action in actions.values():
        action()
    spent: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(rounds):
        for name, action in actions.items():
            spent[name].append(action())
    return {
        name: {"least_ms": round(min(each) * 1e3, 2), "median_ms": round(statistics.median(each) * 1e3, 2)}
        for name, each in spent.items()
    }


def rows_of(name: str, strategy: Strategy, ohlcv: Ohlcv) -> dict[str, Action]:
    """The parts of a run, and the whole of it."""
    terms = terms_of(COSTS, RULES, strategy.protection, strategy.sizing)
    state = flat_state(CAPITAL)
    signals = strategy.signals(ohlcv)
    events = simulate(signals, ohlcv, state=state, terms=terms).events

    def book() -> None:
        ledger = Ledger.opened_with(CAPITAL)
        for event in events_of(events):
            ledger.book(fill_of(event, 1, COSTS))

    return {
        f"{name}: signals": lambda: strategy.signals(ohlcv),
        f"{name}: {len(events):,} fills and equity": lambda: simulate(
            signals, ohlcv, state=state, terms=terms
        ),
        f"{name}: signals, fills and equity": lambda: simulate(
            strategy.signals(ohlcv), ohlcv, state=state, terms=terms
        ),
        f"{name}: the fills booked in decimals": book,
        f"{name}: the run with booked ledger and metrics": lambda: run_backtest(
            strategy, ohlcv, capital=CAPITAL, costs=COSTS, rules=RULES
        ),
    }


@contextmanager
def peer_process(python: Path, ohlcv: Ohlcv, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """vectorbt, waiting for what to run."""
    stored = folder / "candles.npz"
    np.savez(stored, open=ohlcv.open, high=ohlcv.high, low=ohlcv.low, close=ohlcv.close)
    script = PROJECT / "benchmarks" / "peers" / "vectorbt_backtest.py"
    with subprocess.Popen(
        [str(python), str(script), str(stored)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def ask(process: subprocess.Popen[str], what: str, answers: dict[str, dict[str, float]]) -> float:
    """One run of the peer: CPU seconds."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{what}\n")
    process.stdin.flush()
    seconds, orders, equity = json.loads(process.stdout.readline())
    answers[what] = {"orders": orders, "last_equity": equity}
    return float(seconds)


def single_runs(peer: Path | None, rounds: int) -> dict[str, object]:
    """A million candles: our rows, the plain loop's and the peer's."""
    ohlcv = trending(CANDLES)
    strategies = {
        name: parse_strategy(definition(protection), "benchmark") for name, protection in PROTECTIONS.items()
    }
    ours: dict[str, Action] = {"a plain numba loop": lambda: plain_loop(ohlcv.open, ohlcv.close, 0.001)}
    for name, strategy in strategies.items():
        ours |= rows_of(name, strategy, ohlcv)
    actions: dict[str, Callable[[], float]] = {
        name: (lambda action=action: cpu_s(action))  # type: ignore[misc]
        for name, action in ours.items()
    }
    answers: dict[str, dict[str, float]] = {}
    for name, strategy in strategies.items():
        result = run_backtest(strategy, ohlcv, capital=CAPITAL, costs=COSTS, rules=RULES)
        answers[f"ours, {name}"] = {"orders": len(result.fills), "last_equity": float(result.equity[-1])}
    with (
        tempfile.TemporaryDirectory() as folder,
        nullcontext() if peer is None else peer_process(peer, ohlcv, Path(folder)) as process,
    ):
        if process is not None:
            for what in PROTECTIONS:
                actions[f"vectorbt, {what}"] = lambda what=what: ask(process, what, answers)  # type: ignore[misc]
        return {"cpu": in_turn(actions, rounds), "answers": answers}


def templates(rounds: int) -> dict[str, dict[str, float]]:
    """Every shipped strategy file over 100,000 candles of a minute."""
    ohlcv = trending(TEMPLATE_CANDLES)
    actions: dict[str, Callable[[], float]] = {}
    for file in sorted((PROJECT / "config" / "strategies").glob("*.json")):
        if file.name == "schema.json":
            continue
        rows = rows_of(file.stem, load_strategy(file, {}, Timeframe.M1), ohlcv)
        for name, action in rows.items():
            if name.endswith(("signals, fills and equity", "metrics")):
                actions[name] = lambda action=action: cpu_s(action)  # type: ignore[misc]
    return in_turn(actions, rounds)


def command_runs(rounds: int) -> dict[str, dict[str, float]]:
    """The whole program, each time a new process: from a Parquet file to what it prints."""
    ohlcv = trending(CANDLES)
    with tempfile.TemporaryDirectory() as folder:
        strategy_file = Path(folder) / "ema.json"
        strategy_file.write_text(json.dumps(definition({})))
        candle_file = Path(folder) / "candles.parquet"
        columns = {"opened_at": ohlcv.opened_at_us // 1_000}
        columns |= {name: getattr(ohlcv, name) for name in ("open", "high", "low", "close", "volume")}
        pq.write_table(pa.table(columns), candle_file)
        arguments = ["--strategy", str(strategy_file), "--candles", str(candle_file)]
        return in_turn(
            {
                "whole command, its summary": lambda: command_s(arguments),
                "whole command, --json with every trade and the equity curve": lambda: command_s(
                    [*arguments, "--json"]
                ),
            },
            rounds,
        )


def command_s(arguments: list[str]) -> float:
    """CPU seconds of one run of the program."""
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
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peer", type=Path, help="an interpreter that has vectorbt")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--commands", type=int, default=5, help="runs of the whole program")
    arguments = parser.parse_args()
    # Children that have ended count for `command_s`, so it goes first.
    commands = command_runs(arguments.commands)
    document = {
        "load": os.getloadavg(),
        "single_runs": single_runs(arguments.peer, arguments.rounds),
        "templates": templates(min(arguments.rounds, 7)),
        "commands": commands,
    }
    sys.stdout.write(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
