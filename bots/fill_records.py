"""What the fill kernel reads and writes: terms, state, candles and events as flat records.

Everything counted is an exact decimal: a mantissa `_m` and its number of decimals `_d`, so that 43963.73 is
(4396373, 2). Cash is a whole number of 1e-40 in four limbs. The kernel's cache does not notice changes to the
constants here: touch `bots/fills.py` as well.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bots.orders import Costs, OrderReason, TradingRules
from data.errors import InvalidInput, Problem, RejectedError
from data.models import BoolArray, FloatArray, IntArray, Ohlcv
from strategies.base import Protection, Signals, Sizing

CASH_DECIMALS: Final = 40  # cash is counted in 1e-40 of the quote currency
QUANTITY_DIGITS: Final = 15  # of a quantity that no lot size rounds
PRICE_DIGITS: Final = 17  # of a price that no tick size rounds

LONG: Final = 1
SHORT: Final = -1

REASONS: Final = (
    OrderReason.ENTRY,
    OrderReason.EXIT_SIGNAL,
    OrderReason.STOP_LOSS,
    OrderReason.TAKE_PROFIT,
    OrderReason.TRAILING_STOP,
    OrderReason.END,
    OrderReason.FLATTEN,
)
ENTRY: Final = 0
EXIT_SIGNAL: Final = 1
STOP_LOSS: Final = 2
TAKE_PROFIT: Final = 3
TRAILING_STOP: Final = 4
REASON_NUMBERS: Final = {reason: number for number, reason in enumerate(REASONS)}

# Why an entry was refused, in EVENT.refusal.
ACCEPTED: Final = 0
REFUSED_NO_CASH: Final = 1
REFUSED_QUANTITY: Final = 2
REFUSED_NOTIONAL: Final = 3
REFUSED_BOTH_SIDES: Final = 4

ERROR_RANGE: Final = 1  # STATE.error: an amount left the range of the arithmetic

_INT_FIELDS = (
    "tick_m tick_d lot_m lot_d fee_m maker_fee_m fee_d slip_m slip_d stop_m stop_d target_m "
    "target_d trail_m trail_d size_m size_d min_quantity_m min_quantity_d min_notional_m min_notional_d"
)
TERMS: Final = np.dtype([(name, np.int64) for name in _INT_FIELDS.split()])
STATE: Final = np.dtype(
    [
        ("side", np.int64),  # 1 long, -1 short, 0 flat
        ("cash_0", np.uint64),  # in 1e-40 quote currency, lowest limb first
        ("cash_1", np.uint64),
        ("cash_2", np.uint64),
        ("cash_3", np.uint64),
        ("cash", np.float64),  # the same, rounded, for marking
        ("quantity", np.float64),
        ("quantity_m", np.int64),
        ("quantity_d", np.int64),
        ("entry_m", np.int64),
        ("entry_d", np.int64),
        ("extreme", np.float64),  # best price of completed candles since entry, for the trailing stop
        ("extreme_is_entry", np.int64),
        ("fixed_guard", np.float64),  # the stop-loss level and
        ("stop_guard", np.float64),  # the tighter stop and the target, each a little too near
        ("target_guard", np.float64),
        ("pending_exit", np.int64),
        ("pending_entry", np.int64),  # 1 long, -1 short
        ("opened", np.int64),  # open_candle was called for the candle to come
        ("exposed", np.int64),  # candles in which a position was held after the open
        ("error", np.int64),
    ]
)
EVENT: Final = np.dtype(
    [
        ("row", np.int64),  # of the candle, counted from the first of the call
        ("at_us", np.int64),
        ("side", np.int64),  # 1 bought, -1 sold
        ("position", np.int64),  # 1 long, -1 short
        ("reason", np.int64),  # index into REASONS
        ("refusal", np.int64),
        ("price_m", np.int64),
        ("price_d", np.int64),
        ("quantity_m", np.int64),
        ("quantity_d", np.int64),
        ("reference", np.float64),  # price before slippage and rounding
        ("maker", np.int64),
        ("ambiguous", np.int64),
    ]
)
EVENTS_PER_CANDLE: Final = 4  # exit, entry, protective exit, refusal

Records: TypeAlias = NDArray[np.void]
Exact: TypeAlias = tuple[int, int]  # mantissa and decimals: (4396373, 2) is 43963.73


class Finer(NamedTuple):
    """Columns of candles of a smaller time frame, or of none."""

    opened_at_us: IntArray
    open: FloatArray
    high: FloatArray
    low: FloatArray


class Columns(NamedTuple):
    """Candles and the signals at their closes, each of shape (n,)."""

    opened_at_us: IntArray
    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    long_entry: BoolArray
    long_exit: BoolArray
    short_entry: BoolArray
    short_exit: BoolArray


def mantissa_of(value: Decimal, where: str, field: str) -> Exact:
    """A value of at least 0 as the kernel counts it. Raises InvalidInput for more than 18 digits."""
    sign, digits, exponent = value.as_tuple()
    if isinstance(exponent, int) and not sign and len(digits) + max(exponent, 0) <= 18:
        mantissa = int("".join(map(str, digits))) * 10 ** max(exponent, 0)
        if exponent >= -CASH_DECIMALS:
            return mantissa, max(-exponent, 0)
    expected = "give a number of at least 0 with at most 18 digits"
    raise InvalidInput(Problem(where=where, field=field, value=str(value), expected=expected))


def _fraction(value: float, field: str, below: float) -> tuple[int, int]:
    number = Decimal(repr(value))
    if not 0 < number < Decimal(repr(below)):
        expected = f"give a fraction above 0 and below {below:g}: 0.02 is 2 %"
        raise InvalidInput(Problem(where="protection", field=field, value=repr(value), expected=expected))
    return mantissa_of(number, "protection", field)


def terms_of(costs: Costs, rules: TradingRules, protection: Protection, sizing: Sizing) -> Records:
    """What the kernel needs to know of an account, as one `TERMS` record, shape (1,).

    Raises InvalidInput for costs, steps, exits or a size that make no sense.
    """
    terms = np.zeros(1, dtype=TERMS)
    row = terms[0]
    rates = {}
    for field in ("fee_bps", "maker_fee_bps", "slippage_bps"):
        bps: Decimal = getattr(costs, field)
        if not (bps.is_finite() and 0 <= bps < 10_000):
            expected = "give basis points of at least 0 and below 10000"
            raise InvalidInput(Problem(where="costs", field=field, value=str(bps), expected=expected))
        rates[field] = mantissa_of(bps.scaleb(-4).normalize(), "costs", field)
    fee_decimals = max(rates["fee_bps"][1], rates["maker_fee_bps"][1])
    if fee_decimals > 10 or rates["slippage_bps"][1] > 10:
        value = f"{costs.fee_bps}, {costs.maker_fee_bps}, {costs.slippage_bps}"
        expected = "give fees and slippage with at most 6 decimals"
        raise InvalidInput(Problem(where="costs", field="", value=value, expected=expected))
    row["fee_d"] = fee_decimals
    row["fee_m"] = rates["fee_bps"][0] * 10 ** (fee_decimals - rates["fee_bps"][1])
    row["maker_fee_m"] = rates["maker_fee_bps"][0] * 10 ** (fee_decimals - rates["maker_fee_bps"][1])
    row["slip_m"], row["slip_d"] = rates["slippage_bps"]

    for field, step in (("tick", rules.tick_size), ("lot", rules.lot_size)):
        if step is not None and not (step.is_finite() and step > 0):
            expected = "give a step above 0, or none"
            raise InvalidInput(
                Problem(where="rules", field=f"{field}_size", value=str(step), expected=expected)
            )
        row[f"{field}_m"], row[f"{field}_d"] = (
            (0, 0) if step is None else mantissa_of(step.normalize(), "rules", f"{field}_size")
        )
    if row["tick_d"] + row["lot_d"] + fee_decimals > CASH_DECIMALS:
        value = f"{rules.tick_size}, {rules.lot_size}"
        expected = f"tick, lot and fee may have {CASH_DECIMALS} decimals together"
        raise InvalidInput(
            Problem(where="rules", field="tick_size, lot_size", value=value, expected=expected)
        )
    for field, least in (("min_quantity", rules.min_quantity), ("min_notional", rules.min_notional)):
        row[f"{field}_m"], row[f"{field}_d"] = mantissa_of(least.normalize(), "rules", field)

    if protection.stop_loss is not None:
        row["stop_m"], row["stop_d"] = _fraction(protection.stop_loss, "stop_loss", 1)
    if protection.take_profit is not None:
        row["target_m"], row["target_d"] = _fraction(protection.take_profit, "take_profit", 1000)
    if protection.trailing_stop is not None:
        row["trail_m"], row["trail_d"] = _fraction(protection.trailing_stop, "trailing_stop", 1)

    if not (sizing.value.is_finite() and 0 < sizing.value <= 1):
        expected = "give a fraction above 0 and at most 1"
        raise InvalidInput(Problem(where="sizing", field="value", value=str(sizing.value), expected=expected))
    row["size_m"], row["size_d"] = mantissa_of(sizing.value.normalize(), "sizing", "value")
    return terms


def flat_state(cash: Decimal) -> Records:
    """A `STATE` record without a position, shape (1,). Raises InvalidInput as `set_cash` does."""
    state = np.zeros(1, dtype=STATE)
    set_cash(state, cash)
    return state


def set_cash(state: Records, cash: Decimal) -> None:
    """Put the account's cash into the record. Raises InvalidInput where the kernel cannot count it."""
    sign, digits, exponent = cash.as_tuple()
    if not isinstance(exponent, int) or exponent < -CASH_DECIMALS or len(digits) + exponent > 30:
        expected = f"give an amount below 1e30 with at most {CASH_DECIMALS} decimals"
        raise InvalidInput(Problem(where="account", field="cash", value=str(cash), expected=expected))
    units = int("".join(map(str, digits))) * 10 ** (exponent + CASH_DECIMALS) * (-1 if sign else 1)
    units %= 2**256
    for limb in range(4):
        state[f"cash_{limb}"] = (units >> (64 * limb)) & (2**64 - 1)
    state["cash"] = _nearest_cash(state)


