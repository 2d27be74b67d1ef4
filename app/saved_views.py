"""Saved views of the Market page over the store."""

from __future__ import annotations

import msgspec

from dashboard.saved_views import Kind, SavedView, kind_of
from database.repositories.chart_layout_repository import ChartLayoutRepository


class SavedViews:
    """Satisfies `dashboard.saved_views.ViewShelf`."""

    def __init__(self, store: ChartLayoutRepository) -> None:
        self._store = store

    def views(self) -> list[SavedView]:
        """All of them, in order of kind and name."""
        return [
            msgspec.convert(
                {**content, "kind": kind, "name": name, **({"default": True} if default else {})}, SavedView
            )
            for kind, name, content, default in self._store.documents()
        ]

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
