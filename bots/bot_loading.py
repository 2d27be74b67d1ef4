"""From a stored record to a bot that trades: a start, a restart after its process ended, and their history.

Everything here reads candles and files, so it runs in the runner's worker thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import msgspec
import numpy as np

from bots.bot_life import BotLife, Series
from bots.config import BotConfig, OnRestart, as_document, load_bot, parse_bot
from bots.definitions import strategy_of
from bots.finest_data import finest
from bots.funding import FundingReader
from bots.ladders.basket_bot import BasketBot, SavedBasket, in_common
from bots.ladders.inside import TradeReader
from bots.ladders.ladder_bot import LadderBot
from bots.ladders.settings import RebalanceSettings
from bots.ladders.strategy import BasketStrategy, LadderStrategy
from bots.lifecycle import BotState
from bots.paper_bot import MOST_HISTORY, PaperBot, SavedAccount, history_wanted, rules_of
from bots.recorded_depth import BookReader
from bots.settings_change import check_fits
from bots.stores import BotRecord, FreshCandleReader
from data.errors import InvalidInput, Problem
from data.models import Candle, Market, Ohlcv
from data.stores import CandleReader
from data.timeframes import Timeframe
from strategies.base import Strategy
from strategies.templates import python_files

_BACK = 500  # candles in which the newest that several markets have is looked for


class StrategyLoader(Protocol):
    """Finds and reads the strategy of a bot. Raises InvalidInput for one that cannot be used."""

    def __call__(self, config: BotConfig, source: str) -> Strategy:
        """`source` is the bot's file, or empty: paths in it are relative to its folder."""
        ...


class SavedStrategies(Protocol):
    """Loads strategies that were saved as versions, rather than as files."""

    def __call__(
        self, reference: str, parameters: Mapping[str, float], timeframe: Timeframe | None
    ) -> Strategy | None:
        """Of "trend@4be1c0" that version, of "trend" the one in front; None where no "trend" is saved.

        Raises InvalidInput for a version there is not, or a strategy that cannot be used.
        """
        ...


class BotLoader:
    """Makes bots from records."""

    def __init__(
        self,
        candles: CandleReader,
        load_strategy: StrategyLoader,
        fresh: FreshCandleReader | None = None,
    ) -> None:
        """Without `fresh` the newest candles are read series by series."""
        self._candles = candles
        self._fresh = fresh
        self._load_strategy = load_strategy

    def _bot(self, record: BotRecord, config: BotConfig, strategy: Strategy) -> BotLife:
        funding = self._candles if isinstance(self._candles, FundingReader) else None
        if isinstance(strategy, LadderStrategy):
            trades = self._candles if isinstance(self._candles, TradeReader) else None
            return LadderBot(record, config, strategy, trades, funding=funding)
        books = self._candles if isinstance(self._candles, BookReader) else None
        if isinstance(strategy, BasketStrategy):
            return BasketBot(record, config, strategy, books)
        return PaperBot(record, config, strategy, books, funding=funding)

    def as_stored(self, record: BotRecord) -> BotLife:
        """The bot with its account and stored config, its strategy still without history."""
        config = parse_bot(record.config, where=f"bot {record.name}")
        if record.definition is not None:
            # Its file may have changed since: that counts from the next start on.
            return self._bot(record, config, strategy_of(record.definition))
        return self._bot(record, config, self._load_strategy(config, record.source))

    def start(self, record: BotRecord, at_us: int) -> BotLife:
        """A bot that did not run, from its file as that is now; the account goes on if there is one."""
        config = _config_now(record)
        strategy = self._load_strategy(config, record.source)
        bot = self._bot(record, config, strategy)
        if _reads_file(record) and as_document(config) != record.config:
            bot.settings_from_file(record.version + 1)
        else:
            bot.settings_applied(record.version)
        bot.restart_clock(at_us)
        _note_new_version(bot, record, at_us)
        return bot

    def reconfigure(self, bot: BotLife, record: BotRecord, at_us: int) -> BotLife:
        """The bot with the settings that are wanted now, between two candles; its account goes on.

        `record` is the bot as it is stored, with nothing newer in memory. Where the settings cannot be used
        the bot goes on as it was and says why.
        """
        where = f"bot {record.name}, version {record.version} of its settings"
        try:
            config = parse_bot(record.config if record.wanted is None else record.wanted, where=where)
            check_fits(bot.config, config, where=where, has_traded=True, has_position=bot.has_position)
            strategy = self._load_strategy(config, record.source)
            is_same_series = config.symbols == bot.config.symbols and strategy.timeframe is bot.timeframe
            is_same_series = is_same_series and config.venue == bot.config.venue
            if bot.has_position and not is_same_series:
                expected = f"must stay {bot.timeframe} while a position is open"
                raise InvalidInput(
                    Problem(where=where, field="timeframe", value=strategy.timeframe, expected=expected)
                )
        except InvalidInput as error:
            bot.settings_refused(record.version, at_us=at_us, why=str(error))
            return bot
        changed = self._bot(record, config, strategy)
        changed.settings_applied(record.version, at_us=at_us)
        _note_new_version(changed, record, at_us)
        if is_same_series and bot.is_warm and isinstance(changed, BasketBot):
            changed.go_on_from(bot)
        elif is_same_series and bot.is_warm and bot.last_candle_us is not None:
            history = self._candles.candles(
                bot.market,
                bot.timeframe,
                end_us=bot.last_candle_us + 1,
                limit=history_wanted(strategy),
            )
            assert isinstance(changed, PaperBot)
            changed.rewarm(history)
        else:
            changed.restart_clock(at_us)
            self.begin(changed, at_us)
        return changed

    def restore(self, record: BotRecord) -> BotLife:
        """A bot that ran, exactly as its last stored step left it."""
        bot = self.as_stored(record)
        if isinstance(bot, PaperBot) and bot.warm_from_us is not None and bot.last_candle_us is not None:
            history = self._candles.candles(
                bot.market,
                bot.timeframe,
                start_us=bot.warm_from_us,
                end_us=bot.last_candle_us + 1,
                limit=MOST_HISTORY,
            )
            bot.replay(history)
        return bot

    def restart(self, record: BotRecord, at_us: int) -> BotLife:
        """A bot whose process ended while it ran: restored, and on by its `on_restart`."""
        bot = self.restore(record)
        _note_new_version(bot, record, at_us)
        policy = bot.config.on_restart
        bot.note("restarted", at_us=at_us, why=f"its process had ended; on_restart is {policy}")
        if policy is OnRestart.FREEZE and bot.state is not BotState.STOPPING:
            held = "with its position open and unprotected" if bot.has_position else "without a position"
            bot.move(
                BotState.STOPPED,
                at_us=at_us,
                why="on_restart is freeze",
                health=f"frozen after a restart, {held}; start it to trade on",
                settle=(record.desired, BotState.STOPPED),
            )
        elif policy is OnRestart.FLATTEN and bot.is_warm:
            newest = in_common(
                [
                    self._candles.candles(*series, limit=1 if len(bot.series) == 1 else _BACK)
                    for series in bot.series
                ]
            )
            until_us = int(newest[-1]) if len(newest) else bot.taken_until_us
            if until_us is not None:
                bot.hold_entries_until(until_us)
        return bot

    def begin(self, bot: BotLife, at_us: int) -> None:
        """Warm a started bot up on stored candles; without any it says that it waits for the first."""
        histories = []
        for market in bot.markets:
            history = self._candles.candles(market, bot.timeframe, limit=history_wanted(bot.strategy))
            if len(history) == 0:
                bot.report(f"waits for the first {bot.timeframe} candle of {market}")
                return
            histories.append(history)
        rules = []
        for market in bot.markets:
            # Collectors store an instrument before its first trade: with candles it is known by now.
            instrument = self._candles.instrument(market)
            if instrument is None:
                bot.note("not rounded", at_us=at_us, why=f"no instrument is known of {market}")
            rules.append(rules_of(instrument))
        bot.report(bot.begin_on(histories, rules, at_us))

    def candles_since(self, wanted: Mapping[Series, int]) -> Mapping[Series, Ohlcv]:
        """Stored candles of each series that opened later than the time given for it, oldest first."""
        if self._fresh is not None:
            return self._fresh.candles_since(wanted)
        return {
            series: self._candles.candles(*series, start_us=opened_at_us + 1)
            for series, opened_at_us in wanted.items()
        }

    def finer(self, candle: Candle) -> Ohlcv | None:
        """What is stored of the inside of this candle: its trades, else smaller candles; None without."""
        alone = Ohlcv(
            timeframe=candle.timeframe,
            opened_at_us=np.array([candle.opened_at_us], dtype=np.int64),
            open=np.array([candle.open]),
            high=np.array([candle.high]),
            low=np.array([candle.low]),
            close=np.array([candle.close]),
            volume=np.array([candle.volume]),
        )
        return finest(self._candles, Market(candle.exchange, candle.symbol), alone)


