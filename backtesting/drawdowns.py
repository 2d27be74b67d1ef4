"""When equity stood below an earlier peak: how deep, how long, and whether it came back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data.models import FloatArray, IntArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawdown:
    """One fall from a peak. Times are UTC microseconds; `depth` is a fraction of the peak, above 0."""

    peak_at_us: int  # the last time equity stood at the peak
    trough_at_us: int
    recovered_at_us: int | None  # back at the peak; None where the run ended before
    ended_at_us: int  # the recovery, or the run's end
    depth: float
    peak: float  # quote currency
    trough: float


def underwater(curve: FloatArray) -> FloatArray:
    """How far below its highest value so far the curve stands, as a fraction; at most 0, shape (n,)."""
    return curve / np.maximum.accumulate(curve) - 1.0


def worst_drawdowns(curve: FloatArray, at_us: IntArray, most: int) -> list[Drawdown]:
    """The deepest falls, the deepest first; they do not overlap. `curve` starts with the capital, above 0."""
    peaks = np.maximum.accumulate(curve)
    at_peak = np.flatnonzero(curve == peaks)
    nexts = np.append(at_peak[1:], len(curve))
    below = nexts - at_peak > 1
    starts, ends = at_peak[below], nexts[below]
    if not len(starts):
        return []
    # From each peak to the next one; what lies between is at most that peak.
    bounds = np.column_stack((starts, ends)).ravel()
    lowest = np.minimum.reduceat(np.append(curve, np.inf), bounds)[::2]
    depths = 1.0 - lowest / curve[starts]
    order = np.argsort(-depths, kind="stable")[:most]
    found = []
    for start, end in zip(starts[order].tolist(), ends[order].tolist(), strict=True):
        trough = start + int(np.argmin(curve[start:end]))
        back = end < len(curve)
        found.append(
            Drawdown(
                peak_at_us=int(at_us[start]),
                trough_at_us=int(at_us[trough]),
                recovered_at_us=int(at_us[end]) if back else None,
                ended_at_us=int(at_us[end if back else -1]),
                depth=float(1.0 - curve[trough] / curve[start]),
                peak=float(curve[start]),
                trough=float(curve[trough]),
            )
        )
    return found
