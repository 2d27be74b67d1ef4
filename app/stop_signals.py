"""How a process that would work for ever is ended."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Coroutine
from typing import Any


async def run_until_signalled(work: Coroutine[Any, Any, None]) -> None:
    """Cancel `work` at the first SIGINT or SIGTERM; later ones leave it the time to put things away."""
    task = asyncio.create_task(work)
    asked = asyncio.Event()

    def end() -> None:
        if not asked.is_set():
            asked.set()
            task.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)
    with contextlib.suppress(asyncio.CancelledError):
        await task
