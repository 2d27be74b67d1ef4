"""The sentences that say what a strategy said, and why it did or did not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bots.ladders.basket_record import basket_sentence
from bots.views import DecisionView
from dashboard.number_formats import rewritten
from strategies.explain import explain

_RULES = {
    "long_entry": "long.entry",
    "long_exit": "long.exit",
    "short_entry": "short.entry",
    "short_exit": "short.exit",
}
_SAID = {
    "long_entry": "enter long",
    "long_exit": "leave long",
    "short_entry": "enter short",
    "short_exit": "leave short",
}


def actions(decision: DecisionView) -> list[str]:
    """The actions a decision asks for: `long_entry` and the like; none when it says nothing."""
    return [name for name in _SAID if getattr(decision, name)]


def said(decision: DecisionView) -> list[str]:
    """What the strategy said, in words; empty when it said nothing."""
    names = actions(decision)
    if names and basket_sentence(decision.record):
        return ["rebalance"]
    return [_SAID[name] for name in names]


def why(record: Mapping[str, Any], action: str | None = None) -> list[str]:
    """A sentence per rule, with the values it saw; only that of `action` where one is given.

    Empty for the record of a strategy that is no set of rules.
    """
    if sentence := basket_sentence(record):
        return [rewritten(sentence)]
    if "rules" not in record or "values" not in record:
        return []
    sentences = {rule: rewritten(sentence) for rule, sentence in explain(record).items()}
    wanted = _RULES.get(action or "")
    return [sentences[wanted]] if wanted in sentences else list(sentences.values())
