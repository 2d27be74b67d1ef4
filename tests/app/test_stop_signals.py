"""How a process that would work for ever is ended."""

from __future__ import annotations

import asyncio
import os
import signal

from app.stop_signals import run_until_signalled


async def test_a_second_sigterm_does_not_disturb_the_putting_away() -> None:
    done: list[str] = []

    async def work() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(10)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(0.05)
            done.append("stored")

    try:
        await run_until_signalled(work())
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().remove_signal_handler(number)
    assert done == ["stored"]
