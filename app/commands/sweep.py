"""`candlewick sweep`: a search over a strategy's parameters, and how much of its best is luck."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from app.backtest_inputs import read_inputs, strategy_path
from app.commands.decimal_number import DecimalNumber
from app.commands.moments import Moment
from app.commands.sweep_folder import REQUEST_FILE, SearchFolder, StoredSearch, read_stored
from app.commands.sweep_table import table_of
from app.commands.telling import Teller
from app.search_request import asked_search, local_executor
from backtesting.document import encoded
from backtesting.manifest import Source, iso_time
from backtesting.search.executors import Executor
from backtesting.search.run import SearchStopped, run_search
from backtesting.search.spans import Scheme, Split
from backtesting.search.spec import (
    DEFAULT_TRIALS,
    METRICS,
    Method,
    SearchData,
    SearchSpec,
    TrialLog,
    TrialRow,
    search_id,
)
from bots.orders import Costs
from data.errors import InvalidInput, Problem
from data.timeframes import Timeframe
from strategies.loader import parse_strategy, read_document

if TYPE_CHECKING:
    from database.repositories.research_repository import ResearchRepository


@click.command()
@click.option("--strategy", metavar="FILE", help="Strategy file, or the name of a template.")
@click.option("--candles", metavar="FILE", help="Candle file: CSV (also .gz) or Parquet.")
@click.option("--venue", type=click.Choice(("binance", "okx")), help="Read the store instead.")
@click.option("--symbol", help="BASE-QUOTE, such as BTC-USDT.")
@click.option("--from", "start", type=Moment(), help="First candle to run, ISO 8601, UTC.")
@click.option("--to", "end", type=Moment(), help="Run candles that open before this time.")
@click.option(
    "--timeframe", type=click.Choice([item.value for item in Timeframe]), help="Instead of the strategy's."
)
@click.option(
    "--param",
    "params",
    multiple=True,
    metavar="NAME=RANGE",
    help="FIRST:LAST:STEP, or values with commas between them; one value fixes it. Repeatable. "
    "Without any: the ranges that the strategy declares.",
)
@click.option(
    "--method", type=click.Choice([item.value for item in Method]), default="grid", show_default=True
)
@click.option(
    "--trials",
    type=click.IntRange(min=1),
    default=DEFAULT_TRIALS,
    show_default=True,
    help="Of a random or guided search; a grid tries everything.",
)
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True)
@click.option("--metric", type=click.Choice(METRICS), default="sharpe", show_default=True)
@click.option("--top", type=click.IntRange(1, 1_000), default=20, show_default=True, help="How many to show.")
@click.option(
    "--walk-forward",
    type=click.Choice((Scheme.ANCHORED.value, Scheme.ROLLING.value)),
    help="Pick on the past of each fold, trade the fold.",
)
@click.option("--folds", type=click.IntRange(1, 1_000), default=5, show_default=True)
@click.option("--test-fraction", type=float, help="Pick on the first part, test on this share at the end.")
@click.option("--capital", type=DecimalNumber(), default="10000", show_default=True, help="Quote currency.")
@click.option("--fee-bps", type=DecimalNumber(), default="10", show_default=True, help="Taker fee.")
@click.option(
    "--maker-fee-bps", type=DecimalNumber(), default="10", show_default=True, help="Take-profits pay it."
)
@click.option("--slippage-bps", type=DecimalNumber(), default="0", show_default=True)
@click.option("--no-rounding", is_flag=True, help="Do not put prices and quantities on a tick and a lot.")
@click.option("--tick-size", type=DecimalNumber(), help="Price step, instead of the instrument's.")
@click.option("--lot-size", type=DecimalNumber(), help="Quantity step, instead of the instrument's.")
@click.option("--min-notional", type=DecimalNumber(), help="Smallest order, instead of the instrument's.")
@click.option("--close-at-end", is_flag=True, help="Close an open position at the last close.")
@click.option("--allow-missing", is_flag=True, help="Run over minutes that are missing from the store.")
@click.option("--finer", metavar="FILE", help="Trades or candles that decide between stop and target.")
@click.option("--out", metavar="DIR", help="Keep every trial here; the same search goes on where it stopped.")
@click.option("--save", is_flag=True, help="Keep every trial in the database.")
@click.option("--resume", metavar="DIR or ID", help="Go on with a search that was stopped, as it was asked.")
@click.option("--scheduler", metavar="ADDRESS", help="Send the work to this Dask cluster.")
@click.option("--workers", type=click.IntRange(min=1), help="How many cores to use; all by default.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(
    *,
    strategy: str | None,
    candles: str | None,
    venue: str | None,
    symbol: str | None,
    start: int | None,
    end: int | None,
    timeframe: str | None,
    params: tuple[str, ...],
    method: str,
    trials: int,
    seed: int,
    metric: str,
    top: int,
    walk_forward: str | None,
    folds: int,
    test_fraction: float | None,
    capital: Decimal,
    fee_bps: Decimal,
    maker_fee_bps: Decimal,
    slippage_bps: Decimal,
    no_rounding: bool,
    tick_size: Decimal | None,
    lot_size: Decimal | None,
    min_notional: Decimal | None,
    close_at_end: bool,
    allow_missing: bool,
    finer: str | None,
    out: str | None,
    save: bool,
    resume: str | None,
    scheduler: str | None,
    workers: int | None,
    as_json: bool,
) -> None:
    """Try many values of a strategy's parameters, and say what the best is worth.

    Every trial counts: the verdict asks how good the best of so many would look without any edge. Orders are
    filled as in a backtest, and the best trials are run again by the backtest's own engine.
    """
    with ExitStack() as stack:
        research: ResearchRepository | None = None
        if save or (resume is not None and not (Path(resume) / REQUEST_FILE).exists()):
            research = stack.enter_context(_research(resume))
        if resume is not None:
            if research is None:
                stored, out = read_stored(Path(resume)), out or resume
            else:
                stored = _stored_in(research, resume)
            data = _data(stored)
        else:
            _check_usage(strategy, candles, venue, symbol, walk_forward, test_fraction)
            steps = {"tick_size": tick_size, "lot_size": lot_size, "min_notional": min_notional}
            source = Source(
                strategy=strategy or "",
                candles=candles,
                venue=venue,
                symbol=symbol,
                start=None if start is None else iso_time(start),
                end=None if end is None else iso_time(end),
                finer=finer,
            )
            stored, data = _asked(
                source,
                None if timeframe is None else Timeframe(timeframe),
                params,
                SearchSpec(
                    document={},
                    where="",
                    axes=(),
                    method=Method(method),
                    trials=trials,
                    seed=seed,
                    metric=metric,
                    top=top,
                    split=_split(walk_forward, folds, test_fraction),
                    capital=capital,
                    costs=Costs(fee_bps=fee_bps, maker_fee_bps=maker_fee_bps, slippage_bps=slippage_bps),
                    close_at_end=close_at_end,
                ),
                {name: step for name, step in steps.items() if step is not None},
                rounding=not no_rounding,
                allow_missing=allow_missing,
            )
        _run(stored, data, out, research, _executor(scheduler, workers), as_json=as_json)


def _check_usage(
    strategy: str | None,
    candles: str | None,
    venue: str | None,
    symbol: str | None,
    walk_forward: str | None,
    test_fraction: float | None,
) -> None:
    if strategy is None:
        raise click.UsageError("Missing option '--strategy', or '--resume' to go on with a search.")
    if (candles is None) == (venue is None and symbol is None):
        raise click.UsageError("Give either '--candles FILE' or '--venue' and '--symbol'.")
    if candles is None and (venue is None or symbol is None):
        raise click.UsageError("The store's candles need both '--venue' and '--symbol'.")
    if walk_forward is not None and test_fraction is not None:
        raise click.UsageError("Give either '--walk-forward' or '--test-fraction'.")


def _split(walk_forward: str | None, folds: int, test_fraction: float | None) -> Split:
    if walk_forward is not None:
        return Split(scheme=Scheme(walk_forward), folds=folds)
    if test_fraction is not None:
        return Split(scheme=Scheme.SPLIT, test_fraction=test_fraction)
    return Split()


def _asked(
    source: Source,
    timeframe: Timeframe | None,
    params: tuple[str, ...],
    options: SearchSpec,
    overrides: Mapping[str, Decimal],
    *,
    rounding: bool,
    allow_missing: bool,
) -> tuple[StoredSearch, SearchData]:
    """The search of a command line, and its candles. Raises InvalidInput."""
    path = strategy_path(source.strategy)
    spec, data = asked_search(
        read_document(path),
        str(path),
        source,
        timeframe,
        params,
        options,
        overrides,
        rounding=rounding,
        allow_missing=allow_missing,
    )
    return StoredSearch(search=search_id(spec, data), source=source, spec=spec), data


def _data(stored: StoredSearch) -> SearchData:
    """The candles of a search that goes on. Raises InvalidInput where they are others now."""
    strategy = parse_strategy(stored.spec.document, stored.spec.where, None, stored.spec.timeframe)
    # That minutes are missing was allowed or not when it began; others than then give another search.
    inputs = read_inputs(stored.source, strategy, allow_missing=True, whole_finer=True)
    data = SearchData(ohlcv=inputs.ohlcv, finer=inputs.finer)
    if search_id(stored.spec, data) != stored.search:
        expected = "its candles or the engine have changed since; begin a new search"
        raise InvalidInput(Problem(where="--resume", field="", value=stored.search, expected=expected))
    return data


def _executor(scheduler: str | None, workers: int | None) -> Executor | int | None:
    """The cluster, or how many cores; which kind of worker fits is known once the strategy is."""
    if scheduler is None:
        return workers
    # The cluster's library takes longer to import than most searches last.
    from backtesting.search.dask_executor import DaskExecutor

    return DaskExecutor(scheduler)


def _run(
    stored: StoredSearch,
    data: SearchData,
    out: str | None,
    research: ResearchRepository | None,
    wanted: Executor | int | None,
    *,
    as_json: bool,
) -> None:
    spec = stored.spec
    folder = None if out is None else SearchFolder(Path(out))
    log: TrialLog | None = folder
    if folder is not None:
        folder.begin(stored)
    if research is not None:
        research.begin(stored.search, stored.source, spec, begun_at_us=time.time_ns() // 1_000)
        log = _Both(folder, research.log(stored.search)) if folder else research.log(stored.search)
    if wanted is None or isinstance(wanted, int):
        wanted = local_executor(spec, wanted)
    stopping = threading.Event()
    with _interrupts(stopping):
        try:
            result = run_search(
                spec,
                data,
                executor=wanted,
                progress=Teller("trials"),
                should_stop=stopping.is_set,
                log=log,
            )
        except SearchStopped as stopped:
            click.echo(f"{stopped}{_how_to_go_on(stored, out, research is not None)}", err=True)
            sys.exit(1)
    document = encoded(result)
    if research is not None:
        research.finish(stored.search, result, finished_at_us=time.time_ns() // 1_000)
    if folder is not None:
        files = folder.finish(stored, result, document)
        click.echo(f"wrote {', '.join(files)} to {out}", err=True)
    if as_json:
        sys.stdout.buffer.write(document + b"\n")
    else:
        click.echo(table_of(result))


def _how_to_go_on(stored: StoredSearch, out: str | None, saved: bool) -> str:
    if out is not None:
        return f"; go on with: candlewick sweep --resume {out}"
    if saved:
        return f"; go on with: candlewick sweep --resume {stored.search}"
    return "; they are lost, --out DIR would have kept them"


class _Both:
    """Two logs of one search: a folder and the database."""

    def __init__(self, first: TrialLog, second: TrialLog) -> None:
        self._logs = first, second

    def read(self) -> Iterator[TrialRow]:
        for log in self._logs:
            yield from log.read()

    def add(self, rows: Sequence[TrialRow]) -> None:
        for log in self._logs:
            log.add(rows)


@contextmanager
def _interrupts(stopping: threading.Event) -> Iterator[None]:
    """Ctrl-C asks the search to stop; a second one ends the program at once."""

    def stop(number: int, frame: object) -> None:
        if stopping.is_set():
            signal.default_int_handler(number, None)
        stopping.set()
        click.echo("stopping after the trials that are running", err=True)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _research(resume: str | None) -> Iterator[ResearchRepository]:
    # The database's libraries take longer to import than a search over a file lasts.
    from app.composition import open_store
    from config.settings import load_settings
    from database.repositories.research_repository import ResearchRepository

    with open_store(load_settings()) as store:
        repository = ResearchRepository(store.url)
        try:
            yield repository
        finally:
            repository.close()


def _stored_in(research: ResearchRepository, search: str) -> StoredSearch:
    found = research.search(search)
    if found is None:
        expected = "give the folder of an earlier sweep, or the id of a saved one"
        raise InvalidInput(Problem(where="--resume", field="", value=search, expected=expected))
    return StoredSearch(search=search, source=found.source, spec=found.spec)
