from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.exchanges.base import InexactValue, contracts_to_base, exact_float
from tests.data.trade_series import UNHURRIED


@UNHURRIED
@given(digits=st.integers(1, 10**15 - 1), exponent=st.integers(-12, 3))
def test_a_decimal_of_fifteen_digits_prints_back_the_same(digits: int, exponent: int) -> None:
    text = f"{Decimal(digits).scaleb(exponent):f}"
    assert Decimal(repr(exact_float("okx", text))) == Decimal(text)


def test_padding_zeros_do_not_count_as_digits() -> None:
    assert exact_float("binance", "123456789012.30000000") == 123456789012.3


@pytest.mark.parametrize("text", ["0.12345678901234567", "12345678901234567.1", "9007199254740993"])
def test_a_value_that_would_not_print_back_is_refused(text: str) -> None:
    with pytest.raises(InexactValue):
        exact_float("okx", text)


@pytest.mark.parametrize("text", ["", "abc", "0", "-1.5", "nan", "inf", "1e999"])
def test_what_is_no_positive_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        exact_float("okx", text)


def test_contracts_are_multiplied_exactly() -> None:
    # In doubles 3 * 0.1 is 0.30000000000000004.
    assert contracts_to_base("okx", "3", Decimal("0.1")) == 0.3
