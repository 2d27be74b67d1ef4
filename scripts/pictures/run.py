"""Photograph every page into docs/screenshots, at three sizes: `python -m scripts.pictures.run --help`.

Without --desk a demo of its own is started in a temporary folder. Bots, strategies, backtests and a search
are made on it, the bots trade for a few minutes, and nothing is left behind but the pictures. Needs Chromium.
Ends with status 1 where a page complained, asked another machine, moved its panels after they were drawn, or
was wider than its window.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, Page, TimeoutError, sync_playwright

from scripts.pictures.desk import PROJECT, demo, furnish
from scripts.pictures.palette_png import smaller
from scripts.pictures.scenes import SCENES, Scene

TARGET = PROJECT / "docs" / "screenshots"
FLAGS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
BOTS_TRADE_FOR_S = 240
PATIENCE_MS = 90_000  # on a busy machine
ATTEMPTS = 3
SETTLE_MS = 1_200
PHONE = (390, 844)
# Width, height and colours.
SIZES = ((1440, 900, "dark"), (1920, 1080, "dark"), (*PHONE, "dark"), (1440, 900, "light"))
WIDE = 1440
MOST_SHIFT = 0.02  # of the window; Chromium calls 0.1 good
STANDS = """() => {
  const waits = [
    ".skeleton", ".mantine-Skeleton-root", ".equity-box:not(:has(.trace, .hm, .panel-state))",
    ".bots-grid .ag-body:not(:has(.ag-row))",
  ];
  const pending = [...document.querySelectorAll(`#page :is(${waits.join()})`)];
  return document.documentElement.dataset.feed === "live" && window.candlewick.ready
    && !pending.some((one) => one.offsetParent !== null);
}"""
WATCH_SHIFTS = """window.shifts = 0; window.moved = new Set(); new PerformanceObserver((list) => {
  for (const one of list.getEntries()) {
    if (one.hadRecentInput) continue;
    window.shifts += one.value;
    for (const { node } of one.sources) {
      const element = node && (node.nodeType === 1 ? node : node.parentElement);
      if (element) window.moved.add(element.id || String(element.className).slice(0, 40));
    }
  }
}).observe({type: "layout-shift", buffered: true});"""
FITS = """() => {
  const head = document.querySelector(".head");
  return {
    page: document.documentElement.scrollWidth, head: head.scrollWidth, window: window.innerWidth,
    shifts: window.shifts, moved: [...window.moved].slice(0, 8).join(", "),
  };
}"""


def main() -> int:
    """Take every picture, and say what was wrong with the pages meanwhile."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--desk", metavar="URL", help="take the desk that runs there")
    parser.add_argument(
        "--research", metavar="NAME=ID", nargs="*", default=(), help="with --desk: run, other, search"
    )
    parser.add_argument("--width", type=int, action="append", help="windows of this width alone")
    parser.add_argument("--to", type=Path, default=TARGET, help="write the pictures there")
    parser.add_argument("names", nargs="*", metavar="NAME", help="these scenes alone")
    wanted = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        parser.error("there is no Chromium on this machine")
    sizes = [one for one in SIZES if not wanted.width or one[0] in wanted.width]
    scenes = [one for one in SCENES if not wanted.names or one.name in wanted.names]
    if wanted.desk:
        research = dict(one.split("=", 1) for one in wanted.research)
        problems = photograph(wanted.desk.rstrip("/"), research, scenes, sizes, wanted.to, chromium)
    else:
        with demo() as desk:
            begun = time.monotonic()
            research = furnish(desk)
            _say(f"the bots trade for {BOTS_TRADE_FOR_S} s in all")
            time.sleep(max(0.0, begun + BOTS_TRADE_FOR_S - time.monotonic()))
            problems = photograph(desk.url, research, scenes, sizes, wanted.to, chromium)
    for one in problems:
        _say(one)
    return 1 if problems else 0


def _say(words: str) -> None:
    sys.stderr.write(f"{words}\n")


def photograph(
    url: str,
    research: Mapping[str, str],
    scenes: Sequence[Scene],
    sizes: Sequence[tuple[int, int, str]],
    target: Path,
    chromium: str,
) -> list[str]:
    """Write a picture of each scene in each size; what was wrong with the pages."""
    target.mkdir(parents=True, exist_ok=True)
    problems: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, headless=True, args=list(FLAGS))
        for width, height, scheme in sizes:
            shown = [one for one in scenes if not one.part or (scheme == "dark" and width <= WIDE)]
            with _window(browser, width, height, scheme) as context:
                for scene in shown:
                    name = f"{scene.name}-{width}x{height}" + ("-light" if scheme == "light" else "")
                    # On a busy machine a page may come too late: it is asked for again, from the beginning.
                    for _ in range(ATTEMPTS):
                        picture, wrong = _picture(context, url, scene, research)
                        if not wrong:
                            break
                        _say(f"{name}, again: {'; '.join(wrong)}")
                    if wrong:
                        # The picture that was there before stays: it showed the page as it should be.
                        problems += [f"{name} not taken: {one}" for one in wrong]
                    else:
                        (target / f"{name}.png").write_bytes(smaller(picture))
                        _say(name)
        browser.close()
    return problems


@contextmanager
def _window(browser: Browser, width: int, height: int, scheme: str) -> Iterator[BrowserContext]:
    phone = (width, height) == PHONE
    context = browser.new_context(
        viewport={"width": width, "height": height},
        is_mobile=phone,
        has_touch=phone,
        reduced_motion="reduce",
        timezone_id="UTC",
        locale="en-US",
    )
    context.set_default_timeout(PATIENCE_MS)
    context.add_init_script(f"localStorage.setItem('mantine-color-scheme-value', '{scheme}'); {WATCH_SHIFTS}")
    try:
        yield context
    finally:
        context.close()


def _picture(
    context: BrowserContext, url: str, scene: Scene, research: Mapping[str, str]
) -> tuple[bytes, list[str]]:
    """The picture, and what was wrong with the page."""
    page, wrong = context.new_page(), list[str]()
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda told: wrong.append(told.text) if told.type in ("error", "warning") else None)
    page.on("request", lambda request: _check_address(request.url, url, wrong))
    try:
        page.goto(url + scene.address.format_map(research))
        for _ in range(2):  # what stands may be the frame of a view that has yet to come
            page.wait_for_function(STANDS)
            page.wait_for_timeout(SETTLE_MS)
        page.wait_for_function(STANDS)
        wrong += _measured(page)
        if scene.act is not None:
            scene.act(page)
            page.wait_for_timeout(SETTLE_MS)
    except TimeoutError:
        wrong.append(f"still not at rest after {PATIENCE_MS // 1000} s")
    picture = page.screenshot()
    page.close()
    return picture, wrong


def _check_address(address: str, url: str, wrong: list[str]) -> None:
    if not address.startswith((url, "data:", "blob:")):
        wrong.append(f"asked another machine: {address}")


def _measured(page: Page) -> list[str]:
    """What a person would see of a page that does not stand still or does not fit."""
    seen = page.evaluate(FITS)
    found: list[str] = []
    if seen["shifts"] > MOST_SHIFT:
        found.append(f"moved by {seen['shifts']:.3f} of the window: {seen['moved']}")
    for part in ("page", "head"):
        if seen[part] > seen["window"]:
            found.append(f"the {part} is {seen[part]} px wide in a window of {seen['window']}")
    return found


if __name__ == "__main__":
    sys.exit(main())
