"""NAME=VALUE on the command line."""

from __future__ import annotations

from collections.abc import Sequence

import click


def parameters_of(texts: Sequence[str]) -> dict[str, str]:
    """The strategy parameters that `--param NAME=VALUE` sets; the last one counts. Raises BadParameter."""
    return dict(_assignment(text) for text in texts)


def _assignment(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name or not value:
        raise click.BadParameter(f"{text!r} is not NAME=VALUE", param_hint="--param")
    return name, value
