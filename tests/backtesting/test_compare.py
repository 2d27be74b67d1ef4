"""Two runs beside each other: what is the same, what differs and by how much, where they part, and why."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from backtesting.compare import Comparison, StoredPoint, StoredRun, StoredTrade, compare_runs


def trade(hour: int, **changed: Any) -> StoredTrade:
    fields: dict[str, Any] = {
        "side": "long",
        "entry_time": f"2024-01-01T{hour:02}:00:00Z",
        "entry_price": Decimal("100.10"),
        "exit_time": f"2024-01-01T{hour + 1:02}:00:00Z",
        "exit_price": Decimal("101"),
        "quantity": Decimal("2"),
        "fees": Decimal("0.4"),
        "pnl": Decimal("1.4"),
        "rate": Decimal("0.007"),
        "exit_reason": "signal",
    }
    return StoredTrade(**fields | changed)


MANIFEST = {
    "engine_version": "2",
    "strategy_hash": "a" * 64,
    "parameters": {"fast": 12, "slow": 26},
    "data_hash": "b" * 64,
    "costs": {"fee_bps": 10, "slippage_bps": 0},
    "source": {"candles": "here.csv"},
    "result_hash": "c" * 64,
}


def run(trades: list[StoredTrade], manifest: dict[str, Any] | None = None, **figures: float) -> StoredRun:
    points = [StoredPoint(f"2024-01-01T{hour:02}:00:00Z", 100.0) for hour in range(1, 6)]
    return StoredRun(
        metrics={"trades": len(trades), "sampling": "candles", **figures},
        trades=trades,
        manifest=MANIFEST | (manifest or {}),
        equity=points,
    )


def test_a_run_is_the_same_as_itself_wherever_its_files_lie() -> None:
    trades = [trade(1), trade(3)]
    found = compare_runs(run(trades), run(trades, {"source": {"candles": "there.csv"}}))
    assert found.same
    assert (found.same_trades, found.differing, found.only_a, found.only_b) == (2, [], [], [])
    assert found.first_divergence is None
    assert found.causes == []


def test_amounts_are_compared_by_value_and_told_with_their_distance() -> None:
    other = trade(1, entry_price=Decimal("100.1"), exit_price=Decimal("100.999"), exit_reason="stop_loss")
    found = compare_runs(run([trade(1)]), run([other]))
    (one,) = found.differing
    assert [(field.field, field.by) for field in one.fields] == [
        ("exit_reason", None),
        ("exit_price", Decimal("-0.001")),
    ]
    assert found.first_divergence is not None
    assert found.first_divergence.time == "2024-01-01T02:00:00Z"  # they were entered alike


def test_trades_of_one_run_alone_are_found_on_either_side() -> None:
    found = compare_runs(run([trade(1), trade(5)]), run([trade(1), trade(3), trade(5, side="short")]))
    assert found.same_trades == 1
    assert [(one.number, one.trade.entry_time[11:13]) for one in found.only_a] == [(2, "05")]
    assert [(one.number, one.trade.side) for one in found.only_b] == [(2, "long"), (3, "short")]
    assert found.first_divergence is not None
    assert found.first_divergence.time == "2024-01-01T03:00:00Z"
    assert "only B enters long" in found.first_divergence.what


def test_parts_of_one_position_pair_in_their_order() -> None:
    parts = [trade(1), trade(1, exit_time="2024-01-01T04:00:00Z")]
    assert compare_runs(run(parts), run(parts)).same_trades == 2
    found = compare_runs(run(parts), run(parts[:1]))
    assert [one.number for one in found.only_a] == [2]


def test_symbols_of_a_portfolio_are_kept_apart() -> None:
    found = compare_runs(run([trade(1, symbol="A-B")]), run([trade(1, symbol="C-B")]))
    assert (len(found.only_a), len(found.only_b), found.same_trades) == (1, 1, 0)


def test_figures_that_differ_are_told_alone() -> None:
    found = compare_runs(run([], sharpe=1.5, cagr=0.1), run([], sharpe=1.25, cagr=0.1))
    assert not found.same
    assert [(one.field, one.a, one.b, one.by) for one in found.metrics] == [("sharpe", 1.5, 1.25, -0.25)]


def test_equity_that_parts_without_a_trade_is_found() -> None:
    a = run([])
    b = msgspec.structs.replace(
        a, equity=[StoredPoint(one.time, 99.0 if one.time[11:13] >= "03" else 100.0) for one in a.equity]
    )
    found = compare_runs(a, b)
    assert not found.same
    assert found.first_divergence is not None
    assert found.first_divergence.time == "2024-01-01T03:00:00Z"
    shorter = compare_runs(a, msgspec.structs.replace(a, equity=a.equity[:2]))
    assert shorter.first_divergence is not None
    assert shorter.first_divergence.time == "2024-01-01T03:00:00Z"


@pytest.mark.parametrize(
    ("changed", "cause"),
    [
        ({"engine_version": "3"}, "the engine's version is another"),
        ({"strategy_hash": "d" * 64}, "the strategy is another"),
        ({"data_hash": "d" * 64}, "the candles are others"),
        (
            {"costs": {"fee_bps": 7.5, "slippage_bps": 0}},
            "the costs differ (costs.fee_bps: 10 in A, 7.5 in B)",
        ),
        ({"parameters": {"fast": 9, "slow": 26}}, "parameters differ (parameters.fast: 12 in A, 9 in B)"),
    ],
)
def test_the_manifests_say_why(changed: dict[str, Any], cause: str) -> None:
    found: Comparison = compare_runs(run([trade(1)]), run([], changed))
    assert len(found.causes) == 1
    assert found.causes[0].startswith(cause)


def test_without_a_cause_in_the_manifests_that_is_said() -> None:
    (cause,) = compare_runs(run([trade(1)]), run([])).causes
    assert "changed after its run" in cause


def test_legs_of_a_portfolio_are_explained_too() -> None:
    legs = [{"symbol": "A-B", "data_hash": "x"}, {"symbol": "C-B", "data_hash": "y"}]
    a = run([trade(1)], {"legs": legs})
    b = run([], {"legs": [legs[0], legs[1] | {"data_hash": "z"}]})
    assert compare_runs(a, b).causes == ["the candles are others (legs.2.data_hash: y in A, z in B)"]
