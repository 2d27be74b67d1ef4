"""What people write on the command line, and how it is read."""

from __future__ import annotations

from datetime import UTC, datetime

import click
import pytest

from app.commands.assignments import parameters_of
from app.commands.backtest import command as backtest
from app.commands.data_options import from_option, to_option
from app.commands.moments import Moment
from app.commands.strategy_decisions import explain_decision
from data.timeframes import to_us


def test_a_time_is_utc_unless_it_says_otherwise() -> None:
    at = to_us(datetime(2024, 8, 8, 12, 30, tzinfo=UTC))
    for text in ("2024-08-08T12:30", "2024-08-08T12:30:00Z", "2024-08-08 14:30+02:00"):
        assert Moment().convert(text, None, None) == at
    with pytest.raises(click.BadParameter, match="is no time; expected one like 2024-08-08"):
        Moment().convert("yesterday", None, None)


def test_every_command_reads_a_time_in_the_same_way() -> None:
    @from_option
    @to_option
    @click.command()
    def of_data() -> None: ...

    options = [*backtest.params, *explain_decision.params, *of_data.params]
    times = [option for option in options if option.name in ("start", "end", "at_us", "start_us", "end_us")]
    assert len(times) == 5
    assert all(isinstance(option.type, Moment) for option in times)


def test_parameters_are_names_with_values() -> None:
    assert parameters_of(["fast=12", "note=a=b", "fast=13"]) == {"fast": "13", "note": "a=b"}
    for text in ("fast", "=12", "fast="):
        with pytest.raises(click.BadParameter, match="is not NAME=VALUE"):
            parameters_of([text])
