"""Accounts that several bots share: each bot's books are a sub-ledger, and their sum is the account.

What a bot has in use (its position at cost, and the order that waits) is reserved in the same transaction as
the step that needs it, under the account's lock: the same money is never promised twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from bots.gates import Gate, Violation
from bots.risk.limits import NO_LIMITS, Limits
from bots.risk.state import RiskState, begin, observe
from data.models import Market


class SubLedger(msgspec.Struct, frozen=True, kw_only=True):
    """What a bot has of its account after a step. Amounts are quote currency."""

    account: str
    in_use: Decimal  # cost of its position and notional of the order that waits
    gained: Decimal  # cash and position at cost, less what it began with: realised, funding, fees
    equity_gained: Decimal  # the same with the position at the newest close
    at_us: int  # that close, the venue's clock
    ordered_at_us: tuple[int, ...] = ()  # entries and add-ons of its last minute
    together: tuple[str, ...] = ()  # symbols that move with its own, itself included


class AccountTerms(msgspec.Struct, frozen=True, kw_only=True):
    """An account as the risk file describes it."""

    name: str
    quote: str
    capital: Decimal
    limits: Limits = NO_LIMITS


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """A bot's stored sub-ledger, and who it is."""

    bot_id: int
    bot: str
    market: Market
    ledger: SubLedger


class AccountView(msgspec.Struct, frozen=True, kw_only=True):
    """An account and its bots as they were stored together."""

    terms: AccountTerms
    state: RiskState
    shares: tuple[Share, ...]
    settled: Decimal = Decimal(0)  # gained by bots that are deleted by now

    @property
    def funds(self) -> Decimal:
        """What the account has without its present bots."""
        return self.terms.capital + self.settled

    @property
    def budget(self) -> Decimal:
        """What all bots together may have in use: the capital and what they gained, in quote currency."""
        return self.funds + sum((share.ledger.gained for share in self.shares), Decimal(0))

    @property
    def in_use(self) -> Decimal:
        return sum((share.ledger.in_use for share in self.shares), Decimal(0))

    @property
    def equity(self) -> Decimal:
        return self.funds + sum((share.ledger.equity_gained for share in self.shares), Decimal(0))


def with_share(view: AccountView, share: Share) -> AccountView:
    """The account with that bot's share as it is now; what limits remember has seen its close."""
    others = tuple(other for other in view.shares if other.bot_id != share.bot_id)
    changed = msgspec.structs.replace(view, shares=(*others, share))
    orders = sorted({*view.state.ordered_at_us, *share.ledger.ordered_at_us})
    state = msgspec.structs.replace(view.state, ordered_at_us=tuple(orders))
    at_us = max(share.ledger.at_us, (view.state.at_us or 0))
    return msgspec.structs.replace(
        changed, state=observe(state, at_us, changed.equity, view.terms.limits) if at_us else state
    )


def opened(terms: AccountTerms) -> AccountView:
    """An account without bots."""
    return AccountView(terms=terms, state=begin(terms.capital), shares=())


def broken_by(view: AccountView, share: Share) -> tuple[Violation, ...]:
    """What the account has against that bot's growing to `share.ledger.in_use`."""
    others = [other for other in view.shares if other.bot_id != share.bot_id]
    gained = sum((other.ledger.gained for other in others), share.ledger.gained)
    limits, name = view.terms.limits, view.terms.name
    together = {share.market.symbol, *share.ledger.together}
    found: list[Violation] = []

    def check(limit: str, allowed: Decimal | None, parts: Sequence[Share], what: str, gate: Gate) -> None:
        used = sum((other.ledger.in_use for other in parts), share.ledger.in_use)
        if allowed is not None and used > allowed:
            detail = f"account {name} would have {_plain(used)} in use{what}, {limit} is {_plain(allowed)}"
            found.append(Violation(limit=limit, gate=gate, used=used, allowed=allowed, detail=detail))

    in_symbol = [other for other in others if other.market == share.market]
    in_cluster = [other for other in others if other.market.symbol in together]
    check("budget", view.funds + gained, others, "", Gate.BUDGET)
    check("max_account_notional", limits.max_account_notional, others, "", Gate.LIMIT)
    check("max_symbol_notional", limits.max_symbol_notional, in_symbol, f" in {share.market}", Gate.LIMIT)
    names = ", ".join(sorted(together))
    check("max_correlated_exposure", limits.max_correlated_exposure, in_cluster, f" in {names}", Gate.LIMIT)
    return tuple(found)


def _plain(value: Decimal) -> str:
    return f"{value:.8f}".rstrip("0").rstrip(".") or "0"
