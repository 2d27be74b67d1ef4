"""`candlewick bots preview` as a person runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from app.commands.bots_preview import preview
from data.errors import InvalidInput

EXAMPLES = sorted(Path("config/bots/examples").glob("*.json"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_shows_its_worst_case(path: Path) -> None:
    result = CliRunner().invoke(preview, [str(path), "--json"])
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    worst = document["worst_case"]
    assert 0 < worst["loss"] <= worst["capital"] <= document["capital"]
    assert worst["orders"] >= 1
    assert worst["break_even_price"] or worst["break_even_from_entry"]
    text = CliRunner().invoke(preview, [str(path)])
    assert all(market.split(":")[1] in text.stdout for market in document["markets"])


def test_a_bot_that_follows_a_strategy_has_no_such_preview() -> None:
    result = CliRunner().invoke(preview, ["config/bots/pulse_btc.json"])
    assert isinstance(result.exception, InvalidInput)
