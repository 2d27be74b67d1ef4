"""The start script's decisions, in a project folder of the test's own with stand-ins for Python and pip."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
NEEDED = ("bash", "cat", "env", "grep", "rm", "dirname")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project folder with the script and the files it reads; `bin` beside it is all of the PATH."""
    project = tmp_path / "a project"
    (project / "scripts").mkdir(parents=True)
    shutil.copy(PROJECT / "scripts" / "start", project / "scripts" / "start")
    for name in ("requirements.lock", "requirements-dev.lock"):
        (project / name).write_text("setuptools==84.2.1\n")
    (project / "pyproject.toml").write_text("[project]\n")
    (tmp_path / "bin").mkdir()
    for name in NEEDED:
        found = shutil.which(name)
        assert found is not None
        (tmp_path / "bin" / name).symlink_to(found)
    return project


def program(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!{shutil.which('bash')}\n{script}\n")
    path.chmod(0o755)


def start(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the script from another folder."""
    return subprocess.run(
        [str(project / "scripts" / "start"), *arguments],
        cwd="/",
        env={"PATH": str(project.parent / "bin"), "HOME": str(project.parent)},
        capture_output=True,
        text=True,
        check=False,
    )


def working_python(project: Path) -> Path:
    """A python3 whose venvs hold a Python that notes what pip is asked for, and a candlewick."""
    notes = project.parent / "notes"
    inside = project.parent / "inside"
    program(
        inside / "python",
        f'case "$*" in *pip*) echo "$*" >> "{notes}" ;; *) exec "{sys.executable}" "$@" ;; esac',
    )
    program(inside / "candlewick", 'echo "candlewick $*"')
    program(
        project.parent / "bin" / "python3",
        f"""if [ "$1 $2" = "-m venv" ]; then
    "{shutil.which("mkdir")}" -p "$4/bin"
    "{shutil.which("cp")}" "{inside}/python" "{inside}/candlewick" "$4/bin"
else exec "{sys.executable}" "$@"; fi""",
    )
    return notes


def test_help_needs_nothing(project: Path) -> None:
    answer = start(project, "--help")
    assert answer.returncode == 0
    assert "--install-only" in answer.stdout


def test_a_machine_without_a_recent_python_is_told_what_to_install(project: Path) -> None:
    program(project.parent / "bin" / "python3", "exit 1")  # what an older one answers
    answer = start(project)
    assert answer.returncode == 1
    assert "Python 3.11 or later is needed" in answer.stderr
    assert "apt install python3" in answer.stderr


def test_a_python_without_its_venv_module_is_named(project: Path) -> None:
    program(
        project.parent / "bin" / "python3",
        f'case "$*" in *venv*|*virtualenv*) exit 1 ;; *) exec "{sys.executable}" "$@" ;; esac',
    )
    answer = start(project)
    assert answer.returncode == 1
    assert "apt install python3-venv" in answer.stderr


def test_the_first_start_installs_from_the_lock_and_the_next_one_starts_at_once(project: Path) -> None:
    notes = working_python(project)
    first = start(project, "--demo", "--port", "9000")
    assert first.returncode == 0, first.stderr
    assert first.stdout == "candlewick up --demo --port 9000\n"
    packages, own = notes.read_text().splitlines()
    assert "--require-hashes" in packages
    assert "--no-deps --no-build-isolation" in own
    notes.unlink()
    second = start(project)
    assert second.stdout == "candlewick up\n"
    assert "up to date" in second.stderr
    assert not notes.exists()
    (project / "requirements.lock").write_text("setuptools==84.2.1\nclick==8.5.0\n")
    assert start(project, "--install-only").stdout == ""
    assert notes.exists()


def test_the_development_packages_serve_a_plain_start_too_but_not_the_other_way(project: Path) -> None:
    notes = working_python(project)
    assert start(project, "--install-only").returncode == 0
    assert start(project, "--install-only", "--dev").returncode == 0
    assert "requirements-dev.lock" in notes.read_text()
    notes.unlink()
    assert "up to date" in start(project, "--install-only").stderr
    assert "up to date" in start(project, "--install-only", "--dev").stderr
    assert not notes.exists()


def test_an_installation_that_failed_is_taken_up_again(project: Path) -> None:
    notes = working_python(project)
    assert start(project, "--install-only").returncode == 0
    (project / "requirements.lock").write_text("setuptools==85.0.0\n")
    python = project / ".venv" / "bin" / "python"
    working = python.read_text()
    program(python, working.split("\n", 1)[1].replace(f'echo "$*" >> "{notes}"', "exit 1"))
    assert start(project).returncode != 0
    program(python, working.split("\n", 1)[1])
    notes.unlink()
    assert start(project, "--install-only").returncode == 0
    assert notes.exists()


def test_a_lock_without_setuptools_is_refused_before_anything_is_installed(project: Path) -> None:
    notes = working_python(project)
    (project / "requirements.lock").write_text("click==8.5.0\n")
    answer = start(project)
    assert answer.returncode == 1
    assert "lacks setuptools" in answer.stderr
    assert not notes.exists()


def test_the_script_is_executable() -> None:
    assert os.access(PROJECT / "scripts" / "start", os.X_OK)


def test_uv_comes_by_its_own_lock_and_pip_takes_over_where_uv_fails(project: Path) -> None:
    (project / "requirements-uv.lock").write_text("uv==0.13.8\n")
    notes = working_python(project)
    uv = project / ".venv" / "bin" / "uv"
    inside = (project.parent / "inside" / "python").read_text()
    fails = (
        f'mkdir -p "{uv.parent}"; printf "#!/bin/sh\\necho uv >> {notes}; exit 1" > "{uv}"; chmod +x "{uv}"'
    )
    program(
        project.parent / "inside" / "python",
        f'case "$*" in *requirements-uv.lock*) {fails} ;; esac\n' + inside.split("\n", 1)[1],
    )
    for name in ("mkdir", "chmod"):
        found = shutil.which(name)
        assert found is not None
        (project.parent / "bin" / name).symlink_to(found)
    answer = start(project, "--install-only")
    assert answer.returncode == 0, answer.stderr
    asked = notes.read_text().splitlines()
    assert asked[0].endswith("requirements-uv.lock")
    assert asked[1] == "uv"
    assert "--require-hashes" in asked[2]
    assert asked[2].endswith("requirements.lock")
