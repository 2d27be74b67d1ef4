"""`candlewick web`: the web server alone."""

from __future__ import annotations

import click
import uvicorn

from app.installation import Installation
from app.page_address import require_free_port
from app.parent_watch import watch_parent
from app.processes.web import web_page
from app.services import services_in_reach
from config.logging import configure_logging
from config.settings import load_settings


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
    require_free_port(host, port)
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
