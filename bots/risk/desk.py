"""What people see of risk: exposure, what moves together, drawdowns, how near each limit is, violations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

from bots.accounts import AccountView
from bots.config import BotConfig, parse_bot
from bots.risk.exposure import Correlations, clusters, correlations, exposure_of, position_value
from bots.risk.limits import Limits
from bots.risk.profiles import RiskBook, load_risk_book
from bots.risk.state import DAY_US, RiskState, recent
from bots.risk.views import DrawdownView, ExposureView, LimitsView, LimitUse, ViolationView
from bots.stores import BotRecord, Wish
from bots.views import BotView
from data.errors import InvalidInput
from data.models import Market, Ohlcv
from data.stores import CandleReader
from data.timeframes import Timeframe

_CORRELATION_CANDLES = 720  # hours: thirty days
TOTAL = "total"


class RiskStore(Protocol):
    """Where risk is kept. Synchronous; raises TransientError."""

    def violations(self, bot: str | None, *, limit: int) -> list[ViolationView]: ...

    def remembered(self) -> dict[str, RiskState]: ...

    def accounts(self) -> list[AccountView]: ...


class BotRecords(Protocol):
    """The part of `bots.stores.BotStore` that is read here."""

    def views(self) -> list[BotView]: ...

    def wishes(self) -> list[Wish]: ...

    def record(self, bot_id: int) -> BotRecord | None: ...


class RiskDesk:
    """Risk for people. Synchronous: a page calls it in a thread."""

    def __init__(
        self,
        store: RiskStore,
        bots: BotRecords,
        candles: CandleReader,
        *,
        risk_file: Path,
        clock: Callable[[], int],
    ) -> None:
        """`clock` gives now in microseconds: the window of correlations ends there."""
        self._store = store
        self._bots = bots
        self._candles = candles
        self._risk_file = risk_file
        self._clock = clock

    def book(self) -> RiskBook:
        """The risk file as it is now. Raises InvalidInput for one that cannot be used."""
        return load_risk_book(self._risk_file)

    def correlations(self, markets: Sequence[Market] | None = None) -> Correlations:
        """How hourly closes of the last 30 days move together; of the bots' markets if none are given."""
        if markets is None:
            markets = sorted({market for view in self._bots.views() for market in view.markets})
        return correlations({market: self._hours(market) for market in markets})

    def exposures(self) -> list[ExposureView]:
        """What all bots hold by symbol, the largest first."""
        views = self._bots.views()
        held = {one.market for view in views for one in view.holdings}
        found = [exposure_of(views, [market]) for market in sorted(held)]
        return sorted(found, key=lambda one: one.gross, reverse=True)

    def cluster_exposures(self) -> list[ExposureView]:
        """What all bots hold of each cluster of markets that move together, the largest first."""
        views = self._bots.views()
        found = [exposure_of(views, cluster) for cluster in clusters(self.correlations())]
        return sorted(found, key=lambda one: one.gross, reverse=True)

    def drawdowns(self) -> list[DrawdownView]:
        """Of each bot in order of name, and of all together as the first, `total`.

        The total's peak is the sum of the bots' peaks: never below the true one, so its drawdown never hides.
        """
        remembered = self._store.remembered()
        found = [
            DrawdownView(
                name=view.name,
                equity=view.equity,
                peak=max(view.equity, remembered[view.name].peak) if view.name in remembered else view.equity,
            )
            for view in self._bots.views()
        ]
        total = DrawdownView(
            name=TOTAL,
            equity=sum((one.equity for one in found), Decimal(0)),
            peak=sum((one.peak for one in found), Decimal(0)),
        )
        return [total, *found]

    def limits(self) -> list[LimitsView]:
        """The limits of each bot as the risk file and its own settings say now."""
        book = self.book()
        found = []
        for config in self._configs():
            try:
                book.account_of(config)
                limits, problem = book.limits_of(config), ""
            except InvalidInput as error:
                limits, problem = config.limits.own, str(error)
            found.append(
                LimitsView(
                    bot=config.name,
                    profile=config.limits.profile,
                    account=config.account,
                    limits=limits,
                    problem=problem,
                )
            )
        return found

    def uses(self) -> list[LimitUse]:
        """How near each limit of each bot and account is, the nearest first."""
        views = {view.name: view for view in self._bots.views()}
        remembered = self._store.remembered()
        found: list[LimitUse] = []
        for one in self.limits():
            view, state = views.get(one.bot), remembered.get(one.bot)
            if view is None:
                continue
            used = _state_uses(one.limits, state, view.last_candle_us)
            value = position_value(view)
            used["max_position_notional"] = (value, one.limits.max_position_notional)
            found += _uses(one.bot, False, used)
        for account in self._store.accounts():
            limits = account.terms.limits
            used = _state_uses(limits, account.state, account.state.at_us)
            used["budget"] = (account.in_use, account.budget)
            used["max_account_notional"] = (account.most_in_use, limits.max_account_notional)
            symbols: dict[Market, Decimal] = {}
            for share in account.shares:
                for part in share.parts:
                    market = Market(share.market.exchange, part.symbol)
                    symbols[market] = symbols.get(market, Decimal(0)) + part.in_use
            largest = max(symbols.values(), default=Decimal(0))
            used["max_symbol_notional"] = (largest, limits.max_symbol_notional)
            used["max_correlated_exposure"] = (self._most_together(symbols), limits.max_correlated_exposure)
            found += _uses(account.terms.name, True, used)
        return sorted(found, key=lambda use: use.share, reverse=True)

    def violations(self, bot: str | None = None, limit: int = 100) -> list[ViolationView]:
        """The newest, newest first; of all bots without a name. Also of bots that are deleted."""
        return self._store.violations(bot, limit=limit)

    def accounts(self) -> list[AccountView]:
        """Accounts that bots share, in order of name."""
        return self._store.accounts()

    def _most_together(self, symbols: Mapping[Market, Decimal]) -> Decimal:
        book = self.book()
        sums = []
        for market in symbols:
            together = book.related_to(market.symbol)
            parts = [used for other, used in symbols.items() if other.symbol in together]
            sums.append(sum(parts, Decimal(0)))
        return max(sums, default=Decimal(0))

    def _configs(self) -> list[BotConfig]:
        found = []
        for wish in self._bots.wishes():
            record = self._bots.record(wish.bot_id)
            if record is None:
                continue
            try:
                found.append(parse_bot(record.config, where=f"bot {record.name}"))
            except InvalidInput:
                continue  # a bot whose file is broken has no limits to show; its health says what is wrong
        return sorted(found, key=lambda config: config.name)

    def _hours(self, market: Market) -> Ohlcv:
        end_us = self._clock()
        start_us = end_us - _CORRELATION_CANDLES * Timeframe.H1.us
        return self._candles.candles(market, Timeframe.H1, start_us=start_us, end_us=end_us)


