"""Where the venue of an installation's data is: a demo's own, whoever asks."""

from __future__ import annotations

from app.installation import Mode, mode_of, running_in
from config.settings import Settings
from data.errors import InstallationError

_HOSTS = frozenset(
    {
        "okx_rest_url",
        "okx_ws_url",
        "binance_rest_url",
        "binance_ws_url",
        "binance_futures_rest_url",
        "binance_futures_ws_url",
    }
)


def simulated_hosts(base_url: str) -> dict[str, str]:
    """The settings that name hosts, for a simulated venue at `http://...`."""
    ws = base_url.replace("http", "ws", 1)
    return {
        "okx_rest_url": base_url,
        "okx_ws_url": ws,
        "binance_rest_url": base_url,
        "binance_ws_url": ws,
        "binance_futures_rest_url": base_url,
        "binance_futures_ws_url": f"{ws}/fstream",
    }


def at_own_venue(settings: Settings) -> Settings:
    """The settings with the hosts of the venue whose data this installation holds.

    The environment of a command beside a demo does not name the demo's venue, and the real one must not be
    asked for trades that were made up. Hosts that are set stand. Raises InstallationError where a demo's
    venue does not run.
    """
    running = running_in(settings.candlewick_home)
    mode = mode_of(settings.candlewick_home) if running is None else running.mode
    if mode is Mode.REAL or settings.model_fields_set & _HOSTS:
        return settings
    if running is None or not running.venue_url:
        raise InstallationError(
            f"{settings.candlewick_home} holds simulated market data, and the simulated venue does not run; "
            "start it with `candlewick up --demo`"
        )
    return settings.model_copy(update=simulated_hosts(running.venue_url))
