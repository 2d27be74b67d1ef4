"""The design tokens as data, for what cannot read CSS: canvas charts, Plotly figures and Mantine.

`assets/10-tokens.css` holds the same values for everything else; a test keeps the two equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Theme:
    """Colours of one scheme as CSS strings. `tx` is text, `s1` to `s3` are surfaces from flat to raised."""

    name: str  # "dark" or "light", "dark-cvd" or "light-cvd"
    bg: str
    s1: str
    s2: str
    s3: str
    line: str
    line2: str
    tx: str
    tx2: str
    tx3: str
    accent: str
    accent_fill: str  # under a line in accent
    warn: str
    up: str  # fills: candles, bars, sparklines
    down: str
    up_text: str
    down_text: str
    up_soft: str  # volume bars
    down_soft: str
    down_fill: str  # under a drawdown
    grid: str  # grid lines of charts
    overlays: tuple[str, ...]  # indicator lines, in order of use; never the up and down colours


_OVERLAYS = ("#f5b83d", "#8f7bff", "#5b9bff", "#e879b9", "#a3c940", "#7890be")

DARK = Theme(
    name="dark",
    bg="#0b0e14",
    s1="#11151d",
    s2="#171c26",
    s3="#1e2530",
    line="#212835",
    line2="#2e3747",
    tx="#e6eaf2",
    tx2="#a3adbd",
    tx3="#7d8798",
    accent="#4c8dff",
    accent_fill="rgba(76,141,255,.18)",
    warn="#f5b83d",
    up="#26a69a",
    down="#ef5350",
    up_text="#3cc4b1",
    down_text="#ff6f6a",
    up_soft="rgba(38,166,154,.45)",
    down_soft="rgba(239,83,80,.45)",
    down_fill="rgba(239,83,80,.25)",
    grid="rgba(46,55,71,.45)",
    overlays=_OVERLAYS,
)

LIGHT = Theme(
    name="light",
    bg="#f3f5f8",
    s1="#ffffff",
    s2="#f1f4f8",
    s3="#e5eaf1",
    line="#dde3eb",
    line2="#c3ccd8",
    tx="#141a24",
    tx2="#475467",
    tx3="#5f6b7c",
    accent="#1f5fd6",
    accent_fill="rgba(31,95,214,.12)",
    warn="#8a5a00",
    up="#26a69a",
    down="#ef5350",
    up_text="#0a7565",
    down_text="#c62f2c",
    up_soft="rgba(38,166,154,.5)",
    down_soft="rgba(239,83,80,.45)",
    down_fill="rgba(239,83,80,.18)",
    grid="rgba(195,204,216,.45)",
    # Darker than on the dark page, so that a one-pixel line stands out from white.
    overlays=("#c98500", "#6a54e0", "#2f74e0", "#c2408e", "#6d8f14", "#6f83a8"),
)

# For eyes that do not tell green from red. Overlays keep away from blue and amber as well.
DARK_CVD = replace(
    DARK,
    name="dark-cvd",
    up="#3b9eff",
    down="#f5a524",
    up_text="#62b2ff",
    down_text="#f9b84e",
    up_soft="rgba(59,158,255,.45)",
    down_soft="rgba(245,165,36,.45)",
    down_fill="rgba(245,165,36,.22)",
    overlays=("#e6eaf2", "#8f7bff", "#e879b9", "#a3c940", "#7890be", "#d08c60"),
)
LIGHT_CVD = replace(
    LIGHT,
    name="light-cvd",
    up="#3b9eff",
    down="#f5a524",
    up_text="#0b5cad",
    down_text="#8a5200",
    up_soft="rgba(59,158,255,.5)",
    down_soft="rgba(245,165,36,.5)",
    down_fill="rgba(245,165,36,.18)",
    overlays=("#141a24", "#6a54e0", "#c2408e", "#6d8f14", "#6f83a8", "#9c5a2e"),
)

THEMES: Mapping[str, Theme] = {theme.name: theme for theme in (DARK, LIGHT, DARK_CVD, LIGHT_CVD)}

FONT = "Inter, system-ui, -apple-system, 'Segoe UI', sans-serif"

MANTINE_THEME: dict[str, Any] = {
    "fontFamily": FONT,
    "primaryColor": "blue",
    "defaultRadius": 6,
    "cursorType": "pointer",
    "colors": {
        # Mantine's dark scale from text to page: its overlays and inputs fit without styles of their own.
        "dark": [
            "#e6eaf2",
            "#a3adbd",
            "#7d8798",
            "#566074",
            "#2e3747",
            "#212835",
            "#171c26",
            "#11151d",
            "#0b0e14",
            "#070a0f",
        ]
    },
}


def scheme_in(palette: object, scheme: object) -> str:
    """The name of a scheme in the palette of that name; as it is for any other palette."""
    name = theme_named(scheme).name
    plain = name.removesuffix("-cvd")
    return {"cvd": f"{plain}-cvd", "default": plain}.get(palette, name) if isinstance(palette, str) else name


def theme_named(name: object) -> Theme:
    """The theme a browser asked for; the dark one for anything unknown."""
    return THEMES.get(name, DARK) if isinstance(name, str) else DARK
