"""A stretch of a bot's life as a backtest: from how it stood, over the candles that are stored now."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import msgspec
import numpy as np

from backtesting.baskets import go_through
from backtesting.engine import BacktestResult, run_backtest
from backtesting.insides import run_with_insides
from backtesting.ladders import run_ladder
from backtesting.portfolio import Leg
from backtesting.prepared import Prepared
from backtesting.step_replay import replay_by_steps
from bots.config import BotConfig, FillRule
from bots.finest_data import FinestReader
from bots.funding import FundingReader, PerpetualFunding
from bots.ladders.account import Inside
from bots.ladders.basket_bot import SavedBasket
from bots.ladders.inside import TradeReader, inside_of
from bots.ladders.ladder_bot import SavedLadder
from bots.ladders.settings import LadderType
from bots.ladders.strategy import BasketStrategy, LadderStrategy
from bots.paper_bot import SavedAccount
from bots.parity import Replayed
from bots.recorded_depth import BookReader, MarketDepth, OpenDepth
from bots.stores import Checkpoint
from data.models import Candle, Market, Ohlcv
from strategies.base import Signals, Strategy


def saved_account(checkpoint: Checkpoint) -> SavedAccount:
    """The account as it stood before the checkpoint's candle."""
    kind = SavedLadder if "type" in checkpoint.config else SavedAccount
    return msgspec.json.decode(checkpoint.account, type=kind)


def saved_basket(checkpoint: Checkpoint) -> SavedBasket:
    """As `saved_account`, of a basket."""
    return msgspec.json.decode(checkpoint.account, type=SavedBasket)


def is_of_a_basket(checkpoint: Checkpoint) -> bool:
    return checkpoint.config.get("type") == LadderType.REBALANCE


def replay_basket(
    checkpoint: Checkpoint,
    config: BotConfig,
    strategy: BasketStrategy,
    ohlcvs: Sequence[Ohlcv],
    *,
    held_back: Collection[int] = (),
    untouched: Collection[int] = (),
    books: BookReader | None = None,
) -> Replayed:
    """Run candles of each symbol from the checkpoint's on.

    `held_back` are opens of candles whose buys never became orders, `untouched` of those after which nothing
    was done. `books` fill the orders of a bot that goes by the recorded depth. Raises InvalidInput where they
    have no candle in common.
    """
    saved = saved_basket(checkpoint)
    legs = [
        Leg(symbol=symbol, strategy=strategy, ohlcv=ohlcv, rules=rules)
        for symbol, ohlcv, rules in zip(config.symbols, ohlcvs, saved.rules, strict=True)
    ]
    run = go_through(
        strategy,
        legs,
        capital=config.capital,
        costs=config.costs,
        initial=saved.state,
        held_back=held_back,
        untouched=untouched,
        shares_money=config.account is not None,
        depths=_depths_of(config, books),
    )
    first, *others = run.result.legs
    return Replayed(
        version=strategy.version,
        parameters={},
        ohlcv=first.leg.ohlcv,
        signals=run.asked,
        fills=[fill for _, fill in run.result.fills],
        equity=run.result.equity,
        others={one.leg.symbol: one.leg.ohlcv for one in others},
    )


