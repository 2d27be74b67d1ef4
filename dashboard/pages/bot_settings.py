"""The settings of a bot: a form to change them, and every version with what it changed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

from dash import ALL, Dash, Input, Output, State, ctx, dcc, html, no_update
from dash.development.base_component import Component

from bots.config import BotConfig, parse_bot
from bots.ladders.settings import LadderType
from bots.lifecycle import ACTIVE
from bots.views import BotView, VersionView
from dashboard.number_formats import day_and_time, full_time, zone_name
from dashboard.pages.bot_check import check, cost_panel, problem_lines, read_choices
from dashboard.pages.bot_form import (
    KINDS,
    STRATEGY,
    document_of,
    field_component,
    ladder_fields,
    limit_fields,
    money_fields,
    parameter_fields,
    parameters_of,
    restart_field,
    section,
    told,
    trading_fields,
    values_of,
)
from dashboard.pages.bots_sources import WHO, BotSources
from dashboard.panels import aria, icon, tag, toast
from data.errors import InvalidInput, TradingError
from strategies.definition import ParameterRange

SCOPE = "set-bot"
_LONGEST = 60


def settings_panel(sources: BotSources, bot: BotView) -> Component:
    """The form filled with what is wanted of the bot now, and its versions. Reads the store."""
    _, document = sources.bots.settings(bot.name)
    versions = sources.bots.versions(bot.name)
    if "venue" not in document:  # its file never could be read
        words = (
            "The bot's file cannot be used, so there are no settings to change: its health says what to mend."
        )
        return html.Div([html.P(words, className="settings-none")], className="panel-body")
    choices = read_choices(sources)
    kind = kind_of(document)
    given: dict[str, str | None] = dict(values_of(document))
    fixed = {"name", *({"capital"} if bot.started_at_us else ()), *({"market"} if bot.holds else ())}
    fixed |= {"venue"} if bot.started_at_us else set()
    if kind == STRATEGY:
        own = section("Parameters", parameter_fields(_parameters(sources, document), given), SCOPE)
    else:
        own = section("Orders", ladder_fields(LadderType(kind), given, choices), SCOPE)
    form = html.Div(
        [
            section("What it trades", trading_fields(kind, given, choices, fixed), SCOPE),
            own,
            section("Money", money_fields(given, choices, fixed), SCOPE),
            section("Limits", limit_fields(given, choices), SCOPE),
            html.Section(
                [html.H3("Restart"), field_component(restart_field(given), SCOPE)], className="bot-section"
            ),
        ],
        className="bot-form",
    )
    when = (
        "A running bot takes a new version between two candles; its position stays."
        if bot.state in ACTIVE
        else "The bot takes a new version at its next start."
    )
    return html.Div(
        [
            dcc.Store(id="settings-kind", data=kind),
            html.Div(
                [
                    form,
                    html.Div(id="settings-problems", role="alert", className="settings-problems"),
                    html.Div(
                        [
                            html.Span(when, className="muted"),
                            html.Button(
                                [icon("device-floppy"), "Save as a new version"],
                                id="settings-save",
                                className="button primary",
                                type="button",
                            ),
                        ],
                        className="settings-end",
                    ),
                ],
                className="settings-form",
            ),
            html.Div(
                [
                    html.Div([icon("shield-half"), "What it may cost"], className="panel-head"),
                    html.Div(id="settings-cost", className="cost-panel"),
                    html.Div(
                        [icon("versions"), "Versions", html.Span(str(len(versions)), className="count")],
                        className="panel-head versions-head",
                    ),
                    html.Div(versions_list(bot.name, versions), id="settings-versions"),
                ],
                className="settings-side",
            ),
        ],
        className="settings panel-body",
    )


def kind_of(document: Mapping[str, Any]) -> str:
    """A key of the wizard's kinds."""
    kind = str(document.get("type") or STRATEGY)
    return kind if kind in KINDS else STRATEGY


