from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.files.trade_columns import TradeColumns
from database.trade_digests import MinuteDigests, changed_minutes, digests_of
from database.trade_writes import picked

MINUTE_US = 60_000_000
START_US = 1_723_161_300_000_000


def trades_of(count: int) -> TradeColumns:
    ids = np.arange(1, count + 1)
    return TradeColumns(
        trade_id=ids,
        traded_at_us=START_US + ids * 7_000_000,
        price=np.round(60_000 + np.sin(ids), 2),
        quantity=ids / 1_000,
        taker_side=np.where(ids % 2, 1, -1).astype(np.int8),
    )


def written(trades: TradeColumns) -> MinuteDigests:
    return digests_of(np.zeros(len(trades), dtype=np.int64), trades)


def joined(parts: list[MinuteDigests]) -> dict[int, tuple[int, int]]:
    """What the store makes of the digests of batches that came one after the other."""
    found: dict[int, tuple[int, int]] = {}
    for part in parts:
        for minute_us, count, digest in zip(part.minute_us, part.trades, part.digest, strict=True):
            before = found.get(int(minute_us), (0, 0))
            found[int(minute_us)] = (before[0] + int(count), before[1] ^ int(digest))
    return found


@given(seed=st.integers(0, 2**32 - 1), cuts=st.lists(st.integers(0, 60), max_size=5))
def test_batches_in_any_order_make_the_digest_of_the_whole(seed: int, cuts: list[int]) -> None:
    trades = trades_of(60)
    order = np.random.default_rng(seed).permutation(60)
    bounds = [0, *sorted(cuts), 60]
    parts = [picked(trades, order[start:end]) for start, end in pairwise(bounds)]

    assert joined([written(part) for part in parts]) == joined([written(trades)])


@given(row=st.integers(0, 59), column=st.sampled_from(["trade_id", "traded_at_us", "price", "quantity"]))
def test_any_altered_value_shows_in_its_minute(row: int, column: str) -> None:
    trades, before = trades_of(60), written(trades_of(60))
    values = getattr(trades, column)
    values[row] = np.nextafter(values[row], np.inf) if values.dtype == np.float64 else values[row] + 1

    (changed,) = changed_minutes(trades, before)

    at_us = START_US + (row + 1) * 7_000_000
    assert changed.minute_us == at_us - at_us % MINUTE_US
    assert changed.stored == changed.written


def test_a_quantity_moved_between_two_trades_and_a_turned_side_show() -> None:
    moved, turned, before = trades_of(60), trades_of(60), written(trades_of(60))
    moved.quantity[[10, 11]] += (0.001, -0.001)
    turned.taker_side[20] *= -1

    assert len(changed_minutes(moved, before)) == 1
    assert len(changed_minutes(turned, before)) == 1
    assert changed_minutes(trades_of(60), before) == []


def test_a_deleted_trade_and_one_moved_to_another_minute_show_where_they_were() -> None:
    trades, before = trades_of(60), written(trades_of(60))
    deleted = picked(trades, trades.trade_id != 30)
    trades.traded_at_us[29] += 3 * MINUTE_US

    for stored in (deleted, trades):
        (changed,) = changed_minutes(stored, before)
        assert changed.minute_us == START_US + 30 * 7_000_000 - (START_US + 30 * 7_000_000) % MINUTE_US
        assert changed.stored == changed.written - 1


@pytest.mark.parametrize("count", [0, 1])
def test_few_trades_or_none_have_digests_too(count: int) -> None:
    trades = trades_of(count)

    assert len(written(trades).digest) == count
    assert changed_minutes(trades, written(trades)) == []
