"""Decimals as the venues write them."""

from __future__ import annotations

import pytest

from simulator.wire_numbers import padded, plain, plain_float


@pytest.mark.parametrize(
    ("value", "decimals", "okx", "binance"),
    [
        (302_435, 1, "30243.5", "30243.50000000"),
        (302_360, 1, "30236", "30236.00000000"),
        (1_000, 8, "0.00001", "0.00001000"),
        (7, 0, "7", "7.00000000"),
        (6_183_763, 2, "61837.63", "61837.63000000"),
    ],
)
def test_each_venue_writes_its_own_way(value: int, decimals: int, okx: str, binance: str) -> None:
    assert plain(value, decimals) == okx
    assert padded(value, decimals) == binance


def test_sums_have_no_exponent() -> None:
    assert [plain_float(value) for value in (0.0, 1e-7, 526_000_000.25)] == ["0", "0.0000001", "526000000.25"]
