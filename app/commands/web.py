"""`candlewick web`: the web server alone."""

from __future__ import annotations

import click
import uvicorn

from app.installation import Installation
from app.parent_watch import watch_parent
from app.processes.web import web_page
from app.services import services_in_reach
from config.logging import configure_logging
from config.settings import load_settings
from data.errors import InstallationError
from embedded.service_files import port_is_free


@click.command("web")
@click.option("--host", help="Address to listen on; 127.0.0.1 unless told otherwise.")
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on; 8050 unless told otherwise.")
def command(host: str | None, port: int | None) -> None:
    """Run the web server alone, against the services that are configured or run already."""
    supervised = watch_parent()
    settings = load_settings()
    configure_logging(settings.candlewick_log_level, process="web")
    host = host or settings.candlewick_host
    port = port or settings.candlewick_port
    if not port_is_free(port, host):
        raise InstallationError(
            f"port {port} on {host} is taken by another program; stop that one or choose another with --port"
        )
    installation = Installation(settings.candlewick_home)
    with (
        services_in_reach(settings, installation, prepared=supervised) as services,
        web_page(settings, services, host=host) as page,
    ):
        # One process, one loop: the live hub keeps its tabs in memory.
        uvicorn.run(
            page,
            host=host,
            port=port,
            log_config=None,
            access_log=False,
            server_header=False,
            # Open tabs hold their WebSocket for ever.
            timeout_graceful_shutdown=2,
        )
