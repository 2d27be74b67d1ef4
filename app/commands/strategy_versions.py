"""The part of `candlewick strategy` that keeps versions."""

from __future__ import annotations

import getpass
import json
import sys
from pathlib import Path
from typing import Any

import click
import msgspec

from app.strategy_desk import open_strategies
from config.settings import load_settings
from data.timeframes import to_datetime
from strategies.service import badge_text
from strategies.versions import ProofStatus, StrategyVersion

_as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
_why = click.option("--why", default="", help="A reason, kept with the version.")
_HASH = 12  # letters shown


@click.command("save")
@click.argument("file", type=click.Path(path_type=Path))
@_why
@_as_json
def save(file: Path, why: str, as_json: bool) -> None:
    """Save the strategy in FILE (.json or .py) as a new version, with the badge of its look-ahead proof.

    Python that is refused, or looks ahead, is not saved.
    """
    with open_strategies(load_settings()) as strategies:
        saved = strategies.save_file(file, who=_who(), why=why)
    _report(saved, as_json)


@click.command("versions")
@click.argument("name")
@_as_json
def versions(name: str, as_json: bool) -> None:
    """List every version of the saved strategy NAME, the one in front first."""
    with open_strategies(load_settings()) as strategies:
        history = strategies.history(name)
    if as_json:
        _print_json({"name": name, "versions": [_document(one) for one in history]})
        return
    for one in history:
        click.echo(_line(one))


@click.command("diff")
@click.argument("before")
@click.argument("after")
@_as_json
def diff(before: str, after: str, as_json: bool) -> None:
    """Show what differs between two saved versions.

    A version is "name" for the one in front, "name@2" for the second, "name@4be1c0" by its hash.
    """
    with open_strategies(load_settings()) as strategies:
        differences = strategies.diff(before, after)
    if as_json:
        found = [msgspec.to_builtins(one) for one in differences]
        _print_json({"before": before, "after": after, "differences": found})
        return
    if not differences:
        click.echo("no difference")
    for one in differences:
        if one.before is None:
            click.echo(f"{one.path}: added {_value(one.after)}")
        elif one.after is None:
            click.echo(f"{one.path}: removed {_value(one.before)}")
        else:
            click.echo(f"{one.path}: {_value(one.before)} -> {_value(one.after)}")


@click.command("clone")
@click.argument("strategy")
@click.argument("to")
@_why
@_as_json
def clone(strategy: str, to: str, why: str, as_json: bool) -> None:
    """Save STRATEGY ("name" or "name@version") again as the first version of TO."""
    with open_strategies(load_settings()) as strategies:
        saved = strategies.clone(strategy, to, who=_who(), why=why)
    _report(saved, as_json)


@click.command("rename")
@click.argument("name")
@click.argument("to")
@_why
@_as_json
def rename(name: str, to: str, why: str, as_json: bool) -> None:
    """Call the saved strategy NAME from now on TO. Its versions go along."""
    with open_strategies(load_settings()) as strategies:
        saved = strategies.rename(name, to, who=_who(), why=why)
    _report(saved, as_json)


@click.command("delete")
@click.argument("name")
@_as_json
def delete(name: str, as_json: bool) -> None:
    """Archive the saved strategy NAME: it leaves the list, its versions stay."""
    with open_strategies(load_settings()) as strategies:
        strategies.delete(name)
    if as_json:
        _print_json({"archived": name})
    else:
        click.echo(f"{name} is archived; its versions stay, and saving it brings it back")


COMMANDS = (save, versions, diff, clone, rename, delete)


def list_saved(*, archived: bool, as_json: bool) -> None:
    """`strategy list --saved`."""
    with open_strategies(load_settings()) as strategies:
        found = strategies.list_strategies(archived=archived)
    if as_json:
        rows = [{**msgspec.to_builtins(one), "saved_at": _iso(one.saved_at_us)} for one in found]
        for row in rows:
            del row["saved_at_us"]
        _print_json({"strategies": rows})
        return
    if not found:
        click.echo("no strategy is saved yet; `candlewick strategy save FILE` saves one", err=True)
    for one in found:
        gone = ", archived" if one.archived else ""
        counted = "version" if one.versions == 1 else "versions"
        heading = f"{one.name}: {one.kind}, {one.versions} {counted}, {one.newest[:_HASH]}{gone}"
        click.echo(f"{heading}; {badge_text(one.badge)}")


def show_saved(reference: str, *, as_json: bool) -> None:
    """`strategy show name@version`."""
    with open_strategies(load_settings()) as strategies:
        found = strategies.show(reference)
    if as_json:
        _print_json({**_document(found), "content": found.content})
        return
    click.echo(_line(found))
    click.echo(found.content)


def _report(saved: StrategyVersion, as_json: bool) -> None:
    if as_json:
        _print_json(_document(saved))
    else:
        click.echo(_line(saved))
    if saved.badge.status is ProofStatus.REFUTED:
        sys.exit(1)


def _document(version: StrategyVersion) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(version)
    del found["content"], found["saved_at_us"]
    return {**found, "saved_at": _iso(version.saved_at_us)}


def _line(version: StrategyVersion) -> str:
    why = f" ({version.why})" if version.why else ""
    heading = f"{version.name}@{version.number} {version.version[:_HASH]} {version.kind}"
    return f"{heading}, {_iso(version.saved_at_us)} by {version.who}{why}; {badge_text(version.badge)}"


def _value(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _iso(at_us: int) -> str:
    return to_datetime(at_us).isoformat().replace("+00:00", "Z")


def _print_json(document: dict[str, Any]) -> None:
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "command line"  # a user id without a name, as in some containers
