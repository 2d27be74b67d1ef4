"""The document every page begins as: what is painted before any script ran, and in which order scripts come.

Dash would load every script of every page before it shows anything. Here the header, the navigation and the
frames of the Market page stand in the document itself; then come the scripts that draw the price chart; Dash
follows once the chart is painted (`assets/start.js`), and what the Market page does not use comes last.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dash import Dash

from dashboard.page import Page

_SOURCE = re.compile(r'<script src="([^"]+)"></script>\s*')
_EARLY = ("/react@", "/react-dom@", "/dash_tvlwc.", "/assets/")
# Components of no page of ours, and those of pages without a chart of their own.
_NEVER = ("/dash_table/",)
_LATER = ("/dash_ag_grid/", "dashAgGridComponentFunctions.js")

INDEX = """<!DOCTYPE html>
<html lang="en">
<head>
{%metas%}
<meta name="theme-color" content="#0b0e14">
<title>{%title%}</title>
<link rel="icon" href="/assets/brand.svg" type="image/svg+xml">
%BOOT%
{%css%}
%PRELOADS%
</head>
<body>
%FIRST_PAINT%
{%app_entry%}
<footer>{%config%}{%scripts%}{%renderer%}</footer>
</body>
</html>"""


class DeskApp(Dash):
    """Dash with our document around it."""

    first_paint = ""

    def interpolate_index(self, *_: Any, **parts: Any) -> str:
        """Called by Dash for each page that is loaded."""
        sources = _SOURCE.findall(parts["scripts"])
        other = _SOURCE.sub("", parts["scripts"])
        later = [source for source in sources if _any(source, _LATER)]
        early = [source for source in sources if _any(source, _EARLY) and source not in later]
        rest = [
            source
            for source in sources
            if source not in early and source not in later and not _any(source, _NEVER)
        ]
        tags = "\n".join(f'<script src="{source}"></script>' for source in early)
        renderer = next(source for source in rest if "/dash_renderer." in source)
        # Dash looks for its renderer and for what starts it in the document: start.js is both.
        starter = (
            f'<script id="_dash-renderer" src="{self._asset("start.js")}" data-src="{renderer}"'
            f' data-components="{_attribute(rest)}" data-later="{_attribute(later)}"></script>'
        )
        preloads = "\n".join(f'<link rel="preload" as="script" href="{source}">' for source in rest)
        text = INDEX.replace("%BOOT%", f'<script src="{self._asset("boot.js")}"></script>')
        text = text.replace("%PRELOADS%", preloads).replace("%FIRST_PAINT%", self.first_paint)
        # Dash's renderer starts in start.js, when its script has come.
        parts |= {"scripts": other + tags + starter, "renderer": ""}
        for name, part in parts.items():
            text = text.replace(f"{{%{name}%}}", part)
        return text

    def csp_hashes(self, hash_algorithm: str = "sha256") -> Sequence[str]:
        """Of the inline scripts that are in the document: all of Dash's but the one that starts it."""
        digest = hashlib.new(hash_algorithm, self.renderer.encode()).digest()
        left_out = f"'{hash_algorithm}-{base64.b64encode(digest).decode()}'"
        found = super().csp_hashes(hash_algorithm)
        return [one for one in found if one != left_out]

    def _asset(self, name: str) -> str:
        """The address of a file that Dash does not add by itself, new whenever the file is."""
        changed = (Path(self.config.assets_folder) / name).stat().st_mtime
        return f"/assets/{name}?m={changed}"


def first_paint(pages: Sequence[Page]) -> str:
    """What stands in the window until Dash has drawn the page, with the same classes and so the same places.

    Everything with `data-island` belongs to our own scripts, which move it into the page as it comes.
    """
    links = "".join(
        f'<a class="nav" href="{page.path}"><span class="i i-{page.icon}" aria-hidden="true"></span>'
        f"<span>{html.escape(page.title)}</span></a>"
        for page in pages
    )
    return _FIRST_PAINT.replace("%LINKS%", links)


_FIRST_PAINT = """<div id="first-paint" class="shell" aria-busy="true">
<header class="head" inert><a class="brand" href="/market"><img src="/assets/brand.svg" alt="">
<span>Candlewick</span></a></header>
<nav class="rail" inert>%LINKS%</nav>
<main class="main"><div class="page market">
<section class="panel strip"><div class="symbol-pick first-symbol"><div class="coin"></div><b></b></div>
<div data-island="facts" class="facts-island"></div></section>
<section class="panel chart-panel"><div class="tools">
<span data-island="timeframes" class="tools-island"></span><span data-island="drawings"></span></div>
<div class="chart-box" data-island="chart"></div>
<div data-island="coverage" class="coverage-island"></div></section>
<aside class="side"><section class="panel">
<div class="panel-head"><span class="i i-star"></span>
<span class="watch-tools" data-island="watch-tools"></span></div>
<div class="panel-body" data-island="watchlist"></div></section>
<section class="panel tape-panel" data-island="tape"></section>
<section class="panel"><div class="panel-head"><span class="i i-bolt"></span>Signals</div></section></aside>
<section class="panel tabs-panel"></section>
</div></main>
<nav class="tabbar" inert></nav>
</div>"""


def _any(source: str, parts: Sequence[str]) -> bool:
    return any(part in source for part in parts)


def _attribute(values: Sequence[str]) -> str:
    return html.escape(json.dumps(values))
