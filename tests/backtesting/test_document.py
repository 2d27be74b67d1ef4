from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from backtesting.document import iso_times
from backtesting.manifest import iso_time

# 1950 to 2100.
MOMENTS = st.integers(-631_152_000_000_000, 4_102_444_800_000_000)


@given(st.lists(MOMENTS | MOMENTS.map(lambda at_us: at_us // 1_000_000 * 1_000_000), max_size=20))
def test_many_times_are_written_as_each_alone(at_us: list[int]) -> None:
    assert iso_times(np.array(at_us, dtype=np.int64)) == [iso_time(each) for each in at_us]


def test_a_fill_inside_a_second_keeps_its_milliseconds() -> None:
    assert iso_times(np.array([1_704_070_154_841_000])) == ["2024-01-01T00:49:14.841000Z"]
