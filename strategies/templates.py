"""The strategy files of a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from data.errors import InvalidInput, Problem
from strategies.loader import load_strategy
from strategies.rules import RuleStrategy

SCHEMA_FILE = "schema.json"  # lies beside the strategies and is none


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """One file: the strategy in it, or what is wrong with it."""

    name: str  # of the file, without its ending: "ema_crossover"
    path: Path
    strategy: RuleStrategy | None
    problems: tuple[Problem, ...]


def templates(folder: Path) -> list[Template]:
    """Every strategy file in `folder`, by name. A folder that does not exist has none."""
    paths = sorted(path for path in folder.glob("*.json") if path.name != SCHEMA_FILE)
    return [_template(path) for path in paths]


def find_strategy_file(name_or_path: str, folder: Path) -> Path:
    """The file that a person means: a path, or the name of a file in `folder` with or without its ending.

    Where a JSON and a Python file share a name, the name alone means JSON. Raises InvalidInput naming the
    known ones.
    """
    path = Path(name_or_path)
    if path.is_file():
        return path
    known = sorted(found for found in folder.glob("*.json") if found.name != SCHEMA_FILE)
    known += python_files(folder)
    if path.name == name_or_path:
        for found in known:
            if name_or_path in (found.name, found.stem):
                return found
    names = ", ".join(dict.fromkeys(found.stem for found in known))
    expected = f"expected a strategy file, or one of {names}" if names else "expected a strategy file"
    raise InvalidInput(Problem(where="strategy", field="", value=f'"{name_or_path}"', expected=expected))


def python_files(folder: Path) -> list[Path]:
    """The strategy files of a folder and of its subfolder `python`, by name."""
    found = [
        path
        for place in (folder, folder / "python")
        for path in place.glob("*.py")
        if not path.name.startswith("_")
    ]
    return sorted(found, key=lambda path: path.stem)


def _template(path: Path) -> Template:
    try:
        strategy = load_strategy(path)
    except InvalidInput as invalid:
        return Template(name=path.stem, path=path, strategy=None, problems=invalid.problems)
    return Template(name=path.stem, path=path, strategy=strategy, problems=())