def cash_of(state: Records) -> Decimal:
    """The cash in the record, exactly."""
    units = sum(int(state[f"cash_{limb}"][0]) << (64 * limb) for limb in range(4))
    if units >= 2**255:
        units -= 2**256
    return Decimal(f"{units}e-{CASH_DECIMALS}")


def _nearest_cash(state: Records) -> float:
    # Step by step as the kernel does it, so that a restored account marks as one that never stopped.
    units = int(sum(int(state[f"cash_{limb}"][0]) << (64 * limb) for limb in range(4)))
    negative = units >= 2**255
    if negative:
        units = 2**256 - units
    nearest = 0.0
    for limb in (3, 2, 1, 0):
        nearest = nearest * 2.0**64 + float(units >> (64 * limb) & (2**64 - 1))
    return (-nearest if negative else nearest) / 1e40


def raise_error(state: Records) -> None:
    """Raise RejectedError where the kernel stopped because an amount left its range."""
    if state["error"][0] == ERROR_RANGE:
        raise RejectedError(
            "an amount has more digits than can be counted: prices, lots and cash do not fit together"
        )


def columns_of(ohlcv: Ohlcv, signals: Signals) -> Columns:
    """Candles and signals as the kernel reads them."""
    return Columns(
        _plain(ohlcv.opened_at_us, np.int64),
        _plain(ohlcv.open, np.float64),
        _plain(ohlcv.high, np.float64),
        _plain(ohlcv.low, np.float64),
        _plain(ohlcv.close, np.float64),
        _plain(signals.long_entry, np.bool_),
        _plain(signals.long_exit, np.bool_),
        _plain(signals.short_entry, np.bool_),
        _plain(signals.short_exit, np.bool_),
    )


def finer_columns(finer: Ohlcv | None) -> Finer:
    """The columns of finer candles that the kernel reads; empty ones where there are none."""
    if finer is None:
        nothing = np.empty(0)
        return Finer(np.empty(0, dtype=np.int64), nothing, nothing, nothing)
    return Finer(
        _plain(finer.opened_at_us, np.int64),
        _plain(finer.open, np.float64),
        _plain(finer.high, np.float64),
        _plain(finer.low, np.float64),
    )


def _plain(column: NDArray[Any], kind: type[np.generic]) -> NDArray[Any]:
    # Numba compiles once more, for many seconds, for arrays that are read-only, strided or of another kind.
    return np.require(column, dtype=kind, requirements=("C", "W"))
