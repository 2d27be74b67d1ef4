"""How bots are spread over runner processes."""

from __future__ import annotations

import msgspec

# Each bot has one slot, for good; a process holds some of them. Two layouts that disagree on the number of
# processes still never run one bot twice: they want the same slots.
SLOTS = 64


class Shard(msgspec.Struct, frozen=True, kw_only=True):
    """One of `of` runner processes."""

    number: int  # from 0
    of: int

    @property
    def slots(self) -> tuple[int, ...]:
        return tuple(range(self.number, SLOTS, self.of))

    @property
    def name(self) -> str:
        return f"bots-{self.number + 1}-of-{self.of}"


WHOLE = Shard(number=0, of=1)


def slot_of(bot_id: int) -> int:
    return bot_id % SLOTS
