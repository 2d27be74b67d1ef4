"""The pages about the desk itself over fakes."""

from __future__ import annotations

from dashboard.desk_pages import DeskRooms
from dashboard.readers import JobDesk
from tests.dashboard.fakes_settings import FakeSettings
from tests.dashboard.fakes_store import store_desk
from tests.dashboard.fakes_system import FakeSystem


def desk_rooms(jobs: JobDesk, now_us: int, *, empty: bool = False) -> DeskRooms:
    """Rooms with some days of data, or without any."""
    return DeskRooms(
        store=store_desk(jobs, now_us, empty=empty),
        settings=FakeSettings(empty=empty),
        system=FakeSystem(empty=empty),
    )
