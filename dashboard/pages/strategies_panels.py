"""The pieces of the Strategies page: the list, the head of one, its problems, its versions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import dash_mantine_components as dmc
from dash import dcc, html
from dash.development.base_component import Component

from dashboard.market_request import markets_words
from dashboard.number_formats import MISSING, day_and_time, full_time, whole
from dashboard.pages.strategies_text import Marked
from dashboard.panels import Column, Content, aria, change, data, icon, link_button, table, tag
from jobs.research import RunSummary
from strategies.rules import RuleStrategy
from strategies.service import Difference
from strategies.versions import Badge, ProofStatus, StrategyKind, StrategySummary, StrategyVersion

_HASH = 10  # letters of a version that are shown
_LONGEST = 60  # of a value in a list of differences
_BADGES = {
    ProofStatus.PROVEN: ("Look-ahead free", "up", "shield-check"),
    ProofStatus.REFUTED: ("Looks ahead", "down", "shield-x"),
    ProofStatus.NOT_PROVEN: ("Not proven", "warn", "shield-half"),
}


def strategy_href(name: str, **query: str) -> str:
    """The address of a saved strategy."""
    return "/strategies?" + urlencode({"name": name, **query})


def badge_tag(badge: Badge) -> Component:
    """What the look-ahead proof found, its sentence in the tool tip."""
    words, kind, icon_name = _BADGES[badge.status]
    return html.Span(tag(words, kind, icon_name), title=badge.words)


def strategy_list(
    summaries: Sequence[StrategySummary],
    runs: Mapping[str, RunSummary],
    chosen: str,
    templates: Sequence[str],
) -> Component:
    """Every strategy with its badges and what its last backtest gave, then what a new one may begin with.

    `runs` are by strategy name.
    """
    return html.Div(
        [
            *(_row(one, runs.get(one.name), one.name == chosen) for one in summaries),
            None if summaries else html.P("No strategy is saved yet.", className="list-note"),
            html.H2("Begin with a template", className="list-head") if templates else None,
            *(_template_row(name) for name in templates),
        ]
    )


def _template_row(name: str) -> Component:
    return dcc.Link(
        [icon("code" if name.endswith(".py") else "template"), name.replace("_", " ")],
        href=_template_href(name),
        className="template-row",
    )


def _template_href(name: str) -> str:
    return "/strategies?" + urlencode({"template": name})


def _row(one: StrategySummary, run: RunSummary | None, chosen: bool) -> Component:
    kind = "Python" if one.kind is StrategyKind.PYTHON else "JSON"
    last: Content = (
        ["Backtest ", change(run.metrics.get("total_return")), f" on {markets_words(run.markets)}"]
        if run
        else "No backtest yet"
    )
    return dcc.Link(
        [
            html.Div([html.B(one.name), html.Span(f"v{one.versions}", className="muted num")]),
            html.Div(
                [
                    tag("Archived", "flat") if one.archived else tag("Valid", "up", "check"),
                    badge_tag(one.badge),
                    tag(kind, "flat"),
                ],
                className="tags",
            ),
            html.Small(last, className="muted"),
        ],
        href=strategy_href(one.name),
        className="strategy-row current" if chosen else "strategy-row",
    )


def template_menu(names: Sequence[str]) -> list[Component]:
    """What a new strategy may begin with."""
    return [
        dmc.MenuItem("Empty", href="/strategies?template=", leftSection=icon("plus")),
        dmc.MenuDivider(),
        dmc.MenuLabel("Templates"),
        *[
            dmc.MenuItem(
                name.replace("_", " "),
                href=_template_href(name),
                leftSection=icon("code" if name.endswith(".py") else "template"),
            )
            for name in names
        ],
    ]


def head(opened: Mapping[str, Any], version: StrategyVersion | None, changed: bool) -> list[Component]:
    """Name, badge and state of what is open."""
    parts: list[Component] = [html.H2(opened["name"] or "New strategy")]
    if version is not None:
        parts += [
            badge_tag(version.badge),
            html.Span(
                f"v{version.number} · {version.version[:_HASH]}",
                className="muted num",
                title=f"{version.version}, saved {full_time(version.saved_at_us)} by {version.who}",
            ),
        ]
    parts.append(
        tag("Unsaved", "warn", "edit") if changed or version is None else tag("Saved", "flat", "check")
    )
    if changed:
        parts.append(
            html.Button(
                "Discard changes",
                id="strategy-discard",
                className="button small",
                type="button",
                title="Back to the text as it was opened",
            )
        )
    return parts


def verdict(found: Sequence[Marked], strategy: RuleStrategy | None, kind: str) -> Component:
    """What the validator says: every problem at its line, or what the strategy amounts to."""
    if found:
        return html.Div(
            [
                html.Button(
                    [
                        html.Span(f"Line {one.line}", className="num"),
                        html.Code(one.field) if one.field else None,
                        html.Span(one.words),
                    ],
                    className="problem",
                    type="button",
                    **data(line=str(one.line)),
                )
                for one in found
            ],
            role="alert",
        )
    if strategy is None:
        words = "Python is checked and proven when it is saved." if kind == StrategyKind.PYTHON else ""
        return html.P([icon("info-circle"), words], className="verdict")
    definition = strategy.definition
    sides = " and ".join(side for side in ("long", "short") if getattr(definition, side) is not None)
    return html.Div(
        [
            html.P(
                [
                    tag("Valid", "up", "check"),
                    f"{definition.timeframe} · {sides} · settles within {whole(strategy.warmup)} candles · "
                    f"{len(definition.parameters)} parameters · hash {definition.version[:_HASH]}",
                ],
                className="verdict",
            ),
            *[
                html.P([icon("alert-triangle"), warning], className="verdict warn-text")
                for warning in definition.warnings
            ],
        ]
    )


def versions_panel(
    history: Sequence[StrategyVersion],
    shown: StrategyVersion,
    before: StrategyVersion | None,
    differences: Sequence[Difference],
) -> Component:
    """Every version, and what changed from `before` to the one that is shown."""
    rows: list[list[Any]] = [
        [
            dcc.Link(
                [html.Strong(f"v{one.number}"), " open" if one.version == shown.version else None],
                href=strategy_href(one.name, version=str(one.number), tab="versions"),
                className="link" if one.version == shown.version else "",
            ),
            html.Span(one.version[:_HASH], className="mono", title=one.version),
            html.Span(day_and_time(one.saved_at_us), title=full_time(one.saved_at_us)),
            one.who,
            one.why or MISSING,
            badge_tag(one.badge),
        ]
        for one in history
    ]
    columns = (
        Column("Version"),
        Column("Hash", narrow=True),
        Column("Saved, UTC"),
        Column("By"),
        Column("Why", narrow=True),
        Column("Proof"),
    )
    return html.Div(
        [
            html.Div(table(columns, rows, label="Versions"), className="versions-table"),
            _differences(shown, before, differences),
        ]
    )


def _differences(
    shown: StrategyVersion, before: StrategyVersion | None, differences: Sequence[Difference]
) -> Component:
    if before is None:
        return html.P("This is the first version.", className="muted diff-head")
    head = html.P(
        [
            "From ",
            html.B(f"v{before.number}"),
            " to ",
            html.B(f"v{shown.number}"),
            f": {len(differences)} {'change' if len(differences) == 1 else 'changes'}",
        ],
        className="diff-head",
    )
    return html.Div(
        [
            head,
            *[
                html.Div(
                    [
                        html.Code(one.path or "everything"),
                        html.Div(
                            [
                                html.Del(_shown(one.before)) if one.before is not None else None,
                                html.Ins(_shown(one.after)) if one.after is not None else None,
                            ]
                        ),
                    ],
                    className="difference",
                )
                for one in differences
            ],
        ],
        className="differences",
        **aria(label="Differences"),
    )


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST or "\n" in text else text[:_LONGEST] + "…"


def run_links(name: str) -> list[Component]:
    """Where a saved strategy goes next."""
    query = urlencode({"new": "backtest", "strategy": name})
    sweep = urlencode({"new": "sweep", "strategy": name})
    return [
        link_button("Backtest", f"/backtests?{query}", "history"),
        link_button("Sweep", f"/backtests?{sweep}", "grid-dots"),
    ]
