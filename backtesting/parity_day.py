"""A span of a bot's life against its replay: reads what was stored, runs it again, lists what differs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Protocol

import msgspec

from backtesting.parity import is_of_a_basket, replay, replay_basket, saved_account, saved_basket
from bots.config import BotConfig, parse_bot
from bots.definitions import strategy_of
from bots.finest_data import finest
from bots.funding import FundingReader
from bots.ladders.basket_bot import in_common
from bots.ladders.inside import TradeReader
from bots.ladders.strategy import BasketStrategy
from bots.orders import OrderReason
from bots.paper_bot import MOST_HISTORY
from bots.parity import (
    Cause,
    Difference,
    DifferenceKind,
    Evidence,
    Intervention,
    Recorded,
    compare,
    held_back,
    interventions,
    untouched,
)
from bots.recorded_depth import BookReader
from bots.stores import Checkpoint
from bots.views import DecisionView, FillView
from data.errors import InvalidInput, Problem
from data.models import Market
from data.stores import CandleReader
from data.timeframes import to_datetime
from strategies.base import Strategy


class ParityStore(Protocol):
    """What bots stored: `bots.stores.BotStore` as far as it is read here."""

    def checkpoints(self, name: str, *, start_us: int, end_us: int) -> list[Checkpoint]: ...
    def decisions_between(self, name: str, *, start_us: int, end_us: int) -> list[DecisionView]: ...
    def fills_between(self, name: str, *, start_us: int, end_us: int) -> list[FillView]: ...
    def equity_between(self, name: str, *, start_us: int, end_us: int) -> dict[int, Decimal]: ...
    def funding_between(self, name: str, *, start_us: int, end_us: int) -> dict[int, Decimal]: ...
    def definition(self, strategy_version: str) -> str | None: ...


class OtherTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What the replay does otherwise than the bot, on purpose; None as the bot did."""

    parameters: Mapping[str, float | str] | None = None
    fee_bps: Decimal | None = None
    maker_fee_bps: Decimal | None = None
    slippage_bps: Decimal | None = None

    def applied_to(self, config: BotConfig) -> BotConfig:
        costs = {name: getattr(self, name) for name in ("fee_bps", "maker_fee_bps", "slippage_bps")}
        return msgspec.structs.replace(
            config, **{name: value for name, value in costs.items() if value is not None}
        )


class ParityReport(msgspec.Struct, frozen=True, kw_only=True):
    """What bot and replay agree on, and every difference."""

    bot: str
    start_us: int
    end_us: int
    candles: int  # replayed
    decisions: int  # of the bot, in the span
    signals: int  # of them that said something
    fills: int  # of the bot, in the span
    stretches: int  # parts between two changes from outside, each replayed from how the bot stood
    not_replayed: int  # decisions in parts that cannot be run again: a position was closed inside a candle
    interventions: tuple[Intervention, ...]
    differences: tuple[Difference, ...]

    @property
    def identical(self) -> bool:
        return not self.differences


def check_parity(
    store: ParityStore,
    candles: CandleReader,
    name: str,
    *,
    start_us: int,
    end_us: int,
    load_strategy: Callable[[BotConfig], Strategy],
    evidence: Sequence[Evidence] = (),
    others: OtherTerms | None = None,
) -> ParityReport:
    """Replay what the bot did on candles that open in `[start_us, end_us)`.

    `load_strategy` makes strategies whose text is not kept with the bot (Python). `evidence` is what the
    store knows of trades that came late or are missing. Raises InvalidInput where the bot decided on no
    candle.
    """
    kept = store.checkpoints(name, start_us=start_us, end_us=end_us)
    decisions = store.decisions_between(name, start_us=start_us, end_us=end_us)
    if not decisions or not kept:
        raise _nothing(name, start_us, end_us)
    fills = store.fills_between(name, start_us=start_us, end_us=end_us)
    differences: list[Difference] = []
    replayed = not_replayed = 0
    ends = [*(one.opened_at_us for one in kept[1:]), end_us]
    for checkpoint, until_us in zip(kept, ends, strict=True):
        made = [one for one in decisions if checkpoint.opened_at_us <= one.opened_at_us < until_us]
        whole = _until_closed_inside(made, fills, checkpoint)
        not_replayed += len(made) - len(whole)
        if not whole:
            continue
        found, rows = _of_stretch(
            store, candles, name, checkpoint, whole, fills, load_strategy, evidence, others or OtherTerms()
        )
        differences += found
        replayed += rows
    first_us = kept[0].opened_at_us
    not_replayed += sum(one.opened_at_us < first_us for one in decisions)
    return ParityReport(
        bot=name,
        start_us=start_us,
        end_us=end_us,
        candles=replayed,
        decisions=len(decisions),
        signals=sum(
            one.long_entry or one.long_exit or one.short_entry or one.short_exit for one in decisions
        ),
        fills=len(fills),
        stretches=len(kept),
        not_replayed=not_replayed,
        interventions=tuple(interventions(Recorded(decisions=decisions, fills=fills, equity={}))),
        differences=tuple(differences),
    )


