"""Photograph the pages into docs/screenshots.

`python scripts/screenshots.py URL` takes the desk that runs there. Without a URL it starts a demo in a folder
of its own, lets the bots trade for a few minutes, and stops it again. Needs Chromium.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

PROJECT = Path(__file__).resolve().parent.parent
TARGET = PROJECT / "docs" / "screenshots"
FLAGS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
DEMO_TRADES_FOR_S = 240
START_LIMIT_S = 120
SETTLE_MS = 6_000
PAGE_LIMIT_MS = 120_000  # on a busy machine

# name, path, width, height, colour scheme, tab to open
PICTURES = (
    ("market", "/market?venue=binance&symbol=BTC-USDT&tf=1m", 1440, 900, "dark", None),
    ("market-seconds", "/market?venue=binance&symbol=BTC-USDT&tf=1s", 1920, 1080, "dark", "Fills"),
    ("market-light", "/market?venue=okx&symbol=ETH-USDT&tf=15m", 1440, 900, "light", None),
    ("market-phone", "/market?venue=binance&symbol=BTC-USDT&tf=1m", 390, 844, "dark", None),
    ("bots", "/bots", 1440, 900, "dark", "Decisions"),
    ("bots-light", "/bots", 1440, 900, "light", None),
    ("bots-phone", "/bots", 390, 844, "dark", None),
)


def main() -> int:
    """Take every picture of PICTURES."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None or len(sys.argv) > 2:
        sys.stderr.write(__doc__ or "")
        return 2
    if len(sys.argv) == 2:
        _photograph(sys.argv[1].rstrip("/"), chromium)
    else:
        with _demo() as url:
            _photograph(url, chromium)
    return 0


@contextmanager
def _demo() -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as home:
        program = subprocess.Popen(
            [sys.executable, "-m", "app", "up", "--demo", "--port", str(port)],
            cwd=PROJECT,
            env={**os.environ, "CANDLEWICK_HOME": home},
            stdout=sys.stderr,
        )
        try:
            _await_page(url)
            time.sleep(DEMO_TRADES_FOR_S)
            yield url
        finally:
            program.send_signal(signal.SIGINT)
            program.wait(60)


def _await_page(url: str) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while True:
        try:
            with urllib.request.urlopen(f"{url}/healthz", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def _photograph(url: str, chromium: str) -> None:
    TARGET.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, headless=True, args=list(FLAGS))
        for name, path, width, height, scheme, tab in PICTURES:
            _picture(browser, url + path, name, width, height, scheme, tab)
        browser.close()


def _picture(
    browser: Browser, address: str, name: str, width: int, height: int, scheme: str, tab: str | None
) -> None:
    phone = width < 500
    context = browser.new_context(
        viewport={"width": width, "height": height},
        is_mobile=phone,
        has_touch=phone,
        reduced_motion="reduce",
        timezone_id="UTC",
        locale="en-US",
    )
    context.add_init_script(f"localStorage.setItem('mantine-color-scheme-value', '{scheme}')")
    page = context.new_page()
    page.goto(address)
    ready = "#legend-figures b" if "/market" in address else "#kpis .kpi strong"
    page.wait_for_selector(ready, state="attached", timeout=PAGE_LIMIT_MS)
    page.wait_for_timeout(SETTLE_MS)
    if tab is not None:
        page.get_by_role("tab", name=tab).click()
        page.wait_for_timeout(SETTLE_MS)
    page.screenshot(path=TARGET / f"{name}.png")
    context.close()


if __name__ == "__main__":
    sys.exit(main())
