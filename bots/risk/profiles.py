"""The risk file: named sets of limits, and the accounts that bots share."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from bots.accounts import AccountTerms
from bots.config import BotConfig, read_document
from bots.risk.limits import Limits, as_json, check_limits, exact_number, parse_limits
from data.errors import InvalidInput, Problem

_KEYS = ("profiles", "accounts", "clusters")
_ACCOUNT_KEYS = ("quote", "capital", "limits")


class RiskBook(msgspec.Struct, frozen=True, kw_only=True):
    """What the risk file says."""

    profiles: dict[str, Limits] = {}
    accounts: dict[str, AccountTerms] = {}
    clusters: tuple[tuple[str, ...], ...] = ()  # symbols that move together: ("BTC-USDT", "ETH-USDT")

    def limits_of(self, config: BotConfig) -> Limits:
        """A bot's limits: its profile's, with its own laid over them. Raises InvalidInput as `account_of`."""
        where = f"bot {config.name}"
        base = Limits()
        if config.limits.profile is not None:
            if config.limits.profile not in self.profiles:
                raise _unknown(where, "limits.profile", config.limits.profile, self.profiles)
            base = self.profiles[config.limits.profile]
        return check_limits(base.overlaid_by(config.limits.own), where=where)

    def account_of(self, config: BotConfig) -> AccountTerms | None:
        """The account a bot shares, or None. Raises InvalidInput for one that the file does not know."""
        if config.account is None:
            return None
        where = f"bot {config.name}"
        if config.account not in self.accounts:
            raise _unknown(where, "account", config.account, self.accounts)
        terms = self.accounts[config.account]
        quote = config.symbol.split("-")[1]
        if quote != terms.quote:
            expected = f"account {terms.name} is in {terms.quote}; a bot of it trades symbols quoted in that"
            raise InvalidInput(Problem(where=where, field="symbol", value=config.symbol, expected=expected))
        return terms

    def related_to(self, symbol: str) -> tuple[str, ...]:
        """Symbols of the clusters that the symbol is in, itself included, in order of name."""
        found = {symbol}
        for cluster in self.clusters:
            if symbol in cluster:
                found.update(cluster)
        return tuple(sorted(found))

    def as_document(self) -> dict[str, Any]:
        """The file as JSON values, every amount a string that keeps its digits."""
        return {
            "profiles": {name: as_json(limits) for name, limits in self.profiles.items()},
            "accounts": {
                name: {"quote": one.quote, "capital": str(one.capital), "limits": as_json(one.limits)}
                for name, one in self.accounts.items()
            },
            "clusters": [list(cluster) for cluster in self.clusters],
        }


def load_risk_book(path: Path) -> RiskBook:
    """What a risk file says; empty where there is no file. Raises InvalidInput with all problems at once."""
    if not path.exists():
        return RiskBook()
    return parse_risk_book(read_document(path), where=str(path))


def parse_risk_book(document: Mapping[str, Any], *, where: str) -> RiskBook:
    """Check every field. Raises InvalidInput with all problems at once."""
    problems: list[Problem] = []

    def wrong(field: str, value: str, expected: str) -> None:
        problems.append(Problem(where=where, field=field, value=value, expected=expected))

    for key in document:
        if key not in _KEYS:
            wrong(str(key), "an unknown key", f"known keys are {', '.join(_KEYS)}")
    profiles = {
        name: parse_limits(limits, field=f"profiles.{name}", wrong=wrong)
        for name, limits in _object(document, "profiles", wrong).items()
    }
    accounts = {
        name: _account(name, account, wrong) for name, account in _object(document, "accounts", wrong).items()
    }
    clusters = _clusters(document.get("clusters", []), wrong)
    if problems:
        raise InvalidInput(*problems)
    return RiskBook(profiles=profiles, accounts=accounts, clusters=clusters)


def _account(name: str, document: object, wrong: Callable[[str, str, str], None]) -> AccountTerms:
    field = f"accounts.{name}"
    if not isinstance(document, Mapping):
        wrong(field, str(document)[:60], 'must be an object, as in {"quote": "USDT", "capital": 50000}')
        document = {}
    for key in document:
        if key not in _ACCOUNT_KEYS:
            wrong(f"{field}.{key}", "an unknown key", f"known keys are {', '.join(_ACCOUNT_KEYS)}")
    quote, capital = document.get("quote"), document.get("capital")
    if not isinstance(quote, str) or not quote.isalnum() or quote != quote.upper():
        wrong(f"{field}.quote", str(quote), "must be a currency in capitals, as in USDT")
    amount = exact_number(capital)
    if amount is None or amount <= 0:
        wrong(f"{field}.capital", str(capital), "must be a number above 0, in the quote currency")
    return AccountTerms(
        name=name,
        quote=str(quote),
        capital=amount or Decimal(1),
        limits=parse_limits(document.get("limits", {}), field=f"{field}.limits", wrong=wrong),
    )


def _clusters(document: object, wrong: Callable[[str, str, str], None]) -> tuple[tuple[str, ...], ...]:
    if not isinstance(document, list) or not all(
        isinstance(cluster, list) and len(cluster) > 1 and all(isinstance(symbol, str) for symbol in cluster)
        for cluster in document
    ):
        wrong("clusters", str(document)[:60], 'must be lists of symbols, as in [["BTC-USDT", "ETH-USDT"]]')
        return ()
    return tuple(tuple(cluster) for cluster in document)


def _object(
    document: Mapping[str, Any], key: str, wrong: Callable[[str, str, str], None]
) -> Mapping[str, Any]:
    value = document.get(key, {})
    if isinstance(value, Mapping):
        return value
    wrong(key, str(value)[:60], "must be an object, name by name")
    return {}


def _unknown(where: str, field: str, name: str, known: Mapping[str, object]) -> InvalidInput:
    near = difflib.get_close_matches(name, known, n=1)
    names = ", ".join(known) or "none"
    hint = f"did you mean {near[0]}? " if near else ""
    expected = f"{hint}the risk file has {names}"
    return InvalidInput(Problem(where=where, field=field, value=f'"{name}"', expected=expected))
