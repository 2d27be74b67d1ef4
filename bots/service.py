"""What people do with bots, on the command line and the page alike: wishes are written, the runner obeys."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bots.config import BotConfig, as_document, parse_bot
from bots.ladders.standing import LadderStanding, standing_of
from bots.lifecycle import WISHES, BotCommand, BotState, allows
from bots.settings_change import check_fits
from bots.stores import BotEvent, BotRecord, BotStore, Wish
from bots.views import (
    AuditView,
    BotView,
    DecisionView,
    EquityCurve,
    FillView,
    OrderView,
    SignalView,
    TradeView,
    VersionView,
)
from data.errors import InvalidInput, Problem
from data.models import Market
from data.timeframes import Timeframe

_ASKED = {
    BotCommand.START: "asked to start",
    BotCommand.PAUSE: "asked to pause",
    BotCommand.STOP: "asked to stop",
}
# A wish is refused only if the bot moved between reading and writing; it settles within a step or two.
_TRIES = 20


class BotService:
    """Bots for people. Synchronous: a page calls it in a thread.

    A method that takes a name raises InvalidInput for an unknown bot, naming the known ones; every method
    raises TransientError while the database cannot answer.
    """

    def __init__(
        self, store: BotStore, *, clock: Callable[[], int], announce: Callable[[str], None] | None = None
    ) -> None:
        """`clock` gives now in microseconds; `announce` wakes the runner after a wish, which else polls."""
        self._store = store
        self._clock = clock
        self._announce = announce

    def list_bots(self) -> list[BotView]:
        """Every bot, in order of name."""
        return self._store.views()

    def bot(self, name: str) -> BotView:
        view = self._store.view(name)
        if view is None:
            raise self._unknown(name)
        return view

    def ladder(self, name: str) -> LadderStanding | None:
        """How a bot with several orders stands; None for others, and before it has begun."""
        return standing_of(self._record(name))

    def create(
        self, config: BotConfig, *, who: str, why: str = "", start: bool = False, source: str = ""
    ) -> BotView:
        """Add a bot; it waits for a start unless `start`. `source` is its file, read again at each start.

        Raises InvalidInput if the name is taken.
        """
        created = self._store.create(
            as_document(config),
            name=config.name,
            source=source,
            desired=BotState.RUNNING if start else BotState.CREATED,
            health="",
            event=BotEvent(at_us=self._clock(), who=who, what="created", why=why),
        )
        if not created:
            raise _taken(source or "bot", config.name)
        self._wake(config.name)
        return self.bot(config.name)

    def clone(
        self,
        name: str,
        to: str,
        *,
        changes: Mapping[str, Any] | None = None,
        who: str,
        why: str = "",
        start: bool = False,
    ) -> BotView:
        """A new bot with the settings of another and an account of its own; `changes` replace some of them.

        Raises InvalidInput for settings that cannot be used and for a name that is taken.
        """
        record = self._record(name)
        document = {**_wanted(record), **(changes or {}), "name": to}
        config = parse_bot(document, where=f"clone of {name}")
        created = self._store.create(
            as_document(config),
            name=config.name,
            source=record.source,  # where its strategy is looked for; the file stays the other bot's
            reads_file=False,
            desired=BotState.RUNNING if start else BotState.CREATED,
            health="",
            event=BotEvent(at_us=self._clock(), who=who, what="created", why=why or f"a clone of {name}"),
        )
        if not created:
            raise _taken(f"clone of {name}", config.name)
        self._wake(config.name)
        return self.bot(config.name)

    def edit(self, name: str, config: BotConfig, *, who: str, why: str = "") -> BotView:
        """Give a bot new settings: a running one takes them between two candles, its position stays.

        One that stands still takes them at its next start. From now on its file is not read any more. Raises
        InvalidInput for what cannot change.
        """
        return self._edit(name, lambda _: config, reverts_to=None, who=who, why=why)

    def change(self, name: str, changes: Mapping[str, Any], *, who: str, why: str = "") -> BotView:
        """As `edit`, with only what changes, as in the bot's file. Raises InvalidInput."""

        def changed(record: BotRecord) -> BotConfig:
            return parse_bot({**_wanted(record), **changes}, where=f"bot {name}")

        return self._edit(name, changed, reverts_to=None, who=who, why=why)

    def revert(self, name: str, *, to: int | None = None, who: str, why: str = "") -> BotView:
        """Go back to an earlier version of the settings: the one before, or version `to`.

        That makes a new version: going back can be taken back as well.
        """
        known = self.versions(name)
        wanted = next((one for one in known if one.version == to), None) if to is not None else None
        if to is None:
            wanted = _before(known)
        if wanted is None:
            numbers = ", ".join(str(one.version) for one in reversed(known))
            value = "no version before" if to is None else f"version {to}"
            raise InvalidInput(
                Problem(where=f"bot {name}", field="version", value=value, expected=f"there are {numbers}")
            )
        document = wanted.config
        return self._edit(
            name,
            lambda _: parse_bot(document, where=f"bot {name}, version {wanted.version}"),
            reverts_to=wanted.version,
            who=who,
            why=why,
        )

    def settings(self, name: str) -> tuple[str, dict[str, Any]]:
        """Where its strategy is looked for (its file, or empty), and the settings that are wanted."""
        record = self._record(name)
        return record.source, _wanted(record)

    def versions(self, name: str) -> list[VersionView]:
        """Every version of the bot's settings, newest first."""
        self._known(name)
        return self._store.versions(name)

    def start(self, name: str, *, who: str, why: str = "") -> BotView:
        """Ask a bot to run. It trades from the first candle that closes after its start."""
        return self._ask(name, BotCommand.START, who=who, why=why)

    def pause(self, name: str, *, who: str, why: str = "") -> BotView:
        """Ask a bot to open nothing new. Its stops, targets and exit signals go on working."""
        return self._ask(name, BotCommand.PAUSE, who=who, why=why)

    def stop(self, name: str, *, who: str, why: str = "", flatten: bool = False) -> BotView:
        """Ask a bot to stop; with `flatten` it closes its position at the next open first.

        Without `flatten` a position stays open as it is and **unprotected** until the bot is started again.
        """
        return self._ask(name, BotCommand.STOP, who=who, why=why, flatten=flatten)

    def delete(self, name: str, *, who: str, why: str = "") -> None:
        """Remove a bot that does not run, with its orders, fills and decisions. Its audit stays."""
        for _ in range(_TRIES):
            seen = self._wish(name)
            self._check(BotCommand.DELETE, seen)
            event = BotEvent(at_us=self._clock(), who=who, what="deleted", why=why)
            if self._store.delete(seen, event=event):
                self._wake(name)
                return
        raise self._restless(name)

    def fills(self, name: str | None = None, limit: int = 100) -> list[FillView]:
        """The newest fills, newest first; of all bots without a name."""
        return self._store.fills(self._known(name), limit=limit)

    def orders(self, name: str | None = None, limit: int = 100) -> list[OrderView]:
        return self._store.orders(self._known(name), limit=limit)

    def orders_of(self, decision: DecisionView) -> list[OrderView]:
        """The orders a decision led to, as they stand now: filled, refused at the open, or waiting."""
        return self._store.orders_numbered(decision.bot, decision.orders) if decision.orders else []

    def trades(self, name: str | None = None, limit: int = 100) -> list[TradeView]:
        return self._store.trades(self._known(name), limit=limit)

    def equity(
        self, name: str, *, start_us: int | None = None, end_us: int | None = None, max_points: int = 2_000
    ) -> EquityCurve:
        """Equity at candle closes in `[start_us, end_us)`, thinned to about `max_points`, the last kept."""
        self._known(name)
        return self._store.equity(name, start_us=start_us, end_us=end_us, max_points=max_points)

    def decisions(self, name: str, limit: int = 100, *, saying_something: bool = False) -> list[DecisionView]:
        """The newest decisions, newest first; with `saying_something` only those with a signal."""
        self._known(name)
        return self._store.decisions(name, limit=limit, saying_something=saying_something)

    def decision(self, name: str, opened_at_us: int) -> DecisionView | None:
        """The decision on one candle, or None if the bot did not process it."""
        self._known(name)
        return self._store.decision(name, opened_at_us)

    def audit(self, name: str | None = None, limit: int = 100) -> list[AuditView]:
        """The newest entries, newest first. Also of bots that are deleted, hence any name is good."""
        return self._store.audit(name, limit=limit)

    def signals(
        self,
        market: Market,
        timeframe: Timeframe,
        *,
        start_us: int | None = None,
        end_us: int | None = None,
        limit: int = 2_000,
    ) -> list[SignalView]:
        """Signals on candles that open in `[start_us, end_us)`, ascending; the newest `limit` of them."""
        return self._store.signals(market, timeframe, start_us=start_us, end_us=end_us, limit=limit)

    def _ask(self, name: str, command: BotCommand, *, who: str, why: str, flatten: bool = False) -> BotView:
        for _ in range(_TRIES):
            seen = self._wish(name)
            self._check(command, seen)
            what = _ASKED[command] + (" and to close its position" if flatten else "")
            event = BotEvent(at_us=self._clock(), who=who, what=what, why=why)
            if self._store.ask(seen, WISHES[command], flatten=flatten, event=event):
                self._wake(name)
                return self.bot(name)
        raise self._restless(name)

    def _edit(
        self,
        name: str,
        wanted: Callable[[BotRecord], BotConfig],
        *,
        reverts_to: int | None,
        who: str,
        why: str,
    ) -> BotView:
        for _ in range(_TRIES):
            seen = self._wish(name)
            record = self._record(name)
            config = wanted(record)
            if "capital" in record.config:
                check_fits(
                    parse_bot(record.config, where=f"bot {name}"),
                    config,
                    where=f"bot {name}",
                    has_traded=record.account is not None,
                    has_position=self.bot(name).holds,
                )
            what = f"edited to version {seen.version + 1}"
            if reverts_to is not None:
                what = f"reverted to version {reverts_to}"
            event = BotEvent(at_us=self._clock(), who=who, what=what, why=why)
            if self._store.edit(seen, as_document(config), reverts_to=reverts_to, event=event):
                self._wake(name)
                return self.bot(name)
        raise self._restless(name)

    def _record(self, name: str) -> BotRecord:
        record = self._store.record(self._wish(name).bot_id)
        if record is None:
            raise self._unknown(name)
        return record

    def _check(self, command: BotCommand, seen: Wish) -> None:
        if allows(command, seen.state, seen.desired):
            return
        heading = "" if seen.desired is seen.state else f" and asked to be {seen.desired}"
        could = [str(other) for other in BotCommand if allows(other, seen.state, seen.desired)]
        advice = f"it can {' or '.join(could)}" if could else "wait until it has stopped"
        raise InvalidInput(
            Problem(
                where=f"bot {seen.name}",
                field="",
                value=f"{seen.state}{heading}",
                expected=f"cannot {command} now; {advice}",
            )
        )

    def _wish(self, name: str) -> Wish:
        wish = self._store.wish(name)
        if wish is None:
            raise self._unknown(name)
        return wish

    def _known(self, name: str | None) -> str | None:
        if name is not None:
            self._wish(name)
        return name

    def _unknown(self, name: str) -> InvalidInput:
        names = [view.name for view in self._store.views()]
        near = difflib.get_close_matches(name, names, n=1)
        known = f"known bots are {', '.join(names)}" if names else "there are no bots yet"
        expected = f"did you mean {near[0]}? {known}" if near else known
        return InvalidInput(Problem(where="bot", field="", value=f'unknown: "{name}"', expected=expected))

    def _restless(self, name: str) -> InvalidInput:
        return InvalidInput(
            Problem(where=f"bot {name}", field="", value="changing", expected="try again in a moment")
        )

    def _wake(self, name: str) -> None:
        if self._announce is not None:
            self._announce(name)


def _wanted(record: BotRecord) -> dict[str, Any]:
    return record.config if record.wanted is None else record.wanted


def _before(known: Sequence[VersionView]) -> VersionView | None:
    """What a person means by going back: from a version that went back itself, to the one before its goal."""
    if not known:
        return None
    newest = known[0]
    number = newest.version if newest.reverts_to is None else newest.reverts_to
    return next((one for one in known if one.version < number), None)


def _taken(where: str, name: str) -> InvalidInput:
    return InvalidInput(
        Problem(
            where=where,
            field="name",
            value=f'"{name}"',
            expected="is taken by another bot; choose another name, or delete that bot first",
        )
    )
