"""What changes a strategy on its page: the fields of the form, saving, cloning, archiving."""

from __future__ import annotations

import asyncio
from typing import Any

from dash import ALL, Dash, Input, Output, State, ctx, no_update
from dash.development.base_component import Component

from dashboard.pages.strategies_form import ACTION, FIELD, strategy_form
from dashboard.pages.strategies_operands import acted, changed
from dashboard.pages.strategies_panels import strategy_href
from dashboard.panels import empty_state, toast
from dashboard.readers import StrategyDesk
from data.errors import InvalidInput, TradingError
from strategies.loader import parse_document, parse_strategy
from strategies.versions import ProofStatus, StrategyKind, StrategyVersion

WHO = "web page"  # in the history; there are no users yet


def register_edits(app: Dash, strategies: StrategyDesk) -> None:
    """The callbacks that change something."""
    _register_form(app)
    _register_saving(app, strategies)
    _register_shelving(app, strategies)


def form_of(text: str, kind: str) -> Component:
    """The form over a text, or why there is none."""
    if kind == StrategyKind.PYTHON:
        return empty_state("code", "A strategy in Python is written as text.")
    try:
        document = parse_document(text, "strategy")
    except InvalidInput as invalid:
        return empty_state(
            "braces", f"The form needs a JSON text that can be read. {invalid.problems[0].expected}"
        )
    if not isinstance(document, dict):
        return empty_state("braces", "A strategy is a JSON object: {...}")
    return strategy_form(document)


def _register_form(app: Dash) -> None:
    @app.callback(
        Output("strategy-form", "children"),
        Input("strategy-text", "data"),
        Input("strategy-opened", "data"),
        Input("strategy-tab", "value"),
        prevent_initial_call=True,
    )
    async def show_form(text: str | None, opened: dict[str, Any] | None, tab: str) -> Any:
        # What is not seen is not drawn: typing in the editor costs the form nothing.
        if text is None or not opened or tab != "form":
            return no_update
        return form_of(text, opened["kind"])

    @app.callback(
        Output("strategy-text", "data", allow_duplicate=True),
        Output("strategy-form", "children", allow_duplicate=True),
        Input({"type": FIELD, "at": ALL, "as": ALL}, "value"),
        Input({"type": ACTION, "at": ALL, "do": ALL}, "n_clicks"),
        State("strategy-text", "data"),
        State("strategy-opened", "data"),
        prevent_initial_call=True,
    )
    async def edit(
        _values: list[Any], _clicks: list[Any], text: str | None, opened: dict[str, Any] | None
    ) -> tuple[Any, Any]:
        which, told = ctx.triggered_id, ctx.triggered
        # Fields that were only just drawn report themselves as well, several at once.
        if text is None or not opened or not isinstance(which, dict) or len(told) != 1:
            return no_update, no_update
        try:
            if which["type"] == ACTION:
                if not told[0]["value"]:
                    return no_update, no_update
                after = acted(text, which["do"], which["at"])
            else:
                shown = told[0]["value"]
                after = changed(text, which["at"], which["as"], None if shown is None else str(shown))
        except (ValueError, KeyError, IndexError, TypeError):
            # The text moved on under the form, as in another tab of the page: show what it is now.
            return no_update, form_of(text, opened["kind"])
        if after != text:
            return after, no_update
        kept = which.get("as") in ("operator", "key")
        return no_update, form_of(text, opened["kind"]) if kept else no_update


def saved(strategies: StrategyDesk, text: str, opened: dict[str, Any], why: str) -> StrategyVersion:
    """Save what is open under the name that it has. Raises InvalidInput."""
    if opened["kind"] == StrategyKind.PYTHON:
        return strategies.save(opened["name"], text, StrategyKind.PYTHON, who=WHO, why=why)
    name = parse_strategy(parse_document(text, "strategy"), "strategy").name
    return strategies.save(name, text, StrategyKind.JSON, who=WHO, why=why)


