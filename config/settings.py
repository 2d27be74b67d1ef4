"""What a person may set, from the environment or `.env`. Only `app` reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from data.errors import InvalidInput, Problem

PROJECT = Path(__file__).resolve().parent.parent


class Settings(BaseSettings):
    """Environment variables, in capitals; secrets never show in logs or on pages."""

    model_config = SettingsConfigDict(env_file=".env", env_file_encoding="utf-8", extra="ignore")

    candlewick_home: Path = Path(".candlewick")
    database_url: SecretStr | None = None  # unset: the embedded PostgreSQL
    redis_url: SecretStr | None = None  # unset: the embedded Valkey
    candlewick_host: str = "127.0.0.1"
    candlewick_port: int = Field(default=8050, ge=1, le=65535)
    # Names under which a browser may open the page beside this machine's own, separated by commas.
    candlewick_allowed_hosts: str = ""
    candlewick_log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "INFO"

    # Folders of files that people write; the project's own by default.
    candlewick_strategies: Path = PROJECT / "config" / "strategies"
    candlewick_bots: Path = PROJECT / "config" / "bots"
    candlewick_collectors: Path = PROJECT / "config" / "collectors.json"
    candlewick_notifications: Path = PROJECT / "config" / "notifications.json"
    candlewick_risk: Path = PROJECT / "config" / "risk.json"

    # Whose trades the database holds, "real" or "simulated"; `up --demo` sets it for its processes.
    candlewick_venue_source: Literal["real", "simulated"] = "real"

    # The public market-data hosts; the simulated venue is put here by `up --demo`.
    okx_rest_url: str = "https://www.okx.com"
    okx_ws_url: str = "wss://ws.okx.com:8443"
    binance_rest_url: str = "https://data-api.binance.vision"
    binance_ws_url: str = "wss://data-stream.binance.vision"
    binance_futures_rest_url: str = "https://fapi.binance.com"
    binance_futures_ws_url: str = "wss://fstream.binance.com"

    @property
    def allowed_hosts(self) -> tuple[str, ...]:
        return tuple(name.strip() for name in self.candlewick_allowed_hosts.split(",") if name.strip())

    @field_validator("candlewick_log_level", mode="before")
    @classmethod
    def _in_capitals(cls, level: object) -> object:
        return level.upper() if isinstance(level, str) else level

    @field_validator(
        "candlewick_home",
        "candlewick_strategies",
        "candlewick_bots",
        "candlewick_collectors",
        "candlewick_notifications",
        "candlewick_risk",
    )
    @classmethod
    def _absolute(cls, path: Path) -> Path:
        return path.expanduser().absolute()


def load_settings() -> Settings:
    """The settings of this process. Raises InvalidInput that names each variable which cannot be used."""
    try:
        return Settings()
    except ValidationError as error:
        raise InvalidInput(
            *(_problem(str(one["loc"][0]), one["msg"], one["input"]) for one in error.errors())
        ) from None


def _problem(name: str, message: str, value: object) -> Problem:
    secret = "SecretStr" in str(Settings.model_fields[name].annotation)
    return Problem(
        where="the environment or .env",
        field=name.upper(),
        value="" if secret else repr(value),
        expected=message[:1].lower() + message[1:],
    )
