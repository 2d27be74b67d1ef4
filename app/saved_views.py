"""Saved views of the Market page over the store."""

from __future__ import annotations

import msgspec
import structlog

from dashboard.saved_views import Kind, SavedView, kind_of
from database.repositories.chart_layout_repository import ChartLayoutRepository

log = structlog.get_logger(__name__)


class SavedViews:
    """Satisfies `dashboard.saved_views.ViewShelf`.

    A row that this version cannot read, as after a return to an older one, is left out and stays as it is.
    The log tells of such rows, with their number, whenever they have become others.
    """

    def __init__(self, store: ChartLayoutRepository) -> None:
        self._store = store
        self._told: dict[tuple[Kind, str], str] = {}  # why a row could not be read

    def views(self) -> list[SavedView]:
        """All that can be read, in order of kind and name."""
        return self._read()[0]

    def unreadable(self) -> list[tuple[Kind, str]]:
        """Kinds and names of those that cannot."""
        return list(self._read()[1])

    def _read(self) -> tuple[list[SavedView], dict[tuple[Kind, str], str]]:
        views: list[SavedView] = []
        unreadable: dict[tuple[Kind, str], str] = {}
        for kind, name, content, default in self._store.documents():
            try:
                views.append(_view(kind, name, content, default))
            except msgspec.ValidationError as error:
                unreadable[kind, name] = str(error)
        if unreadable and unreadable != self._told:
            why = [f"{kind} {name!r}: {reason}" for (kind, name), reason in unreadable.items()]
            log.warning("saved_views_unreadable", count=len(unreadable), why=why)
        self._told = unreadable
        return views, unreadable

    def save(self, view: SavedView, at_us: int, *, replace: bool) -> bool:
        """Keep it; False where that name is taken and not to be replaced."""
        known = msgspec.to_builtins(view)
        content = {name: value for name, value in known.items() if name not in ("kind", "name", "default")}
        if not replace:
            return self._store.insert(kind_of(view), view.name, content, at_us)
        self._store.put(kind_of(view), view.name, content, at_us)
        return True

    def rename(self, kind: Kind, name: str, to: str) -> bool:
        return self._store.rename(kind, name, to)

    def delete(self, kind: Kind, name: str) -> bool:
        return self._store.delete(kind, name)

    def set_default(self, name: str | None) -> bool:
        return self._store.set_default("layout", name)


def _view(kind: Kind, name: str, content: object, default: bool) -> SavedView:
    """The view that a row holds. Raises ValidationError for what another version wrote."""
    if not isinstance(content, dict):
        raise msgspec.ValidationError(f"Expected `object`, got {content!r}")
    marked = {"default": True} if default else {}
    view: SavedView = msgspec.convert({**content, "kind": kind, "name": name, **marked}, SavedView)
    return view
