"""The container files, which no test can build here: their structure and what must never be in them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # no types among our dependencies

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    document = yaml.safe_load((PROJECT / "docker-compose.yml").read_text(encoding="utf-8"))
    assert isinstance(document, dict)
    return document


def test_every_service_is_pinned_watched_and_comes_back(compose: dict[str, Any]) -> None:
    assert set(compose["services"]) == {"database", "bus", "app"}
    dockerfile = (PROJECT / "Dockerfile").read_text(encoding="utf-8")
    for name, service in compose["services"].items():
        assert service["restart"] == "unless-stopped", name
        if "image" in service:
            assert re.search(r":\d+\.\d+", service["image"]), f"{service['image']} names no version"
            assert service["healthcheck"]["test"], name
        else:
            assert "HEALTHCHECK" in dockerfile
            assert "/healthz" in dockerfile


def test_no_password_has_a_default(compose: dict[str, Any]) -> None:
    text = (PROJECT / "docker-compose.yml").read_text(encoding="utf-8")
    uses = re.findall(r"\$\{(\w*PASSWORD)(\W\W?)", text)
    assert {name for name, _ in uses} == {"POSTGRES_PASSWORD", "REDIS_PASSWORD"}
    assert {operator for _, operator in uses} == {":?"}
    for service in compose["services"].values():
        for name, value in service["environment"].items():
            if "PASSWORD" in name or name.endswith("_URL"):
                assert "PASSWORD:?" in value
    example = (PROJECT / ".env.example").read_text(encoding="utf-8")
    assert re.findall(r"^\w*PASSWORD=(.*)$", example, re.MULTILINE) == ["", ""]


def test_ports_are_published_on_the_loopback_alone(compose: dict[str, Any]) -> None:
    published = [port for service in compose["services"].values() for port in service.get("ports", ())]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)
    assert not any(service.get("network_mode") for service in compose["services"].values())


def test_the_app_waits_for_healthy_servers_and_keeps_its_state(compose: dict[str, Any]) -> None:
    app = compose["services"]["app"]
    assert {name: one["condition"] for name, one in app["depends_on"].items()} == {
        "database": "service_healthy",
        "bus": "service_healthy",
    }
    mounted = {
        mount.split(":")[0] for service in compose["services"].values() for mount in service["volumes"]
    }
    assert mounted == set(compose["volumes"])
    assert app["volumes"] == ["state:/data"]


def test_the_image_runs_as_a_user_and_installs_only_what_is_locked() -> None:
    dockerfile = (PROJECT / "Dockerfile").read_text(encoding="utf-8")
    assert re.search(r"^USER candlewick$", dockerfile, re.MULTILINE)
    installs = re.findall(r"pip install .*", dockerfile)
    assert len(installs) == 2
    assert all("--require-hashes" in line or "--no-deps" in line for line in installs)
    assert re.search(r"^CMD .*candlewick.*up", dockerfile, re.MULTILINE)


def test_secrets_and_state_stay_out_of_the_image() -> None:
    ignored = (PROJECT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert {".env", ".candlewick", ".git", ".venv"} <= set(ignored)


def test_the_names_a_browser_may_use_reach_the_app(compose: dict[str, Any]) -> None:
    environment = compose["services"]["app"]["environment"]
    assert environment["CANDLEWICK_ALLOWED_HOSTS"] == "${CANDLEWICK_ALLOWED_HOSTS:-}"
    assert "#CANDLEWICK_ALLOWED_HOSTS=" in (PROJECT / ".env.example").read_text(encoding="utf-8")
