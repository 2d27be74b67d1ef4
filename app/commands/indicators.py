"""`candlewick indicators`: one indicator over a candle file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import click
import numpy as np
import pyarrow as pa
import pyarrow.csv

from data.errors import InvalidInput, Problem
from data.files.candle_files import opened_at_text, read_candles
from data.files.tables import iso_times, time_column, write_table
from data.models import FloatArray, Ohlcv
from data.timeframes import Timeframe
from strategies.higher_timeframe import fold, left_out
from strategies.indicators.registry import INDICATORS
from strategies.indicators.spec import IndicatorParameter, IndicatorSpec, ParameterKind, meant

_OWN_OPTIONS = ("--candles", "--out", "--timeframe", "--json", "--help")


class NumberType(click.ParamType[float]):
    """A number as written; the indicator says which ones it takes."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            number = float(value)
        except ValueError:
            self.fail(f"{value!r} is no number", param, ctx)
        return int(number) if number.is_integer() else number


class TimeframeType(click.ParamType[Timeframe]):
    """One of our time frames."""

    name = "timeframe"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Timeframe:
        known = {timeframe.value: timeframe for timeframe in Timeframe}
        if value not in known:
            self.fail(f"{value!r} is no time frame; expected one of {' '.join(known)}", param, ctx)
        return known[value]


class IndicatorCommand(click.Command):
    """A command that answers an unknown option with the ones it knows."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            options = {name: None for parameter in self.params for name in parameter.opts[:1]}
            known = [name for name in options if name not in _OWN_OPTIONS]
            hint = meant(error.option_name, known or _OWN_OPTIONS[:-1])
            message = f"{self.name} has no option {error.option_name}{hint}"
            raise click.UsageError(message, ctx) from error


class IndicatorGroup(click.Group):
    """One command per indicator, its options made from the indicator's parameters."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(INDICATORS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return _command_of(INDICATORS[cmd_name]) if cmd_name in INDICATORS else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in INDICATORS and not args[0].startswith("-"):
            raise click.UsageError(f"no such indicator: {args[0]}{meant(args[0], INDICATORS)}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Indicators"):
            formatter.write_dl([(spec.name, spec.summary) for spec in INDICATORS.values()])


@click.group(
    cls=IndicatorGroup,
    invoke_without_command=True,
    subcommand_metavar="[NAME [--PARAMETER VALUE]... [ARGS]...]",
)
@click.option("--list", "lists", is_flag=True, help="List all indicators with their parameters.")
@click.option("--json", "as_json", is_flag=True, help="Print the list as one JSON document.")
@click.pass_context
def command(ctx: click.Context, lists: bool, as_json: bool) -> None:
    """Compute one indicator over a candle file; without a NAME, list all of them.

    \b
    candlewick indicators rsi --period 20 --candles candles.csv --out rsi.csv
    candlewick indicators rsi --help
    """
    if ctx.invoked_subcommand is not None:
        if lists or as_json:
            raise click.UsageError("--list stands alone; --json belongs after the indicator's name", ctx)
        return
    if as_json:
        listed = [_described(spec) for spec in INDICATORS.values()]
        click.echo(json.dumps({"indicators": listed}, indent=2))
        return
    for spec in INDICATORS.values():
        options = " ".join(f"{_option(p)} {_plain(p.default)}" for p in spec.parameters)
        click.echo(f"{spec.name} {options}".rstrip())
        click.echo(f"    {spec.summary}")
        if spec.outputs != ("value",):
            click.echo(f"    columns: {', '.join(spec.outputs)}")


def _command_of(spec: IndicatorSpec) -> click.Command:
    parameters: list[click.Parameter] = [_parameter_option(parameter) for parameter in spec.parameters]
    parameters += [
        click.Option(
            ["--candles"],
            required=True,
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="Candle file: CSV (also .gz) or Parquet.",
        ),
        click.Option(
            ["--out"],
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="The file to write: .csv, .csv.gz or .parquet, replaced if it is there. Without it: CSV to "
            "standard output.",
        ),
        click.Option(
            ["--timeframe"],
            type=TimeframeType(),
            metavar="TIMEFRAME",
            help="Fold the candles up to this time frame first; of a file of several, read this one.",
        ),
        click.Option(
            ["--json", "as_json"],
            is_flag=True,
            help="Print one JSON document: a summary, and the values where there is no --out.",
        ),
    ]
    columns = ", ".join(spec.outputs)
    more = (
        "" if spec.stream else "\n\nComputed over whole series only: for charts and backtests, not for bots."
    )
    return IndicatorCommand(
        spec.name,
        params=parameters,
        callback=_runner(spec),
        help=f"{spec.summary}\n\nColumns: opened_at, {columns}. Missing values are empty.{more}",
        short_help=spec.summary,
    )


def _runner(spec: IndicatorSpec) -> Callable[..., None]:
    def run(
        candles: Path, out: Path | None, timeframe: Timeframe | None, as_json: bool, **given: object
    ) -> None:
        _run(spec, given, candles=candles, out=out, timeframe=timeframe, as_json=as_json)

    return run