def _of_stretch(
    store: ParityStore,
    candles: CandleReader,
    name: str,
    checkpoint: Checkpoint,
    made: Sequence[DecisionView],
    fills: Sequence[FillView],
    load_strategy: Callable[[BotConfig], Strategy],
    evidence: Sequence[Evidence],
    others: OtherTerms,
) -> tuple[list[Difference], int]:
    """The differences from one checkpoint to the next, and how many candles were run."""
    config = parse_bot(checkpoint.config, where=f"bot {name}")
    text = store.definition(checkpoint.strategy_version)
    strategy = load_strategy(config) if text is None else strategy_of(text)
    ran_with = dict(strategy.parameters)
    if others.parameters:
        if text is None:
            config = msgspec.structs.replace(
                config, parameters={**config.parameters, **_numbers(others.parameters)}
            )
            strategy = load_strategy(config)
        else:
            strategy = strategy_of(text, others.parameters)
    ran = made[0].strategy_version
    if ran != checkpoint.strategy_version and (ran_text := store.definition(ran)) is not None:
        ran_with = dict(strategy_of(ran_text).parameters)
    timeframe = strategy.timeframe
    end_us = made[-1].opened_at_us + timeframe.us
    start_us = checkpoint.opened_at_us
    # A position that was closed by somebody at once has changed the point of the close before it.
    closed_us = {fill.filled_at_us for fill in fills if fill.reason is OrderReason.FLATTEN}
    recorded = Recorded(
        decisions=made,
        fills=[fill for fill in fills if start_us <= fill.filled_at_us < end_us],
        equity={
            at_us: equity
            for at_us, equity in store.equity_between(name, start_us=start_us + 1, end_us=end_us + 1).items()
            if at_us not in closed_us
        },
        # A funding time at a close belongs to the candle that closes there.
        funding=store.funding_between(name, start_us=start_us + 1, end_us=end_us + 1),
    )
    if isinstance(strategy, BasketStrategy):
        parts = [
            candles.candles(Market(config.venue, symbol), timeframe, start_us=start_us, end_us=end_us)
            for symbol in config.symbols
        ]
        if not len(in_common(parts)):
            return [_without_candles(one) for one in made], 0
        basket = replay_basket(
            checkpoint,
            others.applied_to(config),
            strategy,
            parts,
            held_back=held_back(made),
            untouched=untouched(made),
            books=candles if isinstance(candles, BookReader) else None,
        )
        return compare(recorded, basket, evidence=evidence), len(basket.ohlcv)
    saved = saved_account(checkpoint)
    ohlcv = candles.candles(
        config.market,
        timeframe,
        start_us=checkpoint.opened_at_us if saved.warm_from_us is None else saved.warm_from_us,
        end_us=end_us,
        limit=MOST_HISTORY,
    )
    first = int(ohlcv.opened_at_us.searchsorted(checkpoint.opened_at_us))
    if first == len(ohlcv):
        return [_without_candles(one) for one in made], 0
    run = replay(
        checkpoint,
        others.applied_to(config),
        strategy,
        ohlcv,
        inside=partial(finest, candles, config.market),
        trades=candles if isinstance(candles, TradeReader) else None,
        books=candles if isinstance(candles, BookReader) else None,
        funding=candles if isinstance(candles, FundingReader) else None,
        held_back=held_back(made),
    )
    return compare(recorded, run, evidence=evidence, parameters=ran_with), len(run.ohlcv)


def _until_closed_inside(
    made: Sequence[DecisionView], fills: Sequence[FillView], checkpoint: Checkpoint
) -> Sequence[DecisionView]:
    """The decisions before a position was closed in the middle of a candle, which no replay can repeat."""
    start_us = checkpoint.opened_at_us
    if is_of_a_basket(checkpoint):
        held = any(books.quantity for books in saved_basket(checkpoint).state.books)
    else:
        held = saved_account(checkpoint).state.ledger.quantity != 0
    closed_us = [
        fill.filled_at_us
        for fill in fills
        if fill.reason is OrderReason.FLATTEN
        and (fill.filled_at_us > start_us or (held and fill.filled_at_us == start_us))
    ]
    first_us = min(closed_us, default=None)
    return [one for one in made if first_us is None or one.opened_at_us < first_us]


def _without_candles(one: DecisionView) -> Difference:
    return Difference(
        kind=DifferenceKind.DECISION,
        at_us=one.opened_at_us,
        bot="decided on this candle",
        replay="has no such candle",
        cause=Cause.LOST_CANDLE,
        detail="the store has no candle of this stretch any more",
    )


def _numbers(parameters: Mapping[str, float | str]) -> dict[str, float]:
    return {name: float(value) for name, value in parameters.items()}


def _nothing(name: str, start_us: int, end_us: int) -> InvalidInput:
    return InvalidInput(
        Problem(
            where=f"bot {name}",
            field="day",
            value=f"{to_datetime(start_us):%Y-%m-%d %H:%M} to {to_datetime(end_us):%Y-%m-%d %H:%M}",
            expected="the bot decided on no candle of it, or kept no checkpoint; choose another day",
        )
    )
