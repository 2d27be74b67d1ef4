"""The form of the display preferences: colours, time zone, numbers and what draws prices."""

from __future__ import annotations

from collections.abc import Mapping

import dash_mantine_components as dmc
from dash import html
from dash.development.base_component import Component

from dashboard.pages.settings_forms import panel
from dashboard.settings_readers import Display
from dashboard.writing import LOCAL_ZONE, NUMBERS, zones


def display_form(display: Display) -> Component:
    """How the pages look."""
    return panel(
        "Display",
        "sun",
        "for every browser that opens this desk",
        [
            _choice(
                "theme", "Theme", {"dark": "Dark", "light": "Light", "system": "As the system"}, display.theme
            ),
            _choice(
                "palette",
                "Up and down",
                {"default": "Green and red", "cvd": "Blue and amber, for colour-blind eyes"},
                display.palette,
            ),
            _choice(
                "zone",
                "Time zone",
                {
                    "UTC": "UTC",
                    LOCAL_ZONE: "The zone of each browser",
                    **{name: name for name in zones()[1:]},
                },
                display.zone,
                searchable=True,
            ),
            _choice("numbers", "Numbers", {name: number_example(name) for name in NUMBERS}, display.numbers),
            _choice(
                "chart",
                "Price chart",
                {
                    "canvas": "Canvas, for any length of history",
                    "plotly": "Plotly, 400 candles at a time",
                },
                display.chart,
            ),
            html.P(
                "The button in the header still changes one browser's theme, until another is saved here. "
                "What is typed into forms, files, the command line and candles of days stay in UTC.",
                className="muted",
            ),
        ],
        form="display",
    )


def _choice(
    name: str, label: str, choices: Mapping[str, str], value: str, *, searchable: bool = False
) -> Component:
    select: Component = dmc.Select(
        id=f"settings-{name}",
        label=label,
        data=[{"value": one, "label": words} for one, words in choices.items()],
        value=value,
        allowDeselect=False,
        searchable=searchable,
        nothingFoundMessage="Nothing by that name",
        maxDropdownHeight=320,
    )
    return select


def number_example(name: str) -> str:
    """`1,234,567.89` as one of NUMBERS writes it."""
    group, point = NUMBERS[name]
    return group.join(("1", "234", "567")) + point + "89"
