"""The trades of a backtest: a sortable table, on phones cards of the newest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import dash_ag_grid as dag
from dash import html
from dash.development.base_component import Component

from dashboard.figures.backtest import time_us
from dashboard.number_formats import arrow, in_zone, quantity, signed, sortable_time, whole
from dashboard.pages.bots_grid import GRID_THEME
from dashboard.panels import amount, aria, change, empty_state, icon

_ROW_HEIGHT = 34
_MOST_SHOWN = 10
_PAGE = 100
_CARDS = 30


def trades_grid(trades: Sequence[Mapping[str, Any]], open_trade: Mapping[str, Any] | None) -> Component:
    """Every closed trade, the newest first; what is still open stands in the head."""
    if not trades and not open_trade:
        words = "No trade was made: no entry was signalled, or every order was refused."
        return html.Section(empty_state("list", words), className="panel")
    held = (
        html.Span(
            f"still open: {open_trade['side']} {_exact(open_trade['quantity'])} "
            f"from {_exact(open_trade['entry_price'])}, "
            f"{signed(float(open_trade['unrealised_pnl']))} at the last close",
            className="muted end",
        )
        if open_trade
        else None
    )
    many = len(trades) > _PAGE
    height = 38 + _ROW_HEIGHT * min(_MOST_SHOWN, max(2, len(trades))) + (48 if many else 0)
    grid = dag.AgGrid(
        id="run-trades",
        className="bots-grid",
        columnDefs=_columns(several=any("symbol" in trade for trade in trades)),
        rowData=[_row(number, trade) for number, trade in enumerate(trades)][::-1],
        getRowId="params.data.id",
        dashGridOptions={
            "theme": {"function": GRID_THEME},
            "rowHeight": _ROW_HEIGHT,
            "headerHeight": 34,
            "animateRows": False,
            "pagination": many,
            "paginationPageSize": _PAGE,
            "localeText": {"noRowsToShow": "No trade was closed"},
        },
        style={"height": f"{height}px", "width": "100%"},
    )
    count = html.Span(whole(len(trades)), className="muted num")
    return html.Section(
        [
            html.Div([icon("list"), "Trades", count, held], className="panel-head"),
            html.Div(grid, className="trades-grid"),
            html.Div([_card(trade) for trade in trades[: -_CARDS - 1 : -1]], className="trade-cards"),
        ],
        className="panel run-trades",
        **aria(label="Trades"),
    )


def _columns(*, several: bool) -> list[dict[str, Any]]:
    def column(field: str, title: str, **options: Any) -> dict[str, Any]:
        return {"field": field, "headerName": title, "sortable": True, "resizable": True, **options}

    def number(field: str, title: str, form: str) -> dict[str, Any]:
        # Values stay numbers, so that sorting is by size; how they are written is a function by name.
        return column(
            field,
            title,
            type="rightAligned",
            cellClass="num",
            minWidth=88,
            flex=1,
            valueFormatter={"function": f"{form}(params.value)"},
        )

    return [
        *([column("symbol", "Symbol", width=110)] if several else []),
        column("side", "Side", width=90),
        column("entry", in_zone("Entry, UTC"), width=164, cellClass="num"),
        number("entry_price", "Price", "tradeExact"),
        column("exit", in_zone("Exit, UTC"), width=164, cellClass="num"),
        number("exit_price", "Price", "tradeExact"),
        number("quantity", "Quantity", "tradeExact"),
        number("fees", "Fees", "tradeMoney"),
        number("pnl", "P&L", "tradeSigned"),
        number("return", "Return", "tradePercent"),
        column("reason", "Exit by", minWidth=110, flex=1),
    ]


def _row(number: int, trade: Mapping[str, Any]) -> dict[str, Any]:
    figures = ("entry_price", "exit_price", "quantity", "fees", "pnl", "return")
    return {
        "id": str(number),
        "symbol": trade.get("symbol", ""),
        "side": f"{arrow(_way(trade))} {trade['side']}",
        "entry": _time(trade["entry_time"]),
        "exit": _time(trade["exit_time"]),
        "reason": _reason(trade),
        **{name: float(trade[name]) for name in figures},
    }


def _card(trade: Mapping[str, Any]) -> Component:
    title = f"{arrow(_way(trade))} {trade.get('symbol', '')} {trade['side']}"
    figures = [html.B(title), amount(float(trade["pnl"])), change(float(trade["return"]))]
    words = f"{_time(trade['entry_time'])} to {_time(trade['exit_time'])}, {_reason(trade)}"
    return html.Div([html.Div(figures), html.Small(words, className="muted num")], className="trade-card")


def _way(trade: Mapping[str, Any]) -> str:
    return "up" if trade["side"] == "long" else "down"


def _reason(trade: Mapping[str, Any]) -> str:
    return str(trade["exit_reason"]).replace("_", " ")


def _exact(value: Any) -> str:
    return quantity(Decimal(str(value)))


def _time(text: str) -> str:
    return sortable_time(time_us(text))
