"""What a venue sent and nobody understood, kept for inspection."""

from __future__ import annotations

from pathlib import Path

import msgspec

from data.timeframes import to_datetime


class MalformedLog:
    """One file of JSON lines a day in `folder`, up to `max_bytes` each; what is more is only counted."""

    def __init__(self, folder: Path, exchange: str, max_bytes: int = 2_000_000) -> None:
        self._folder, self._exchange, self._max_bytes = folder, exchange, max_bytes
        self.not_kept = 0

    def keep(self, message: str, received_at_us: int) -> None:
        """Append one message as it came. Raises OSError if the folder cannot be written."""
        line = msgspec.json.encode({"received_at_us": received_at_us, "message": message}) + b"\n"
        path = self._folder / f"{self._exchange}-{to_datetime(received_at_us):%Y-%m-%d}.jsonl"
        if path.exists() and path.stat().st_size + len(line) > self._max_bytes:
            self.not_kept += 1
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(line)
