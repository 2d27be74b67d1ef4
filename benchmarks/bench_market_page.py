"""How soon the Market page shows its chart, how light the chart is to move, and how soon a trade is seen.

`python -m benchmarks.bench_market_page [--runs 5] [--bars 100000] [--tabs 50]` serves the pages over stores
in memory to a headless Chromium: what is measured is the browser and the web process, not PostgreSQL. It
prints medians as a JSON document. The warm cache is that of a browser that was used before: a profile on
disk, its third load and later, where Chromium has kept the compiled scripts as well.

The chart has five overlays and a thousand markers. A trade is timed from its message on the bus to the text
in the window. The other tabs are WebSockets that watch the same chart, quotes and trades and read on.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from multiprocessing import get_context
from multiprocessing.synchronize import Semaphore
from typing import Any

from playwright.sync_api import Page, sync_playwright
from websockets.asyncio.client import connect
from websockets.typing import Origin

from data.models import Side
from data.timeframes import SECOND_US, Timeframe
from tests.dashboard.browser import FLAGS
from tests.dashboard.desk import Desk, Serving, build_desk
from tests.dashboard.fakes import BTC, fill, walk
from tests.dashboard.fakes_tape import say_trades, trades_of

OVERLAYS = "ema(9),ema(21),sma(50),sma(200),vwap(20)"
MARKERS = 1_000
TRADES = 40  # timed, each after the one before was seen
CHART = "window.candlewick.chart"
_FRAMES = """() => new Promise(done => {
  const times = [];
  const began = performance.now();
  const step = now => { times.push(now); now - began < 3000 ? requestAnimationFrame(step) : done(times); };
  requestAnimationFrame(step);
})"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--bars", type=int, default=100_000)
    parser.add_argument("--tabs", type=int, default=50)
    options = parser.parse_args()
    now_us = int(time.time() * SECOND_US)
    desk = build_desk(now_us=now_us)
    desk.market.add(
        BTC, walk(Timeframe.M1, options.bars, end_us=now_us, start=64_000.0, seed=11, step=0.0006)
    )
    _mark(desk)
    with Serving(desk.app) as serving, sync_playwright() as playwright:
        folder = tempfile.mkdtemp(prefix="bench-market-")
        context = playwright.chromium.launch_persistent_context(
            folder,
            executable_path=shutil.which("chromium"),
            headless=True,
            args=FLAGS,
            base_url=serving.url,
            viewport={"width": 1440, "height": 900},
        )
        loads = []
        for _ in range(options.runs + 2):
            page = context.new_page()
            loads.append(_load(page))
            page.close()
        page = context.new_page()
        _load(page)
        moves = {"first": _move(page, desk)}
        seen = {"alone": _seen(page, desk, 1)}
        _read_all(page)
        moves["all"] = _move(page, desk)
        seen["all_bars"] = _seen(page, desk, 2)
        with _tabs(serving.url, options.tabs, page.evaluate(f"() => {CHART}.view.topic")):
            seen[f"beside_{options.tabs}_tabs"] = _seen(page, desk, 3)
        context.close()
        shutil.rmtree(folder)
    warm = loads[2:]
    figures = {name: round(statistics.median(load[name] for load in warm)) for name in warm[0]}
    report = {
        "load": os.getloadavg()[0],
        "runs": options.runs,
        "cold_ms": loads[0],
        "warm_ms": figures,
        **moves,
        "trade_to_screen_ms": seen,
    }
    print(json.dumps(report, indent=2))  # noqa: T201  the figures are what this prints


