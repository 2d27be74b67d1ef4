"""Stored candles or trades into a file of the folder `exports`, as a job."""

from __future__ import annotations

from contextlib import closing

from app.job_kinds.context import EXPORTS, JobContext
from data.errors import InvalidInput, Problem
from data.files.candle_files import write_candles
from data.files.trade_files import write_trades
from database.repositories.candle_repository import CandleRepository
from jobs.arguments import ExportArguments, market_of, moment_of
from jobs.model import JobResult, ResultKind


def run(arguments: ExportArguments, context: JobContext) -> JobResult:
    """Write the file, whole or not at all. Raises InvalidInput where nothing is stored."""
    market, path = market_of(arguments), context.folder(EXPORTS) / arguments.file
    start_us, end_us = moment_of(arguments.start), moment_of(arguments.end)
    context.tell(0, 2, "reading the store")
    with closing(CandleRepository(context.database_url)) as reader:
        if arguments.timeframe is None:
            what = "trades"
            columns = reader.trades(market, start_us=start_us, end_us=end_us)
            rows = len(columns)
        else:
            what = f"{arguments.timeframe} candles"
            ohlcv = reader.candles(market, arguments.timeframe, start_us=start_us, end_us=end_us)
            rows = len(ohlcv)
    if rows == 0:
        expected = f"no {what} of it are stored in that time; `data markets` lists what is"
        raise InvalidInput(Problem(where="job", field="symbol", value=str(market), expected=expected))
    context.tell(1, 2, "writing the file")
    if arguments.timeframe is None:
        write_trades(path, columns)
    else:
        write_candles(path, ohlcv)
    context.tell(2, 2, "writing the file")
    return JobResult(
        kind=ResultKind.FILE,
        reference=f"{EXPORTS}/{arguments.file}",
        summary={"market": str(market), "rows": rows, "bytes": path.stat().st_size},
    )
