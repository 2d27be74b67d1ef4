"""A search as somebody asked for it, on the command line or as a job, ready to run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from app.backtest_inputs import read_inputs, rules_for
from backtesting.manifest import Source
from backtesting.search.bindings import is_simple_definition
from backtesting.search.executors import Executor, ProcessExecutor, SerialExecutor, ThreadExecutor
from backtesting.search.space import axis_of, declared_axes
from backtesting.search.spec import SearchData, SearchSpec
from data.timeframes import Timeframe
from strategies.definition_reader import read_definition
from strategies.loader import parse_strategy


def asked_search(
    document: Mapping[str, Any],
    where: str,
    source: Source,
    timeframe: Timeframe | None,
    params: Sequence[str],
    options: SearchSpec,
    overrides: Mapping[str, Decimal],
    *,
    rounding: bool,
    allow_missing: bool,
) -> tuple[SearchSpec, SearchData]:
    """`options` with the strategy, the ranges and the instrument's rules in it, and its candles.

    A range is written "fast=5:50:1" or "fast=5,8"; one value fixes the parameter. Without any range those
    that the strategy declares are searched. `where` names the strategy in messages. Raises InvalidInput.
    """
    loaded = parse_strategy(document, where, None, timeframe)
    given = [axis_of(text) for text in params]
    fixed = {axis.name: axis.values[0] for axis in given if len(axis.values) == 1}
    varied = [axis for axis in given if len(axis.values) > 1]
    axes = varied or declared_axes(document, where, without=tuple(fixed))
    inputs = read_inputs(source, loaded, allow_missing=allow_missing, whole_finer=True)
    rules, later_rules = rules_for(inputs, None, overrides, rounding=rounding)
    spec = msgspec.structs.replace(
        options,
        document=dict(document),
        where=where,
        timeframe=timeframe,
        axes=tuple(axes),
        fixed=fixed,
        rules=rules,
        later_rules=later_rules,
    )
    # Says what is wrong with a fixed value before anything runs.
    parse_strategy(document, where, fixed, timeframe)
    return spec, SearchData(ohlcv=inputs.ohlcv, finer=inputs.finer)


def local_executor(spec: SearchSpec, workers: int | None) -> Executor:
    """Threads where the search's own kernel runs the strategy, else processes; all cores unless told."""
    if workers == 1:
        return SerialExecutor()
    definition = read_definition(spec.document, spec.where, None, spec.timeframe)
    in_kernel = is_simple_definition(definition) and not spec.later_rules
    return ThreadExecutor(workers) if in_kernel else ProcessExecutor(workers)