def find_strategy(name: str, folder: Path, source: str) -> Path:
    """The file a bot names: beside the bot's own file, in the strategies folder, or a whole path.

    The suffix may be left out. Raises InvalidInput naming the files there are.
    """
    beside = Path(source).parent if source else folder
    wanted = Path(name).expanduser()
    for place in (beside / wanted, folder / wanted, folder / "python" / wanted):
        for path in (place, place.with_name(place.name + ".json"), place.with_name(place.name + ".py")):
            if path.is_file():
                return path
    known = sorted(path.name for path in folder.glob("*.json") if path.name != "schema.json")
    known += [path.name for path in python_files(folder)]
    raise InvalidInput(
        Problem(
            where=source or "bot",
            field="strategy",
            value=f'"{name}"',
            expected=f"must be a strategy file; {folder} has {', '.join(known) or 'none'}",
        )
    )


def _reads_file(record: BotRecord) -> bool:
    return bool(record.source) and record.reads_file and Path(record.source).exists()


def _config_now(record: BotRecord) -> BotConfig:
    """The settings to start with: of the bot's file, or those a person wanted since, or the stored ones."""
    if _reads_file(record):
        where = record.source
        config = load_bot(Path(record.source))
    else:
        where = f"bot {record.name}"
        config = parse_bot(record.config if record.wanted is None else record.wanted, where=where)
    if record.account is not None:
        before = parse_bot(record.config, where=f"bot {record.name}")
        check_fits(before, config, where=where, has_traded=True, has_position=_holds(before, record.account))
    elif config.name != record.name:
        expected = f'must stay "{record.name}": this file made that bot'
        raise InvalidInput(Problem(where=where, field="name", value=config.name, expected=expected))
    return config


def _holds(config: BotConfig, account: bytes) -> bool:
    if isinstance(config.ladder, RebalanceSettings):
        basket = msgspec.json.decode(account, type=SavedBasket)
        return any(books.quantity for books in basket.state.books)
    return msgspec.json.decode(account, type=SavedAccount).state.ledger.quantity != 0


def _note_new_version(bot: BotLife, record: BotRecord, at_us: int) -> None:
    before, now = record.strategy_version, bot.strategy.version
    if before not in ("", now):
        bot.note("strategy changed", at_us=at_us, why=f"version {before[:12]} became {now[:12]}")
