"""What a person gave a name on the Market page: layouts of its chart and lists of markets.

A layout holds what the address of a chart says beside its market; opening one writes it into the address.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import msgspec

from data.errors import InvalidInput, Problem
from data.timeframes import Timeframe

MAX_SAVED = 100  # of a kind
MAX_MARKETS = 300  # of a list
LAYOUT_WORDS = ("tf", "overlay", "layers", "scale", "palette", "panes")

_NAME = re.compile(r"\S(?:.{0,48}\S)?")
_PANES = re.compile(r"\d{1,4}(\.\d{1,3})?(,\d{1,4}(\.\d{1,3})?){0,14}")
_MARKET = re.compile(r"[a-z0-9_-]{1,30}:[A-Z0-9][A-Z0-9.-]{1,40}")
_LONGEST = {"overlay": 400, "layers": 600}
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_WHERE = "saved views"


class ChartLayout(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="layout"
):
    """Words of an address, each empty where the chart's own default holds."""

    name: str
    tf: str = ""
    overlay: str = ""  # indicators with their parameters, and strategies
    layers: str = ""  # signals and fills
    scale: Literal["", "log", "percent"] = ""
    palette: Literal["", "default", "cvd"] = ""
    panes: str = ""  # shares of the height, from the top
    default: bool = False  # what a chart without any of this begins with

    def words(self) -> dict[str, str]:
        """As the address has them."""
        return {name: getattr(self, name) for name in LAYOUT_WORDS}


class Watchlist(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="watchlist"
):
    """Markets in the order a person gave them, as `exchange:SYMBOL`."""

    name: str
    markets: tuple[str, ...] = ()


SavedView = ChartLayout | Watchlist
Kind = Literal["layout", "watchlist"]


def kind_of(view: SavedView) -> Kind:
    return "layout" if isinstance(view, ChartLayout) else "watchlist"


class ViewShelf(Protocol):
    """Where saved views are kept. Synchronous and thread-safe; raises TransientError without the database."""

    def views(self) -> Sequence[SavedView]:
        """All that can be read, in order of kind and name."""
        ...

    def unreadable(self) -> Sequence[tuple[Kind, str]]:
        """Those that `views` leaves out because another version of the program wrote them."""
        ...

    def save(self, view: SavedView, at_us: int, *, replace: bool) -> bool:
        """Keep it; False where that name is taken and not to be replaced. The default layout stays that."""
        ...

    def rename(self, kind: Kind, name: str, to: str) -> bool:
        """False where there is none of that name, or one of the new name already."""
        ...

    def delete(self, kind: Kind, name: str) -> bool:
        """False where there was none."""
        ...

    def set_default(self, name: str | None) -> bool:
        """Make that layout the only default, or none; False where there is no such layout."""
        ...


class _Save(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="do", tag="save"
):
    view: SavedView
    replace: bool = False


class _Rename(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="do", tag="rename"
):
    kind: Kind
    name: str
    to: str


class _Delete(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="do", tag="delete"
):
    kind: Kind
    name: str


class _Default(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="do", tag="default"
):
    name: str | None  # None: charts begin as they did at first


_Change = _Save | _Rename | _Delete | _Default


def views_body(shelf: ViewShelf | None) -> dict[str, Any]:
    """Everything that is saved, for the browser; `kept` says whether anything can be.

    Of what cannot be read there is kind and name: it can be deleted, or saved over.
    """
    views = [] if shelf is None else shelf.views()
    unreadable = [] if shelf is None else shelf.unreadable()
    return {
        "kept": shelf is not None,
        "views": [msgspec.to_builtins(view) for view in views],
        "unreadable": [{"kind": kind, "name": name} for kind, name in unreadable],
    }


