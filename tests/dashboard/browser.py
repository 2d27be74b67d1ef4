"""Pages in a real Chromium: one window per test, and what must never happen in it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
_PATIENCE_MS = 90_000  # the machine may be busy with other things
expect.set_options(timeout=_PATIENCE_MS)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser without a window. Skips the test where there is none."""
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium on this machine")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, headless=True, args=FLAGS)
        yield launched
        launched.close()


@contextmanager
def opened(browser: Browser, url: str, *, phone: bool = False) -> Iterator[tuple[Page, list[str]]]:
    """A page of a profile of its own. The list gathers errors and requests that leave the machine."""
    shape: dict[str, Any] = PHONE if phone else {"viewport": {"width": 1440, "height": 900}}
    context = browser.new_context(
        base_url=url, reduced_motion="reduce", timezone_id="UTC", locale="en-US", **shape
    )
    context.set_default_timeout(_PATIENCE_MS)
    bad: list[str] = []
    page = context.new_page()
    page.on("pageerror", lambda error: bad.append(str(error)))
    page.on("console", lambda message: bad.append(message.text) if message.type == "error" else None)
    page.on(
        "request",
        lambda request: (
            None if request.url.startswith((url, "data:", "blob:")) else bad.append("left: " + request.url)
        ),
    )
    try:
        yield page, bad
    finally:
        context.close()
