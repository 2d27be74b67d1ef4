from __future__ import annotations

import re
from pathlib import Path

import pytest

import dashboard.theme
from dashboard.theme import DARK, DARK_CVD, LIGHT, LIGHT_CVD, THEMES, Theme, theme_named

ASSETS = Path(dashboard.theme.__file__).parent / "assets"
_LIGHT = ":root[data-mantine-color-scheme=light]"
_CVD = ":root[data-palette=cvd]"
_CVD_LIGHT = ":root[data-palette=cvd][data-mantine-color-scheme=light]"


def _tokens(selector: str) -> dict[str, str]:
    text = (ASSETS / "10-tokens.css").read_text(encoding="utf-8")
    block = text.split(selector + "{", 1)[1].split("}", 1)[0]
    return dict(re.findall(r"--([\w-]+):([^;}]+)", block))


@pytest.mark.parametrize(
    ("theme", "selectors"),
    [(DARK, ()), (LIGHT, (_LIGHT,)), (DARK_CVD, (_CVD,)), (LIGHT_CVD, (_LIGHT, _CVD, _CVD_LIGHT))],
)
def test_charts_and_style_sheet_use_the_same_colours(theme: Theme, selectors: tuple[str, ...]) -> None:
    tokens = {name: value for one in (":root", *selectors) for name, value in _tokens(one).items()}
    for field, token in (
        ("bg", "bg"), ("s1", "s1"), ("s2", "s2"), ("s3", "s3"), ("line", "line"), ("line2", "line2"),
        ("tx", "tx"), ("tx2", "tx2"), ("tx3", "tx3"), ("accent", "accent"), ("warn", "warn"),
        ("up", "up"), ("down", "down"), ("up_text", "up-tx"), ("down_text", "down-tx"),
    ):  # fmt: skip
        assert getattr(theme, field) == tokens[token], token


def _luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", THEMES.values(), ids=THEMES)
def test_text_stands_out_from_panels_as_wcag_asks(theme: Theme) -> None:
    for name in ("tx", "tx2", "tx3", "up_text", "down_text", "warn", "accent"):
        light, dark = sorted((_luminance(getattr(theme, name)), _luminance(theme.s1)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, name


def test_every_icon_that_pages_name_exists() -> None:
    drawn = set(re.findall(r"\.i-([\w-]+)\{", (ASSETS / "05-icons.css").read_text(encoding="utf-8")))
    used = set()
    for source in ASSETS.parent.rglob("*.py"):
        used |= set(re.findall(r"icon\(\"([\w-]+)\"", source.read_text(encoding="utf-8")))
    assert used
    assert used <= drawn


def test_nothing_in_the_assets_comes_from_another_host() -> None:
    for asset in ASSETS.rglob("*"):
        if asset.suffix in (".css", ".js"):
            text = re.sub(r"/\*.*?\*/", "", asset.read_text(encoding="utf-8"), flags=re.DOTALL)
            addresses = re.findall(r"https?://[^\s\"')%]+", text)
            assert set(addresses) <= {"http://www.w3.org/2000/svg"}, asset.name


def test_an_unknown_scheme_is_the_dark_one() -> None:
    assert theme_named("light") is LIGHT
    assert theme_named("neon") is DARK
    assert theme_named(None) is DARK
