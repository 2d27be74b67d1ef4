"""vectorbt's run of the EMA(12/26) crossover, run by bench_backtest.py.

    python vectorbt_backtest.py CANDLES_FILE

The interpreter must have vectorbt; CANDLES_FILE is a numpy archive of open, high, low and close. Signals are
filled at the next open with a fee of 0.1 % a side. For each line read from standard input ("plain", or
"exits" for a target of 4 % and a trailing stop of 1.5 %: it has one slot for stops) prints the CPU seconds of
one run with its orders and its equity curve, how many orders there were and the last equity.
"""

from __future__ import annotations

import json
import sys
import time
import warnings

import numpy as np
import pandas as pd
import vectorbt


def run(prices: dict[str, pd.Series], exits: bool) -> tuple[int, float]:
    close = prices["close"]
    fast = close.ewm(span=12, adjust=False).mean()
    slow = close.ewm(span=26, adjust=False).mean()
    above = ((fast > slow) & (fast.shift(1) <= slow.shift(1))).shift(1, fill_value=False)
    below = ((fast < slow) & (fast.shift(1) >= slow.shift(1))).shift(1, fill_value=False)
    stops = {"sl_stop": 0.015, "sl_trail": True, "tp_stop": 0.04} if exits else {}
    inside = {name: prices[name] for name in ("open", "high", "low")} if exits else {}
    portfolio = vectorbt.Portfolio.from_signals(
        close,
        above,
        below,
        price=prices["open"],
        fees=0.001,
        init_cash=10_000,
        freq="1min",
        **stops,
        **inside,
    )
    return int(portfolio.orders.count()), float(portfolio.value().iloc[-1])


def main() -> None:
    warnings.filterwarnings("ignore")
    stored = np.load(sys.argv[1])
    prices = {name: pd.Series(stored[name]) for name in ("open", "high", "low", "close")}
    for line in sys.stdin:
        begun = time.process_time()
        orders, equity = run(prices, line.strip() == "exits")
        sys.stdout.write(json.dumps([time.process_time() - begun, orders, equity]) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
