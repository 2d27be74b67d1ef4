"""Where the web page listens and under which address a browser finds it."""

from __future__ import annotations

from data.errors import InstallationError
from embedded.service_files import port_is_free


def require_free_port(host: str, port: int) -> None:
    """Raises InstallationError where the page cannot listen on `port` of the address `host`."""
    if not port_is_free(port, host):
        raise InstallationError(
            f"port {port} on {host} is taken by another program, or {host} is no address of this machine; "
            "stop that program or choose another port with --port"
        )


def page_url(host: str, port: int) -> str:
    """The page's URL on this machine, also where it listens on every address."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"
