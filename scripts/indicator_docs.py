"""Write docs/indicators.md from the indicators themselves: `python -m scripts.indicator_docs`."""

from __future__ import annotations

from pathlib import Path

from strategies.indicators.reference_page import indicator_page
from strategies.indicators.registry import INDICATORS


def main() -> None:
    page = Path(__file__).resolve().parent.parent / "docs" / "indicators.md"
    page.write_text(indicator_page(INDICATORS.values()), encoding="utf-8")


if __name__ == "__main__":
    main()
