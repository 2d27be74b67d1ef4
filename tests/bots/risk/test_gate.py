from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots.gates import PASSED, Gate, GateVerdict
from bots.orders import OrderReason, PositionSide, TradingRules
from bots.risk.approval import Approved
from bots.risk.gate import Proposal, pass_gate, violations_of
from bots.risk.limits import NO_LIMITS, Limits
from bots.risk.seal import Seal
from bots.risk.state import DAY_US, MINUTE_US, RiskState, begin, observe, ordered
from strategies.base import Decision

T0 = 1_760_000_040_000_000
PROJECT = Path(__file__).resolve().parents[3]
NO_RULES = TradingRules()


def proposal(notional: int = 100, *, at_us: int = T0, held: int = 0, waiting: int = 0) -> Proposal:
    return Proposal(
        reason=OrderReason.ADD_ON if held else OrderReason.ENTRY,
        side=PositionSide.LONG,
        at_us=at_us,
        notional=Decimal(notional),
        held=Decimal(held),
        waiting=waiting,
    )


def broken(limits: Limits, wish: Proposal, state: RiskState | None = None) -> list[str]:
    state = begin(Decimal(1_000)) if state is None else state
    return [one.limit for one in violations_of(wish, limits, state, NO_RULES)]


def after(equities: list[int], limits: Limits, *, start_us: int = T0) -> RiskState:
    state = begin(Decimal(1_000))
    for number, equity in enumerate(equities):
        state = observe(state, start_us + number * MINUTE_US, Decimal(equity), limits)
    return state


def decision() -> Decision:
    return Decision(
        strategy="s",
        version="v",
        opened_at_us=T0,
        close=1.0,
        long_entry=True,
        long_exit=False,
        short_entry=False,
        short_exit=False,
        record={},
    )


@pytest.mark.parametrize(
    ("limits", "wish", "said"),
    [
        (Limits(max_order_notional=Decimal(99)), proposal(100), ["max_order_notional"]),
        (Limits(max_order_notional=Decimal(100)), proposal(100), []),
        (Limits(max_position_notional=Decimal(150)), proposal(100, held=60), ["max_position_notional"]),
        (Limits(max_position_notional=Decimal(160)), proposal(100, held=60), []),
        (Limits(max_open_orders=1), proposal(waiting=1), ["max_open_orders"]),
        (Limits(min_order_notional=Decimal(101)), proposal(100), ["min_order_notional"]),
        (
            Limits(max_order_notional=Decimal(1), max_position_notional=Decimal(2)),
            proposal(100),
            ["max_order_notional", "max_position_notional"],
        ),
    ],
)
def test_sizes_are_judged_at_the_deciding_close(limits: Limits, wish: Proposal, said: list[str]) -> None:
    assert broken(limits, wish) == said


def test_the_venues_minimum_is_known_before_there_is_an_order() -> None:
    rules = TradingRules(min_notional=Decimal(10))
    (found,) = violations_of(proposal(9), NO_LIMITS, begin(Decimal(9)), rules)
    assert (found.gate, found.used, found.allowed) == (Gate.MIN_NOTIONAL, Decimal(9), Decimal(10))


def test_orders_are_counted_within_a_minute_of_the_venues_clock() -> None:
    limits = Limits(max_orders_per_minute=2)
    state = ordered(ordered(begin(Decimal(1)), T0), T0 + 30_000_000)
    assert broken(limits, proposal(at_us=T0 + 59_999_999), state) == ["max_orders_per_minute"]
    assert broken(limits, proposal(at_us=T0 + 60_000_000), state) == []


def test_a_days_loss_is_an_amount_or_a_share_of_the_equity_at_midnight() -> None:
    midnight = T0 // DAY_US * DAY_US
    state = after([1_000, 960], NO_LIMITS, start_us=midnight)  # the first closes the day before
    assert state.daily_loss == 40
    for most, is_broken in (("0.04", True), ("0.041", False), ("40", True), ("41", False)):
        found = broken(Limits(max_daily_loss=Decimal(most)), proposal(), state)
        assert found == (["max_daily_loss"] if is_broken else [])
    next_day = observe(state, midnight + DAY_US + MINUTE_US, Decimal(955), NO_LIMITS)
    assert (next_day.day_equity, next_day.daily_loss) == (Decimal(960), Decimal(5))


