from __future__ import annotations

import msgspec

from bots.config import as_document
from bots.ladders.ladder_bot import SavedLadder
from bots.ladders.standing import standing_of
from bots.ladders.state import LadderState
from bots.ledger import EXACT
from tests.bots.bot_fakes import bot_config
from tests.bots.ladders.test_ladder_bot import LADDERS, config_of, run, wander


def test_a_stored_ladder_tells_its_orders_and_its_use_of_the_worst_case() -> None:
    for kind in LADDERS:
        record = msgspec.structs.replace(run(kind, wander(2)).record, config=as_document(config_of(kind)))
        standing = standing_of(record)
        assert standing is not None
        assert record.account is not None
        state: LadderState = msgspec.json.decode(record.account, type=SavedLadder).state
        assert {one.sequence for one in standing.resting} == {one.order.sequence for one in state.resting}
        prices = [one.price for one in standing.resting]
        assert prices == sorted(prices, reverse=True)
        assert 0 < standing.most_committed <= standing.worst_case.capital
        assert (standing.realised is not None) == (kind == "grid")


def test_a_grids_gain_splits_into_what_it_has_won_over_its_capital() -> None:
    record = msgspec.structs.replace(run("grid", wander(2)).record, config=as_document(config_of("grid")))
    standing = standing_of(record)
    assert standing is not None
    assert standing.realised is not None
    assert standing.inventory is not None
    assert standing.fees is not None
    assert record.account is not None
    state: LadderState = msgspec.json.decode(record.account, type=SavedLadder).state
    assert state.last_price is not None
    equity = EXACT.add(state.ledger.cash, EXACT.multiply(state.ledger.quantity, state.last_price))
    assert equity - state.ledger.capital == standing.realised + standing.inventory - standing.fees


def test_other_bots_have_no_such_standing() -> None:
    record = run("grid", wander(2, 3)).record
    assert standing_of(msgspec.structs.replace(record, config=as_document(bot_config()))) is None
    assert standing_of(msgspec.structs.replace(record, account=None)) is None
