from __future__ import annotations

import msgspec
import pytest

from bots.ladders.plans import ladder_account
from bots.ladders.state import LadderState
from tests.bots.ladders.adversary import CAPITAL, COSTS, SETTINGS, path, walk, walk_basket
from tests.bots.ladders.ladder_runs import RULES, decide, silence

PATHS = 60  # of each; `scripts/prove ladders` walks 10,000 in all


@pytest.mark.parametrize("name", SETTINGS)
def test_no_path_costs_more_than_was_shown_beside_gaps_and_the_grids_gain_splits_exactly(name: str) -> None:
    used = [walk(SETTINGS[name], path(seed), rounded=seed % 2 == 0)[1] for seed in range(PATHS)]
    # And the paths reach what they are to try.
    assert any(one.ended for one in used)
    assert any(one.gapped for one in used)
    assert any(one.fills for one in used)
    assert max(one.capital for one in used) > 0


def test_no_path_takes_more_of_a_basket_than_was_shown_beside_gaps() -> None:
    used = [walk_basket(seed) for seed in range(2 * PATHS)]
    assert any(one.ended for one in used)
    assert any(one.gapped for one in used)
    assert all(one.fills for one in used)


def test_a_state_read_back_from_json_goes_on_as_if_nothing_had_happened() -> None:
    for name, settings in SETTINGS.items():
        candles = path(7, 40)
        through = ladder_account(settings, capital=CAPITAL, costs=COSTS, rules=RULES)
        broken = ladder_account(settings, capital=CAPITAL, costs=COSTS, rules=RULES)
        for one in candles:
            steps = []
            for account in (through, broken):
                closed = account.close_candle(one)
                steps.append((closed, decide(account, silence(one))))
            assert steps[0] == steps[1], name
            stored = msgspec.json.decode(msgspec.json.encode(broken.state), type=LadderState)
            assert stored == broken.state
            broken = ladder_account(settings, capital=CAPITAL, costs=COSTS, rules=RULES, state=stored)
