"""Saved layouts and lists in memory."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from dashboard.saved_views import ChartLayout, Kind, SavedView, kind_of


class FakeViews:
    """`ViewShelf` in memory."""

    def __init__(self, *views: SavedView) -> None:
        self.kept: dict[tuple[Kind, str], SavedView] = {(kind_of(view), view.name): view for view in views}
        self.of_another_version: list[tuple[Kind, str]] = []

    def views(self) -> Sequence[SavedView]:
        return [self.kept[key] for key in sorted(self.kept)]

    def unreadable(self) -> Sequence[tuple[Kind, str]]:
        return self.of_another_version

    def save(self, view: SavedView, at_us: int, *, replace: bool) -> bool:
        key = (kind_of(view), view.name)
        before = self.kept.get(key)
        if before is not None and not replace:
            return False
        if isinstance(view, ChartLayout):
            view = msgspec.structs.replace(view, default=isinstance(before, ChartLayout) and before.default)
        self.kept[key] = view
        return True

    def rename(self, kind: Kind, name: str, to: str) -> bool:
        if (kind, name) not in self.kept or (kind, to) in self.kept:
            return False
        self.kept[kind, to] = msgspec.structs.replace(self.kept.pop((kind, name)), name=to)
        return True

    def delete(self, kind: Kind, name: str) -> bool:
        if (kind, name) in self.of_another_version:
            self.of_another_version.remove((kind, name))
            return True
        return self.kept.pop((kind, name), None) is not None

    def set_default(self, name: str | None) -> bool:
        if name is not None and ("layout", name) not in self.kept:
            return False
        for key, view in self.kept.items():
            if isinstance(view, ChartLayout):
                self.kept[key] = msgspec.structs.replace(view, default=view.name == name)
        return True
