"""`candlewick risk`: limits, how near they are, what they kept back, and what the desk is exposed to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
import msgspec

from app.composition import now_us, open_store
from app.installation import Installation
from bots.risk.desk import RiskDesk, limits_document
from bots.risk.profiles import load_risk_book
from bots.risk.views import DrawdownView, ExposureView, LimitUse, ViolationView
from config.settings import load_settings
from data.timeframes import to_datetime
from database.repositories.bot_repository import BotRepository
from database.repositories.risk_repository import RiskRepository
from messaging.wake_up import RunnerWakeUp

_json = msgspec.json.Encoder(decimal_format="number")
_as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


@click.group("risk")
def command() -> None:
    """Limits, how near they are, what they kept back, and what the desk is exposed to."""


@command.command("status")
@_as_json
def status(as_json: bool) -> None:
    """Show exposure by symbol and by what moves together, drawdowns, and how near each limit is."""
    with risk_desk() as desk:
        exposures, clusters = desk.exposures(), desk.cluster_exposures()
        drawdowns, uses = desk.drawdowns(), desk.uses()
    if as_json:
        print_json(
            {
                "exposures": [_exposure(one) for one in exposures],
                "clusters": [_exposure(one) for one in clusters],
                "drawdowns": [_drawdown(one) for one in drawdowns],
                "limits": [_use(one) for one in uses],
            }
        )
        return
    click.echo("exposure:" if exposures else "exposure: none")
    for one in exposures:
        click.echo(f"  {one.symbols[0]}: long {one.long:.2f}, short {one.short:.2f} ({', '.join(one.bots)})")
    for one in clusters:
        if len(one.symbols) > 1:
            click.echo(f"  together {', '.join(one.symbols)}: gross {one.gross:.2f}, net {one.net:.2f}")
    click.echo("drawdown:")
    for fall in drawdowns:
        click.echo(f"  {fall.name}: {fall.drawdown:.2%} below {fall.peak:.2f}, equity {fall.equity:.2f}")
    click.echo("limits:" if uses else "limits: none are set")
    for use in uses:
        click.echo(f"  {use.owner}: {use.limit} {use.used:.6g} of {use.allowed:.6g} ({use.share:.0%})")


@command.command("limits")
@_as_json
def limits(as_json: bool) -> None:
    """Show the limits in force for each bot: its profile's, with its own laid over them."""
    with risk_desk() as desk:
        documents = [limits_document(view) for view in desk.limits()]
    if as_json:
        print_json({"limits": documents})
        return
    for document in documents:
        found = ", ".join(f"{name} {value}" for name, value in document["limits"].items()) or "no limits"
        profile = f" (profile {document['profile']})" if document["profile"] else ""
        account = f", account {document['account']}" if document["account"] else ""
        problem = f"; {document['problem']}" if document["problem"] else ""
        click.echo(f"{document['bot']}{profile}{account}: {found}{problem}")


@command.command("violations")
@click.option("--bot", default=None, help="Of this bot alone; deleted ones have theirs still.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, help="How many to show.")
@_as_json
def violations(bot: str | None, limit: int, as_json: bool) -> None:
    """Show the newest entries that a limit kept back."""
    with risk_desk() as desk:
        found = desk.violations(bot, limit)
    if as_json:
        print_json({"violations": [_violation(one) for one in found]})
        return
    if not found:
        click.echo("no limit has kept anything back")
    for one in found:
        click.echo(f"{_iso(one.at_us)} {one.bot}: {one.violation.limit}: {one.violation.detail}")


@command.command("reload")
@_as_json
def reload(as_json: bool) -> None:
    """Check the risk file and put it in force now. Running bots take it up without a restart.

    They would within a second anyway; a file that cannot be used is never put in force.
    """
    settings = load_settings()
    book = load_risk_book(settings.candlewick_risk)
    with open_store(settings) as store:
        risk = RiskRepository(store.url)
        try:
            risk.save_accounts(list(book.accounts.values()))
            changed = risk.save_limits(book.as_document(), now_us())
        finally:
            risk.close()
        running = Installation(settings.candlewick_home).running()
        if running is not None and running.redis_url:
            wake_up = RunnerWakeUp(running.redis_url)
            wake_up("")
            wake_up.close()
    if as_json:
        print_json({"changed": changed, **book.as_document()})
    else:
        word = "in force" if changed else "in force already"
        counts = f"{len(book.profiles)} profiles, {len(book.accounts)} accounts"
        click.echo(f"{settings.candlewick_risk}: {counts}, {word}")


@contextmanager
def risk_desk() -> Iterator[RiskDesk]:
    """The desk over this installation's database."""
    settings = load_settings()
    with open_store(settings) as store:
        risk, bots = RiskRepository(store.url), BotRepository(store.url)
        try:
            yield RiskDesk(
                risk, bots, store.candle_repository, risk_file=settings.candlewick_risk, clock=now_us
            )
        finally:
            risk.close()
            bots.close()


def print_json(document: dict[str, Any]) -> None:
    """One JSON document on standard output, every digit of an amount kept."""
    click.echo(msgspec.json.format(_json.encode(document), indent=2).decode())


def _exposure(one: ExposureView) -> dict[str, Any]:
    return {
        "symbols": one.symbols,
        "long": one.long,
        "short": one.short,
        "gross": one.gross,
        "net": one.net,
        "bots": one.bots,
    }


def _drawdown(one: DrawdownView) -> dict[str, Any]:
    return {"name": one.name, "equity": one.equity, "peak": one.peak, "drawdown": one.drawdown}


def _use(one: LimitUse) -> dict[str, Any]:
    kind = "account" if one.is_account else "bot"
    return {kind: one.owner, "limit": one.limit, "used": one.used, "allowed": one.allowed, "share": one.share}


def _violation(one: ViolationView) -> dict[str, Any]:
    return {
        "bot": one.bot,
        "account": one.account,
        "at": _iso(one.at_us),
        "candle": _iso(one.opened_at_us),
        "limit": one.violation.limit,
        "gate": one.violation.gate,
        "used": one.violation.used,
        "allowed": one.violation.allowed,
        "detail": one.violation.detail,
    }


def _iso(at_us: int) -> str:
    return to_datetime(at_us).isoformat().replace("+00:00", "Z")
