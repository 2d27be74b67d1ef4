"""The Strategies page: saved strategies, a form and an editor over the same text, versions and a preview."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from dash import ClientsideFunction, Dash, Input, Output, State, html, no_update
from dash.development.base_component import Component

from dashboard.page import Page
from dashboard.pages.strategies_edits import register_edits
from dashboard.pages.strategies_layout import TABS, strategies_layout
from dashboard.pages.strategies_panels import (
    head,
    run_links,
    strategy_list,
    template_menu,
    verdict,
    versions_panel,
)
from dashboard.pages.strategies_text import marked
from dashboard.pages.strategies_view import register_view
from dashboard.panels import error_state, read_or_error
from dashboard.readers import MarketReader, StrategyDesk, StrategyShelf
from data.errors import InvalidInput, TradingError
from jobs.research import ResearchReader, RunSummary
from strategies.loader import parse_document, parse_strategy
from strategies.rules import RuleStrategy
from strategies.versions import StrategyKind, StrategyVersion

PATH = "/strategies"
_MOST_RUNS = 500  # looked through for the last backtest of each strategy
_FIRST = "ema_crossover"  # the template a desk without strategies begins with
EMPTY = """{
  "name": "new-strategy",
  "timeframe": "5m",
  "parameters": {},
  "indicators": {},
  "long": {
    "entry": {"all": [{"gt": ["close", "open"]}]}
  },
  "protection": {"stop_loss": 0.02}
}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategySources:
    """What the page reads."""

    strategies: StrategyDesk
    shelf: StrategyShelf
    research: ResearchReader
    market: MarketReader


def strategies_page(sources: StrategySources) -> Page:
    return Page(
        path=PATH,
        title="Strategies",
        icon="code",
        layout=strategies_layout,
        register=lambda app: register_strategies(app, sources),
        key="e",
    )


def register_strategies(app: Dash, sources: StrategySources) -> None:
    """The page's callbacks."""
    _register_opening(app, sources)
    _register_checking(app, sources)
    register_edits(app, sources.strategies)
    register_view(app, sources.market)


def asked(search: str | None) -> dict[str, str]:
    """The query of an address; of a name given twice the first."""
    return {
        name: values[0]
        for name, values in parse_qs((search or "").lstrip("?"), keep_blank_values=True).items()
    }


def opened_of(version: StrategyVersion) -> dict[str, Any]:
    """What the browser keeps of the version that is open."""
    return {
        "name": version.name,
        "kind": version.kind.value,
        "number": version.number,
        "content": version.content,
        "key": f"{version.name}@{version.number}",
    }


def draft(name: str, content: str, key: str) -> dict[str, Any]:
    """A strategy that is not saved yet. Python takes its name from its file."""
    python = name.endswith(".py")
    return {
        "name": name.removesuffix(".py") if python else "",
        "kind": (StrategyKind.PYTHON if python else StrategyKind.JSON).value,
        "number": 0,
        "content": content,
        "key": key,
    }


def read_asked(sources: StrategySources, wanted: Mapping[str, str]) -> dict[str, Any]:
    """What an address opens: a saved version, a template, else the first saved one. Raises InvalidInput."""
    if name := wanted.get("name"):
        number = wanted.get("version")
        return opened_of(sources.strategies.show(f"{name}@{number}" if number else name))
    if "template" in wanted:
        template = wanted["template"]
        text = sources.shelf.text(template) if template else EMPTY
        return draft(template, text, f"template {template}")
    known = sources.strategies.list_strategies()
    if known:
        return opened_of(sources.strategies.show(known[0].name))
    text = sources.shelf.text(_FIRST) if _FIRST in sources.shelf.names() else EMPTY
    return draft(_FIRST, text, f"template {_FIRST}")


def last_runs(research: ResearchReader) -> dict[str, RunSummary]:
    """The newest backtest of each strategy, by name."""
    found: dict[str, RunSummary] = {}
    for run in research.runs(limit=_MOST_RUNS):
        found.setdefault(run.strategy, run)
    return found


