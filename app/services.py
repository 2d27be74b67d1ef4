"""PostgreSQL and Redis for this installation: those that are configured, those that run, or our own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from app.installation import Installation, Mode, RunningServices, this_process
from app.retention import kept_days
from app.supervisor import Service
from config.settings import Settings
from data.errors import InstallationError
from database.features import apply_timescale_features
from database.migrate import migrate
from database.repositories.installation_repository import InstallationRepository
from embedded.postgres import EmbeddedPostgres
from embedded.valkey import EmbeddedValkey

# Whose trades a database holds is fixed when it is first used; demo and real data never share one.
_DATABASES = {Mode.REAL: "candlewick", Mode.SIMULATED: "candlewick_demo"}
# A short command waits this long for another one that uses the embedded database at the moment.
_TURN_S = 60.0
_LOOK_S = 0.1

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicesInUse:
    """Where the services are, and those among them that this process has started itself."""

    urls: RunningServices
    own: Sequence[Service]


@contextmanager
def own_services(
    settings: Settings, installation: Installation, mode: Mode, *, redis: bool = True, tell: Tell
) -> Iterator[ServicesInUse]:
    """Start what is not configured, migrate, and stop it again at the end.

    The caller holds the installation's services lock. Raises InstallationError for what a person has to mend.
    """
    with ExitStack() as stack:
        own: list[Service] = []
        if settings.database_url is not None:
            database_url = settings.database_url.get_secret_value()
            tell("PostgreSQL  the one DATABASE_URL names")
        else:
            postgres = EmbeddedPostgres(installation.home, log=installation.logs / "postgres.log")
            stack.callback(postgres.stop)
            postgres.start()
            postgres.create_database(_DATABASES[mode])
            database_url = postgres.url(_DATABASES[mode])
            own.append(postgres)
            tell(f"PostgreSQL  embedded, process {postgres.pid}")
        redis_url = ""
        if redis and settings.redis_url is not None:
            redis_url = settings.redis_url.get_secret_value()
            tell("Redis       the one REDIS_URL names")
        elif redis:
            valkey = EmbeddedValkey(installation.home, log=installation.logs / "valkey.log")
            stack.callback(valkey.stop)
            valkey.start()
            redis_url = valkey.url()
            own.append(valkey)
            tell(f"Redis       embedded Valkey, process {valkey.pid}")
        prepare_database(database_url, mode)
        pid, started_at = this_process()
        urls = RunningServices(
            pid=pid, started_at=started_at, database_url=database_url, redis_url=redis_url, mode=mode
        )
        yield ServicesInUse(urls=urls, own=own)


def prepare_database(url: str, mode: Mode) -> None:
    """Migrate, turn on what the server can, and make sure that real and simulated trades do not mix."""
    migrate(url)
    apply_timescale_features(url, kept_days(url))
    found = InstallationRepository(url).claim_venue_source(mode.value)
    if found != mode.value:
        advice = (
            "leave out --demo, or give the demo a DATABASE_URL of its own"
            if mode is Mode.SIMULATED
            else "start with --demo, or give real data a DATABASE_URL of its own"
        )
        raise InstallationError(
            f"this database holds {found} market data, and the two must not mix; {advice}"
        )


@contextmanager
def database_in_reach(
    settings: Settings, installation: Installation, *, prepared: bool = False
) -> Iterator[str]:
    """The URL of this installation's database, migrated: configured, running, or started for this while.

    `prepared`: whoever started us has migrated the configured database already.
    """
    if settings.database_url is not None:
        url = settings.database_url.get_secret_value()
        if not prepared:
            migrate(url)
        yield url
        return
    with ExitStack() as stack:
        running = _running_or_our_turn(installation, stack)
        if running is not None:
            yield running.database_url
            return
        services = stack.enter_context(
            own_services(settings, installation, installation.mode, redis=False, tell=_silent)
        )
        yield services.urls.database_url


def _running_or_our_turn(installation: Installation, stack: ExitStack) -> RunningServices | None:
    """The services as soon as they are announced, or None with the services lock held by `stack`.

    Raises InstallationError when neither came in time.
    """
    give_up_at = time.monotonic() + _TURN_S
    while True:
        running = installation.running()
        if running is not None:
            return running
        try:
            stack.enter_context(installation.services_lock(timeout_s=0))
        except InstallationError:
            if time.monotonic() >= give_up_at:
                raise
        else:
            return None
        time.sleep(_LOOK_S)


@contextmanager
def services_in_reach(
    settings: Settings, installation: Installation, *, prepared: bool
) -> Iterator[RunningServices]:
    """Database and bus for one part of `up`: configured, running, or our own.

    The first part that finds none starts what is not configured, and others that come later use that while it
    runs. `prepared`: whoever started us has migrated the configured database already.
    """
    mode = Mode(settings.candlewick_venue_source)
    if prepared and settings.database_url is not None and settings.redis_url is not None:
        pid, started_at = this_process()
        yield RunningServices(
            pid=pid,
            started_at=started_at,
            database_url=settings.database_url.get_secret_value(),
            redis_url=settings.redis_url.get_secret_value(),
            mode=mode,
        )
        return
    running = installation.running()
    if running is not None and _agrees(running, settings):
        if running.mode is not mode:
            raise InstallationError(
                f"what runs in {installation.home} serves {running.mode} market data; "
                f"set CANDLEWICK_VENUE_SOURCE={running.mode} or another CANDLEWICK_HOME"
            )
        yield running
        return
    with ExitStack() as stack:
        configured = settings.database_url is not None and settings.redis_url is not None
        if not configured:
            stack.enter_context(installation.services_lock(timeout_s=0))
        services = stack.enter_context(own_services(settings, installation, mode, tell=_silent))
        if not configured:
            installation.remember_mode(mode)
            stack.callback(installation.withdraw)
            installation.announce(services.urls)
        yield services.urls


def _agrees(running: RunningServices, settings: Settings) -> bool:
    """Whether what runs is what is configured, as far as anything is."""
    pairs = ((settings.database_url, running.database_url), (settings.redis_url, running.redis_url))
    return all(wanted is None or wanted.get_secret_value() == found for wanted, found in pairs)


def _silent(_line: str) -> None:
    """Say nothing: the command has something else to print."""
