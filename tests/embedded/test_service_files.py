"""Passwords, ports and logs of embedded services."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from data.errors import InstallationError
from embedded.service_files import (
    LOG_LIMIT_BYTES,
    free_port,
    log_tail,
    new_password,
    open_log,
    port_is_free,
    prepare_home,
    remembered_port,
    saved_password,
    write_private,
)


def test_a_password_is_kept_private_and_found_again(tmp_path: Path) -> None:
    path = tmp_path / "postgres"
    assert saved_password(path) is None
    password = new_password(path)
    assert saved_password(path) == password
    assert path.stat().st_mode & 0o777 == 0o600
    assert password.replace("-", "").replace("_", "").isalnum()  # safe in a URL as it stands


def test_a_private_file_is_replaced_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    write_private(tmp_path / "note", "first")
    write_private(tmp_path / "note", "second")
    assert (tmp_path / "note").read_text() == "second"
    assert [path.name for path in tmp_path.iterdir()] == ["note"]


def test_a_home_that_is_a_file_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    with pytest.raises(InstallationError, match=r"home cannot be written \(.*CANDLEWICK_HOME"):
        prepare_home(tmp_path / "home")


@pytest.mark.parametrize("note", [None, "", "five\n"])
def test_no_port_is_remembered_where_none_is_noted(tmp_path: Path, note: str | None) -> None:
    if note is not None:
        (tmp_path / "port").write_text(note)
    assert remembered_port(tmp_path / "port") is None


def test_a_remembered_port_is_kept_while_free_and_given_up_when_taken() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        other.listen()
        assert not port_is_free(port)
        assert free_port(port) != port
    assert free_port(port) == port


def test_an_address_of_ipv6_is_tried_as_one() -> None:
    try:
        other = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no IPv6")
    with other:
        port = other.getsockname()[1]
        assert not port_is_free(port, "::1")
        assert not port_is_free(port, "::")
    assert port_is_free(port, "::1")
    assert port_is_free(port, "::")


def test_a_log_that_has_grown_too_large_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "postgres.log"
    with open_log(path) as log:
        log.write(b"x" * (LOG_LIMIT_BYTES + 1))
    with open_log(path) as log:
        assert log.tell() == 0
    assert (tmp_path / "logs" / "postgres.log.1").stat().st_size == LOG_LIMIT_BYTES + 1


def test_the_tail_of_a_log_is_its_last_lines_since_a_place(tmp_path: Path) -> None:
    path = tmp_path / "log"
    assert log_tail(path) == ""
    path.write_text("of the life before\none\n\ntwo\nthree\n")
    assert log_tail(path, since=len("of the life before\n")) == "one | two | three"
    assert log_tail(path, lines=2) == "two | three"