def _parameter_option(parameter: IndicatorParameter) -> click.Option:
    is_choice = parameter.kind is ParameterKind.CHOICE
    bounds = "" if is_choice else f" ({parameter.expected.removeprefix('expected ')})"
    return click.Option(
        [_option(parameter), parameter.name],
        type=click.Choice(parameter.choices) if is_choice else NumberType(),
        default=parameter.default,
        show_default=True,
        help=f"{parameter.summary[:1].upper()}{parameter.summary[1:]}{bounds}.",
    )


def _option(parameter: IndicatorParameter) -> str:
    return f"--{parameter.name.replace('_', '-')}"


def _run(
    spec: IndicatorSpec,
    given: Mapping[str, object],
    *,
    candles: Path,
    out: Path | None,
    timeframe: Timeframe | None,
    as_json: bool,
) -> None:
    params = spec.resolve(given, where=f"indicators {spec.name}")
    ohlcv = _read(candles, timeframe)
    values = spec.batch(ohlcv, params)
    if out is not None:
        _write(out, ohlcv, values)
    elif not as_json:
        _print_csv(ohlcv, values)
        return
    summary: dict[str, Any] = {
        "indicator": spec.name,
        "label": spec.label(params),
        "parameters": params,
        "timeframe": ohlcv.timeframe.value,
        "rows": len(ohlcv),
        "first": opened_at_text(int(ohlcv.opened_at_us[0])) if len(ohlcv) else None,
        "last": opened_at_text(int(ohlcv.opened_at_us[-1])) if len(ohlcv) else None,
        "missing": {name: int(np.isnan(column).sum()) for name, column in values.items()},
        "out": None if out is None else str(out),
    }
    if as_json:
        if out is None:
            summary["opened_at"] = iso_times(ohlcv.opened_at_us).to_pylist()
            summary["values"] = {name: _cells(column).to_pylist() for name, column in values.items()}
        click.echo(json.dumps(summary, indent=2))
        return
    missing = ", ".join(f"{name} {count}" for name, count in summary["missing"].items())
    click.echo(f"{summary['label']} over {len(ohlcv)} candles of {ohlcv.timeframe}; missing: {missing}")
    click.echo(f"written to {out}")


def _read(path: Path, timeframe: Timeframe | None) -> Ohlcv:
    try:
        ohlcv = read_candles(path, tell=_tell)
    except InvalidInput as first:
        if timeframe is None:
            raise
        # A file of several time frames, or of one candle, can be read once the time frame is named.
        try:
            ohlcv = read_candles(path, timeframe, tell=_tell)
        except InvalidInput:
            raise first from None
    if timeframe is None or ohlcv.timeframe is timeframe:
        return ohlcv
    if timeframe.us < ohlcv.timeframe.us or timeframe.us % ohlcv.timeframe.us:
        _refuse_timeframe(path, ohlcv.timeframe, timeframe)
    folded = fold(ohlcv, timeframe).candles
    for sentence in left_out(ohlcv, folded):
        _tell(sentence)
    return folded


def _tell(sentence: str) -> None:
    click.echo(sentence, err=True)


def _refuse_timeframe(path: Path, found: Timeframe, wanted: Timeframe) -> NoReturn:
    possible = [higher.value for higher in Timeframe if higher.us >= found.us and higher.us % found.us == 0]
    expected = f"{path} has candles of {found}; expected one of {' '.join(possible)}"
    raise InvalidInput(Problem(where="--timeframe", field="", value=wanted.value, expected=expected))


def _write(out: Path, ohlcv: Ohlcv, values: Mapping[str, FloatArray]) -> None:
    columns = {"opened_at": time_column(out, ohlcv.opened_at_us)}
    write_table(out, columns | {name: _cells(column) for name, column in values.items()})


def _print_csv(ohlcv: Ohlcv, values: Mapping[str, FloatArray]) -> None:
    columns = {"opened_at": iso_times(ohlcv.opened_at_us)}
    columns |= {name: _cells(column) for name, column in values.items()}
    text = pa.BufferOutputStream()
    options = pa.csv.WriteOptions(quoting_style="none", quoting_header="none")
    pa.csv.write_csv(pa.table(columns), text, options)
    click.echo(text.getvalue().to_pybytes(), nl=False)


def _cells(column: FloatArray) -> pa.Array:
    """The values with missing ones as nulls: empty in CSV and null in JSON and Parquet."""
    return pa.array(column, from_pandas=True)


def _described(spec: IndicatorSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "title": spec.title,
        "summary": spec.summary,
        "parameters": [_described_parameter(parameter) for parameter in spec.parameters],
        "outputs": list(spec.outputs),
        "pane": spec.pane,
        "streams": spec.stream is not None,
    }


def _described_parameter(parameter: IndicatorParameter) -> dict[str, Any]:
    described: dict[str, Any] = {
        "name": parameter.name,
        "option": _option(parameter),
        "summary": parameter.summary,
        "kind": parameter.kind.value,
        "default": parameter.default,
    }
    if parameter.kind is ParameterKind.CHOICE:
        return described | {"choices": list(parameter.choices)}
    return described | {"minimum": parameter.minimum, "maximum": parameter.maximum}


def _plain(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"
