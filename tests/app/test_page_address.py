"""The page's address as a browser takes it."""

from __future__ import annotations

import socket

import pytest

from app.page_address import page_url, require_free_port
from data.errors import InstallationError


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8050"),
        ("0.0.0.0", "http://127.0.0.1:8050"),
        ("::", "http://[::1]:8050"),
        ("fd00::7", "http://[fd00::7]:8050"),
        ("desk.lan", "http://desk.lan:8050"),
    ],
)
def test_the_url_leads_to_this_machine_and_brackets_ipv6(host: str, url: str) -> None:
    assert page_url(host, 8050) == url


def test_a_taken_port_is_refused_by_name() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(InstallationError, match=f"port {port} on 127.0.0.1 is taken"):
            require_free_port("127.0.0.1", port)
    require_free_port("127.0.0.1", port)