def test_after_a_drawdown_entries_rest_and_then_the_peak_is_forgotten() -> None:
    limits = Limits(max_drawdown=Decimal("0.1"), cool_down_minutes=5)
    state = after([1_000, 1_100, 991, 990], limits)
    assert state.rests_until_us == T0 + 8 * MINUTE_US
    (found,) = violations_of(proposal(at_us=T0 + 4 * MINUTE_US), limits, state, NO_RULES)
    assert found.gate is Gate.COOLDOWN
    recovered = observe(state, T0 + 7 * MINUTE_US, Decimal(1_090), limits)
    assert broken(limits, proposal(at_us=T0 + 7 * MINUTE_US), recovered) == ["max_drawdown"]
    rested = observe(recovered, T0 + 8 * MINUTE_US, Decimal(1_000), limits)
    assert (rested.peak, rested.rests_until_us) == (Decimal(1_000), None)
    assert broken(limits, proposal(at_us=T0 + 8 * MINUTE_US), rested) == []


@given(st.lists(st.integers(500, 1_500), min_size=2, max_size=40), st.data())
def test_a_restart_between_any_two_candles_changes_nothing(equities: list[int], data: st.DataObject) -> None:
    limits = Limits(max_drawdown=Decimal("0.2"), cool_down_minutes=3, max_daily_loss=Decimal("0.1"))
    cut = data.draw(st.integers(1, len(equities) - 1))
    state = after(equities[:cut], limits)
    state = msgspec.json.decode(msgspec.json.encode(state), type=RiskState)
    for number, equity in enumerate(equities[cut:], cut):
        state = observe(state, T0 + number * MINUTE_US, Decimal(equity), limits)
    assert state == after(equities, limits)


def test_others_are_asked_only_for_what_would_become_an_order() -> None:
    asked = []

    def others() -> GateVerdict:
        asked.append(1)
        return GateVerdict(gate=Gate.STALE_DATA, detail="old")

    state = begin(Decimal(1_000))
    quiet = pass_gate(decision(), None, limits=NO_LIMITS, state=state, rules=NO_RULES, others=others)
    assert (quiet.verdict, quiet.approved.may_enter, asked) == (PASSED, True, [])
    limits = Limits(max_order_notional=Decimal(1))
    own = pass_gate(decision(), proposal(), limits=limits, state=state, rules=NO_RULES, others=others)
    assert (own.verdict.gate, own.approved.may_enter, asked) == (Gate.LIMIT, False, [])
    stale = pass_gate(decision(), proposal(), limits=NO_LIMITS, state=state, rules=NO_RULES, others=others)
    assert (stale.verdict.gate, stale.approved.may_enter, asked) == (Gate.STALE_DATA, False, [1])
    assert stale.state == state, "what was not ordered is not counted"


def test_nobody_makes_an_approval_without_the_gates_seal() -> None:
    with pytest.raises(TypeError, match="only the risk gate"):
        Approved(decision(), may_enter=True, may_add=True, seal=Seal())


def test_the_import_contract_bites_whoever_takes_the_seal_past_the_gate(tmp_path: Path) -> None:
    """The contract as it stands in pyproject.toml, over a copy of the rooms with one thief in it."""
    contracts = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (contract,) = (one for one in contracts if one.get("protected_modules") == ["bots.risk.seal"])
    shutil.copytree(PROJECT / "bots", tmp_path / "bots", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / ".importlinter").write_text(
        "[importlinter]\nroot_packages=\n    bots\n[importlinter:contract:seal]\nname=seal\ntype=protected\n"
        "protected_modules=bots.risk.seal\nallowed_importers=\n    "
        + "\n    ".join(contract["allowed_importers"])
    )
    run = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()", "--no-cache"]

    def lint() -> subprocess.CompletedProcess[str]:
        return subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert lint().returncode == 0
    (tmp_path / "bots" / "thief.py").write_text("from bots.risk.seal import SEAL\n")
    caught = lint()
    assert caught.returncode == 1
    assert "bots.thief" in caught.stdout
