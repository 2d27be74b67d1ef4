"""Write dashboard/assets/codemirror.js, the text editor of the Strategies page, from npm packages.

In any folder: `npm install --save-exact codemirror@6.0.2 @codemirror/commands@6 @codemirror/lang-json@6
@codemirror/lang-python@6 @codemirror/language@6 @codemirror/lint@6 @codemirror/state@6 @codemirror/view@6
@lezer/highlight@1 esbuild`, then `python scripts/build_editor.py FOLDER`.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TARGET = Path(__file__).resolve().parent.parent / "dashboard" / "assets" / "codemirror.js"
ENTRY = """
import { basicSetup } from "codemirror";
import { EditorView, keymap } from "@codemirror/view";
import { EditorState, Compartment } from "@codemirror/state";
import { json } from "@codemirror/lang-json";
import { python } from "@codemirror/lang-python";
import { setDiagnostics, lintGutter } from "@codemirror/lint";
import { HighlightStyle, syntaxHighlighting, indentUnit } from "@codemirror/language";
import { tags } from "@lezer/highlight";
window.CodeMirror = {
  basicSetup, EditorView, EditorState, Compartment, keymap, json, python, setDiagnostics, lintGutter,
  HighlightStyle, syntaxHighlighting, indentUnit, tags,
};
"""
HEAD = "/* CodeMirror 6 (codemirror.net), MIT: LICENSE-codemirror.txt. Made by scripts/build_editor.py. */"


def main() -> int:
    """Bundle the packages of the folder named on the command line."""
    if len(sys.argv) != 2:
        sys.stderr.write(f"{__doc__}\n")
        return 2
    folder = Path(sys.argv[1])
    bundle = [
        str(folder / "node_modules" / ".bin" / "esbuild"),
        "--bundle",
        "--minify",
        "--format=iife",
        "--legal-comments=none",
        f"--banner:js={HEAD}",
        f"--outfile={TARGET}",
    ]
    return subprocess.run(bundle, input=ENTRY, text=True, cwd=folder, check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main())