def change_views(shelf: ViewShelf, text: bytes, at_us: int) -> dict[str, Any]:
    """Do what a browser asks for and tell what is saved then. Raises InvalidInput, nothing changed."""
    try:
        change = msgspec.json.decode(text, type=_Change)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        # The last two are msgspec's answers to bytes that are no UTF-8 and to brackets without an end.
        raise _wrong("", text[:60].decode(errors="replace"), str(error)) from error
    if isinstance(change, _Save):
        _save(shelf, change, at_us)
    elif isinstance(change, _Rename):
        _check_name(change.to, "to")
        _check_sought(change.name)
        if not shelf.rename(change.kind, change.name, change.to):
            raise _wrong("to", change.to, f"another name, or {change.name!r} is gone")
    elif isinstance(change, _Delete):
        _check_sought(change.name)
        shelf.delete(change.kind, change.name)  # what is gone already is what was asked for
    else:
        _choose(shelf, change.name)
    return views_body(shelf)


def default_layout(shelf: ViewShelf | None, asked: Mapping[str, Any]) -> ChartLayout | None:
    """The layout of an address that says nothing of its chart; None where it does or none is chosen."""
    if shelf is None or not asked.get("bare"):
        return None
    return next((one for one in shelf.views() if isinstance(one, ChartLayout) and one.default), None)


def shares_of(panes: object) -> list[float]:
    """Shares of the height as an address has them, `6,1.2,1.4`; none for anything else."""
    if not isinstance(panes, str) or not _PANES.fullmatch(panes):
        return []
    return [float(share) for share in panes.split(",")]


def _save(shelf: ViewShelf, change: _Save, at_us: int) -> None:
    view = change.view
    _check(view)
    others = [one for one in shelf.views() if kind_of(one) == kind_of(view) and one.name != view.name]
    if len(others) >= MAX_SAVED:
        raise _wrong("view", view.name, f"at most {MAX_SAVED} of a kind: delete one first")
    if not shelf.save(view, at_us, replace=change.replace):
        raise _wrong("name", view.name, "a name that is not taken")


def _choose(shelf: ViewShelf, name: str | None) -> None:
    if name is not None:
        _check_sought(name)
    if not shelf.set_default(name):
        raise _wrong("name", name, "a saved layout")


def _check(view: SavedView) -> None:
    _check_name(view.name)
    if isinstance(view, Watchlist):
        if len(view.markets) > MAX_MARKETS or len(set(view.markets)) < len(view.markets):
            raise _wrong("markets", len(view.markets), f"at most {MAX_MARKETS} markets, each once")
        if odd := next((name for name in view.markets if not _MARKET.fullmatch(name)), None):
            raise _wrong("markets", odd, "a venue and a symbol, such as binance:BTC-USDT")
        return
    if view.tf and view.tf not in {frame.value for frame in Timeframe}:
        raise _wrong("tf", view.tf, f"one of {' '.join(Timeframe)}")
    if view.panes and not _PANES.fullmatch(view.panes):
        raise _wrong("panes", view.panes, "numbers parted by commas")
    for field, most in _LONGEST.items():
        if len(getattr(view, field)) > most:
            raise _wrong(field, getattr(view, field), f"at most {most} characters")
        _check_printed(field, getattr(view, field))


def _check_name(name: str, field: str = "name") -> None:
    _check_printed(field, name)
    if not _NAME.fullmatch(name):
        raise _wrong(field, name, "1 to 50 characters without a space at either end")


def _check_sought(name: str) -> None:
    # No more than PostgreSQL asks: what an earlier version took with a tab in its name can still be deleted.
    if "\0" in name:
        raise _wrong("name", name, "a name without the control character U+0000")


def _check_printed(field: str, text: str) -> None:
    if found := _CONTROL.search(text):
        raise _wrong(field, text, f"text without the control character U+{ord(found[0]):04X}")


def _wrong(field: str, value: object, expected: str) -> InvalidInput:
    shown = _CONTROL.sub("\N{REPLACEMENT CHARACTER}", str(value)[:60])
    return InvalidInput(Problem(where=_WHERE, field=field, value=shown, expected=expected))
