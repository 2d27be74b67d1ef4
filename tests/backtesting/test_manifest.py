"""Equal inputs give equal hashes, and any change of an input or a result another one."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import msgspec
import numpy as np

from backtesting.document import document_of, encoded, iso_times
from backtesting.engine import BacktestResult, run_backtest
from backtesting.manifest import Manifest, Source, data_hash, differences, iso_time, manifest_of
from bots.orders import Costs, TradingRules
from data.timeframes import Timeframe
from tests.backtesting.series import GivenSignals, ohlcv_of, signals_at

ROWS = [(100.0, 100.0, 100.0, 100.0), (101.0, 103.0, 101.0, 102.0), (103.0, 103.0, 103.0, 103.0)]
SOURCE = Source(strategy="a.json", candles="b.csv")


def run(costs: Costs = Costs(), exit_row: int = 1) -> BacktestResult:  # noqa: B008  # frozen
    strategy = GivenSignals(given=signals_at(3, long_entry=[0], long_exit=[exit_row]))
    return run_backtest(strategy, ohlcv_of(ROWS), capital=Decimal(1_000), costs=costs, rules=TradingRules())


def test_the_same_run_has_the_same_manifest() -> None:
    assert manifest_of(run(), SOURCE) == manifest_of(run(), SOURCE)
    assert differences(manifest_of(run(), SOURCE), manifest_of(run(), Source(strategy="moved.json"))) == []


def test_other_fills_or_an_order_that_waits_change_the_result_s_hash() -> None:
    hashes = {
        manifest_of(result, SOURCE).result_hash
        for result in (run(), run(Costs(fee_bps=Decimal(11))), run(exit_row=2))
    }
    assert len(hashes) == 3


def test_every_column_and_the_time_frame_are_in_the_data_s_hash() -> None:
    ohlcv = ohlcv_of(ROWS)
    changed = [
        replace(ohlcv, **{name: getattr(ohlcv, name) + 1})
        for name in ("opened_at_us", "open", "high", "low", "close", "volume")
    ]
    changed.append(replace(ohlcv, timeframe=Timeframe.D1))
    assert len({data_hash(series) for series in (ohlcv, *changed)}) == 8
    backwards = replace(ohlcv, open=np.asarray(ohlcv.open, dtype=">f8"))
    assert data_hash(backwards) == data_hash(ohlcv)


def test_differences_are_told_one_by_one() -> None:
    manifest = manifest_of(run(), SOURCE)
    other = msgspec.structs.replace(manifest, engine_version="0", result_hash="abc")
    told = differences(other, manifest)
    assert told[0] == "the engine's version was 0 and is 3"
    assert told[1].startswith("the result's hash was abc and is ")


def test_a_manifest_comes_back_from_json_with_every_digit() -> None:
    manifest = manifest_of(run(Costs(fee_bps=Decimal("7.125"))), SOURCE)
    assert msgspec.json.decode(encoded(manifest), type=Manifest) == manifest


def test_the_document_holds_numbers_and_no_trailing_zeros() -> None:
    result = run()
    text = encoded(document_of(result, manifest_of(result, SOURCE)))
    document = msgspec.json.decode(text)
    assert set(document) == {
        "metrics",
        "trades",
        "open_trade",
        "pending_orders",
        "refused_orders",
        "ambiguity",
        "equity",
        "manifest",
    }
    (trade,) = document["trades"]
    assert list(trade) == [
        "side", "entry_time", "entry_price", "exit_time", "exit_price", "quantity", "fees", "pnl", "return",
        "exit_reason",
    ]  # fmt: skip
    assert trade["entry_time"] == "2024-01-01T01:00:00Z"
    assert (trade["entry_price"], trade["exit_price"]) == (101, 103)
    assert trade["pnl"] == float(result.trades[0].pnl)
    assert document["equity"][-1] == {"time": "2024-01-01T03:00:00Z", "equity": float(result.ledger.cash)}
    assert document["metrics"]["profit_factor"] is None
    assert document["open_trade"] is None
    assert b'"entry_price":101,' in text
    assert b"E" not in text.split(b'"trades":')[1].split(b'"open_trade"')[0]


def test_an_open_trade_is_shown_marked_and_net_of_its_fee() -> None:
    strategy = GivenSignals(given=signals_at(3, long_entry=[0]))
    result = run_backtest(
        strategy,
        ohlcv_of(ROWS),
        capital=Decimal(1_000),
        costs=Costs(),
        rules=TradingRules(lot_size=Decimal(1), tick_size=Decimal(1)),
    )
    shown = document_of(result, manifest_of(result, SOURCE))["open_trade"]
    assert shown["quantity"] == 9
    assert shown["unrealised_pnl"] == Decimal("18") - Decimal("0.909")


def test_many_times_are_written_as_one_is() -> None:
    at_us = np.array([0, 86_399, 86_400, 1_704_067_261, 4_102_444_799], dtype=np.int64) * 1_000_000
    assert iso_times(at_us) == [iso_time(value) for value in at_us.tolist()]
