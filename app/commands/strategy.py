"""`candlewick strategy`: check strategy files, list and show them; keep their versions; explain decisions."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import msgspec

from app.commands import strategy_decisions, strategy_versions
from app.commands.assignments import parameters_of
from app.processes.strategy_check import strategy_checker
from app.strategy_desk import prove_rules
from config.settings import load_settings
from data.errors import InvalidInput
from strategies.explain import condition_text
from strategies.loader import load_strategy
from strategies.python.check import CheckRequest
from strategies.python.checker import PythonStrategyFactory, problems_of
from strategies.python.source import read_source
from strategies.rules import RuleStrategy
from strategies.schema import strategy_schema
from strategies.templates import find_strategy_file, python_files, templates
from strategies.versions import Badge


@click.group()
def command() -> None:
    """Check strategy files, list and show them, keep their versions, explain what bots decided."""


for _part in (*strategy_versions.COMMANDS, strategy_decisions.explain_decision):
    command.add_command(_part)


@command.command()
@click.argument("files", nargs=-1, required=True)
@click.option(
    "--param", "params", multiple=True, metavar="NAME=VALUE", help="Set a parameter, as a run would."
)
@click.option("--timeframe", help="Use this time frame instead of the file's.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def validate(files: tuple[str, ...], params: tuple[str, ...], timeframe: str | None, as_json: bool) -> None:
    """Check strategy FILES: exit status 2 and every problem found, or 0 and a summary of each."""
    parameters = parameters_of(params)
    results = [_checked(Path(file), parameters, timeframe) for file in files]
    if as_json:
        click.echo(json.dumps({"files": results}, indent=2))
    else:
        for result in results:
            _print_result(result)
    if not all(result["valid"] for result in results):
        sys.exit(2)


def _checked(path: Path, parameters: dict[str, str], timeframe: str | None) -> dict[str, Any]:
    try:
        if path.suffix == ".py":
            return {"file": str(path), "valid": True, "problems": [], **_python(path, parameters, timeframe)}
        strategy = load_strategy(path, parameters, timeframe)
    except InvalidInput as invalid:
        problems = [asdict(problem) for problem in invalid.problems]
        return {"file": str(path), "valid": False, "problems": problems}
    return {"file": str(path), "valid": True, "problems": [], **_summary(strategy)}


def _python(path: Path, parameters: dict[str, str], timeframe: str | None) -> dict[str, Any]:
    """The summary of a Python strategy, which runs in a process of its own first. Raises InvalidInput."""
    checker = strategy_checker()
    source, where = read_source(path), str(path)
    report = checker(
        CheckRequest(
            source=source, where=where, name=path.stem, parameters=dict(parameters), timeframe=timeframe
        )
    )
    if not report.passed:
        raise InvalidInput(*problems_of(report, where))
    strategy = PythonStrategyFactory(lambda _: report).load(path, parameters, timeframe)
    assert report.badge is not None
    return {
        "name": strategy.name,
        "description": strategy.description,
        "timeframe": strategy.timeframe.value,
        "parameters": {name: _plain(value) for name, value in strategy.parameters.items()},
        "warmup": strategy.warmup,
        "lookback": strategy.warmup,
        "version": strategy.version,
        "warnings": [],
        "badge": _badge(report.badge),
    }


def _badge(badge: Badge) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(badge)
    return found


def _summary(strategy: RuleStrategy) -> dict[str, Any]:
    definition = strategy.definition
    return {
        "name": strategy.name,
        "description": definition.description,
        "timeframe": strategy.timeframe.value,
        "parameters": {name: _plain(value) for name, value in strategy.parameters.items()},
        "warmup": strategy.warmup,
        "lookback": strategy.lookback,
        "version": strategy.version,
        "warnings": list(definition.warnings),
    }


def _plain(value: float) -> int | float:
    return int(value) if float(value).is_integer() else value


def _print_result(result: dict[str, Any]) -> None:
    if not result["valid"]:
        for problem in result["problems"]:
            place = f"{problem['where']}: {problem['field']}" if problem["field"] else problem["where"]
            found = f" is {problem['value']}" if problem["value"] else ""
            click.echo(f"error: {place}{found}; {problem['expected']}", err=True)
        return
    click.echo(f"{result['file']}: valid")
    for key in ("name", "timeframe"):
        click.echo(f"  {key:<11} {result[key]}")
    if result["parameters"]:
        click.echo(f"  parameters  {', '.join(f'{k}={v}' for k, v in result['parameters'].items())}")
    click.echo(f"  warm-up     values after {result['lookback']} candles, settled after {result['warmup']}")
    click.echo(f"  version     {result['version']}")
    if "badge" in result:
        click.echo(f"  look-ahead  {result['badge']['status']}: {result['badge']['words']}")
    for warning in result["warnings"]:
        click.echo(f"  warning     {warning}", err=True)


@command.command("list")
@click.option("--saved", is_flag=True, help="List the saved strategies instead of the files.")
@click.option("--archived", is_flag=True, help="With --saved: the deleted ones too.")
@click.option("--folder", type=click.Path(path_type=Path), help="Look here instead.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, with look-ahead badges.")
def list_strategies(saved: bool, archived: bool, folder: Path | None, as_json: bool) -> None:
    """List the strategy files of CANDLEWICK_STRATEGIES (the project's templates by default).

    With --json each is checked and proven free of look-ahead, which takes a second or two each.
    """
    if saved:
        strategy_versions.list_saved(archived=archived, as_json=as_json)
        return
    folder = load_settings().candlewick_strategies if folder is None else folder
    found, scripts = templates(folder), python_files(folder)
    if as_json:
        rows = [
            {
                "template": template.name,
                "file": str(template.path),
                "valid": template.strategy is not None,
                "problems": [asdict(problem) for problem in template.problems],
                **({} if template.strategy is None else _summary(template.strategy)),
                "badge": None if template.strategy is None else _badge(prove_rules(template.strategy)),
            }
            for template in found
        ]
        rows += [{"template": path.stem, **_checked(path, {}, None)} for path in scripts]
        click.echo(json.dumps({"strategies": rows}, indent=2))
        return
    names = [template.name for template in found] + [path.stem for path in scripts]
    width = max((len(name) for name in names), default=0)
    for template in found:
        if template.strategy is None:
            click.echo(f"{template.name:<{width}}  -    broken: {template.problems[0]}")
        else:
            definition = template.strategy.definition
            click.echo(f"{template.name:<{width}}  {definition.timeframe.value:<3}  {definition.description}")
    for path in scripts:
        # Not run here: a list is no reason to run somebody's code.
        click.echo(f"{path.stem:<{width}}  -    Python, {path}; `strategy validate` checks it")
    if not names:
        click.echo(f"no strategy files in {folder}", err=True)


@command.command()
@click.option("--json", "as_json", is_flag=True, help="It is one JSON document in any case.")
def schema(as_json: bool) -> None:
    """Print the JSON Schema of strategy files."""
    click.echo(json.dumps(strategy_schema(), indent=2))


@command.command()
@click.argument("strategy")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document: summary, rules and the file.")
def show(strategy: str, as_json: bool) -> None:
    """Show what STRATEGY does: a file, the name of one that `list` shows, or a saved "name@version"."""
    if "@" in strategy:
        strategy_versions.show_saved(strategy, as_json=as_json)
        return
    path = find_strategy_file(strategy, load_settings().candlewick_strategies)
    if path.suffix == ".py":
        _show_python(path, as_json=as_json)
        return
    found = load_strategy(path)
    definition = found.definition
    rules = {name: condition_text(rule) for name, rule in found.rules.items()}
    if as_json:
        document = {**_summary(found), "rules": rules, "definition": definition.document}
        click.echo(json.dumps(document, indent=2))
        return
    click.echo(f"{found.name} ({found.timeframe})")
    if definition.description:
        click.echo(definition.description)
    click.echo()
    for name, allowed in definition.parameters.items():
        bounds = [
            f"{word} {value:g}"
            for word, value in (("min", allowed.minimum), ("max", allowed.maximum), ("step", allowed.step))
            if value is not None
        ]
        click.echo(
            f"  parameter {name} = {allowed.default:g}" + (f" ({', '.join(bounds)})" if bounds else "")
        )
    for name, use in definition.indicators.items():
        outputs = "" if use.spec.outputs == ("value",) else f": {', '.join(use.spec.outputs)}"
        click.echo(f"  indicator {name} = {use.label}{outputs}")
    for name, text in rules.items():
        click.echo(f"  {name}: {text}")
    protection = [
        f"{name.replace('_', ' ')} {value:.4g}"
        for name, value in (
            ("stop_loss", found.protection.stop_loss),
            ("take_profit", found.protection.take_profit),
            ("trailing_stop", found.protection.trailing_stop),
        )
        if value is not None
    ]
    click.echo(f"  protection: {', '.join(protection) or 'none'}")
    click.echo(f"  sizing: {found.sizing.value} of the equity")


def _show_python(path: Path, *, as_json: bool) -> None:
    """What is known of a Python strategy: its summary, its badge and its source."""
    summary = _python(path, {}, None)
    source = read_source(path)
    if as_json:
        click.echo(json.dumps({**summary, "source": source}, indent=2))
        return
    _print_result({"file": str(path), "valid": True, "problems": [], **summary})
    click.echo(source)
