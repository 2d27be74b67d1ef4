from __future__ import annotations

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from dashboard.gate import LOOPBACK_HOSTS, Gate, content_security_policy, host_name, same_origin
from tests.dashboard.asgi import handshake, request, started
from tests.dashboard.desk import build_desk

HOST = "127.0.0.1:8050"
OWN = "http://127.0.0.1:8050"


async def _inside(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
    else:
        await PlainTextResponse("inside")(scope, receive, send)


GATE = Gate(_inside, allowed_hosts=LOOPBACK_HOSTS, policy=content_security_policy(["'sha256-x'"]))


@pytest.mark.parametrize("host", ["127.0.0.1:8050", "localhost:1234", "LOCALHOST", "[::1]:8050"])
async def test_this_machine_by_any_of_its_names_may_read(host: str) -> None:
    assert (await request(GATE, "GET", "/market", host=host)).text == "inside"


@pytest.mark.parametrize(
    "host", ["evil.example:8050", "127.0.0.1.evil.example", "", "[::1", "localhost.evil.example"]
)
async def test_a_name_that_was_pointed_at_us_may_not(host: str) -> None:
    answer = await request(GATE, "GET", "/market", host=host)
    assert answer.status == 403
    assert "inside" not in answer.text
    assert "CANDLEWICK_ALLOWED_HOSTS" in answer.text


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    "origin", [None, "null", "http://evil.example", "http://127.0.0.1:9999", "http://localhost:8050"]
)
async def test_another_page_cannot_change_anything(method: str, origin: str | None) -> None:
    assert (await request(GATE, method, "/_dash-update-component", host=HOST, origin=origin)).status == 403


async def test_our_own_page_can() -> None:
    assert (await request(GATE, "POST", "/_dash-update-component", host=HOST, origin=OWN)).status == 200


@pytest.mark.parametrize("origin", [None, "http://evil.example"])
async def test_another_page_gets_no_live_connection(origin: str | None) -> None:
    assert await handshake(GATE, "/ws/ui", host=HOST, origin=origin) == "websocket.close"
    assert (
        await handshake(GATE, "/ws/ui", host="evil.example", origin="http://evil.example")
        == "websocket.close"
    )


async def test_our_own_page_gets_one() -> None:
    assert await handshake(GATE, "/ws/ui", host=HOST, origin=OWN) == "websocket.accept"


@pytest.mark.parametrize("host", [HOST, "evil.example"])
async def test_every_answer_carries_the_policy(host: str) -> None:
    headers = (await request(GATE, "GET", "/", host=host)).headers
    assert "script-src 'self' 'sha256-x'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "unsafe-eval" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"


def test_host_and_origin_are_compared_whole() -> None:
    assert host_name("[::1]:8050") == "::1"
    assert same_origin("http://a:1", "a:1")
    assert not same_origin("http://a:1", "a:2")
    assert not same_origin("file://a:1", "a:1")
    assert not same_origin(None, "a")


async def test_files_whose_address_tells_their_version_are_kept_by_the_browser() -> None:
    app = build_desk(empty=True).app
    async with started(app):
        kept = await request(app, "GET", "/assets/40-pages.js?m=1")
        asked_again = await request(app, "GET", "/assets/brand.svg")
        assert "immutable" in kept.headers["cache-control"]
        assert "cache-control" not in asked_again.headers
