from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bots.shards import SLOTS, WHOLE, Shard, slot_of


@given(of=st.integers(1, SLOTS), bot_id=st.integers(1, 10**9))
def test_each_bot_is_in_exactly_one_shard(of: int, bot_id: int) -> None:
    holders = [number for number in range(of) if slot_of(bot_id) in Shard(number=number, of=of).slots]
    assert len(holders) == 1


@given(of=st.integers(1, SLOTS))
def test_shards_differ_by_one_slot_at_most_and_the_whole_has_all(of: int) -> None:
    sizes = [len(Shard(number=number, of=of).slots) for number in range(of)]
    assert max(sizes) - min(sizes) <= 1
    assert sum(sizes) == len(WHOLE.slots) == SLOTS
