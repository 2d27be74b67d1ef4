"""What people do with bots, on the command line and the page alike: wishes are written, the runner obeys."""

from __future__ import annotations

import difflib
from collections.abc import Callable

from bots.config import BotConfig, as_document
from bots.lifecycle import WISHES, BotCommand, BotState, allows
from bots.stores import BotEvent, BotStore, Wish
from bots.views import (
    AuditView,
    BotView,
    DecisionView,
    EquityCurve,
    FillView,
    OrderView,
    SignalView,
    TradeView,
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
            raise InvalidInput(
                Problem(
                    where=source or "bot",
                    field="name",
                    value=f'"{config.name}"',
                    expected="is taken by another bot; choose another name, or delete that bot first",
                )
            )
        self._wake(config.name)
        return self.bot(config.name)

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
