from __future__ import annotations

import asyncio
import inspect
import json
import re

from dash import get_app

from tests.dashboard.asgi import request, started
from tests.dashboard.desk import build_desk

OWN = "http://127.0.0.1:8050"


async def test_a_deep_link_opened_first_gets_its_scripts_and_styles() -> None:
    app = build_desk(empty=True).app
    async with started(app):
        page = await request(app, "GET", "/bots")
        assert page.status == 200
        assets = re.findall(r'(?:src|href)="(/assets/[^"?]+)', page.text)
        assert {
            "/assets/boot.js",
            "/assets/10-tokens.css",
            "/assets/20-app.css",
            "/assets/30-live.js",
        } <= set(assets)
        for address in assets:
            assert (await request(app, "GET", address)).status == 200, address


async def test_the_page_asks_nothing_of_another_host() -> None:
    app = build_desk(empty=True).app
    async with started(app):
        page = await request(app, "GET", "/market")
        assert re.findall(r'(?:src|href)="(?:https?:)?//[^"]+', page.text) == []
        assert '<html lang="en">' in page.text


async def test_every_inline_script_is_in_the_policy() -> None:
    app = build_desk(empty=True).app
    async with started(app):
        page = await request(app, "GET", "/market")
        inline = re.findall(r"<script(?![^>]*\bsrc=)(?![^>]*application/json)[^>]*>", page.text)
        assert len(inline) == page.headers["content-security-policy"].count("'sha256-")


async def test_an_unknown_api_path_is_not_answered_with_a_page() -> None:
    app = build_desk(empty=True).app
    async with started(app):
        answer = await request(app, "GET", "/api/v1/nothing")
        assert answer.status == 404
        assert "detail" in json.loads(answer.text)


async def test_health_is_answered_without_a_page() -> None:
    app = build_desk(empty=True).app
    async with started(app):
        assert json.loads((await request(app, "GET", "/healthz")).text) == {"status": "ok"}


async def test_health_is_bad_once_the_live_updates_ended() -> None:
    app = build_desk(empty=True).app
    async with started(app):
        app.state.listening.cancel()
        await asyncio.gather(app.state.listening, return_exceptions=True)
        assert (await request(app, "GET", "/healthz")).status == 503


async def test_no_documentation_that_loads_from_elsewhere_is_served() -> None:
    app = build_desk(empty=True).app
    async with started(app):
        for path in ("/docs", "/redoc", "/openapi.json"):
            assert "swagger" not in (await request(app, "GET", path)).text.lower()


async def test_no_callback_blocks_the_event_loop() -> None:
    build_desk(empty=True)
    dash_app = get_app()  # type: ignore[no-untyped-call]  # Dash leaves it untyped
    async with started(dash_app.server):
        callbacks = {
            name: entry["callback"] for name, entry in dash_app.callback_map.items() if "callback" in entry
        }
        assert len(callbacks) > 10
        blocking = [name for name, callback in callbacks.items() if not inspect.iscoroutinefunction(callback)]
        assert blocking == []


async def test_a_callback_posted_from_another_page_is_refused() -> None:
    app = build_desk(empty=True).app
    async with started(app):
        refused = await request(
            app, "POST", "/_dash-update-component", origin="http://evil.example", body=b"{}"
        )
        assert refused.status == 403
