"""Write dashboard/assets/05-icons.css from the npm package @iconify-json/tabler.

Run it after adding a name to ICONS: `npm install @iconify-json/tabler` in any folder, then
`python scripts/build_icons.py FOLDER/node_modules/@iconify-json/tabler/icons.json`.
Each icon becomes a CSS mask of a few hundred bytes that takes the colour of the text around it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from urllib.parse import quote

ICONS = (
    "activity-heartbeat",
    "adjustments",
    "alert-octagon",
    "alert-triangle",
    "arrow-back-up",
    "arrow-bar-to-right",
    "arrows-maximize",
    "ban",
    "bell",
    "bolt",
    "book",
    "bookmark",
    "braces",
    "calendar",
    "calendar-event",
    "camera",
    "chart-area-line",
    "chart-bar",
    "chart-candle",
    "chart-dots",
    "chart-histogram",
    "chart-line",
    "chart-pie",
    "chart-scatter",
    "check",
    "chevron-down",
    "chevron-left",
    "chevron-right",
    "circle-check",
    "clipboard-check",
    "clock",
    "code",
    "copy",
    "cpu",
    "database",
    "database-export",
    "database-import",
    "database-off",
    "device-floppy",
    "dots",
    "download",
    "edit",
    "eye",
    "eye-off",
    "file-code",
    "file-text",
    "filter",
    "flag",
    "flame",
    "flask",
    "git-compare",
    "grid-dots",
    "hand-stop",
    "heart-rate-monitor",
    "history",
    "hourglass",
    "info-circle",
    "key",
    "keyboard",
    "layout-dashboard",
    "list",
    "list-details",
    "list-search",
    "logs",
    "math-function",
    "maximize",
    "moon",
    "notes",
    "notification",
    "player-pause",
    "player-play",
    "player-skip-forward",
    "player-stop",
    "plug",
    "plug-connected-x",
    "plus",
    "receipt",
    "refresh",
    "repeat",
    "report-analytics",
    "robot",
    "route",
    "scale",
    "search",
    "server",
    "settings",
    "shield",
    "shield-check",
    "shield-half",
    "shield-x",
    "sitemap",
    "sort-descending",
    "stack-2",
    "star",
    "sun",
    "target",
    "template",
    "timeline",
    "trash",
    "trending-down",
    "trending-up",
    "upload",
    "user",
    "versions",
    "wallet",
    "wand",
    "wifi-off",
    "world",
    "x",
    "zoom-in",
    "zoom-out",
)
TARGET = Path(__file__).resolve().parent.parent / "dashboard" / "assets" / "05-icons.css"
HEAD = """/* Tabler Icons (https://tabler.io/icons), MIT licence, copyright Pawel Kuna: LICENSE-tabler.txt.
   Written by scripts/build_icons.py; change the list of names there. */
.i{display:inline-block;width:1.15em;height:1.15em;flex:none;background:currentColor;
  -webkit-mask:var(--m) center/contain no-repeat;mask:var(--m) center/contain no-repeat}
"""


def main() -> int:
    """Read the icon set named on the command line and write the style sheet."""
    if len(sys.argv) != 2:
        sys.stderr.write(f"{__doc__}\n")
        return 2
    icons = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["icons"]
    missing = [name for name in ICONS if name not in icons]
    if missing:
        sys.stderr.write(f"{sys.argv[1]} has no icon {', '.join(missing)}\n")
        return 1
    rules = []
    for name in ICONS:
        # A mask only looks at opacity, so any solid colour will do where the set says currentColor.
        body = icons[name]["body"].replace("currentColor", "#000")
        svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24">{body}</svg>'
        escaped = quote(svg, safe=" ='/:;,.()-")
        rules.append(f'.i-{name}{{--m:url("data:image/svg+xml,{escaped}")}}')
    TARGET.write_text(HEAD + "\n".join(rules) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
