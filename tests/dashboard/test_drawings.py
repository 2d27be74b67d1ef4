from __future__ import annotations

import numpy as np
import pytest

from dashboard.figures.drawings import (
    MAX_DRAWINGS,
    drawing_items,
    indicator_choices,
    known_drawings,
    parse_indicator,
)
from data.timeframes import Timeframe
from strategies.indicators.registry import INDICATORS
from tests.dashboard.fakes import NOW_US, walk

MINUTES = 3_000  # two days and a bit: sessions begin and end
OHLCV = walk(Timeframe.M1, MINUTES, end_us=NOW_US, start=64_000.0, seed=3, step=0.001)


@pytest.mark.parametrize("name", INDICATORS)
def test_every_indicator_is_drawn_with_a_line_per_output_and_survives_its_own_address(name: str) -> None:
    drawing = parse_indicator(f"{name}()")
    assert drawing is not None
    assert parse_indicator(drawing.text) == drawing
    assert known_drawings(drawing.text, []) == drawing.text
    lines = drawing.overlays(OHLCV)
    assert [line.name.rpartition(".")[2] for line in lines] == list(INDICATORS[name].outputs)
    assert len({line.name for line in lines}) == len(lines)
    assert all(line.values.shape == (MINUTES,) for line in lines)
    assert all(np.isfinite(line.values).any() for line in lines)


def test_commas_inside_parentheses_do_not_part_items() -> None:
    assert drawing_items("ema, bollinger(20,2,close),macd,ema") == ["ema", "bollinger(20,2,close)", "macd"]


def test_parameters_left_out_have_their_defaults() -> None:
    assert known_drawings("rsi(7)", []) == "rsi(7,close)"


@pytest.mark.parametrize(
    "bad",
    ["rsi(0)", "rsi(x)", "rsi(7,close,3)", "rsi(14", "rsi", "nothing(3)", "../../etc/passwd", "", ",,", ")("],
)
def test_what_does_not_exist_is_not_drawn(bad: str) -> None:
    assert known_drawings(bad, []) == "ema"
    assert known_drawings(f"{bad},atr(14)" if "(" not in bad or ")" in bad else "atr(14)", []) in (
        "atr(14)",
        "ema",
    )


def test_no_more_than_so_many_are_drawn_at_once() -> None:
    wanted = ",".join(f"sma({period})" for period in range(2, 40))
    assert len(drawing_items(known_drawings(wanted, []))) == MAX_DRAWINGS


def test_the_list_to_choose_from_tells_every_parameter_with_its_range() -> None:
    choices = {choice["name"]: choice for choice in indicator_choices()}
    assert set(choices) == set(INDICATORS)
    period = choices["rsi"]["parameters"][0]  # type: ignore[index]
    assert (period["name"], period["default"], period["minimum"]) == ("period", 14, 2)
