"""What a backtest runs on: candles of a file or of the store, what is finer, and the instrument's rules."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from pathlib import Path

import click
import msgspec
import numpy as np

from app.commands.moments import moment_us
from app.finer_files import read_finer_file, trades_then
from backtesting.manifest import Source, iso_time
from bots.finer_candles import finer_candles
from bots.finest_data import FinestReader, FinestRows, candles_within, finest, trade_rows
from bots.orders import RulesFrom, TradingRules
from data.coverage import Span, without
from data.errors import InvalidInput, Problem
from data.files.candle_files import read_candles
from data.files.trade_columns import TradeColumns
from data.models import InstrumentVersion, Market, Ohlcv
from data.timeframes import Timeframe
from strategies.base import Strategy
from strategies.higher_timeframe import fold, left_out
from strategies.loader import load_strategy

# Finer candles are read whole: a year of minutes, a day or two of seconds.
_MOST_FINER = 1_000_000
_MOST_SPANS_NAMED = 10
LADDERS = frozenset({"grid", "dca", "pyramid"})  # types of bots with several orders
BASKETS = frozenset({"rebalance"})  # and of those with several symbols


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """One run's candles, of the strategy's time frame, with what belongs to them."""

    ohlcv: Ohlcv
    inside: FinestReader | None  # what tells, for any of the candles, which of stop and target came first
    finer: Ohlcv | None  # smaller candles of the whole span, where they were asked for
    rules: TradingRules | None  # of the instrument at the first candle; None where no instrument is known
    later_rules: tuple[RulesFrom, ...] = ()
    missing: tuple[Span, ...] = ()  # minutes of which the store knows nothing, run all the same


def load_asked_strategy(
    name_or_path: str, parameters: Mapping[str, float | str], timeframe: Timeframe | None
) -> Strategy:
    """The strategy of a file or template, or a saved version ("trend@4be1c0", as manifests name it).

    A parameter that does not fit is blamed on the option.
    """
    try:
        if "@" in name_or_path and not Path(name_or_path).is_file():
            return _saved_version(name_or_path, parameters, timeframe)
        path = strategy_path(name_or_path)
        if path.suffix == ".py":
            # What checks Python brings the database's libraries along; rules need neither.
            from app.strategy_desk import load_any

            return load_any(path, parameters, timeframe)
        return load_strategy(path, parameters, timeframe)
    except InvalidInput as invalid:
        raise InvalidInput(*(_blamed(problem, parameters) for problem in invalid.problems)) from None


def _saved_version(
    reference: str, parameters: Mapping[str, float | str], timeframe: Timeframe | None
) -> Strategy:
    from app.strategy_desk import open_strategies
    from config.settings import load_settings

    with open_strategies(load_settings()) as strategies:
        return strategies.load(reference, parameters, timeframe)


def _blamed(problem: Problem, parameters: Mapping[str, float | str]) -> Problem:
    section, _, name = problem.field.partition(".")
    if section.lower() != "parameters" or name not in parameters:
        return problem
    return Problem(where="--param", field=name, value=problem.value, expected=problem.expected)


def is_ladder_file(path: Path) -> bool:
    """Whether this is the file of a bot with several orders; what cannot be read is not."""
    return _has_settings(path, LADDERS)


def is_basket_file(path: Path) -> bool:
    """Whether this is the file of a bot that holds several symbols at their weights."""
    return _has_settings(path, BASKETS)


def _has_settings(path: Path, types: frozenset[str]) -> bool:
    try:
        document = json.loads(path.read_bytes()) if path.suffix == ".json" else None
    except (OSError, ValueError):
        return False
    return isinstance(document, dict) and "settings" in document and document.get("type") in types


def strategy_path(name_or_path: str) -> Path:
    """The strategy's file, or that of the template of this name. Raises InvalidInput."""
    path = Path(name_or_path)
    if path.is_file():
        return path
    # Settings are slow to import, and a plain file needs none.
    from config.settings import load_settings
    from strategies.templates import find_strategy_file

    return find_strategy_file(name_or_path, load_settings().candlewick_strategies)


def read_inputs(
    source: Source, strategy: Strategy, *, allow_missing: bool = False, whole_finer: bool = False
) -> Inputs:
    """What a run of `strategy` over `source` needs. Raises InvalidInput, also where minutes are missing.

    `whole_finer` asks for all smaller candles at once, for runs that cannot say which they need.
    """
    given = None if source.finer is None else read_finer_file(Path(source.finer), _note)
    if source.candles is None:
        inputs = _read_store(source, strategy, allow_missing=allow_missing, whole_finer=whole_finer)
    else:
        read = _between(_read_file(Path(source.candles), strategy), source)
        ohlcv, parts = _of_timeframe(read, strategy, source.candles)
        inside = None if parts is None else partial(candles_within, parts)
        inputs = Inputs(ohlcv=ohlcv, inside=inside, finer=parts, rules=None)
    if given is None:
        return inputs
    if isinstance(given, TradeColumns):
        return replace(
            inputs,
            inside=trades_then(given, inputs.inside),
            finer=trade_rows(given, inputs.ohlcv)[0] if whole_finer else None,
        )
    _check_smaller(given, strategy, source.finer or "")
    return replace(inputs, inside=partial(candles_within, given), finer=given)


