"""Recorded trade frames through the live path, and through cryptofeed's handler, by turns in one run.

    python -m benchmarks.bench_frames DATA [--peer PYTHON] [--rounds 15] [--waiting 200]

DATA is a folder with `frames/binance` and `frames/okx`; PYTHON is an interpreter that has cryptofeed
(requirements-peers.txt). Ours is what a collector does with messages that wait: decode, checks, once each in
id order, candles of all thirteen time frames, batches for the store. cryptofeed decodes and calls a callback
that does nothing. CPU of one process each, in microseconds a frame.

`--waiting` is how many frames are handed over at once, by default as many as a collector takes in a turn;
`live_one_by_one` is a quiet stream. The figure `trades_decoded_per_s`
is decoding and checking alone.

Two things about the frames. cryptofeed reads Binance's `aggTrade` alone, so for it (only) each recorded
`trade` frame is given that name and its id's key. OKX was recorded for seconds only: its frames are repeated
with later ids and times until there are as many.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from itertools import count
from pathlib import Path

from data.collectors.market_recorder import MarketRecorder
from data.collectors.unsaved import UnsavedBatches
from data.exchanges.base import ExchangeAdapter, TradesMessage
from data.exchanges.registry import EXCHANGES
from data.exchanges.waiting_trades import WaitingTrades
from data.files.frames import read_frames
from data.models import Candle, Instrument, InstrumentKind, Market, Trade
from data.stores import MarketBatch
from data.timeframes import Timeframe

FRAMES = 20_000
STORE_AT = 2_000  # trades: a fifth of a second of a busy venue
VENUE_SYMBOLS = {"binance": "BTCUSDT", "okx": "BTC-USDT"}
RECORDINGS = {
    "binance": ("binance/spot_btcusdt_20240808.log.gz", "binance/spot_btcusdt_20240809.log.gz"),
    "okx": ("okx/cryptofeed_public_20220513.log.gz",),
}


def recorded(data: Path, exchange: str) -> list[str]:
    """The trade frames of BTC-USDT as they were received."""
    mark = '"btcusdt@trade"' if exchange == "binance" else '{"channel":"trades","instId":"BTC-USDT"},"data"'
    return [
        frame.text
        for name in RECORDINGS[exchange]
        for frame in read_frames(data / "frames" / name)
        if mark in frame.text
    ]


def repeated(frames: Sequence[str], wanted: int) -> list[str]:
    """OKX frames again and again, each time with the next ids and later times."""
    rows = [json.loads(frame)["data"][0] for frame in frames]
    first_id, first_ms = int(rows[0]["tradeId"]), int(rows[0]["ts"])
    span_ms = int(rows[-1]["ts"]) - first_ms + 1_000
    made: list[str] = []
    for lap in count():
        for frame, row in zip(frames, rows, strict=True):
            later_id = first_id + len(made)
            later_ms = int(row["ts"]) + lap * span_ms
            made.append(frame.replace(row["tradeId"], str(later_id)).replace(row["ts"], str(later_ms)))
            if len(made) == wanted:
                return made
    raise AssertionError("a count has no end")


def for_cryptofeed(exchange: str, frame: str) -> str:
    """The same frame under the name and the key of the id that cryptofeed's handler knows."""
    if exchange == "okx":
        return frame
    renamed = frame.replace('"e":"trade"', '"e":"aggTrade"', 1)
    return re.sub(r'"t":(\d+)', r'"a":\1', renamed, count=1)


def adapter_of(exchange: str) -> ExchangeAdapter:
    adapter = EXCHANGES[exchange]("trades" if exchange == "okx" else None)
    adapter.use(
        [
            Instrument(
                exchange=exchange,
                symbol="BTC-USDT",
                venue_symbol=VENUE_SYMBOLS[exchange],
                kind=InstrumentKind.SPOT,
                base="BTC",
                quote="USDT",
                tick_size=Decimal("0.01"),
                lot_size=Decimal("0.00001"),
                min_quantity=Decimal("0.00001"),
                min_notional=Decimal(5),
            )
        ]
    )
    adapter.make_ready()
    return adapter


class LivePath:
    """A collector's way from messages to batches for the store, without sockets and store."""

    def __init__(self, exchange: str, on_batch: Callable[[MarketBatch], None] = lambda batch: None) -> None:
        self.on_batch = on_batch
        self._adapter = adapter_of(exchange)
        self._unsaved = UnsavedBatches()
        self._recorder = MarketRecorder(Market(exchange, "BTC-USDT"), tuple(Timeframe), self._unsaved)
        self._recorders = {"BTC-USDT": self._recorder}
        self._venue_time_us = 0

    def take(self, messages: Sequence[bytes]) -> None:
        """What the collector does with messages that wait."""
        for part in self._adapter.in_turn(messages):
            if isinstance(part, WaitingTrades):
                self._venue_time_us = max(self._venue_time_us, part.sent_at_us)
                for symbol, trades in part.by_symbol.items():
                    recorder = self._recorders[symbol]
                    recorder.live_messages += len(trades)
                    recorder.accept(trades)
                    recorder.sequencer.missing()
            else:
                parsed = self._adapter.parse(part)
                assert isinstance(parsed, TradesMessage)
                self._recorder.accept(parsed.trades)
        if self._unsaved.trades >= STORE_AT:
            self.store()

    def store(self) -> None:
        """Hand on what waits, as to a store that keeps up."""
        while (batch := self._unsaved.first()) is not None:
            self.on_batch(batch)
            self._unsaved.saved()


