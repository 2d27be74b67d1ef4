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
READY = "html[data-feed=live]"  # Dash has started and live values come

PAGES = {
    "market": "/market?venue=binance&symbol=BTC-USDT&tf=1m",
    "market-seconds": "/market?venue=okx&symbol=ETH-USDT&tf=1s",
    "strategies": "/strategies",
    "backtests": "/backtests",
    "bots": "/bots",
    "bot": "/bots?bot=trend_btc",
    "portfolio": "/portfolio",
    "data": "/data",
    "system": "/system",
    "settings": "/settings",
}
# What is added to a page's name, width, height, colour scheme.
SIZES = (("", 1440, 900, "dark"), ("-wide", 1920, 1080, "light"), ("-phone", 390, 844, "dark"))


def main() -> int:
    """Take every page in every size."""
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
        for page, path in PAGES.items():
            for suffix, width, height, scheme in SIZES:
                _picture(browser, url + path, page + suffix, width, height, scheme)
        browser.close()


def _picture(browser: Browser, address: str, name: str, width: int, height: int, scheme: str) -> None:
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
    page.wait_for_selector(READY, state="attached", timeout=PAGE_LIMIT_MS)
    page.wait_for_timeout(SETTLE_MS)
    page.screenshot(path=TARGET / f"{name}.png")
    context.close()


if __name__ == "__main__":
    sys.exit(main())
