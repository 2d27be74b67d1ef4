"""A file of the folder `imports` into the store, as a job. Harmless to repeat."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from app.commands.candles import trades_of_file
from app.composition import open_store
from app.history_loading import closing_writer, import_trades
from app.job_kinds.context import IMPORTS, JobContext
from data.errors import InvalidInput, Problem
from data.files.candle_files import read_candles
from data.files.frame_trades import FrameTrades
from jobs.arguments import ImportArguments, check_file_name, market_of
from jobs.model import JobResult, ResultKind


def keep_upload(home: Path, name: str, content: bytes) -> str:
    """Put what somebody uploaded into the folder `imports`; the name to start an import with.

    Raises InvalidInput for what is no plain file name, and for one that is there with other content.
    """
    check_file_name(name)
    folder = home / IMPORTS
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / name
    if path.exists():
        if path.read_bytes() != content:
            expected = "another file of this name is there; give it another name"
            raise InvalidInput(Problem(where="job", field="file", value=name, expected=expected))
        return name
    part = folder / f".{name}.{os.getpid()}.part"
    part.write_bytes(content)
    part.replace(path)
    return name


def run(arguments: ImportArguments, context: JobContext) -> JobResult:
    """Read and store it. Raises InvalidInput that names the line of a file that cannot be used."""
    market, path = market_of(arguments), context.settings.candlewick_home / IMPORTS / arguments.file
    if not path.is_file():
        known = sorted(one.name for one in path.parent.glob("*") if one.is_file())
        expected = f"there is no such file in {path.parent}; there are: {', '.join(known[:20]) or '-'}"
        raise InvalidInput(Problem(where="job", field="file", value=arguments.file, expected=expected))
    context.tell(0, 2, "reading the file")
    summary: dict[str, Any] = {"market": str(market), "file": arguments.file}
    with open_store(context.settings) as store:
        if arguments.content == "candles":
            ohlcv = read_candles(path, arguments.timeframe)
            context.tell(1, 2, "storing")
            work = store.market_repository.import_candles(market, ohlcv)
            summary |= {
                "timeframe": ohlcv.timeframe.value,
                "candles": len(ohlcv),
                "new_or_changed": asyncio.run(closing_writer(store, work)),
            }
        else:
            found = trades_of_file(path, market, arguments.contract_size)
            context.tell(1, 2, "storing")
            built = asyncio.run(closing_writer(store, import_trades(store, market, found.columns)))
            summary |= {
                "trades": len(found.columns),
                "duplicates": found.duplicates,
                "malformed": found.malformed if isinstance(found, FrameTrades) else 0,
                "refused": found.refused,
                **built,
            }
    context.tell(2, 2, "storing")
    return JobResult(kind=ResultKind.STORE, reference=str(market), summary=summary)
