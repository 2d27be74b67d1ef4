"""What a Python strategy must pass before it may be used. Runs inside the confined process."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable

import msgspec
import numpy as np

from data.errors import InvalidInput
from data.models import Ohlcv
from strategies.lookahead import (
    LEAST_CANDLES,
    candles_to_try,
    codes_on,
    generated_candles,
    prove_black_box,
    prove_streamed,
    prove_window_stream,
    refuted_by,
)
from strategies.python.source import load_source, read_class
from strategies.python.strategy import LoadedPythonStrategy, checked_signals
from strategies.versions import Badge, ProofStatus

_PROOF_S = 10.0
_STREAM_S = 5.0
_STREAM_BARS = 100  # beyond the stream's buffer


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One reason why a strategy was refused; as `data.errors.Problem`, without the file."""

    field: str
    value: str
    expected: str


class CheckRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What the checking process is asked."""

    source: str
    where: str
    name: str
    parameters: dict[str, float | str] = {}
    timeframe: str | None = None
    proof_candles: int = LEAST_CANDLES  # to prove it on, or more where it needs more to get warm


class CheckReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a check found. `badge` is None where it did not get as far as the proof."""

    findings: tuple[Finding, ...] = ()
    badge: Badge | None = None
    version: str = ""
    compared_bars: int = 0  # bars on which stream and batch were compared

    @property
    def passed(self) -> bool:
        """Whether the code may be used: a strategy that merely said nothing, or was slow, may."""
        return not self.findings and self.badge is not None and self.badge.status is not ProofStatus.REFUTED


def check(request: CheckRequest, clock: Callable[[], float]) -> CheckReport:
    """Load, inspect, dry-run and prove the strategy in `request`. `clock` gives seconds. Never raises."""
    try:
        made = read_class(request.source, request.where)
        signature = list(inspect.signature(made.signals).parameters)
        if len(signature) != 2:
            asked = f"signals({', '.join(signature)})"
            return _refused("signals", asked, "expected signals(self, ohlcv)")
        strategy = load_source(
            request.source,
            request.where,
            name=request.name,
            parameters=request.parameters,
            timeframe=request.timeframe,
        )
        for tried in (_empty(strategy), *_awkward(strategy)):
            checked_signals(strategy.signals(_sealed(tried)), len(tried), request.where)
        badge, compared = prove(strategy, clock, request.proof_candles)
    except InvalidInput as invalid:
        findings = tuple(
            Finding(field=one.field, value=one.value, expected=one.expected) for one in invalid.problems
        )
        return CheckReport(findings=findings)
    # A person's code may raise anything, memory errors and refused events among them: it is their answer.
    except BaseException as error:  # noqa: BLE001
        return _refused(_own_line(error, request.where), f"{type(error).__name__}: {error}"[:300], "must run")
    return CheckReport(badge=badge, version=strategy.version, compared_bars=compared)


def prove(
    strategy: LoadedPythonStrategy, clock: Callable[[], float], candles: int = LEAST_CANDLES
) -> tuple[Badge, int]:
    """The look-ahead proof and the comparison of batch and live: the badge, and on how many bars they met.

    The proof runs a window alone on each bar, which is what the stream does; the stream itself, with its
    buffer, is fed until that has turned over.
    """
    ohlcv = candles_to_try(strategy, candles)
    if strategy.is_incremental:
        badge = prove_streamed(strategy, ohlcv, clock=clock, budget_s=_PROOF_S)
        return badge, badge.alone
    badge = prove_black_box(
        lambda: strategy.signals, ohlcv, window=strategy.warmup, clock=clock, budget_s=_PROOF_S
    )
    if badge.status is ProofStatus.REFUTED:
        return badge, 0
    ohlcv = ohlcv.rows(0, 2 * strategy.warmup + _STREAM_BARS)
    codes = codes_on(strategy.signals, ohlcv)
    _, first = prove_window_stream(strategy, ohlcv, codes, clock=clock, budget_s=_STREAM_S)
    return (badge if first is None else refuted_by(first, ohlcv, codes)), badge.alone


def _empty(strategy: LoadedPythonStrategy) -> Ohlcv:
    return generated_candles(strategy.timeframe, 1).rows(0, 0)


def _awkward(strategy: LoadedPythonStrategy) -> list[Ohlcv]:
    """One candle, a few, a market with holes, and one that never moves."""
    still = generated_candles(strategy.timeframe, 300, gaps=0.0)
    level = np.full(len(still), 100.0)
    flat = Ohlcv(
        timeframe=still.timeframe,
        opened_at_us=still.opened_at_us,
        open=level,
        high=level.copy(),
        low=level.copy(),
        close=level.copy(),
        volume=np.zeros(len(still)),
    )
    return [
        still.rows(0, 1),
        still.rows(0, 7),
        generated_candles(strategy.timeframe, 600, seed=5, gaps=0.3),
        flat,
    ]


def _sealed(ohlcv: Ohlcv) -> Ohlcv:
    for name in ("opened_at_us", "open", "high", "low", "close", "volume"):
        getattr(ohlcv, name).flags.writeable = False
    return ohlcv


def _refused(field: str, value: str, expected: str) -> CheckReport:
    return CheckReport(findings=(Finding(field=field, value=value, expected=expected),))


def _own_line(error: BaseException, where: str) -> str:
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == where]
    return f"line {lines[-1]}" if lines else ""