Used = dict[str, tuple[Decimal, Decimal | None]]


def _state_uses(limits: Limits, state: RiskState | None, last_us: int | None) -> Used:
    if state is None:
        return {}
    # A candle of a new day has not closed yet: nothing is lost in it.
    is_same_day = state.day_us is not None and last_us is not None and last_us < state.day_us + DAY_US
    loss = state.daily_loss if is_same_day else Decimal(0)
    orders = len(recent(state, state.at_us or 0))
    return {
        "max_daily_loss": (loss, limits.daily_loss_allowed(state.day_equity)),
        "max_drawdown": (state.drawdown, limits.max_drawdown),
        "max_orders_per_minute": (
            Decimal(orders),
            None if limits.max_orders_per_minute is None else Decimal(limits.max_orders_per_minute),
        ),
    }


def _uses(owner: str, is_account: bool, used: Used) -> list[LimitUse]:
    return [
        LimitUse(owner=owner, is_account=is_account, limit=limit, used=amount, allowed=allowed)
        for limit, (amount, allowed) in used.items()
        if allowed is not None
    ]


def limits_document(view: LimitsView) -> dict[str, Any]:
    """A bot's limits as JSON values; limits that are not set are left out."""
    return {
        "bot": view.bot,
        "profile": view.profile,
        "account": view.account,
        "problem": view.problem,
        "limits": {
            name: value
            for name in view.limits.__struct_fields__
            if (value := getattr(view.limits, name)) is not None
        },
    }
