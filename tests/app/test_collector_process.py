from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from app.installation import Mode, RunningServices
from app.processes import collector
from config.settings import Settings
from data.collectors.collector_manager import plan_collectors
from data.collectors.settings import load_collector_settings
from data.collectors.settings_file import SettingsFile
from data.errors import InvalidInput, Problem
from data.exchanges.base import ExchangeAdapter

REFUSAL = Problem(where="collectors.json", field="symbols", value="X", expected="expected a symbol")


async def collected(tmp_path: Path) -> None:
    """Run a shard, as its process does; nothing listens where its services are said to be."""
    file = tmp_path / "collectors.json"
    file.write_text('{"okx": {"symbols": ["BTC-USDT"]}}')
    services = RunningServices(
        pid=1,
        started_at=0.0,
        database_url="postgresql+psycopg://127.0.0.1:1/none",
        redis_url="redis://127.0.0.1:1",
        mode=Mode.REAL,
    )
    [plan] = plan_collectors(load_collector_settings(file))
    await collector.collect(Settings(candlewick_home=tmp_path), services, plan, SettingsFile(file))


async def test_what_a_collector_refuses_is_told_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise InvalidInput(REFUSAL)

    monkeypatch.setattr(collector, "run_collector", refuse)
    with pytest.raises(InvalidInput, match="expected a symbol"):
        await collected(tmp_path)


async def test_a_collector_goes_on_where_compiled_code_cannot_be_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried, recorded = asyncio.Event(), []
    loop = asyncio.get_running_loop()

    def cannot(_: ExchangeAdapter) -> None:
        loop.call_soon_threadsafe(tried.set)
        raise OSError("no space left on device")

    async def record(*_: object, **__: object) -> None:
        await tried.wait()
        await asyncio.sleep(0.05)
        recorded.append("all of it")

    monkeypatch.setattr(ExchangeAdapter, "make_ready", cannot)
    monkeypatch.setattr(collector, "run_collector", record)
    monkeypatch.setattr(collector, "_CATCHING_UP_S", 0.0)
    await collected(tmp_path)
    assert recorded == ["all of it"]
