"""Whether a bot's settings can be used, by the same rules as the command line, and what they may cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from dash import html
from dash.development.base_component import Component

from bots.config import BotConfig, parse_bot
from bots.ladders.grid import grid_levels
from bots.ladders.settings import DcaSettings, GridSettings, RebalanceSettings, entry_of
from bots.ladders.worst_case import (
    WorstCase,
    basket_worst_case,
    loss_when_stopped,
    safety_orders,
    worst_case,
)
from bots.orders import PositionSide, TradingRules
from bots.risk.limits import Limits
from dashboard.number_formats import MISSING, money, percent, price, share, whole
from dashboard.pages.bot_basket import weight_rows
from dashboard.pages.bot_form import Choices, check_shelf
from dashboard.pages.bots_sources import BotSources
from dashboard.panels import Column, icon, table
from data.errors import Problem
from data.models import Market
from strategies.base import Strategy

_MOST_STEPS = 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """Settings that can be used."""

    config: BotConfig
    strategy: Strategy
    limits: Limits  # in force: the profile's with the bot's own laid over them
    last: float | None  # the market's last price, where one is known; None for a basket
    unrecorded: tuple[str, ...] = ()  # of its symbols those without a candle


def read_choices(sources: BotSources) -> Choices:
    """What a form may offer now. Raises InvalidInput for a risk file that cannot be used."""
    return Choices(
        strategies=sources.strategies(),
        markets=list(sources.market.markets()),
        book=sources.risk.book(),
    )


def check(
    sources: BotSources, document: Mapping[str, Any], *, source: str = "", known: Sequence[str] = ()
) -> Checked:
    """The settings of a document that comes from a browser. Raises InvalidInput naming each field.

    `source` is where the bot's strategy is looked for; `known` are strategies it has already.
    """
    config = parse_bot(document, where="bot")
    names = [*sources.strategies(), *known]
    if config.ladder is None:
        check_shelf(names, config.strategy, "strategy")
    elif (entry := entry_of(config.ladder)) is not None:
        check_shelf(names, entry, "settings.entry")
    strategy = sources.load_strategy(config, source)
    book = sources.risk.book()
    book.account_of(config)
    day = None if isinstance(config.ladder, RebalanceSettings) else sources.days.day(config.market)
    recorded = set(sources.market.markets())
    return Checked(
        config=config,
        strategy=strategy,
        limits=book.limits_of(config),
        last=day.last if day else None,
        unrecorded=tuple(one for one in config.symbols if Market(config.venue, one) not in recorded),
    )


def cost_panel(checked: Checked, decimals: int) -> Component:
    """What the bot may bind and lose at most."""
    config = checked.config
    quote = config.symbol.removesuffix("-PERP").rpartition("-")[2]
    if config.ladder is None:
        lines, notes = strategy_lines(checked, quote)
        return html.Div([_facts(lines), *notes])
    if isinstance(config.ladder, RebalanceSettings):
        return _basket_panel(checked, config.ladder, quote, decimals)
    worst = worst_case(config.ladder, config.costs)
    notes = limit_notes(checked.limits, worst.capital, "all orders filled")
    return html.Div(
        [_facts(ladder_lines(checked, worst, quote, decimals)), *notes, _steps(checked, decimals)]
    )


def _basket_panel(checked: Checked, settings: RebalanceSettings, quote: str, decimals: int) -> Component:
    worst = basket_worst_case(settings, checked.config.costs, checked.config.capital)
    largest = max(settings.weights.values()) * checked.config.capital
    notes = limit_notes(checked.limits, largest, "the largest purchase")
    if checked.unrecorded:
        names = ", ".join(checked.unrecorded)
        words = f"{names}: no candle is stored; the basket waits until all its symbols have one"
        notes.append(html.P([icon("alert-triangle"), words], className="cost-note"))
    return html.Div(
        [
            _facts(ladder_lines(checked, worst, quote, decimals)),
            *notes,
            weight_rows(settings.weights, checked.config.capital),
        ]
    )


def strategy_lines(checked: Checked, quote: str) -> tuple[list[tuple[str, str, str]], list[Component]]:
    """Name, figure and note of each line for a bot with one order at a time."""
    config, protection, sizing = checked.config, checked.strategy.protection, checked.strategy.sizing
    add_ons = sizing.add_ons
    shares = 1 + (Decimal(repr(add_ons.size)) * add_ons.most if add_ons else 0)
    notional = min(config.capital, config.capital * sizing.value * shares)
    stop = protection.stop_loss or protection.trailing_stop
    lines = [
        ("An entry binds at most", f"{money(notional)} {quote}", share(float(notional / config.capital)))
    ]
    if add_ons:
        lines[0] = ("Entry and add-ons bind at most", *lines[0][1:])
    if stop is None:
        lines.append(("It has no stop", f"{money(notional)} {quote}", "lost should the price go to zero"))
    else:
        loss = loss_when_stopped(
            cost=notional,
            quantity=notional,
            stop=1 - Decimal(repr(stop)),
            paid=notional * config.costs.fee_bps.scaleb(-4),
            side=PositionSide.LONG,
            costs=config.costs,
        )
        note = f"{percent(float(-loss / config.capital))} of the capital, fees and slippage included"
        lines.append(("Loses when stopped", f"{money(loss)} {quote}", note))
    target = protection.take_profit
    if target is not None:
        lines.append(("Takes profit at", percent(target), "from the entry"))
    lines.append(
        (
            "Decides",
            f"every {checked.strategy.timeframe.value}",
            f"after {whole(checked.strategy.warmup)} candles",
        )
    )
    return lines, limit_notes(checked.limits, notional, "an entry of all it may use")


def ladder_lines(checked: Checked, worst: WorstCase, quote: str, decimals: int) -> list[tuple[str, str, str]]:
    """Name, figure and note of each line for a bot with several orders."""
    config = checked.config
    bound = f"{share(float(worst.capital / config.capital))} of the capital, fees included"
    lost = f"{percent(float(-worst.loss / config.capital))} of the capital"
    lines = [
        ("Binds at most", f"{money(worst.capital)} {quote}", bound),
        (
            "Loses at its stops, at most" if worst.has_stop else "It has no stop: may lose",
            f"{money(worst.loss)} {quote}",
            f"{lost}; gaps beyond a stop on top"
            if worst.has_stop
            else f"{lost}, should the price go to zero",
        ),
        ("Orders at once", str(worst.orders), "at most"),
    ]
    if worst.break_even_price is not None:
        lines.append(("Breaks even at", price(worst.break_even_price, decimals), "every order filled"))
    elif worst.break_even_from_entry is not None:
        change = float(worst.break_even_from_entry) - 1
        near = "" if checked.last is None else f", near {price(checked.last * (1 + change), decimals)} now"
        lines.append(("Breaks even at", percent(change), f"from the entry, every order filled{near}"))
    return lines


def limit_notes(limits: Limits, most: Decimal, what: str) -> list[Component]:
    """Limits that keep the bot from doing what its settings say."""
    found: list[Component] = []
    for name in ("max_order_notional", "max_position_notional"):
        allowed = getattr(limits, name)
        if allowed is not None and most > allowed:
            limit = f"{name.replace('_', ' ')}, {money(allowed)}"
            words = f"{what} is {money(most)}, more than {limit}: it would be kept back"
            found.append(html.P([icon("alert-triangle"), words], className="cost-note"))
    return found


def _facts(lines: Sequence[tuple[str, str, str]]) -> Component:
    return html.Dl(
        [
            html.Div([html.Dt(name), html.Dd([html.B(figure, className="num"), html.Small(note)])])
            for name, figure, note in lines
        ],
        className="cost-lines",
    )


def _steps(checked: Checked, decimals: int) -> Component | None:
    """The orders of a grid or a DCA bot, the nearest first, as far as there is room."""
    ladder = checked.config.ladder
    last = None if checked.last is None else Decimal(repr(checked.last))
    if isinstance(ladder, DcaSettings):
        sign = -1 if ladder.side is PositionSide.LONG else 1
        spent = ladder.base_notional
        rows: list[list[Any]] = [["Entry", "0.00%", price(last, decimals), money(spent), money(spent)]]
        for number, (distance, notional) in enumerate(safety_orders(ladder), start=1):
            spent += notional
            at = MISSING if last is None else price(last * (1 + sign * distance), decimals)
            rows.append([f"Safety {number}", percent(sign * distance), at, money(notional), money(spent)])
        titles = ["Order", "From entry", "If entered now", "Amount", "Sum"]
    elif isinstance(ladder, GridSettings):
        rows = []
        for number, level in enumerate(reversed(grid_levels(ladder, TradingRules()))):
            away = MISSING if last is None else percent(level / last - 1)
            amount = "sells only" if number == 0 else money(ladder.order_notional)
            rows.append([f"{ladder.levels - number}", price(level, decimals), away, amount])
        titles = ["Level", "Price", "From now", "Buys for"]
    else:
        return None
    left = len(rows) - _MOST_STEPS
    columns = [Column(titles[0]), *(Column(title, numeric=True) for title in titles[1:])]
    return html.Div(
        [
            table(columns, rows[:_MOST_STEPS], label="Orders of the bot"),
            html.P(f"and {left} more", className="muted") if left > 0 else None,
        ],
        className="cost-steps",
    )


def problem_lines(problems: Sequence[Problem]) -> list[Component]:
    """Problems that belong to no field of the form."""
    return [
        html.P(
            [icon("alert-triangle"), html.B(one.field), f" {one.value} ", one.expected],
            className="run-problem",
        )
        for one in problems
    ]
