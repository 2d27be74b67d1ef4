"""The limits in force in a runner: the risk file followed while it runs, and the accounts of several bots."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import msgspec
import structlog

from bots.accounts import AccountTerms, AccountView, Share, broken_by, grown
from bots.bot_life import BotLife
from bots.entry_gates import EntryWish
from bots.gates import PASSED, Gate, GateVerdict
from bots.orders import OrderReason, TradingRules
from bots.risk.gate import Proposal, refused_for, violations_of
from bots.risk.profiles import RiskBook, load_risk_book
from bots.risk.state import ordered
from data.errors import InvalidInput

_log = structlog.get_logger(__name__)


class AccountStore(Protocol):
    """Where accounts are kept. Synchronous; raises TransientError."""

    def save_accounts(self, accounts: list[AccountTerms]) -> None: ...

    def account(self, name: str) -> AccountView | None: ...

    def save_limits(self, document: dict[str, Any], at_us: int) -> bool: ...


class DeskRules:
    """Which limits each bot has now; also the entry gate of the accounts.

    The file is looked at again when its time or size changes. One that cannot be used is told of, and the
    last good one stays in force.
    """

    def __init__(
        self,
        path: Path | None = None,
        store: AccountStore | None = None,
        clock: Callable[[], int] = lambda: 0,
    ) -> None:
        """Without a path there are no profiles and no accounts, without a store no account is asked about."""
        self._path = path
        self._store = store
        self._clock = clock
        self._seen: tuple[int, int] | None = None
        self._is_written = False
        self.book = RiskBook()

    def refresh(self) -> bool:
        """Look at the file; whether other limits hold now. Raises TransientError."""
        if self._path is None:
            return False
        seen = _mark(self._path)
        changed = False
        if seen != self._seen:
            self._seen = seen
            try:
                book = load_risk_book(self._path)
            except InvalidInput as error:
                _log.error("risk_file_is_broken", problem=str(error), action="the last good limits stay")
            else:
                changed = book != self.book
                self.book = book
                self._is_written = False
        if not self._is_written and self._store is not None:
            self._store.save_accounts(list(self.book.accounts.values()))
            if self._store.save_limits(self.book.as_document(), self._clock()):
                _log.info("limits_in_force", profiles=sorted(self.book.profiles))
            self._is_written = True
        return changed

    def apply(self, bot: BotLife) -> None:
        """Put the limits that hold now in force. Where there are none to be found the bot enters nothing."""
        if bot.ruled_by is self.book:
            return
        bot.ruled_by = self.book
        bot.together = {market.symbol: self.book.related_to(market.symbol) for market in bot.markets}
        try:
            self.book.account_of(bot.config)
            bot.limits, bot.limits_problem = self.book.limits_of(bot.config), ""
        except InvalidInput as error:
            bot.limits, bot.limits_problem = bot.config.limits.own, str(error)

    def __call__(self, wish: EntryWish) -> GateVerdict:
        """Whether the account that the bot shares lets it enter."""
        if wish.share is None or self._store is None:
            return PASSED
        view = self._store.account(wish.share.account)
        if view is None:
            detail = f"account {wish.share.account} is not stored: no new entries"
            return GateVerdict(gate=Gate.BUDGET, detail=detail)
        proposal = Proposal(
            reason=OrderReason.ENTRY,
            side=wish.side,
            at_us=wish.closes_at_us,
            notional=wish.notional,
            held=view.in_use,
            waiting=0,
        )
        # What an account holds is judged against its own limits below, not as one position.
        limits = msgspec.structs.replace(view.terms.limits, max_position_notional=None, max_open_orders=None)
        state = view.state
        for _ in range(wish.before):
            state = ordered(state, wish.closes_at_us)
        found = violations_of(proposal, limits, state, TradingRules())
        wanted = grown(wish.share, wish.market.symbol, wish.notional)
        share = Share(bot_id=wish.bot_id, bot=wish.bot, market=wish.market, ledger=wanted)
        return refused_for(found + broken_by(view, share))


def _mark(path: Path) -> tuple[int, int]:
    try:
        stat = path.stat()
    except OSError:
        return (0, 0)
    return (stat.st_mtime_ns, stat.st_size)
