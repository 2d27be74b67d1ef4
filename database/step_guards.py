"""What the transaction of a step looks at before it is stored: the emergency stop and the money of accounts.

Both are judged under locks that last until the commit, so that neither two bots nor two runner processes can
both be the last one that was let through.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec
from psycopg import Cursor
from sqlalchemy import Connection

from bots.accounts import AccountTerms, AccountView, Share, SharePart, SubLedger, broken_by, with_share
from bots.gates import PASSED, Gate, GateVerdict
from bots.risk.gate import refused_for
from bots.risk.limits import Limits
from bots.risk.state import RiskState
from bots.stores import BotStep
from data.models import Market
from data.timeframes import to_datetime, to_us
from database.array_inserts import insert_columns

# Any fixed number: shared by every transaction with an entry, exclusive for the one that stores a stop.
ENTRY_LOCK: Final = 0x63616E64_73746F70


class StepGuard:
    """The locks and the judgement of one transaction."""

    def __init__(self, connection: Connection, steps: Sequence[BotStep]) -> None:
        """Take the locks that these steps need; accounts in order of name, so that none wait in a ring."""
        self._connection = connection
        self._accounts: dict[str, AccountView] = {}
        names = sorted({step.sub_ledger.account for step in steps if step.sub_ledger is not None})
        if names:
            self._accounts = {view.terms.name: view for view in read_accounts(connection, names, lock=True)}
        self._stopped = any(step.grows for step in steps) and _is_stopped(connection)
        self._shares: dict[int, Share] = {}

    def verdict(self, step: BotStep) -> GateVerdict:
        """Whether the step may be stored: no entry during a stop, nor beyond what its account has left.

        A step that enters nothing always may. One that is let through counts for those that are asked about
        after it.
        """
        if self._stopped and step.grows:
            return GateVerdict(gate=Gate.EMERGENCY, detail="an emergency stop stands: nothing is entered")
        ledger = step.sub_ledger
        if ledger is None or step.market is None:
            return PASSED
        view = self._accounts.get(ledger.account)
        if view is None:
            # Its exits and its word that it enters nothing are stored all the same.
            detail = f"account {ledger.account} is not stored: nothing is entered"
            return GateVerdict(gate=Gate.BUDGET, detail=detail) if step.grows else PASSED
        share = Share(bot_id=step.bot_id, bot="", market=step.market, ledger=ledger)
        if step.grows and (found := broken_by(view, share)):
            return refused_for(found)
        self._accounts[ledger.account] = with_share(view, share)
        self._shares[step.bot_id] = share
        return PASSED

    def save(self, cursor: Cursor[Any], applied: Sequence[BotStep]) -> None:
        """Store the sub-ledgers, journal entries and violations of the steps that were applied."""
        shares = [self._shares[step.bot_id] for step in applied if step.bot_id in self._shares]
        for share in shares:
            ledger = share.ledger
            cursor.execute(
                "INSERT INTO account_shares (bot_id, account, in_use, gained, equity_gained, at, ordered_at,"
                " parts) VALUES (%s, %s, %s, %s, %s, %s, %s::timestamptz[], %s::jsonb)"
                " ON CONFLICT (bot_id) DO UPDATE SET"
                " account = excluded.account, in_use = excluded.in_use, gained = excluded.gained,"
                " equity_gained = excluded.equity_gained, at = excluded.at, ordered_at = excluded.ordered_at,"
                " parts = excluded.parts",
                (
                    share.bot_id,
                    ledger.account,
                    ledger.in_use,
                    ledger.gained,
                    ledger.equity_gained,
                    to_datetime(ledger.at_us),
                    [to_datetime(at_us) for at_us in ledger.ordered_at_us],
                    msgspec.json.encode({part.symbol: part.in_use for part in ledger.parts}).decode(),
                ),
            )
        for name in sorted({share.ledger.account for share in shares}):
            state = msgspec.json.encode(self._accounts[name].state).decode()
            cursor.execute("UPDATE accounts SET state = %s::jsonb WHERE account = %s", (state, name))
        insert_columns(
            cursor,
            "INSERT INTO bot_journal (bot_id, at, order_sequence, cash, position, fees, realised, funding)"
            " SELECT u.bot_id, u.at, u.number, u.cash, u.position, u.fees, u.realised, u.funding"
            " FROM unnest(%b::integer[], %b::timestamptz[], %b::bigint[], %b::numeric[], %b::numeric[],"
            " %b::numeric[], %b::numeric[], %b::numeric[]) WITH ORDINALITY"
            " AS u(bot_id, at, number, cash, position, fees, realised, funding, place) ORDER BY u.place",
            [
                (
                    step.bot_id,
                    to_datetime(entry.at_us),
                    entry.order_sequence,
                    entry.cash,
                    entry.position,
                    entry.fees,
                    entry.realised,
                    entry.funding,
                )
                for step in applied
                for entry in step.entries
            ],
        )
        for step in applied:
            for broken in step.violations:
                violation = broken.violation
                cursor.execute(
                    "INSERT INTO risk_violations (bot_id, bot, account, opened_at, at, stored_at, limit_name,"
                    " gate, used, allowed, detail) SELECT bot_id, name, %s, %s, %s, %s, %s, %s, %s, %s, %s"
                    " FROM bots WHERE bot_id = %s ON CONFLICT DO NOTHING",
                    (
                        "" if step.sub_ledger is None else step.sub_ledger.account,
                        to_datetime(broken.opened_at_us),
                        to_datetime(broken.at_us),
                        to_datetime(step.at_us),
                        violation.limit,
                        str(violation.gate),
                        violation.used,
                        violation.allowed,
                        violation.detail,
                        step.bot_id,
                    ),
                )


def _is_stopped(connection: Connection) -> bool:
    connection.exec_driver_sql("SELECT pg_advisory_xact_lock_shared(%s)", (ENTRY_LOCK,))
    # A statement of its own: it sees what was committed while it waited for the lock.
    return bool(
        connection.exec_driver_sql(
            "SELECT EXISTS (SELECT FROM emergency_stops WHERE released_at IS NULL)"
        ).scalar_one()
    )


def read_accounts(
    connection: Connection, names: Sequence[str] | None = None, *, lock: bool = False
) -> list[AccountView]:
    """Accounts with their bots' shares, in order of name; `lock` keeps others off until the commit."""
    rows = connection.exec_driver_sql(
        "SELECT account, quote, capital, limits, state, settled FROM accounts"
        " WHERE %s::text[] IS NULL OR account = ANY(%s::text[]) ORDER BY account"
        + (" FOR UPDATE" if lock else ""),
        (None if names is None else list(names), None if names is None else list(names)),
    ).mappings()
    found = [dict(row) for row in rows]
    shares: dict[str, list[Share]] = {row["account"]: [] for row in found}
    for row in connection.exec_driver_sql(
        "SELECT s.*, b.name AS bot, m.exchange, m.symbol FROM account_shares s JOIN bots b USING (bot_id)"
        " JOIN markets m USING (market_id) WHERE s.account = ANY(%s::text[]) ORDER BY s.bot_id",
        (list(shares),),
    ).mappings():
        shares[row["account"]].append(_share(row))
    return [
        AccountView(
            terms=AccountTerms(
                name=row["account"],
                quote=row["quote"],
                capital=row["capital"],
                limits=msgspec.convert(row["limits"], Limits),
            ),
            state=msgspec.convert(row["state"], RiskState),
            shares=tuple(shares[row["account"]]),
            settled=row["settled"],
        )
        for row in found
    ]


def _share(row: Mapping[Any, Any]) -> Share:
    return Share(
        bot_id=row["bot_id"],
        bot=row["bot"],
        market=Market(row["exchange"], row["symbol"]),
        ledger=SubLedger(
            account=row["account"],
            at_us=to_us(row["at"]),
            ordered_at_us=tuple(to_us(at) for at in row["ordered_at"]),
            in_use=row["in_use"],
            gained=row["gained"],
            equity_gained=row["equity_gained"],
            parts=tuple(
                SharePart(symbol=symbol, in_use=Decimal(used)) for symbol, used in row["parts"].items()
            ),
        ),
    )
