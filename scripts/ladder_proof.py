"""Walk bots with several orders over many paths of prices that try to hurt, and tell how near they came.

Each close of each path is held against the worst case that was shown before: capital, orders, and loss
beside what gaps took; a grid's gain must split into realised + inventory - fees to the last digit. A path
that breaks a promise ends the proof with exit status 1 and its number. `scripts/prove ladders`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import click

from tests.bots.ladders.adversary import SETTINGS, Used, path, walk, walk_basket

Walk = Callable[[int], Used]


def walk_of(name: str) -> Walk:
    """Path by number for one of the settings; every other one without tick and lot."""
    settings = SETTINGS[name]
    return lambda seed: walk(settings, path(seed), rounded=seed % 2 == 0)[1]


def proven(name: str, one: Walk, count: int) -> str:
    """A line of the table. Exits where a path breaks a promise."""
    capital = loss = 0.0
    moved = ended = gapped = 0
    for seed in range(count):
        try:
            used = one(seed)
        except AssertionError as error:
            click.echo(f"{name}, path {seed}: more than was promised: {error}", err=True)
            sys.exit(1)
        capital, loss = max(capital, float(used.capital)), max(loss, float(used.loss))
        moved, ended, gapped = moved + used.fills, ended + used.ended, gapped + used.gapped
    click.echo(f"{name}: {count} paths", err=True)
    return f"| {name} | {count:,} | {moved:,} | {ended:,} | {gapped:,} | {capital:.2%} | {loss:.2%} |"


@click.command()
@click.option("--paths", type=click.IntRange(min=7), default=10_000, show_default=True, help="In all.")
@click.option("--out", type=click.Path(path_type=Path), help="Write the table into this file as well.")
def main(paths: int, out: Path | None) -> None:
    """Prove that no path costs more than was shown, beside what gaps take."""
    walks: dict[str, Walk] = {name: walk_of(name) for name in SETTINGS}
    walks["baskets of 1 to 4 symbols"] = walk_basket
    began_s = time.process_time()
    share, rest = divmod(paths, len(walks))
    lines = [proven(name, one, share + (number < rest)) for number, (name, one) in enumerate(walks.items())]
    took_s = time.process_time() - began_s
    table = "\n".join(
        [
            "# Worst cases hold",
            "",
            f"{paths:,} paths of prices with gaps, spikes, crashes and thin volume, none of which took more",
            "than was shown before the start, beside what gaps beyond a stop took (`scripts/prove ladders`).",
            f"A grid's gain was realised + inventory - fees at every close, exactly. {took_s:.0f} s of CPU.",
            "",
            "| bot | paths | with fills | ended | with gaps | most capital used | most lost beside gaps |",
            "|---|---|---|---|---|---|---|",
            *lines,
            "",
            "The last two columns are shares of what was promised.",
            "",
        ]
    )
    click.echo(table)
    if out is not None:
        out.write_text(table)


if __name__ == "__main__":
    main()
