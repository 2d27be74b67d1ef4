"""The frame of a report: one HTML page that holds its style, its program and its figures."""

from __future__ import annotations

import html
from collections.abc import Sequence
from importlib import resources
from typing import Any

import msgspec

from backtesting.report_tables import MISSING

# The smallest bundle with candlesticks: plotly.js-finance-dist-min 4.1.0 (MIT, licence beside it).
_PLOTLY = "plotly-finance.min.js"
_ENCODER = msgspec.json.Encoder()
# Nothing may be fetched, whatever the texts in a page try.
_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"


class Page:
    """Collects the parts of a report in the order of reading."""

    def __init__(self, title: str, subtitle: str, tags: Sequence[tuple[str, bool]]) -> None:
        """`tags` are short facts in the head; true marks one that asks for attention."""
        self._title = title
        marks = "".join(
            f'<span class="tag{" warn" if warns else ""}">{html.escape(text)}</span>' for text, warns in tags
        )
        self._parts = [
            f'<header><h1>{html.escape(title)}</h1><p class="sub">{html.escape(subtitle)}</p>'
            f'<div class="tags">{marks}</div></header>'
        ]
        self._figures: list[str] = []

    def cards(self, cards: Sequence[tuple[str, str, str, float | None]]) -> None:
        """The few figures that matter most: (name, value, remark, what colours the value or None)."""
        told = []
        for name, value, remark, sign in cards:
            kind = "" if not sign or value == MISSING else "gain" if sign > 0 else "loss"
            told.append(
                f'<div class="kpi"><span>{html.escape(name)}</span><b class="{kind}">{html.escape(value)}</b>'
                f"<small>{html.escape(remark)}</small></div>"
            )
        self._parts.append(f'<div class="kpis">{"".join(told)}</div>')

    def notice(self, text: str) -> None:
        """A sentence that must not be missed."""
        self._parts.append(f'<section class="notice" role="note"><p>{html.escape(text)}</p></section>')

    def section(self, title: str, body: str, remark: str = "", *, long: bool = False) -> None:
        """A panel over the whole width; `long` ones may be broken between printed pages."""
        self._parts.append(_section(title, body, remark, "long" if long else ""))

    def pair(self, *sections: tuple[str, str, str], narrow: bool = False) -> None:
        """Panels beside each other where there is room: (title, body, remark) of each."""
        kind = "pair narrow" if narrow else "pair"
        self._parts.append(f'<div class="{kind}">{"".join(_section(*part) for part in sections)}</div>')

    def chart(self, name: str, label: str, figure: dict[str, Any]) -> str:
        """The place of a figure, for a section's body. `name` is unique in the page."""
        self.keep(f"figure-{name}", figure)
        height = figure["layout"]["height"]
        return (
            f'<div class="chart" id="chart-{name}" data-figure="figure-{name}" role="img" '
            f'aria-label="{html.escape(label)}" style="min-height:{height}px"></div>'
        )

    def keep(self, identity: str, figure: dict[str, Any]) -> None:
        """Store a figure in the page without a place of its own."""
        # A text of a person's could otherwise close the script.
        content = _ENCODER.encode(figure).decode().replace("<", "\\u003c")
        self._figures.append(f'<script type="application/json" id="{identity}">{content}</script>')

    def choice(self, name: str, label: str, choices: Sequence[tuple[str, dict[str, Any]]]) -> str:
        """A list to choose from, and the figure of what is chosen; (text, figure) of each."""
        for number, (_, figure) in enumerate(choices):
            self.keep(f"figure-{name}-{number}", figure)
        options = "".join(
            f'<option value="figure-{name}-{number}">{html.escape(text)}</option>'
            for number, (text, _) in enumerate(choices)
        )
        height = choices[0][1]["layout"]["height"]
        return (
            f'<select data-chart="chart-{name}" aria-label="{html.escape(label)}">{options}</select>'
            f'<div class="chart" id="chart-{name}" data-figure="figure-{name}-0" role="img" '
            f'aria-label="{html.escape(label)}" style="min-height:{height}px"></div>'
        )

    def render(self) -> str:
        """The page."""
        return "\n".join(
            [
                "<!doctype html>",
                '<html lang="en"><head><meta charset="utf-8">',
                f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
                '<meta name="viewport" content="width=device-width, initial-scale=1">',
                '<meta name="color-scheme" content="dark light"><link rel="icon" href="data:,">',
                f"<title>{html.escape(self._title)}</title><style>{_asset('report.css')}</style></head>",
                "<body><main>",
                *self._parts,
                "<footer>Times are UTC. Fractions of money are exact where trades are booked; "
                "figures are computed in double precision.</footer></main>",
                *self._figures,
                f"<script>{_asset(_PLOTLY)}</script>",
                f"<script>{_asset('report.js')}</script>",
                "</body></html>",
            ]
        )


def _section(title: str, body: str, remark: str, kind: str = "") -> str:
    told = f"<p>{html.escape(remark)}</p>" if remark else ""
    return f'<section class="{kind}"><h2>{html.escape(title)}</h2>{told}{body}</section>'


def _asset(name: str) -> str:
    return resources.files("backtesting").joinpath("assets", name).read_text(encoding="utf-8")
