"""Photograph every page into docs/screenshots: `python scripts/screenshots.py --help` tells how."""

from __future__ import annotations

import os
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Hand over to the package beside this file, whichever folder one stands in."""
    os.chdir(PROJECT)
    os.execv(sys.executable, [sys.executable, "-m", "scripts.pictures.run", *sys.argv[1:]])


if __name__ == "__main__":
    main()