def replay(
    checkpoint: Checkpoint,
    config: BotConfig,
    strategy: Strategy,
    ohlcv: Ohlcv,
    *,
    inside: FinestReader | None = None,
    trades: TradeReader | None = None,
    books: BookReader | None = None,
    funding: FundingReader | None = None,
    held_back: Collection[int] = (),
) -> Replayed:
    """Run the candles of `ohlcv` from the checkpoint's on; those before it only warm the strategy up.

    `inside` is asked for candles that hold stop and target, as the bot asked, and of a ladder for those that
    fill its orders, after `trades`. `held_back` are opens of
    candles whose entries and add-ons never became orders. `books` fill market orders of a bot that goes by
    the recorded depth, `funding` is what a position in a perpetual paid. Raises InvalidInput where there is
    no candle to run.
    """
    saved = saved_account(checkpoint)
    first = int(ohlcv.opened_at_us.searchsorted(checkpoint.opened_at_us))
    said = _rows(strategy.signals(ohlcv), first)
    traded = ohlcv.rows(first, len(ohlcv))
    paid = PerpetualFunding(config.market, funding)
    if isinstance(saved, SavedLadder) and isinstance(strategy, LadderStrategy):

        def of_candle(candle: Candle) -> Inside | None:
            row = traded.rows(*traded.opened_at_us.searchsorted([candle.opened_at_us, candle.closes_at_us]))
            return inside_of(candle, trades, None if inside is None else inside(row))

        ladder, _ = run_ladder(
            strategy,
            traded,
            capital=config.capital,
            costs=config.costs,
            rules=saved.rules,
            market=config.market,
            inside=of_candle,
            initial=saved.state,
            history=ohlcv.rows(0, first),
            held_back=held_back,
            funding=paid,
        )
        return _replayed(strategy, traded, said, ladder)
    kept = np.isin(traded.opened_at_us, np.array(sorted(held_back), dtype=np.int64))
    by_depth = config.fill is FillRule.DEPTH
    if by_depth or _is_paid(paid, traded):
        fills, equity, funding_paid = replay_by_steps(
            strategy,
            _without_entries(said, kept),
            traded,
            capital=config.capital,
            costs=config.costs,
            rules=saved.rules,
            market=config.market,
            initial=saved.state,
            depth=MarketDepth(config.market, books) if by_depth else None,
            funding=paid,
            inside=inside,
        )
        return Replayed(
            version=strategy.version,
            parameters=strategy.parameters,
            ohlcv=traded,
            signals=said,
            fills=fills,
            equity=equity,
            funding=funding_paid,
        )
    prepared = Prepared(strategy, _without_entries(said, kept))

    def run(finer: Ohlcv | None) -> BacktestResult:
        return run_backtest(
            prepared,
            traded,
            capital=config.capital,
            costs=config.costs,
            rules=saved.rules,
            finer=finer,
            initial=saved.state,
        )

    result = run_with_insides(run, traded, inside)
    return _replayed(strategy, traded, said, result)


def _is_paid(funding: PerpetualFunding, ohlcv: Ohlcv) -> bool:
    """Whether there are settled rates in these candles; if not, the fast run over arrays tells the same."""
    if len(ohlcv) == 0:
        return False
    first_us, last_us = int(ohlcv.opened_at_us[0]), int(ohlcv.opened_at_us[-1])
    return bool(funding.settled(first_us, last_us + ohlcv.timeframe.us))


def _depths_of(config: BotConfig, books: BookReader | None) -> Callable[[int], Sequence[OpenDepth]] | None:
    if config.fill is FillRule.CANDLE:
        return None
    markets = [MarketDepth(Market(config.venue, symbol), books) for symbol in config.symbols]
    return lambda at_us: [market.at(at_us) for market in markets]


def _replayed(strategy: Strategy, ohlcv: Ohlcv, said: Signals, result: BacktestResult) -> Replayed:
    return Replayed(
        version=strategy.version,
        parameters=strategy.parameters,
        ohlcv=ohlcv,
        signals=said,
        fills=result.fills,
        equity=result.equity,
        funding=result.funding,
    )


def _rows(said: Signals, first: int) -> Signals:
    return Signals(
        long_entry=said.long_entry[first:],
        long_exit=said.long_exit[first:],
        short_entry=said.short_entry[first:],
        short_exit=said.short_exit[first:],
        long_add=None if said.long_add is None else said.long_add[first:],
        short_add=None if said.short_add is None else said.short_add[first:],
    )


def _without_entries(said: Signals, kept: np.typing.NDArray[np.bool_]) -> Signals:
    if not kept.any():
        return said
    return Signals(
        long_entry=said.long_entry & ~kept,
        long_exit=said.long_exit,
        short_entry=said.short_entry & ~kept,
        short_exit=said.short_exit,
        long_add=None if said.long_add is None else said.long_add & ~kept,
        short_add=None if said.short_add is None else said.short_add & ~kept,
    )
