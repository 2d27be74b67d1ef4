"""The pages about the desk itself, and the files that they let a browser fetch."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
from fastapi import FastAPI
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, Response

from dashboard.page import Page
from dashboard.pages.data import DataSources, data_page
from dashboard.pages.settings import SettingsSources, settings_page
from dashboard.pages.system import SystemSources, system_page
from dashboard.readers import HealthReader, MarketReader
from dashboard.settings_readers import SettingsDesk
from dashboard.store_readers import StoreDesk
from dashboard.system_readers import SystemDesk
from data.errors import TradingError


@dataclass(frozen=True, slots=True, kw_only=True)
class DeskRooms:
    """What the pages about the desk itself read."""

    store: StoreDesk
    settings: SettingsDesk
    system: SystemDesk


def desk_pages(
    rooms: DeskRooms, market: MarketReader, health: HealthReader, now_us: Callable[[], int]
) -> list[Page]:
    """In the order of the navigation."""
    data = DataSources(store=rooms.store, market=market, health=health, now_us=now_us, seconds=time.monotonic)
    system = SystemSources(
        system=rooms.system,
        settings=rooms.settings,
        jobs=rooms.store.jobs,
        health=health,
        now_us=now_us,
    )
    return [data_page(data), system_page(system), settings_page(SettingsSources(desk=rooms.settings))]


def add_downloads(server: FastAPI, rooms: DeskRooms) -> None:
    """Let a browser fetch what jobs have exported, and how its pages are to look."""

    @server.get("/display.json")
    def display() -> Response:
        try:
            return JSONResponse(msgspec.to_builtins(rooms.settings.display()))
        except TradingError as error:
            return JSONResponse({"detail": str(error)}, 503)

    @server.get("/exports/{name}")
    def export(name: str) -> Response:
        path = rooms.store.files.exported(name)
        if path is None:
            return PlainTextResponse("There is no such export.\n", 404)
        return FileResponse(path, filename=name, media_type="application/octet-stream")
