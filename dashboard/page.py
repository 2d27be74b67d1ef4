"""What a page is to the shell around it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dash import Dash
from dash.development.base_component import Component


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of the application, at its address; what it shows in detail stands in the query."""

    path: str  # "/bots"
    title: str  # one word, for the navigation
    icon: str
    layout: Callable[[], Component]  # the page before anything was read: every panel has its final size
    register: Callable[[Dash], None]  # its callbacks
    topics: Sequence[str] = ()  # of the live WebSocket, watched while the page is open
    key: str = ""  # pressed after `g`, opens the page
    on_phone: bool = False  # has a place of its own in the bar at the bottom
