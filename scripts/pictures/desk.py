"""A demo of its own in a temporary folder, with enough on it that no page is empty."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from simulator.venue import default_state

PROJECT = Path(__file__).resolve().parents[2]
_HISTORY_DAYS = 21  # that the simulated venue remembers
_START_LIMIT_S = 240
_JOB_LIMIT_S = 600
_MARKETS = ("BTC-USDT", "ETH-USDT", "SOL-USDT")
_BOTS: tuple[Mapping[str, Any], ...] = (
    {
        "name": "swing_eth",
        "symbol": "ETH-USDT",
        "strategy": "ema_crossover.json",
        "parameters": {"fast": 40, "slow": 120},
        "timeframe": "1s",
    },
    {"name": "revert_sol", "symbol": "SOL-USDT", "strategy": "bollinger_reversion.json", "timeframe": "1s"},
    {
        "name": "breakout_btc",
        "symbol": "BTC-USDT",
        "strategy": "donchian_breakout.json",
        "parameters": {"entry": 90, "exit": 45},
        "timeframe": "1s",
    },
    {"name": "macd_eth", "symbol": "ETH-USDT", "strategy": "macd.json", "timeframe": "1m"},
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """A desk that runs, and where it keeps its state."""

    url: str
    home: Path

    def tell(self, *arguments: str) -> Any:
        """What a command of `candlewick` answers with `--json`. Raises RuntimeError with its complaint."""
        done = subprocess.run(
            [sys.executable, "-m", "app", *arguments, "--json"],
            cwd=PROJECT,
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"candlewick {' '.join(arguments)}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def environment(self) -> dict[str, str]:
        return {**os.environ, "CANDLEWICK_HOME": str(self.home)}


@contextmanager
def demo() -> Iterator[Desk]:
    """A demo on a free port, which ends and leaves nothing behind."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="candlewick-pictures-") as folder:
        desk = Desk(url=f"http://127.0.0.1:{port}", home=Path(folder))
        # A longer past than a demo has by itself, for backtests that say something.
        state = default_state(days=_HISTORY_DAYS, now_ms=time.time_ns() // 1_000_000)
        (desk.home / "simulator.json").write_bytes(msgspec.json.encode(state))
        program = subprocess.Popen(
            [sys.executable, "-m", "app", "up", "--demo", "--port", str(port)],
            cwd=PROJECT,
            env=desk.environment(),
            stdout=sys.stderr,
        )
        try:
            _await(desk.url, program)
            yield desk
        finally:
            program.send_signal(signal.SIGINT)
            program.wait(60)


def _await(url: str, program: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_LIMIT_S
    while True:
        try:
            with urllib.request.urlopen(f"{url}/healthz", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            if time.monotonic() > deadline or program.poll() is not None:
                raise
            time.sleep(0.5)


def furnish(desk: Desk) -> dict[str, str]:
    """Make bots, strategies, backtests and a search; what their pages are called in an address.

    The names are `run`, `other` and `search`.
    """
    for bot in _BOTS:
        _bot(desk, {"venue": "binance", "fee_bps": 1, "maker_fee_bps": 0.5, "slippage_bps": 0.5, **bot})
    price = float(_last_price(desk))
    _bot(desk, _grid(price))
    for name in ("ema_crossover", "supertrend_trend", "donchian_breakout"):
        desk.tell("strategy", "save", f"config/strategies/{name}.json", "--why", "as the template has it")
    start = f"{datetime.now(UTC) - timedelta(days=_HISTORY_DAYS - 2):%Y-%m-%d}"
    history = [
        _job(
            desk,
            "backfill",
            venue="binance",
            symbol=symbol,
            timeframes=["1m", "5m", "15m", "1h"],
            **{"from": start},
        )
        for symbol in _MARKETS
    ]
    for number in history:
        _result(desk, number)
    terms = {"venue": "binance", "from": start, "fee_bps": "2", "slippage_bps": "1", "allow_missing": True}
    runs = [
        _job(
            desk,
            "backtest",
            strategy=strategy,
            symbols=[symbol],
            timeframe=frame,
            parameters=parameters,
            **terms,
        )
        for strategy, symbol, frame, parameters in (
            ("donchian-breakout", "SOL-USDT", "15m", {}),
            ("rsi_reversion", "ETH-USDT", "15m", {}),
            ("ema-crossover", "ETH-USDT", "15m", {"fast": 8, "slow": 34}),
            ("ema-crossover", "BTC-USDT", "15m", {}),
        )
    ]
    ranges = {"fast": "5:50:3", "slow": "20:200:10"}
    search = _job(
        desk,
        "sweep",
        strategy="ema-crossover",
        symbol="BTC-USDT",
        timeframe="15m",
        parameters=ranges,
        scheme="split",
        **terms,
    )
    kept = [_result(desk, number) for number in runs]
    return {"run": kept[-1], "other": kept[-2], "search": _result(desk, search)}


def _grid(price: float) -> dict[str, Any]:
    return {
        "name": "grid_btc",
        "venue": "binance",
        "symbol": "BTC-USDT",
        "type": "grid",
        "settings": {
            "lower": round(price * 0.985),
            "upper": round(price * 1.015),
            "levels": 31,
            "order_notional": 300,
            "spacing": "geometric",
            "stop_price": round(price * 0.96),
        },
        "timeframe": "1s",
        "fee_bps": 1,
        "maker_fee_bps": 0,
        "slippage_bps": 0.5,
    }


def _last_price(desk: Desk) -> str:
    with urllib.request.urlopen(f"{desk.url}/desk/watch?scheme=dark", timeout=30) as answer:
        rows = json.load(answer)["rows"]
    row = next(row for row in rows if row["market"] == "binance:BTC-USDT")
    return str(row["last"]).replace(",", "")


def _bot(desk: Desk, document: Mapping[str, Any]) -> None:
    path = desk.home / f"{document['name']}.json"
    path.write_text(json.dumps({"capital": 10_000, "mode": "paper", "on_restart": "resume", **document}))
    desk.tell("bots", "create", str(path), "--start")


def _job(desk: Desk, kind: str, **arguments: Any) -> int:
    return int(desk.tell("jobs", "start", kind, "--arguments", json.dumps(arguments))["id"])


def _result(desk: Desk, number: int) -> str:
    """What came of a job, when it is over. Raises RuntimeError for one that failed."""
    deadline = time.monotonic() + _JOB_LIMIT_S
    while True:
        job = desk.tell("jobs", "show", str(number))
        if job["state"] == "done":
            return str((job["result"] or {}).get("reference", ""))
        if job["state"] in ("failed", "cancelled") or time.monotonic() > deadline:
            raise RuntimeError(f"job {number}, {job['title']}: {job['state']} {job['error']}")
        time.sleep(2)
