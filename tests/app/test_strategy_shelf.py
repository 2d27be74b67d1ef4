from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.commands.doctor import Verdict, check_files
from app.strategy_shelf import StrategyShelf
from config.settings import load_settings
from data.errors import InvalidInput
from data.timeframes import Timeframe
from strategies.templates import find_strategy_file
from tests.strategies.documents import EXAMPLE
from tests.strategies.python_sources import BREAKOUT


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "trend.json").write_text(json.dumps(EXAMPLE))
    (tmp_path / "python").mkdir()
    (tmp_path / "python" / "breakout.py").write_text(BREAKOUT)
    (tmp_path / "python" / "thief.py").write_text("import os\n")
    return tmp_path


def test_pages_may_choose_strategies_in_python_as_well(folder: Path) -> None:
    shelf = StrategyShelf(folder)
    assert shelf.names() == ["trend", "breakout.py", "thief.py"]
    assert shelf.strategy("trend", Timeframe.M15).timeframe is Timeframe.M15
    chosen = shelf.strategy("breakout.py", Timeframe.H1)
    assert (chosen.name, chosen.timeframe) == ("breakout", Timeframe.H1)
    with pytest.raises(InvalidInput, match="os"):
        shelf.strategy("thief.py", Timeframe.H1)


def test_a_name_finds_a_python_file_where_no_json_has_it(folder: Path) -> None:
    assert find_strategy_file("breakout", folder) == folder / "python" / "breakout.py"
    (folder / "breakout.json").write_text(json.dumps(EXAMPLE))
    assert find_strategy_file("breakout", folder) == folder / "breakout.json"
    assert find_strategy_file("breakout.py", folder) == folder / "python" / "breakout.py"


def test_the_doctor_reads_strategies_in_python(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANDLEWICK_STRATEGIES", str(folder))
    monkeypatch.setenv("CANDLEWICK_HOME", str(folder / "home"))
    found = [finding for finding in check_files(load_settings()) if finding.name == "strategies"]
    assert [finding.verdict for finding in found] == [Verdict.PROBLEM]
    assert "thief.py" in found[0].what
