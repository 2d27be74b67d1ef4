from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from data.errors import InvalidInput
from jobs.arguments import BacktestArguments, as_document, parse_arguments
from jobs.model import JobKind

VALID: dict[JobKind, dict[str, Any]] = {
    JobKind.BACKTEST: {"strategy": "trend@2", "venue": "okx", "symbols": ["BTC-USDT", "ETH-USDT-PERP"]},
    JobKind.SWEEP: {
        "strategy": "trend",
        "venue": "okx",
        "symbol": "BTC-USDT",
        "parameters": {"fast": "5:50:1", "slow": "10,20", "exit": "3"},
        "scheme": "rolling",
    },
    JobKind.BACKFILL: {"venue": "binance", "symbol": "BTC-USDT", "from": "2024-08-08", "timeframes": ["1m"]},
    JobKind.EXPORT: {"venue": "okx", "symbol": "BTC-USDT", "trades": True, "file": "trades.parquet"},
    JobKind.IMPORT: {"venue": "okx", "symbol": "BTC-USDT", "file": "mine.csv", "content": "candles"},
    JobKind.PROOF: {"strategy": "trend"},
}


@pytest.mark.parametrize("kind", list(JobKind))
def test_arguments_of_every_kind_are_kept_as_json_and_come_back_the_same(kind: JobKind) -> None:
    parsed = parse_arguments(kind, VALID[kind])

    assert parse_arguments(kind, as_document(parsed)) == parsed
    assert parsed.title()


def test_money_is_exact() -> None:
    parsed = parse_arguments(JobKind.BACKTEST, {**VALID[JobKind.BACKTEST], "fee_bps": "7.1", "capital": 0.1})

    assert isinstance(parsed, BacktestArguments)
    assert (parsed.fee_bps, parsed.capital) == (Decimal("7.1"), Decimal("0.1"))


@pytest.mark.parametrize(
    ("kind", "change", "field"),
    [
        ("backtest", {"strategy": "../../etc/passwd"}, "strategy"),
        ("backtest", {"strategy": "/tmp/mine.py"}, "strategy"),
        ("backtest", {"symbols": []}, "symbols"),
        ("backtest", {"symbols": ["BTC-USDT", "BTC-USDT"]}, "symbols"),
        ("backtest", {"symbols": ["btc"]}, "symbols"),
        ("backtest", {"capital": 0}, "capital"),
        ("backtest", {"capital": "NaN"}, "capital"),
        ("backtest", {"fee_bps": -1}, "fee_bps"),
        ("backtest", {"from": "2024-08-09", "to": "2024-08-08"}, "to"),
        ("backtest", {"from": "2024-02-30"}, "from"),
        ("backtest", {"timeframe": "7m"}, "timeframe"),
        ("backtest", {"parameters": {"fast": "twelve", "slow": 26}}, "parameters.fast"),
        ("backtest", {"command": "rm"}, "command"),
        ("sweep", {"parameters": {"fast": "5:x"}}, "parameters.fast"),
        ("sweep", {"metric": "luck"}, "metric"),
        ("sweep", {"trials": 0}, "trials"),
        ("backfill", {"venue": "nyse"}, "venue"),
        ("export", {"file": "../trades.csv"}, "file"),
        ("export", {"file": ".hidden.csv"}, "file"),
        ("export", {"file": "trades.exe"}, "file"),
        ("export", {"timeframe": "1h"}, "timeframe"),
        ("import", {"file": "a/b.csv"}, "file"),
        ("import", {"content": "pickle"}, "content"),
    ],
)
def test_what_is_wrong_is_named(kind: str, change: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_arguments(JobKind(kind), VALID[JobKind(kind)] | change)

    assert [problem.field for problem in refused.value.problems] == [field] * len(refused.value.problems)


def test_everything_that_is_wrong_is_named_at_once() -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_arguments(JobKind.EXPORT, {"venue": 1, "file": "x.csv", "colour": "red"})

    assert {problem.field for problem in refused.value.problems} == {"colour", "venue", "symbol", "timeframe"}


def test_a_form_with_three_wrong_fields_hears_of_all_three() -> None:
    change = {"capital": "much", "from": "someday", "parameters": {"fast": "quick", "slow": "late"}}
    with pytest.raises(InvalidInput) as refused:
        parse_arguments(JobKind.BACKTEST, VALID[JobKind.BACKTEST] | change)

    told = {problem.field: problem.expected for problem in refused.value.problems}
    assert told["capital"] == told["parameters.fast"] == told["parameters.slow"] == "expected a number"
    assert told["from"].startswith("expected a time")
    assert len(told) == 4