def _mark(desk: Desk) -> None:
    """A thousand fills, evenly over all candles but the newest."""
    opened = desk.market.series[BTC, Timeframe.M1].opened_at_us
    rows = range(0, len(opened) - 60, max(1, (len(opened) - 60) // MARKERS))
    desk.bots.fills_of["trend_btc"] = [
        fill("trend_btc", Side.BUY if row % 2 else Side.SELL, int(opened[row]), 64_000.0, sequence=number + 1)
        for number, row in enumerate(rows)
    ][-MARKERS:]


def _seen(page: Page, desk: Desk, run: int) -> dict[str, float]:
    """From a trade's message on the bus to its price in the list of trades, in milliseconds."""
    page.evaluate(
        """() => {
          window.seen_ = {};
          if (window.watching_) return;
          window.watching_ = new MutationObserver((changes) => {
            for (const {addedNodes} of changes)
              for (const row of addedNodes) if (row.dataset) window.seen_[row.dataset.id] ||= Date.now();
          });
          window.watching_.observe(document.querySelector('.tape-list'), {childList: true});
        }"""
    )
    delays = []
    for number in range(TRADES):
        trade_id = run * 1_000_000 + number
        sent = time.time()
        at_us = int(sent * SECOND_US)
        say_trades(desk.bus, trades_of(BTC, 1, first=trade_id, price=65_000.0 + number, at_us=at_us))
        page.wait_for_function("id => window.seen_[id]", arg=str(trade_id), timeout=30_000)
        delays.append(page.evaluate("id => window.seen_[id]", str(trade_id)) - 1_000 * sent)
        time.sleep(0.11)
    delays.sort()
    return {
        "median": round(statistics.median(delays)),
        "p95": round(delays[int(len(delays) * 0.95)]),
        "max": round(delays[-1]),
    }


@contextmanager
def _tabs(url: str, count: int, chart_topic: str) -> Iterator[None]:
    """So many WebSockets, in a process of their own, that watch what the page watches."""
    wanted = json.dumps({"sub": ["health", "quotes", "bots", "signals", chart_topic, f"tape|{BTC}"]})
    spawning = get_context("spawn")
    ready = spawning.Semaphore(0)
    process = spawning.Process(target=_watch, args=(url, count, wanted, ready), daemon=True)
    process.start()
    for _ in range(count):
        ready.acquire()
    yield
    process.kill()
    process.join()


def _watch(url: str, count: int, wanted: str, ready: Semaphore) -> None:
    async def tab() -> None:
        async with connect(url.replace("http", "ws") + "/ws/ui", origin=Origin(url)) as socket:
            await socket.send(wanted)
            await socket.recv()
            ready.release()
            async for _ in socket:
                pass

    async def work() -> None:
        await asyncio.gather(*(tab() for _ in range(count)))

    asyncio.run(work())


def _load(page: Page) -> dict[str, float]:
    page.goto(f"/market?venue=binance&symbol=BTC-USDT&tf=1m&overlay={OVERLAYS}", wait_until="commit")
    page.wait_for_function("() => window.candlewick && window.candlewick.ready", timeout=120_000)
    page.wait_for_selector("#signals .signal", timeout=120_000)
    found: dict[str, float] = page.evaluate(
        """() => ({
          first_contentful_paint: performance.getEntriesByName('first-contentful-paint')[0].startTime,
          chart_painted: performance.getEntriesByName('chart-painted')[0].startTime,
          every_panel: performance.now(),
        })"""
    )
    return {name: round(value) for name, value in found.items()}


def _read_all(page: Page) -> None:
    page.evaluate(
        f"""async () => {{
          while ({CHART}.view.more && {CHART}.rows.price.length < 100000)
            if (!(await {CHART}.loadBefore({CHART}.rows.price[0].time))) break;
        }}"""
    )


def _move(page: Page, desk: Desk) -> dict[str, Any]:
    """Frame times (ms) while the chart is dragged and zoomed."""
    box = page.locator("#chart canvas").first.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    handle = page.evaluate_handle(f"() => {{ window.frames_ = ({_FRAMES})(); return true; }}")
    handle.dispose()
    page.mouse.move(x, y)
    page.mouse.down()
    for step in range(40):
        page.mouse.move(x + 6 * step, y)
    page.mouse.up()
    for step in range(12):
        page.mouse.wheel(0, 120 if step % 2 else -120)
    times: list[float] = page.evaluate("() => window.frames_")
    gaps = sorted(after - before for before, after in pairwise(times))
    series = desk.market.series[BTC, Timeframe.M1]
    return {
        "bars": page.evaluate(f"() => {CHART}.rows.price.length"),
        "stored": len(series),
        "frame_ms_median": round(statistics.median(gaps), 1),
        "frame_ms_p95": round(gaps[int(len(gaps) * 0.95)], 1),
        "frame_ms_max": round(gaps[-1], 1),
    }


if __name__ == "__main__":
    main()
