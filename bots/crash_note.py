"""Which bot a runner had in hand when its process died: a note that outlives `kill -9` and costs nothing.

An exception is caught where it happens. What takes the whole process along (a fault in native code, memory
that is used up) would take all bots of the process along again and again; the note finds the one it is.
"""

from __future__ import annotations

import mmap
from pathlib import Path

_SIZE = 24  # three numbers: the bot in hand, the one of the death before, and how often in a row
MOST_DEATHS = 3


class CrashNote:
    """Written by one runner process; read by the next one of the same shard."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.stat().st_size != _SIZE:
            path.write_bytes(bytes(_SIZE))
        with path.open("r+b") as file:
            # The kernel writes the page out though the process dies; only a power cut loses it.
            self._page = mmap.mmap(file.fileno(), _SIZE)

    def culprit(self) -> tuple[int, int] | None:
        """The bot in hand when the process before died, and how often in a row. Counts that death."""
        bot_id, before, deaths = (self._read(place) for place in range(3))
        if bot_id == 0:
            self._write(1, 0)
            self._write(2, 0)
            return None
        deaths = deaths + 1 if bot_id == before else 1
        self._write(1, bot_id)
        self._write(2, deaths)
        self._write(0, 0)
        return bot_id, deaths

    def take(self, bot_id: int) -> None:
        """From now on this bot is in hand."""
        self._write(0, bot_id)

    def rest(self) -> None:
        """No bot is."""
        self._write(0, 0)

    def worked(self, bot_id: int) -> None:
        """The bot took a step and all is well: whatever ended the process before, it was not this bot."""
        if self._read(1) == bot_id:
            self.forgive()

    def forgive(self) -> None:
        """Nothing is suspected any more."""
        self._write(1, 0)
        self._write(2, 0)

    def close(self) -> None:
        self._page.close()

    def _read(self, place: int) -> int:
        return int.from_bytes(self._page[8 * place : 8 * place + 8], "little")

    def _write(self, place: int, number: int) -> None:
        self._page[8 * place : 8 * place + 8] = number.to_bytes(8, "little")
