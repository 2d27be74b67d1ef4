"""What the pages about the desk itself read, over this installation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from app.installation import RunningServices
from app.settings_desk import open_settings_desk
from app.store_desk import open_store_desk
from app.system_desk import open_system_desk
from config.settings import Settings
from dashboard.desk_pages import DeskRooms
from dashboard.readers import JobDesk


@contextmanager
def open_rooms(settings: Settings, services: RunningServices, jobs: JobDesk) -> Iterator[DeskRooms]:
    """The rooms, closed with the block."""
    url = services.database_url
    with ExitStack() as stack:
        yield DeskRooms(
            store=stack.enter_context(open_store_desk(url, settings.candlewick_home, jobs)),
            settings=stack.enter_context(open_settings_desk(settings, url)),
            system=stack.enter_context(open_system_desk(settings, url, services.redis_url)),
        )