def cpu_s(work: Callable[[], object]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


def in_parts(messages: Sequence[bytes], size: int) -> list[Sequence[bytes]]:
    return [messages[start : start + size] for start in range(0, len(messages), size)]


def take_all(path: LivePath, parts: Sequence[Sequence[bytes]]) -> None:
    for part in parts:
        path.take(part)
    path.store()


def run_live(exchange: str, parts: Sequence[Sequence[bytes]]) -> float:
    path = LivePath(exchange)
    return cpu_s(lambda: take_all(path, parts))


def run_decoding(exchange: str, parts: Sequence[Sequence[bytes]]) -> float:
    adapter = adapter_of(exchange)
    return cpu_s(lambda: [list(adapter.in_turn(part)) for part in parts])


@contextmanager
def peer_process(python: Path, exchange: str, frames: Path) -> Iterator[subprocess.Popen[str]]:
    script = Path(__file__).parent / "peers" / "cryptofeed_frames.py"
    with subprocess.Popen(
        [str(python), str(script), exchange, str(frames)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def ask(process: subprocess.Popen[str]) -> float:
    """One round of the peer: CPU seconds."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return float(json.loads(process.stdout.readline()))


def rows_of(trades: Sequence[Trade]) -> list[list[object]]:
    return [[each.trade_id, each.price, each.quantity, each.taker_side, each.traded_at_us] for each in trades]


def measure(data: Path, exchange: str, peer: Path | None, rounds: int, waiting: int) -> dict[str, object]:
    texts = recorded(data, exchange)
    frames = repeated(texts, FRAMES) if exchange == "okx" else texts
    messages = [frame.encode() for frame in frames]
    parts, single = in_parts(messages, waiting), in_parts(messages, 1)

    trades: list[Trade] = []
    candles: list[Candle] = []

    def keep(batch: MarketBatch) -> None:
        trades.extend(batch.trades)
        candles.extend(batch.candles)

    take_all(LivePath(exchange, keep), parts)
    timings: dict[str, list[float]] = {"live": [], "live_one_by_one": [], "decoding": []}
    figures: dict[str, object] = {
        "frames": len(frames),
        "recorded_frames": len(texts),
        "candles": len(candles),
    }

    def round_of_ours() -> None:
        timings["live"].append(run_live(exchange, parts))
        timings["live_one_by_one"].append(run_live(exchange, single))
        timings["decoding"].append(run_decoding(exchange, parts))

    if peer is None:
        for _ in range(rounds):
            round_of_ours()
    else:
        timings["cryptofeed"] = []
        with tempfile.TemporaryDirectory(prefix="bench-frames-") as folder:
            file = Path(folder) / "frames.txt"
            file.write_text("\n".join(for_cryptofeed(exchange, frame) for frame in frames))
            with peer_process(peer, exchange, file) as process:
                assert process.stdout is not None
                theirs = json.loads(process.stdout.readline())
                if theirs != rows_of(trades):
                    raise SystemExit(f"{exchange}: cryptofeed and we disagree about the trades")
                figures["same_trades"] = len(theirs)
                ask(process)  # the first round warms it up
                run_live(exchange, parts)
                for _ in range(rounds):
                    timings["cryptofeed"].append(ask(process))
                    round_of_ours()
        by_pair = [theirs / ours for theirs, ours in zip(timings["cryptofeed"], timings["live"], strict=True)]
        figures["times_cryptofeed_by_min"] = round(min(timings["cryptofeed"]) / min(timings["live"]), 2)
        figures["times_cryptofeed_median_of_rounds"] = round(statistics.median(by_pair), 2)
        figures["times_cryptofeed_one_by_one_by_min"] = round(
            min(timings["cryptofeed"]) / min(timings["live_one_by_one"]), 2
        )
    for name, seconds in timings.items():
        figures[f"{name}_min_us"] = round(min(seconds) / len(frames) * 1e6, 3)
        figures[f"{name}_median_us"] = round(statistics.median(seconds) / len(frames) * 1e6, 3)
    figures["trades_per_s"] = round(len(frames) / min(timings["live"]))
    figures["trades_decoded_per_s"] = round(len(frames) / min(timings["decoding"]))
    return figures


def main() -> None:
    """Measure both venues and print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("data", type=Path, help="folder with frames/binance and frames/okx")
    parser.add_argument("--peer", type=Path, help="interpreter that has cryptofeed")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--waiting", type=int, default=200, help="frames handed over at once")
    arguments = parser.parse_args()
    figures = {
        exchange: measure(arguments.data, exchange, arguments.peer, arguments.rounds, arguments.waiting)
        for exchange in VENUE_SYMBOLS
    }
    sys.stdout.write(json.dumps({"waiting": arguments.waiting, **figures}, indent=2) + "\n")


if __name__ == "__main__":
    main()