def _check_smaller(finer: Ohlcv, strategy: Strategy, where: str) -> None:
    if finer.timeframe.us >= strategy.timeframe.us:
        expected = f"give trades, or candles of a smaller time frame than {strategy.timeframe}"
        raise InvalidInput(
            Problem(where=where, field="timeframe", value=str(finer.timeframe), expected=expected)
        )


def _note(sentence: str) -> None:
    click.echo(sentence, err=True)


def _read_file(path: Path, strategy: Strategy) -> Ohlcv:
    try:
        return read_candles(path, tell=_note)
    except InvalidInput as first:
        # A file of several time frames, or of one candle, can be read once the time frame is named.
        try:
            return read_candles(path, strategy.timeframe, tell=_note)
        except InvalidInput:
            raise first from None


def _read_store(source: Source, strategy: Strategy, *, allow_missing: bool, whole_finer: bool) -> Inputs:
    """Candles of the strategy's time frame or the next smaller one, with the instrument as it was then."""
    # The database's libraries take longer to import than a run over a file lasts.
    from app.composition import open_store
    from bots.paper_bot import rules_of
    from config.settings import load_settings
    from database.repositories.coverage_repository import CoverageRepository
    from database.repositories.market_facts_repository import MarketFactsRepository

    market = Market(source.venue or "", source.symbol or "")
    start_us = None if source.start is None else moment_us(source.start)
    end_us = None if source.end is None else moment_us(source.end)
    with (
        open_store(load_settings()) as store,
        closing(MarketFactsRepository(store.url)) as facts,
        closing(CoverageRepository(store.url)) as coverage,
    ):
        repository = store.candle_repository
        smaller = [frame for frame in Timeframe if strategy.timeframe.us % frame.us == 0]
        for timeframe in sorted(smaller, key=lambda frame: -frame.us):
            ohlcv = repository.candles(market, timeframe, start_us=start_us, end_us=end_us)
            if len(ohlcv):
                break
        if len(ohlcv) == 0:
            known = ", ".join(map(str, repository.markets()))
            expected = f"no candles for {strategy.timeframe} are stored in this span; there are some of: "
            raise InvalidInput(
                Problem(where="--symbol", field="", value=str(market), expected=expected + (known or "-"))
            )
        told = _spans_of(ohlcv)
        ohlcv, parts = _of_timeframe(ohlcv, strategy, str(market))
        first_us = int(ohlcv.opened_at_us[0]) if start_us is None else start_us
        ends_us = int(ohlcv.opened_at_us[-1]) + ohlcv.timeframe.us
        # A stored candle was covered wholly or came from the venue, whatever minutes it consists of.
        unknown = coverage.missing_minutes(market, first_us, ends_us)
        missing = tuple(part for span in unknown for part in without(span, told))
        if missing and not allow_missing:
            raise _missing_minutes(market, missing)
        for span in missing[:_MOST_SPANS_NAMED]:
            _note(f"runs over missing minutes: {_span_text(span)}")
        finer = finer_candles(repository, market, ohlcv, most=_MOST_FINER) if whole_finer else None
        versions = facts.instrument_versions(market)
        instrument = repository.instrument(market)
    rules = None if instrument is None else rules_of(instrument)
    later: tuple[RulesFrom, ...] = ()
    if versions:
        rules, later = _rules_over(versions, int(ohlcv.opened_at_us[0]), ends_us)
    return Inputs(
        ohlcv=ohlcv,
        inside=partial(_inside_the_store, market),
        finer=parts if finer is None else finer,
        rules=rules,
        later_rules=later,
        missing=missing,
    )


def _inside_the_store(market: Market, ohlcv: Ohlcv) -> FinestRows | None:
    """What the store holds of the inside of these candles: most runs never ask."""
    from app.composition import open_store
    from config.settings import load_settings

    with open_store(load_settings()) as store:
        return finest(store.candle_repository, market, ohlcv)


