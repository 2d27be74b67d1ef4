from __future__ import annotations

import os
import signal
from contextlib import closing
from pathlib import Path

from bots.crash_note import MOST_DEATHS, CrashNote


def test_the_bot_in_hand_is_known_after_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "run" / "bots.hand"
    child = os.fork()
    if child == 0:
        CrashNote(path).take(7)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    with closing(CrashNote(path)) as note:
        assert note.culprit() == (7, 1)


def test_deaths_with_the_same_bot_are_counted_and_another_begins_anew(tmp_path: Path) -> None:
    with closing(CrashNote(tmp_path / "hand")) as note:
        assert note.culprit() is None
        for deaths in range(1, MOST_DEATHS + 1):
            note.take(7)
            assert note.culprit() == (7, deaths)
        note.take(8)
        assert note.culprit() == (8, 1)


def test_a_death_with_no_bot_in_hand_ends_the_row(tmp_path: Path) -> None:
    with closing(CrashNote(tmp_path / "hand")) as note:
        note.take(7)
        assert note.culprit() == (7, 1)
        note.take(7)
        note.rest()
        assert note.culprit() is None
        note.take(7)
        assert note.culprit() == (7, 1)


def test_a_bot_that_took_a_step_since_is_suspected_no_more(tmp_path: Path) -> None:
    with closing(CrashNote(tmp_path / "hand")) as note:
        note.take(7)
        assert note.culprit() == (7, 1)
        note.worked(8)
        note.take(7)
        assert note.culprit() == (7, 2)
        note.worked(7)
        note.take(7)
        assert note.culprit() == (7, 1)


def test_a_torn_file_begins_anew(tmp_path: Path) -> None:
    (tmp_path / "hand").write_bytes(b"torn")
    with closing(CrashNote(tmp_path / "hand")) as note:
        assert note.culprit() is None
