"""A line the size of a word, as the path of an SVG that is drawn wherever a list needs one."""

from __future__ import annotations

from urllib.parse import quote

import numpy as np

from data.models import FloatArray


def sparkline_points(values: FloatArray, *, width: float, height: float) -> list[tuple[float, float]]:
    """x in [0, width], y from `height` for the lowest to 0 for the highest; flat values run in the middle."""
    if len(values) < 2:
        return []
    low, span = float(values.min()), float(np.ptp(values))
    xs = np.linspace(0.0, width, len(values))
    ys = (1.0 - (values - low) / span) * height if span > 0 else np.full(len(values), height / 2)
    return [(round(x, 1), round(y, 1)) for x, y in zip(xs.tolist(), ys.tolist(), strict=True)]


def sparkline_image(values: FloatArray, colour: str, *, width: int = 64, height: int = 22) -> str | None:
    """A data address of the line with a tint below it, or None for fewer than two values."""
    points = sparkline_points(values, width=width, height=height - 4)
    if not points:
        return None
    line = " ".join(f"{x:g},{y + 2:g}" for x, y in points)
    area = f"0,{height} {line} {width},{height}"
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" preserveAspectRatio="none">'
        f'<polygon points="{area}" fill="{colour}" fill-opacity=".14"/>'
        f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.3" '
        'stroke-linejoin="round"/></svg>'
    )
    return "data:image/svg+xml," + quote(svg, safe=" =:/,.'\"<>")
