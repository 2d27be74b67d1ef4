"""The gate: what a result must show before it deserves belief, each check by itself and all together."""

from __future__ import annotations

import math

import msgspec

from backtesting.statistics.bootstrap import Bootstrap
from backtesting.statistics.deflated_sharpe import DeflatedSharpe
from backtesting.statistics.overfitting import Overfitting
from backtesting.statistics.stability import Stability
from backtesting.statistics.trade_order import TradeOrder

LEAST_PROBABILITY = 0.95
MOST_OVERFITTING = 0.5
MOST_LOSSES = 0.05
LEAST_STABILITY = 0.5
MOST_RUIN = 0.05
FEWEST_TRADES = 20


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is known about the best trial of a search. None: it does not apply here."""

    deflated_sharpe: DeflatedSharpe
    overfitting: Overfitting | None
    bootstrap: Bootstrap | None
    trade_order: TradeOrder | None
    stability: Stability | None
    trades: int
    out_of_sample_return: float | None  # on candles that nothing was picked on


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One demand and what was found. `passed` is None where there was nothing to check."""

    name: str
    demand: str
    found: float | None
    passed: bool | None


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The gate's answer."""

    passes: bool
    sentence: str
    checks: tuple[Check, ...]


def verdict_of(evidence: Evidence) -> Verdict:
    """Pass only what passes every check that applies. What is not defined has not been shown."""
    deflated = evidence.deflated_sharpe
    checks = [
        _at_least("trades", f"at least {FEWEST_TRADES} trades", evidence.trades, FEWEST_TRADES),
        _at_least(
            "deflated Sharpe ratio",
            f"at least {LEAST_PROBABILITY:.0%} sure to be above 0 after {deflated.trials:,} trials",
            deflated.probability,
            LEAST_PROBABILITY,
        ),
    ]
    if evidence.overfitting is not None:
        found = evidence.overfitting.probability
        # On a plateau the best of one half is no better than its equals in the other, and no worse for it.
        harmless = evidence.overfitting.probability_of_loss <= MOST_LOSSES
        checks.append(
            Check(
                name="probability of overfitting",
                demand=f"at most {MOST_OVERFITTING:.0%}, unless the best of one half of the time "
                f"hardly ever loses in the other",
                found=_number(found),
                passed=found <= MOST_OVERFITTING or harmless,
            )
        )
    low = math.nan if evidence.bootstrap is None else evidence.bootstrap.sharpe.low
    checks.append(
        Check(
            name="bootstrap",
            demand="a Sharpe ratio above 0 in all but the lowest 2.5 % of resamples",
            found=_number(low),
            passed=low > 0,
        )
    )
    if evidence.trade_order is not None:
        demand = f"at most {MOST_RUIN:.0%} of the trades' orders lose half of a peak"
        ruin = evidence.trade_order.probability_of_ruin
        checks.append(_at_most("order of trades", demand, ruin, MOST_RUIN))
    if evidence.stability is not None and evidence.stability.neighbours:
        demand = f"at least {LEAST_STABILITY:.0%} of the neighbouring parameters reach half of the best"
        checks.append(_at_least("stability of parameters", demand, evidence.stability.score, LEAST_STABILITY))
    if evidence.out_of_sample_return is not None:
        gain = evidence.out_of_sample_return
        checks.append(
            Check(
                name="out of sample",
                demand="a gain on candles that nothing was picked on",
                found=_number(gain),
                passed=gain > 0,
            )
        )
    failed = [check for check in checks if check.passed is False]
    return Verdict(passes=not failed, sentence=_sentence(failed, deflated), checks=tuple(checks))


def _sentence(failed: list[Check], deflated: DeflatedSharpe) -> str:
    tried = f"{deflated.trials:,} trial{'s' if deflated.trials != 1 else ''}"
    if not failed:
        return f"This result passes: after {tried} it is unlikely to be luck. Markets change all the same."
    names = ", ".join(check.name for check in failed)
    if any(check.name == "deflated Sharpe ratio" for check in failed):
        return f"This result does not pass: the best of {tried} is no better than luck explains ({names})."
    return f"This result does not pass: it fails on {names}."


def _at_least(name: str, demand: str, found: float, least: float) -> Check:
    return Check(name=name, demand=demand, found=_number(found), passed=found >= least)


def _at_most(name: str, demand: str, found: float, most: float) -> Check:
    return Check(name=name, demand=demand, found=_number(found), passed=found <= most)


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
