from __future__ import annotations

import json
from pathlib import Path

import pytest

from data.errors import InvalidInput, Problem
from data.timeframes import Timeframe
from strategies.loader import load_strategy, parse_strategy
from tests.strategies.documents import EXAMPLE


def problem_of(path: Path) -> Problem:
    with pytest.raises(InvalidInput) as caught:
        load_strategy(path)
    (problem,) = caught.value.problems
    assert problem.where == str(path)
    return problem


def test_a_file_gives_the_strategy_its_document_describes(tmp_path: Path) -> None:
    path = tmp_path / "trend.json"
    path.write_text(json.dumps(EXAMPLE), encoding="utf-8-sig")
    strategy = load_strategy(path, {"fast": "20"}, Timeframe.M15)
    assert strategy.parameters == {"fast": 20, "slow": 26}
    assert strategy.timeframe is Timeframe.M15
    assert strategy.version == parse_strategy(EXAMPLE, "x", {"fast": 20}, "15m").version


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{\n  "name": "x",\n  "timeframe": "5m"\n  "long": {}\n}', "line 4, column 3"),
        (b'{"name": "x",}', "line 1"),
        (b"", "line 1, column 1"),
        (b'{"name": "x"} trailing', "line 1, column 15"),
        (b'{\n"name": "\xff"}', "line 2 is not UTF-8"),
        (b'{"name": "x", "name": "y"}', '"name" stands twice'),
        (b'{"a": {"b": 1, "b": 2}}', '"b" stands twice'),
        (b'{"sizing": {"value": NaN}}', "no such number"),
        (b'{"sizing": {"value": -Infinity}}', "no such number"),
        (b"[" * 100_000, "too deep"),
        (b'{"sizing": {"value": ' + b"9" * 5000 + b"}}", "digits"),
        (b'"' + b"x" * 1_000_001 + b'"', "1,000,003 bytes"),
    ],
)
def test_what_is_no_json_is_refused_with_its_place(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "broken.json"
    path.write_bytes(content)
    assert words in str(problem_of(path))


def test_a_number_beyond_all_doubles_is_no_number(tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    path.write_text(json.dumps(EXAMPLE).replace("70", "1e999"))
    assert problem_of(path).field == "long.entry.all[2].lt[1]"


def test_a_file_that_is_not_there_or_no_file_is_named(tmp_path: Path) -> None:
    assert problem_of(tmp_path / "none.json").expected == "no such file"
    assert "cannot be read" in problem_of(tmp_path).expected