def _register_opening(app: Dash, sources: StrategySources) -> None:
    @app.callback(
        Output("strategy-opened", "data"),
        Output("strategy-text", "data"),
        Output("strategy-tab", "value"),
        Output("strategy-verdict", "children", allow_duplicate=True),
        Input("url", "search"),
        Input("strategy-saved", "data"),
        State("url", "pathname"),
        State("strategy-opened", "data"),
        prevent_initial_call="initial_duplicate",
    )
    async def open_strategy(
        search: str | None, _saved: int | None, pathname: str | None, opened: dict[str, Any] | None
    ) -> tuple[Any, ...]:
        if pathname != PATH:
            return (no_update,) * 4
        wanted = asked(search)
        tab = wanted.get("tab", "form")
        tab = tab if tab in TABS else "form"
        try:
            found = await asyncio.to_thread(read_asked, sources, wanted)
        except TradingError as error:
            return no_update, no_update, tab, error_state("The strategy", error)
        if found["kind"] == StrategyKind.PYTHON and tab == "form":
            tab = "text"
        if opened is not None and opened["key"] == found["key"] and opened["content"] == found["content"]:
            return no_update, no_update, tab, no_update
        return found, found["content"], tab, no_update

    @app.callback(
        Output("strategies-list", "children"),
        Output("strategy-templates", "children"),
        Input("strategy-opened", "data"),
        Input("strategy-saved", "data"),
        Input("strategies-filter", "value"),
        Input("strategies-archived", "checked"),
    )
    async def show_list(
        opened: dict[str, Any] | None, _saved: int | None, wanted: str | None, archived: bool | None
    ) -> tuple[Any, ...]:
        names = await asyncio.to_thread(sources.shelf.names)

        def read() -> Component:
            words = (wanted or "").casefold()
            found = [
                one
                for one in sources.strategies.list_strategies(archived=bool(archived))
                if words in one.name.casefold()
            ]
            templates = [name for name in names if words in name.casefold()]
            return strategy_list(
                found, last_runs(sources.research), (opened or {}).get("name", ""), templates
            )

        return await read_or_error("The strategies", read), template_menu(names)


def checked(text: str, kind: str) -> tuple[list[Any], RuleStrategy | None]:
    """Every problem of a text at its line, or the strategy it describes. Python is judged on saving."""
    if kind == StrategyKind.PYTHON:
        return [], None
    try:
        return [], parse_strategy(parse_document(text, "strategy"), "strategy")
    except InvalidInput as invalid:
        return marked(text, invalid.problems), None


def _register_checking(app: Dash, sources: StrategySources) -> None:
    app.clientside_callback(  # type: ignore[no-untyped-call]  # Dash leaves it untyped
        ClientsideFunction("strategies", "edit"),
        Input("strategy-text", "data"),
        Input("strategy-opened", "data"),
        Input("strategy-tab", "value"),
    )
    app.clientside_callback(  # type: ignore[no-untyped-call]
        ClientsideFunction("strategies", "mark"), Input("strategy-marks", "data")
    )
    app.clientside_callback(  # type: ignore[no-untyped-call]
        ClientsideFunction("strategies", "keep"),
        Input("strategy-text", "data"),
        Input("strategy-opened", "data"),
    )
    app.clientside_callback(  # type: ignore[no-untyped-call]
        ClientsideFunction("strategies", "tab"),
        Output("url", "search", allow_duplicate=True),
        Input("strategy-tab", "value"),
        prevent_initial_call=True,
    )

    @app.callback(
        Output("strategy-head", "children"),
        Output("strategy-links", "children"),
        Output("strategy-verdict", "children"),
        Output("strategy-marks", "data"),
        Input("strategy-text", "data"),
        Input("strategy-opened", "data"),
        prevent_initial_call=True,
    )
    async def check(text: str | None, opened: dict[str, Any] | None) -> tuple[Any, ...]:
        if text is None or not opened:
            return (no_update,) * 4

        def read() -> tuple[Any, ...]:
            found, strategy = checked(text, opened["kind"])
            number = opened["number"]
            version = sources.strategies.show(f"{opened['name']}@{number}") if number else None
            shown = {**opened, "name": opened["name"] or (strategy.name if strategy else "")}
            return (
                head(shown, version, text != opened["content"]),
                run_links(opened["name"]) if number else None,
                verdict(found, strategy, opened["kind"]),
                [
                    {"line": one.line, "words": f"{one.field}: {one.words}" if one.field else one.words}
                    for one in found
                ],
            )

        try:
            return await asyncio.to_thread(read)
        except TradingError as error:
            return no_update, no_update, error_state("The strategy", error), []

    @app.callback(
        Output("strategy-versions", "children"),
        Output("strategy-before", "data"),
        Output("strategy-before", "value"),
        Input("strategy-tab", "value"),
        Input("strategy-opened", "data"),
        Input("strategy-before", "value"),
        prevent_initial_call=True,
    )
    async def show_versions(tab: str, opened: dict[str, Any] | None, before: str | None) -> tuple[Any, ...]:
        if tab != "versions" or not opened:
            return (no_update,) * 3
        if not opened["number"]:
            return html.P("Versions begin with the first save.", className="muted diff-head"), [], None

        def read() -> tuple[Any, ...]:
            history = sources.strategies.history(opened["name"])
            shown = next(one for one in history if one.number == opened["number"])
            others = [one for one in history if one.number != shown.number]
            earlier = [one for one in others if one.number < shown.number]
            chosen = next(
                (one for one in others if str(one.number) == before),
                max(earlier, key=lambda one: one.number, default=others[0] if others else None),
            )
            found = []
            if chosen is not None:
                found = sources.strategies.diff(
                    f"{shown.name}@{chosen.number}", f"{shown.name}@{shown.number}"
                )
            data = [{"value": str(one.number), "label": f"v{one.number}"} for one in others]
            return versions_panel(history, shown, chosen, found), data, str(chosen.number) if chosen else None

        try:
            return await asyncio.to_thread(read)
        except TradingError as error:
            return error_state("The versions", error), no_update, no_update
