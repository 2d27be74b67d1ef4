"""The table of bots."""

from __future__ import annotations

from typing import Any

import dash_ag_grid as dag
from dash.development.base_component import Component

ROW_HEIGHT = 46
HEADER_HEIGHT = 36
_MOST_ROWS_SHOWN = 12

GRID_THEME = (
    "themeQuartz.withParams({backgroundColor:'var(--s1)',foregroundColor:'var(--tx)',"
    "headerBackgroundColor:'var(--s1)',headerTextColor:'var(--tx3)',borderColor:'var(--line)',"
    "rowHoverColor:'var(--s2)',selectedRowBackgroundColor:'var(--accent-bg)',accentColor:'var(--accent)',"
    "fontFamily:'inherit',fontSize:12.5,wrapperBorder:false,wrapperBorderRadius:0,"
    "headerColumnResizeHandleColor:'transparent',oddRowBackgroundColor:'var(--s1)'})"
)


def grid_height(bots: int) -> str:
    """The height that shows so many rows without a gap below them."""
    return f"{HEADER_HEIGHT + ROW_HEIGHT * min(_MOST_ROWS_SHOWN, max(2, bots)) + 2}px"


def bots_grid(bots: int) -> Component:
    """Empty, with room for so many; rows come as `bots_panels.grid_row` makes them."""

    def column(field: str, title: str, **options: Any) -> dict[str, Any]:
        return {"field": field, "headerName": title, "resizable": True, "sortable": True, **options}

    def two_lines(field: str, title: str, lines: str, **options: Any) -> dict[str, Any]:
        right = options.pop("right", True)
        looks = {"type": "rightAligned"} if right else {}
        return column(
            field,
            title,
            cellRenderer="TwoLines",
            cellRendererParams={"lines": lines, "right": right},
            **looks,
            **options,
        )

    columns = [
        column(
            "bot",
            "Bot",
            flex=1.6,
            minWidth=150,
            cellRenderer="BotLink",
            cellDataType=False,
        ),
        column(
            "market",
            "Market",
            flex=1,
            minWidth=105,
            cellRenderer="TwoLines",
            cellRendererParams={"lines": "market"},
            cellDataType=False,
        ),
        column("state", "State", cellRenderer="State", width=112),
        column("spark", "Equity curve", cellRenderer="Spark", width=122, sortable=False),
        two_lines("equity", "Equity", "equity_lines", flex=1, minWidth=105),
        two_lines("return", "Return", "return_lines", flex=1, minWidth=105),
        two_lines("position", "Position", "position_lines", flex=1.1, minWidth=120),
        two_lines("trades", "Trades", "trades_lines", width=92),
        two_lines("signal", "Last signal", "signal_lines", flex=1, minWidth=105),
        column("health", "Health", cellRenderer="Health", flex=1.5, minWidth=110),
        column("actions", "", cellRenderer="Actions", width=96, sortable=False, cellDataType=False),
    ]
    grid: Component = dag.AgGrid(
        id="bots-grid",
        className="bots-grid",
        columnDefs=columns,
        rowData=[],
        getRowId="params.data.id",
        dashGridOptions={
            "theme": {"function": GRID_THEME},
            "rowHeight": ROW_HEIGHT,
            "headerHeight": HEADER_HEIGHT,
            "rowSelection": {"mode": "multiRow", "checkboxes": True, "headerCheckbox": True},
            "selectionColumnDef": {"width": 44, "pinned": "left"},
            "suppressCellFocus": False,
            "animateRows": False,
            "localeText": {"noRowsToShow": "No bot is in this state"},
        },
        style={"height": grid_height(bots), "width": "100%"},
    )
    return grid
