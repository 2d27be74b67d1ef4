"""`candlewick bots preview`: what a bot with several orders may bind and lose, before it starts."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
import msgspec

from app.commands.decimal_number import DecimalNumber
from bots.config import BotConfig, load_bot
from bots.ladders.settings import LadderType, RebalanceSettings, type_of
from bots.ladders.standing import LadderStanding
from bots.ladders.worst_case import WorstCase, basket_worst_case, worst_case
from data.errors import InvalidInput, Problem

_json = msgspec.json.Encoder(decimal_format="number")


@click.command("preview")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--price", type=DecimalNumber(), help="The entry's price, to tell the break-even as a price.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def preview(file: Path, price: Decimal | None, as_json: bool) -> None:
    """Show the worst case of the bot in FILE: capital, loss at the stop, orders, break-even. Nothing is made.

    The same figures are its hard limits while it runs. Gaps beyond a stop come on top.
    """
    config = load_bot(file)
    if config.ladder is None:
        expected = (
            "a bot that follows one strategy places one order at a time: see `candlewick backtest --bot`"
        )
        raise InvalidInput(Problem(where=str(file), field="type", value="strategy", expected=expected))
    if isinstance(config.ladder, RebalanceSettings):
        worst = basket_worst_case(config.ladder, config.costs, config.capital)
    else:
        worst = worst_case(config.ladder, config.costs)
    if price is not None and worst.break_even_from_entry is not None:
        worst = msgspec.structs.replace(worst, break_even_price=worst.break_even_from_entry * price)
    if as_json:
        click.echo(msgspec.json.format(_json.encode(_document(config, worst)), indent=2).decode())
        return
    click.echo("\n".join(_lines(config, worst)))


def _document(config: BotConfig, worst: WorstCase) -> dict[str, Any]:
    assert config.ladder is not None
    return {
        "bot": config.name,
        "type": type_of(config.ladder),
        "markets": [f"{config.venue}:{symbol}" for symbol in config.symbols],
        "capital": config.capital,
        "worst_case": worst,
    }


def _lines(config: BotConfig, worst: WorstCase) -> list[str]:
    assert config.ladder is not None
    quote = config.symbol.split("-")[1]
    markets = f"{config.venue}:{', '.join(config.symbols)}"
    lines = [
        f"{config.name}, {type_of(config.ladder)} on {markets}, with {config.capital} {quote}",
        f"  binds at most        {worst.capital} {quote}, fees included",
    ]
    if worst.has_stop:
        lines.append(f"  loses at its stops   {worst.loss} {quote} at most, gaps beyond them on top")
    else:
        lines.append(f"  has no stop: loses   {worst.loss} {quote} should the price go to zero")
    lines.append(f"  orders at once       {worst.orders} at most")
    if worst.break_even_price is not None:
        lines.append(f"  breaks even at       {worst.break_even_price:.8g} with every order filled")
    elif worst.break_even_from_entry is not None:
        change = float(worst.break_even_from_entry) - 1
        lines.append(f"  breaks even at       {change:+.4%} from the entry with every order filled")
    return lines


def ladder_lines(standing: LadderStanding | None) -> Iterator[str]:
    """How a ladder stands, for a person: its orders, and what it used of its worst case."""
    if standing is None:
        return
    worst = standing.worst_case
    yield f"{standing.type}: bound {standing.most_committed:.8g} of {worst.capital} at most so far"
    if standing.type is LadderType.REBALANCE:
        yield f"  orders at once: {standing.most_orders} at most so far, of {worst.orders}"
    else:
        yield f"  waiting orders: {len(standing.resting)} of {worst.orders}"
    for order in standing.resting:
        yield f"  {order.side} {order.quantity} at {order.price}, order {order.sequence}"
    if standing.realised is not None:
        parts = f"{standing.realised:.8g} realised, {standing.inventory:.8g} in the inventory"
        yield f"  gain: {parts}, less {standing.fees:.8g} of fees"
    if standing.gap_loss:
        yield f"  gaps beyond stops cost {standing.gap_loss:.8g}"
    if standing.finished:
        yield f"  it has ended: {standing.finished}"