def _register_saving(app: Dash, strategies: StrategyDesk) -> None:
    @app.callback(
        Output("url", "search", allow_duplicate=True),
        Output("strategy-saved", "data"),
        Output("notifications", "sendNotifications", allow_duplicate=True),
        Output("strategy-why", "value"),
        Input("strategy-save", "n_clicks"),
        State("strategy-text", "data"),
        State("strategy-opened", "data"),
        State("strategy-saved", "data"),
        State("strategy-tab", "value"),
        State("strategy-why", "value"),
        running=[
            (Output("strategy-save", "disabled"), True, False),
            (Output("strategy-proving", "hidden"), False, True),
        ],
        prevent_initial_call=True,
    )
    async def save(
        clicks: int | None,
        text: str | None,
        opened: dict[str, Any] | None,
        count: int | None,
        tab: str,
        why: str | None,
    ) -> tuple[Any, ...]:
        if not clicks or text is None or not opened:
            return (no_update,) * 4
        try:
            version = await asyncio.to_thread(saved, strategies, text, opened, (why or "").strip())
        except TradingError as error:
            return no_update, no_update, toast("Not saved", str(error), good=False), no_update
        good = version.badge.status is not ProofStatus.REFUTED
        words = f"{version.name} v{version.number}: {version.badge.words}"
        search = strategy_href(version.name, tab=tab).partition("?")[2]
        return (
            f"?{search}",
            (count or 0) + 1,
            toast("Saved" if good else "Saved, but it looks ahead", words, good=good),
            "",
        )


def _register_shelving(app: Dash, strategies: StrategyDesk) -> None:
    @app.callback(
        Output("clone-modal", "opened"),
        Output("clone-name", "value"),
        Output("clone-name", "error"),
        Output("url", "search", allow_duplicate=True),
        Output("strategy-saved", "data", allow_duplicate=True),
        Input("strategy-clone", "n_clicks"),
        Input("clone-cancel", "n_clicks"),
        Input("clone-do", "n_clicks"),
        State("clone-name", "value"),
        State("strategy-opened", "data"),
        State("strategy-saved", "data"),
        running=[(Output("clone-do", "disabled"), True, False)],
        prevent_initial_call=True,
    )
    async def clone(
        _open: int | None,
        _cancel: int | None,
        _do: int | None,
        name: str | None,
        opened: dict[str, Any] | None,
        count: int | None,
    ) -> tuple[Any, ...]:
        if not ctx.triggered[0]["value"] or not opened or not opened["number"]:
            return (no_update,) * 5
        if ctx.triggered_id == "strategy-clone":
            return True, f"{opened['name']}-copy", None, no_update, no_update
        if ctx.triggered_id == "clone-cancel":
            return False, no_update, None, no_update, no_update
        reference = f"{opened['name']}@{opened['number']}"
        try:
            version = await asyncio.to_thread(strategies.clone, reference, name or "", who=WHO)
        except TradingError as error:
            return no_update, no_update, str(error), no_update, no_update
        return False, no_update, None, "?" + strategy_href(version.name).partition("?")[2], (count or 0) + 1

    @app.callback(
        Output("archive-modal", "opened"),
        Output("archive-modal", "title"),
        Output("url", "search", allow_duplicate=True),
        Output("strategy-saved", "data", allow_duplicate=True),
        Output("notifications", "sendNotifications", allow_duplicate=True),
        Input("strategy-archive", "n_clicks"),
        Input("archive-cancel", "n_clicks"),
        Input("archive-do", "n_clicks"),
        State("strategy-opened", "data"),
        State("strategy-saved", "data"),
        prevent_initial_call=True,
    )
    async def archive(
        _open: int | None,
        _cancel: int | None,
        _do: int | None,
        opened: dict[str, Any] | None,
        count: int | None,
    ) -> tuple[Any, ...]:
        if not ctx.triggered[0]["value"] or not opened or not opened["number"]:
            return (no_update,) * 5
        name = opened["name"]
        if ctx.triggered_id == "strategy-archive":
            return True, f"Archive {name}?", no_update, no_update, no_update
        if ctx.triggered_id == "archive-cancel":
            return False, no_update, no_update, no_update, no_update
        try:
            await asyncio.to_thread(strategies.delete, name)
        except TradingError as error:
            return False, no_update, no_update, no_update, toast("Not archived", str(error), good=False)
        done = toast("Archived", f"{name} left the lists; saving it brings it back.", good=True)
        return False, no_update, "", (count or 0) + 1, done
