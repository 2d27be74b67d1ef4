"""The Strategies page before anything was read: every panel has its final size."""

from __future__ import annotations

import dash_mantine_components as dmc
from dash import dcc, html
from dash.development.base_component import Component

from dashboard.panels import aria, icon, skeleton_rows

TABS = {"form": "Form", "text": "JSON", "versions": "Versions", "preview": "Preview"}


def strategies_layout() -> Component:
    """The page before anything was read: every panel has its final size."""
    return html.Div(
        [
            dcc.Store(id="strategy-opened"),
            dcc.Store(id="strategy-text"),
            dcc.Store(id="strategy-marks"),
            dcc.Store(id="strategy-saved", data=0),
            dcc.Store(id="strategy-scheme"),
            html.Div(
                [
                    html.H1("Strategies"),
                    dmc.Switch(id="strategies-archived", label="Archived too", size="xs", checked=False),
                    html.Span(className="spacer"),
                    dmc.Menu(
                        [
                            dmc.MenuTarget(
                                html.Button(
                                    [icon("plus"), "New strategy"], className="button primary", type="button"
                                )
                            ),
                            dmc.MenuDropdown([], id="strategy-templates"),
                        ],
                        position="bottom-end",
                        shadow="md",
                    ),
                ],
                className="title-row",
            ),
            html.Div([_list_panel(), _editor_panel()], className="strategies-grid"),
            _clone_modal(),
            _archive_modal(),
        ],
        className="page strategies",
    )


def _list_panel() -> Component:
    return html.Section(
        [
            html.Div(
                dmc.TextInput(
                    id="strategies-filter",
                    placeholder="Filter",
                    size="xs",
                    leftSection=icon("filter"),
                    value="",
                    **aria(label="Filter strategies"),
                ),
                className="list-filter",
            ),
            html.Div(skeleton_rows(8), id="strategies-list", className="panel-body"),
        ],
        className="panel strategies-list",
        **aria(label="Saved strategies"),
    )


def _editor_panel() -> Component:
    tools = html.Div(
        [
            html.Span(id="strategy-links", className="links"),
            html.Button(
                icon("copy"),
                id="strategy-clone",
                className="icon-button saved-only",
                type="button",
                title="Clone",
                **aria(label="Clone this strategy"),
            ),
            html.Button(
                icon("trash"),
                id="strategy-archive",
                className="icon-button saved-only",
                type="button",
                title="Archive",
                **aria(label="Archive this strategy"),
            ),
            dmc.TextInput(
                id="strategy-why",
                value="",
                placeholder="Why, for the history",
                size="xs",
                className="why",
                **aria(label="Why this version is saved"),
            ),
            html.Button(
                [icon("device-floppy"), "Save and prove"],
                id="strategy-save",
                className="button primary",
                type="button",
            ),
        ],
        className="end strategy-tools",
    )
    return html.Section(
        [
            html.Div(
                [html.Div(id="strategy-head", className="strategy-head"), tools], className="panel-head"
            ),
            dmc.Tabs(
                dmc.TabsList([dmc.TabsTab(label, value=name) for name, label in TABS.items()]),
                id="strategy-tab",
                value="form",
                color="blue",
            ),
            html.Div(  # over what is written: nothing moves for it
                html.Div(
                    [
                        icon("hourglass"),
                        "Proving that no signal depends on later candles: rules run again on a year of "
                        "candles, each time without what came later. This takes up to 10 seconds.",
                    ],
                    id="strategy-proving",
                    className="proving",
                    role="status",
                    hidden=True,
                ),
                className="proving-place",
            ),
            html.Div(
                [
                    html.Div(skeleton_rows(10), id="strategy-form", className="strategy-pane"),
                    html.Div(
                        html.Div(id="strategy-editor", className="editor-box"),
                        id="strategy-text-pane",
                        className="strategy-pane",
                        style={"display": "none"},
                    ),
                    html.Div(
                        [
                            dmc.Select(
                                id="strategy-before",
                                size="xs",
                                label="Compare with",
                                allowDeselect=False,
                                data=[],
                                className="compare-pick",
                            ),
                            html.Div(id="strategy-versions"),
                        ],
                        id="strategy-versions-pane",
                        className="strategy-pane",
                        style={"display": "none"},
                    ),
                    html.Div(
                        id="strategy-preview-pane", className="strategy-pane", style={"display": "none"}
                    ),
                ],
                className="strategy-body",
            ),
            html.Div(id="strategy-verdict", className="strategy-verdict"),
        ],
        className="panel strategy-panel",
        **aria(label="Strategy"),
    )


def _clone_modal() -> Component:
    modal: Component = dmc.Modal(
        [
            dmc.TextInput(id="clone-name", label="Name of the copy", size="xs", value=""),
            html.Div(
                [
                    html.Button("Keep one", id="clone-cancel", className="button", type="button"),
                    html.Button("Clone", id="clone-do", className="button primary", type="button"),
                ],
                className="confirm-buttons",
            ),
        ],
        id="clone-modal",
        title="Clone strategy",
        opened=False,
        centered=True,
        size=420,
        closeButtonProps=aria(label="Close"),
    )
    return modal


def _archive_modal() -> Component:
    modal: Component = dmc.Modal(
        [
            html.P(
                "It leaves the lists. Its versions, backtests and bots stay as they are; saving it once more "
                "brings it back.",
                className="confirm",
            ),
            html.Div(
                [
                    html.Button("Keep it", id="archive-cancel", className="button", type="button"),
                    html.Button("Archive", id="archive-do", className="button danger", type="button"),
                ],
                className="confirm-buttons",
            ),
        ],
        id="archive-modal",
        title="",
        opened=False,
        centered=True,
        size=420,
        closeButtonProps=aria(label="Close"),
    )
    return modal