def _spans_of(ohlcv: Ohlcv) -> list[Span]:
    """The times that candles cover, those in a row together."""
    opened_at_us, length = ohlcv.opened_at_us, ohlcv.timeframe.us
    breaks = np.flatnonzero(np.diff(opened_at_us) != length)
    starts = opened_at_us[np.concatenate(([0], breaks + 1))]
    ends = opened_at_us[np.concatenate((breaks, [len(opened_at_us) - 1]))] + length
    return list(zip(starts.tolist(), ends.tolist(), strict=True))


def _rules_over(
    versions: list[InstrumentVersion], start_us: int, end_us: int
) -> tuple[TradingRules, tuple[RulesFrom, ...]]:
    """The rules in force at the start and those that replaced them before the end, the oldest first."""
    from bots.paper_bot import rules_of

    in_force = rules_of(versions[0].instrument)
    later: list[RulesFrom] = []
    for version in versions:
        rules = rules_of(version.instrument)
        if version.valid_from_us <= start_us:
            in_force = rules
        elif version.valid_from_us < end_us and rules != (later[-1].rules if later else in_force):
            later.append(RulesFrom(valid_from_us=version.valid_from_us, rules=rules))
    return in_force, tuple(later)


def _missing_minutes(market: Market, missing: tuple[Span, ...]) -> InvalidInput:
    named = ", ".join(_span_text(span) for span in missing[:_MOST_SPANS_NAMED])
    more = len(missing) - _MOST_SPANS_NAMED
    value = f"{named} and {more} more" if more > 0 else named
    expected = (
        f"these minutes of {market} are missing from the store; fetch them with `candlewick data backfill`, "
        "choose another span, or run over them with --allow-missing"
    )
    return InvalidInput(Problem(where="--from, --to", field="", value=value, expected=expected))


def _span_text(span: Span) -> str:
    return f"{iso_time(span[0])} to {iso_time(span[1])}"


def span_texts(spans: tuple[Span, ...]) -> tuple[tuple[str, str], ...]:
    """Each as the times of its two ends, as a manifest has them."""
    return tuple((iso_time(span[0]), iso_time(span[1])) for span in spans)


def rules_for(
    inputs: Inputs,
    given: tuple[TradingRules, tuple[RulesFrom, ...]] | None,
    overrides: Mapping[str, Decimal],
    *,
    rounding: bool,
) -> tuple[TradingRules, tuple[RulesFrom, ...]]:
    """The `given` rules of a run that is repeated, else the instrument's, with what the command line says."""
    first, later = given or (inputs.rules or TradingRules(), inputs.later_rules)
    if rounding and first.tick_size is None and first.lot_size is None and not overrides:
        _note("no instrument is known: prices and quantities are not rounded (see --tick-size)")
    return _with_overrides(first, overrides, rounding=rounding), tuple(
        RulesFrom(
            valid_from_us=one.valid_from_us, rules=_with_overrides(one.rules, overrides, rounding=rounding)
        )
        for one in later
    )


def _with_overrides(rules: TradingRules, overrides: Mapping[str, Decimal], *, rounding: bool) -> TradingRules:
    changed = msgspec.structs.replace(rules, **overrides)
    # Without steps where nothing is to be rounded.
    return changed if rounding else TradingRules(min_notional=changed.min_notional)


def _between(ohlcv: Ohlcv, source: Source) -> Ohlcv:
    """The candles that open in the span. Raises InvalidInput where there are none."""
    first_us = None if source.start is None else moment_us(source.start)
    last_us = None if source.end is None else moment_us(source.end)
    first = 0 if first_us is None else int(ohlcv.opened_at_us.searchsorted(first_us))
    last = len(ohlcv) if last_us is None else int(ohlcv.opened_at_us.searchsorted(last_us))
    if first >= last:
        oldest, newest = iso_time(int(ohlcv.opened_at_us[0])), iso_time(int(ohlcv.opened_at_us[-1]))
        span = f"{source.start or 'the beginning'} to {source.end or 'the end'}"
        expected = f"there are no candles in it: they open from {oldest} to {newest}"
        raise InvalidInput(Problem(where="--from, --to", field="", value=span, expected=expected))
    return ohlcv.rows(first, last)


def _of_timeframe(ohlcv: Ohlcv, strategy: Strategy, where: str) -> tuple[Ohlcv, Ohlcv | None]:
    """Candles of the strategy's time frame, and those they were folded from."""
    if ohlcv.timeframe is strategy.timeframe:
        return ohlcv, None
    if strategy.timeframe.us % ohlcv.timeframe.us:
        expected = f"the strategy needs candles of {strategy.timeframe}, or of a time frame that divides it"
        raise InvalidInput(
            Problem(where=where, field="timeframe", value=str(ohlcv.timeframe), expected=expected)
        )
    folded = fold(ohlcv, strategy.timeframe).candles
    for sentence in left_out(ohlcv, folded):
        _note(sentence)
    return folded, ohlcv
