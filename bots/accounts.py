"""Accounts that several bots share: each bot's books are a sub-ledger, and their sum is the account.

What a bot has in use (its position at cost, and the order that waits) is reserved in the same transaction as
the step that needs it, under the account's lock: the same money is never promised twice.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from decimal import Decimal

import msgspec

from bots.gates import Gate, Violation
from bots.ledger import EXACT
from bots.risk.limits import NO_LIMITS, Limits
from bots.risk.state import RiskState, begin, observe
from data.models import Market


class SharePart(msgspec.Struct, frozen=True, kw_only=True):
    """The most that a bot with several symbols has in use of one of them, in quote currency."""

    symbol: str
    in_use: Decimal
    together: tuple[str, ...] = ()  # symbols that move with it, itself included


class SubLedger(msgspec.Struct, frozen=True, kw_only=True):
    """What a bot has of its account after a step. Amounts are quote currency."""

    account: str
    in_use: Decimal  # cost of its position and notional of the order that waits
    gained: Decimal  # cash and position at cost, less what it began with: realised, funding, fees
    equity_gained: Decimal  # the same with the position at the newest close
    at_us: int  # that close, the venue's clock
    ordered_at_us: tuple[int, ...] = ()  # entries and add-ons of its last minute
    together: tuple[str, ...] = ()  # symbols that move with its own, itself included
    # Of a bot with several symbols: together `in_use`, and more while sales wait that pay for buys.
    parts: tuple[SharePart, ...] = ()


def grown(ledger: SubLedger, symbol: str, notional: Decimal) -> SubLedger:
    """The sub-ledger with that much more in use, of that symbol where it has several."""
    parts = tuple(
        msgspec.structs.replace(part, in_use=EXACT.add(part.in_use, notional))
        if part.symbol == symbol
        else part
        for part in ledger.parts
    )
    return msgspec.structs.replace(ledger, in_use=EXACT.add(ledger.in_use, notional), parts=parts)


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

    @property
    def parts(self) -> tuple[SharePart, ...]:
        """What it has in use by symbol: one part, or those of a bot with several."""
        ledger = self.ledger
        if ledger.parts:
            return ledger.parts
        return (SharePart(symbol=self.market.symbol, in_use=ledger.in_use, together=ledger.together),)

    @property
    def most_in_use(self) -> Decimal:
        """What its positions may cost at most, whatever is sold first."""
        return _total(part.in_use for part in self.parts)

    def used_in(self, symbols: Collection[str], exchange: str | None = None) -> Decimal:
        """What it has in use of these symbols; at one venue alone, where that is named."""
        if exchange is not None and exchange != self.market.exchange:
            return Decimal(0)
        return _total(part.in_use for part in self.parts if part.symbol in symbols)


class AccountView(msgspec.Struct, frozen=True, kw_only=True):
    """An account and its bots as they were stored together."""

    terms: AccountTerms
    state: RiskState
    shares: tuple[Share, ...]
    settled: Decimal = Decimal(0)  # gained by bots that are deleted by now

    @property
    def funds(self) -> Decimal:
        """What the account has without its present bots."""
        return EXACT.add(self.terms.capital, self.settled)

    @property
    def budget(self) -> Decimal:
        """What all bots together may have in use: the capital and what they gained, in quote currency."""
        return _total([self.funds, *(share.ledger.gained for share in self.shares)])

    @property
    def in_use(self) -> Decimal:
        return _total(share.ledger.in_use for share in self.shares)

    @property
    def most_in_use(self) -> Decimal:
        """What all positions may cost at most, whatever is sold first."""
        return _total(share.most_in_use for share in self.shares)

    @property
    def equity(self) -> Decimal:
        return _total([self.funds, *(share.ledger.equity_gained for share in self.shares)])


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
    budget = _total([view.funds, share.ledger.gained, *(other.ledger.gained for other in others)])
    limits, name = view.terms.limits, view.terms.name
    all_in_use = _total([share.ledger.in_use, *(other.ledger.in_use for other in others)])
    found: list[Violation] = []

    def check(limit: str, allowed: Decimal | None, used: Decimal, what: str, gate: Gate) -> None:
        if allowed is not None and used > allowed and limit not in {one.limit for one in found}:
            detail = f"account {name} would have {_plain(used)} in use{what}, {limit} is {_plain(allowed)}"
            found.append(Violation(limit=limit, gate=gate, used=used, allowed=allowed, detail=detail))

    check("budget", budget, all_in_use, "", Gate.BUDGET)
    # What is sold to pay for a buy may have cost less than it brings: a limit goes by what is bought.
    most = _total([share.most_in_use, *(other.most_in_use for other in others)])
    check("max_account_notional", limits.max_account_notional, most, "", Gate.LIMIT)
    for part in share.parts:
        market = Market(share.market.exchange, part.symbol)
        used = _total([part.in_use, *(other.used_in({part.symbol}, market.exchange) for other in others)])
        check("max_symbol_notional", limits.max_symbol_notional, used, f" in {market}", Gate.LIMIT)
    for part in share.parts:
        together = {part.symbol, *part.together}
        used = _total([share.used_in(together), *(other.used_in(together) for other in others)])
        names = ", ".join(sorted(together))
        check("max_correlated_exposure", limits.max_correlated_exposure, used, f" in {names}", Gate.LIMIT)
    return tuple(found)


def _total(amounts: Iterable[Decimal]) -> Decimal:
    """To the last digit: books have more of them than a sum usually keeps, and all money may be in use."""
    found = Decimal(0)
    for amount in amounts:
        found = EXACT.add(found, amount)
    return found


def _plain(value: Decimal) -> str:
    return f"{value:.8f}".rstrip("0").rstrip(".") or "0"
