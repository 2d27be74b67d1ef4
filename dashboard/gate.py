"""The gate in front of every request: who may talk to this server, and what a page may do in the browser.

The server listens on loopback for one person. What threatens it are other web pages in that person's browser:
one that posts to us (the Origin check), and one whose name resolves to 127.0.0.1 (the Host check).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_POLICY_VIOLATION = 1008


def content_security_policy(script_hashes: Sequence[str]) -> str:
    """Everything from this origin; the inline scripts of the index page by their hashes; no framing."""
    directives = (
        "default-src 'self'",
        " ".join(("script-src 'self'", *script_hashes)),
        # Mantine and AG Grid put style elements into the page.
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self'",
        "connect-src 'self'",
        "worker-src 'self'",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
    return "; ".join(directives)


def host_name(host: str) -> str | None:
    """The name in a Host header, without the port and the brackets of IPv6; None if it is malformed."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def same_origin(origin: str | None, host: str | None) -> bool:
    """Whether an Origin header names the very server that a Host header names."""
    if not origin or not host:
        return False
    parts = urlsplit(origin)
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()


class Gate:
    """ASGI middleware: Host and Origin are checked, answers carry the security headers."""

    def __init__(self, app: ASGIApp, *, allowed_hosts: Collection[str], policy: str) -> None:
        """`allowed_hosts` are names without a port; any port is good."""
        self._app = app
        self._allowed_hosts = frozenset(host.lower() for host in allowed_hosts)
        self._headers = {
            "Content-Security-Policy": policy,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "same-origin",
            "X-Frame-Options": "DENY",
            "Cross-Origin-Opener-Policy": "same-origin",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if scope["type"] == "websocket":
            if refusal is None:
                await self._app(scope, receive, send)
            else:
                # Closed before it is accepted, the client sees a failed handshake.
                await WebSocketClose(_POLICY_VIOLATION, refusal)(scope, receive, send)
            return

        # The address of a file of ours changes with the file: what was fetched once is asked for no more.
        kept = scope["path"].startswith("/assets/") and scope["query_string"].startswith(b"m=")

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if kept and message["status"] == 200:
                    headers["Cache-Control"] = "public, max-age=31536000, immutable"
                for name, value in self._headers.items():
                    headers[name] = value
            await send(message)

        answer = self._app if refusal is None else PlainTextResponse(refusal, 403)
        await answer(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> str | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if host_name(host) not in self._allowed_hosts:
            return (
                "This name is not allowed here: open the page as 127.0.0.1 or localhost, "
                "or set CANDLEWICK_ALLOWED_HOSTS to the name.\n"
            )
        changes = scope["type"] == "websocket" or scope["method"] not in _SAFE_METHODS
        if changes and not same_origin(headers.get("origin"), host):
            return "Refused: the request does not come from this page.\n"
        return None
