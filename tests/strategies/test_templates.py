from __future__ import annotations

import json
from pathlib import Path

import pytest

from data.errors import InvalidInput
from strategies.templates import find_strategy_file, templates
from tests.strategies.documents import EXAMPLE, example


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "trend.json").write_text(json.dumps(EXAMPLE))
    (tmp_path / "broken.json").write_text(json.dumps(example(timeframe="7m")))
    (tmp_path / "schema.json").write_text("{}")
    (tmp_path / "notes.txt").write_text("none")
    return tmp_path


def test_a_folder_lists_its_strategies_and_those_that_are_broken(folder: Path) -> None:
    broken, trend = templates(folder)
    assert trend.strategy is not None
    assert (trend.name, trend.strategy.name) == ("trend", "ema-cross-with-trend")
    assert broken.strategy is None
    assert [problem.field for problem in broken.problems] == ["timeframe"]
    assert templates(folder / "none") == []


def test_a_strategy_is_found_by_path_or_by_name(folder: Path) -> None:
    path = folder / "trend.json"
    assert find_strategy_file(str(path), Path("none")) == path
    assert find_strategy_file("trend", folder) == path
    assert find_strategy_file("trend.json", folder) == path
    for unknown in ("tren", "schema", "../trend", str(folder / "none.json")):
        with pytest.raises(InvalidInput, match="one of broken, trend"):
            find_strategy_file(unknown, folder)
