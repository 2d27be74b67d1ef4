"""How soon the Market page shows its chart, and how light the chart is to move, in headless Chromium.

`python -m benchmarks.bench_market_page [--runs 5] [--bars 100000]` serves the pages over stores in memory:
what is measured is the browser and the web process, not PostgreSQL. It prints medians as a JSON document. The
warm cache is that of a browser that was used before: a profile on disk, its third load and later, where
Chromium has kept the compiled scripts as well.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
from itertools import pairwise
from typing import Any

from playwright.sync_api import Page, sync_playwright

from data.timeframes import SECOND_US, Timeframe
from tests.dashboard.browser import FLAGS
from tests.dashboard.desk import Desk, Serving, build_desk
from tests.dashboard.fakes import BTC, walk

OVERLAYS = "ema(9),ema(21),sma(50),sma(200),vwap(20)"
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
    options = parser.parse_args()
    now_us = int(time.time() * SECOND_US)
    desk = build_desk(now_us=now_us)
    desk.market.add(
        BTC, walk(Timeframe.M1, options.bars, end_us=now_us, start=64_000.0, seed=11, step=0.0006)
    )
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
        _read_all(page)
        moves["all"] = _move(page, desk)
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
    }
    print(json.dumps(report, indent=2))  # noqa: T201  the figures are what this prints


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
