"""The cookie in which a browser says how it wants times and numbers written."""

from __future__ import annotations

from urllib.parse import unquote

from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Receive, Scope, Send

from dashboard.writing import parse_writing, written_as

COOKIE = "candlewick-writing"
_LONGEST = 100


class WritingOfRequest:
    """ASGI middleware: what the cookie asks for holds while the request is answered."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        wanted = _cookie(scope) if scope["type"] == "http" else ""
        if not wanted:
            await self._app(scope, receive, send)
            return
        with written_as(parse_writing(wanted)):
            await self._app(scope, receive, send)


def _cookie(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"cookie" and COOKIE.encode() in value:
            text = unquote(cookie_parser(value.decode("latin-1")).get(COOKIE, ""))
            return text if len(text) <= _LONGEST else ""
    return ""