def _parameters(sources: BotSources, document: Mapping[str, Any]) -> dict[str, ParameterRange]:
    """What the strategy declares; where its file cannot be read, what the bot sets."""
    try:
        declared = dict(parameters_of(str(document.get("strategy") or ""), sources.rules_of))
    except InvalidInput:
        declared = {}
    own = document.get("parameters") or {}
    for name, value in own.items():
        declared.setdefault(name, ParameterRange(default=float(value), minimum=None, maximum=None, step=None))
    return declared


def versions_list(name: str, versions: Sequence[VersionView]) -> list[Component]:
    """Every version, newest first, with what it changed and a way back to it."""
    before = [*versions[1:], None]
    in_force = next((one.version for one in versions if one.applied_at_us is not None), None)
    return [
        _version(name, one, older, newest=at == 0, in_force=one.version == in_force)
        for at, (one, older) in enumerate(zip(versions, before, strict=True))
    ]


def _version(
    name: str, one: VersionView, older: VersionView | None, *, newest: bool, in_force: bool
) -> Component:
    origin = "from its file" if one.from_file else f"by {one.who}"
    if one.reverts_to is not None:
        origin = f"back to version {one.reverts_to}, {origin}"
    state = (
        tag("In force", "up")
        if in_force
        else tag("Waits", "warn")
        if newest
        else tag("Never in force", "flat")
        if one.applied_at_us is None
        else None
    )
    back = html.Button(
        [icon("arrow-back-up"), "Go back to it"],
        id={"type": "bot-revert", "bot": name, "version": one.version},
        className="button",
        type="button",
        **aria(label=f"Go back to version {one.version}"),
    )
    return html.Div(
        [
            html.Div(
                [
                    html.B(f"Version {one.version}"),
                    state,
                    html.Span(className="spacer"),
                    None if newest else back,
                ],
                className="row",
            ),
            html.Div(
                [
                    html.Time(day_and_time(one.at_us), title=full_time(one.at_us), className="num"),
                    f" {zone_name()} {origin}",
                    f": {one.why}" if one.why else "",
                ],
                className="muted",
            ),
            difference_table(difference({} if older is None else older.config, one.config))
            if older is not None
            else None,
        ],
        className="version",
    )


def difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Setting, value before and value now of everything that differs; `-` where one has none."""
    was, is_now = _flat(before), _flat(now)
    return [
        (key, was.get(key, "-"), is_now.get(key, "-"))
        for key in sorted({*was, *is_now})
        if was.get(key) != is_now.get(key)
    ]


def _flat(document: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in document.items():
        if isinstance(value, Mapping):
            found |= {f"{key}.{name}": _shown(one) for name, one in value.items() if one is not None}
        elif value is not None:
            found[key] = _shown(value)
    return found


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def difference_table(changes: Sequence[tuple[str, str, str]]) -> Component:
    """What changed, as one line each."""
    if not changes:
        return html.Div("The same settings", className="muted")
    return html.Ul(
        [
            html.Li([html.Span(key, className="mono"), " ", html.Del(was), " ", html.Ins(is_now)])
            for key, was, is_now in changes
        ],
        className="changes",
    )


def register_settings(app: Dash, sources: BotSources) -> None:
    """The callbacks of the settings tab."""
    _register_check(app, sources)
    _register_save(app, sources)


def _given(ids: Sequence[dict[str, str]], values: Sequence[str | None]) -> dict[str, str | None]:
    return {one["field"]: value for one, value in zip(ids, values, strict=True)}


def _register_check(app: Dash, sources: BotSources) -> None:
    @app.callback(
        Output({"type": SCOPE, "field": ALL}, "error"),
        Output("settings-cost", "children"),
        Input({"type": SCOPE, "field": ALL}, "value"),
        State({"type": SCOPE, "field": ALL}, "id"),
        State("settings-kind", "data"),
        State("bot-shown", "data"),
    )
    async def check_fields(
        values: list[str | None], ids: list[dict[str, str]], kind: str, name: str
    ) -> tuple[list[str | None], Any]:
        given = _given(ids, values)
        keys = list(given)

        def read() -> tuple[list[str | None], Any]:
            try:
                source, before = sources.bots.settings(name)
                known = [str(before["strategy"])] if before.get("strategy") else []
                checked = check(sources, document_of(kind, given), source=source, known=known)
            except InvalidInput as invalid:
                at, others = told(invalid.problems, keys)
                words = html.P("These settings cannot be used as they are.", className="muted")
                return at, [words, *problem_lines(others)]
            return [None] * len(keys), cost_panel(checked, sources.decimals(checked.config.market))

        try:
            return await asyncio.to_thread(read)
        except TradingError as error:
            return [None] * len(keys), html.P(str(error), className="down")


def _register_save(app: Dash, sources: BotSources) -> None:
    @app.callback(
        Output("bot-body", "children", allow_duplicate=True),
        Output("settings-problems", "children"),
        Output({"type": SCOPE, "field": ALL}, "error", allow_duplicate=True),
        Output("notifications", "sendNotifications", allow_duplicate=True),
        Input("settings-save", "n_clicks"),
        State({"type": SCOPE, "field": ALL}, "value"),
        State({"type": SCOPE, "field": ALL}, "id"),
        State("settings-kind", "data"),
        State("bot-shown", "data"),
        running=[(Output("settings-save", "disabled"), True, False)],
        prevent_initial_call=True,
    )
    async def save(
        clicks: int | None, values: list[str | None], ids: list[dict[str, str]], kind: str, name: str
    ) -> tuple[Any, Any, Any, Any]:
        quiet = [no_update] * len(ids)
        if not clicks:
            return no_update, no_update, quiet, no_update
        given = _given(ids, values)

        def work() -> tuple[Any, str]:
            config = _edited(sources, name, kind, given)
            if config is None:
                return no_update, ""
            sources.bots.edit(name, config, who=WHO)
            return settings_panel(sources, sources.bots.bot(name)), "saved"

        try:
            body, done = await asyncio.to_thread(work)
        except InvalidInput as invalid:
            at, _ = told(invalid.problems, list(given))
            return no_update, problem_lines(invalid.problems), at, no_update
        except TradingError as error:
            return no_update, html.P(str(error), className="run-problem"), quiet, no_update
        if not done:
            return (
                no_update,
                None,
                quiet,
                toast("Nothing changed", "These are its settings already", good=True),
            )
        return body, no_update, quiet, toast("Settings saved", f"{name} has a new version", good=True)

    @app.callback(
        Output("bot-body", "children", allow_duplicate=True),
        Output("notifications", "sendNotifications", allow_duplicate=True),
        Input({"type": "bot-revert", "bot": ALL, "version": ALL}, "n_clicks"),
        prevent_initial_call=True,
    )
    async def revert(_clicks: list[int | None]) -> tuple[Any, Any]:
        which = ctx.triggered_id
        if not isinstance(which, dict) or not any(one["value"] for one in ctx.triggered):
            return no_update, no_update
        name, version = str(which["bot"]), int(which["version"])

        def work() -> Component:
            sources.bots.revert(name, to=version, who=WHO)
            return settings_panel(sources, sources.bots.bot(name))

        try:
            body = await asyncio.to_thread(work)
        except TradingError as error:
            return no_update, toast("Not possible", str(error), good=False)
        return body, toast("Gone back", f"{name} has the settings of version {version} again", good=True)


def _edited(sources: BotSources, name: str, kind: str, given: Mapping[str, str | None]) -> BotConfig | None:
    """The settings of the form, checked; None where nothing differs. Raises InvalidInput."""
    source, before = sources.bots.settings(name)
    known = [str(before["strategy"])] if before.get("strategy") else []
    config = check(sources, {**document_of(kind, given), "name": name}, source=source, known=known).config
    try:
        unchanged = parse_bot(before, where="bot") == config
    except InvalidInput:
        unchanged = False  # what it has cannot be used: anything that can is better
    return None if unchanged else config
