"""Talking to an ASGI application without a socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; header names are lower case."""

    status: int
    headers: dict[str, str]
    text: str


@asynccontextmanager
async def started(app: ASGIApp) -> AsyncIterator[None]:
    """The application between its start and its end, as a server runs it."""
    incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    outgoing: asyncio.Queue[Any] = asyncio.Queue()
    running = asyncio.create_task(
        _run(app, {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, incoming, outgoing)
    )
    await incoming.put({"type": "lifespan.startup"})
    assert (await outgoing.get())["type"] == "lifespan.startup.complete"
    try:
        yield
    finally:
        await incoming.put({"type": "lifespan.shutdown"})
        assert (await outgoing.get())["type"] == "lifespan.shutdown.complete"
        await running


async def _run(
    app: ASGIApp,
    scope: dict[str, Any],
    incoming: asyncio.Queue[dict[str, Any]],
    outgoing: asyncio.Queue[Any],
) -> None:
    await app(scope, incoming.get, outgoing.put)


async def request(
    app: ASGIApp,
    method: str,
    path: str,
    *,
    host: str = "127.0.0.1:8050",
    origin: str | None = None,
    body: bytes = b"",
) -> Answer:
    """One request and its whole answer."""
    headers = [(b"host", host.encode()), (b"content-type", b"application/json")]
    if origin is not None:
        headers.append((b"origin", origin.encode()))
    incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    outgoing: asyncio.Queue[Any] = asyncio.Queue()
    await incoming.put({"type": "http.request", "body": body, "more_body": False})
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path.partition("?")[0],
        "raw_path": path.partition("?")[0].encode(),
        "root_path": "",
        "query_string": path.partition("?")[2].encode(),
        "headers": headers,
        "client": ("127.0.0.1", 50_000),
        "server": ("127.0.0.1", 8050),
    }
    await _run(app, scope, incoming, outgoing)
    status, found, content = 0, {}, b""
    while not outgoing.empty():
        message = outgoing.get_nowait()
        if message["type"] == "http.response.start":
            status = message["status"]
            found = {name.decode().lower(): value.decode() for name, value in message["headers"]}
        elif message["type"] == "http.response.body":
            content += message.get("body", b"")
    return Answer(status, found, content.decode())


async def handshake(app: ASGIApp, path: str, *, host: str, origin: str | None) -> str:
    """What a WebSocket handshake is first answered with: `websocket.accept` or `websocket.close`."""
    headers = [(b"host", host.encode())]
    if origin is not None:
        headers.append((b"origin", origin.encode()))
    incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    outgoing: asyncio.Queue[Any] = asyncio.Queue()
    await incoming.put({"type": "websocket.connect"})
    await incoming.put({"type": "websocket.disconnect", "code": 1001})
    scope = {
        "type": "websocket",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "ws",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": headers,
        "client": ("127.0.0.1", 50_000),
        "server": ("127.0.0.1", 8050),
        "subprotocols": [],
    }
    await _run(app, scope, incoming, outgoing)
    return str(outgoing.get_nowait()["type"])
