"""What a bot or an account may do at most, as people write it in JSON.

Every limit keeps back entries and add-ons alone. Exits, stops, targets and the closing of a position are
never asked about any of them.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import msgspec

from data.errors import InvalidInput, Problem


class Limits(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Limits in force; None where there is none. Amounts are quote currency, at the deciding close."""

    max_order_notional: Decimal | None = None  # of one entry or add-on, fee included
    max_position_notional: Decimal | None = None  # what is held and the order together
    max_symbol_notional: Decimal | None = None  # of all bots of the account in one symbol
    max_correlated_exposure: Decimal | None = None  # of all bots of the account in symbols that move together
    max_account_notional: Decimal | None = None  # of all bots of the account
    max_orders_per_minute: int | None = None  # entries and add-ons within 60 s of the venue's clock
    max_open_orders: int | None = None  # that wait for the next open, this one included
    # Below 1 a fraction of the equity at the day's start (UTC), from 1 on an amount.
    max_daily_loss: Decimal | None = None
    max_drawdown: Decimal | None = None  # fraction of the highest equity since the last cool-down
    cool_down_minutes: int | None = None  # how long entries rest after `max_drawdown` was reached
    min_order_notional: Decimal | None = None  # smaller orders are not worth their fees

    @property
    def is_empty(self) -> bool:
        return self == NO_LIMITS

    def daily_loss_allowed(self, day_equity: Decimal) -> Decimal | None:
        """How much equity may be lost within a day that began with `day_equity`, in quote currency."""
        if self.max_daily_loss is None:
            return None
        return self.max_daily_loss * day_equity if self.max_daily_loss < 1 else self.max_daily_loss

    def overlaid_by(self, other: Limits) -> Limits:
        """These limits, with each one that `other` sets instead."""
        changes = {name: value for name in NAMES if (value := getattr(other, name)) is not None}
        return msgspec.structs.replace(self, **changes)


NO_LIMITS: Final = Limits()
NAMES: Final = Limits.__struct_fields__
_COUNTS = frozenset({"max_orders_per_minute", "max_open_orders", "cool_down_minutes"})
_ACCOUNT_ONLY = frozenset({"max_symbol_notional", "max_correlated_exposure", "max_account_notional"})


class BotLimits(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a bot's file says: limits of its own, laid over those of a profile."""

    profile: str | None = None
    own: Limits = NO_LIMITS


Wrong = Callable[[str, str, str], None]  # field, value, expected


def parse_limits(document: object, *, field: str, wrong: Wrong) -> Limits:
    """Limits from JSON values; each problem goes to `wrong`. An empty object is no limits."""
    if not isinstance(document, Mapping):
        wrong(field, _shown(document), 'must be an object of limits, as in {"max_order_notional": 500}')
        return NO_LIMITS
    found: dict[str, Decimal | int] = {}
    for key, value in document.items():
        place = f"{field}.{key}" if field else str(key)
        if key not in NAMES:
            near = difflib.get_close_matches(str(key), NAMES, n=1)
            known = f"known limits are {', '.join(NAMES)}"
            wrong(place, "an unknown limit", f"did you mean {near[0]}? {known}" if near else known)
            continue
        number = exact_number(value)
        if key in _COUNTS:
            if number is None or number != number.to_integral_value() or not 1 <= number <= 1_000_000:
                wrong(place, _shown(value), "must be a whole number of at least 1")
            else:
                found[key] = int(number)
        elif number is None or number <= 0:
            wrong(place, _shown(value), "must be a number above 0")
        elif key == "max_drawdown" and number >= 1:
            wrong(place, _shown(value), "must be a fraction below 1, as in 0.2 for 20 %")
        else:
            found[key] = number
    limits = Limits(**found)  # type: ignore[arg-type]  # each name's type was checked above
    if (limits.max_drawdown is None) != (limits.cool_down_minutes is None) and not isinstance(
        document.get("profile"), str
    ):
        missing = "cool_down_minutes" if limits.cool_down_minutes is None else "max_drawdown"
        wrong(f"{field}.{missing}" if field else missing, "missing", "give both: one means nothing alone")
    return limits


def parse_bot_limits(document: object, *, wrong: Wrong) -> BotLimits:
    """The `limits` of a bot's file. Whether its profile exists is only known where the profiles are."""
    if not isinstance(document, Mapping):
        wrong("limits", _shown(document), 'must be an object, as in {"profile": "careful"}, or {}')
        return BotLimits()
    profile = document.get("profile")
    if profile is not None and not (isinstance(profile, str) and profile.strip()):
        wrong("limits.profile", _shown(profile), "must be the name of a profile in the risk file")
        profile = None
    rest = {key: value for key, value in document.items() if key != "profile"}
    for key in sorted(_ACCOUNT_ONLY & rest.keys()):
        wrong(f"limits.{key}", "a limit of an account", "set it for the bot's account in the risk file")
        del rest[key]

    def noted(field: str, value: str, expected: str) -> None:
        # A profile may bring the other half of drawdown and cool-down; `effective_limits` looks again.
        if not (profile and value == "missing"):
            wrong(field, value, expected)

    return BotLimits(profile=profile, own=parse_limits(rest, field="limits", wrong=noted))


def check_limits(limits: Limits, *, where: str) -> Limits:
    """The same limits. Raises InvalidInput where drawdown and cool-down do not come together."""
    if (limits.max_drawdown is None) != (limits.cool_down_minutes is None):
        missing = "cool_down_minutes" if limits.cool_down_minutes is None else "max_drawdown"
        raise InvalidInput(
            Problem(
                where=where,
                field=f"limits.{missing}",
                value="missing",
                expected="give both: one means nothing alone",
            )
        )
    return limits


def as_json(limits: Limits) -> dict[str, Any]:
    """The limits that are set, amounts as strings that keep every digit."""
    document: dict[str, Any] = msgspec.to_builtins(limits)
    return document


def exact_number(value: object) -> Decimal | None:
    """A JSON number, or a string of one, as the decimal a person wrote; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
        return None
    try:
        number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _shown(value: object) -> str:
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."
