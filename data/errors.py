"""The one tree of errors, shaped by what the caller should do about them."""

from __future__ import annotations

from dataclasses import dataclass


class TradingError(Exception):
    """Anything Candlewick raises on purpose."""


class TransientError(TradingError):
    """Try again later, with backoff: the venue or a service cannot answer now."""


class VenueUnreachable(TransientError):
    """No connection to a venue, or it broke."""

    def __init__(self, exchange: str, url: str, why: str) -> None:
        super().__init__(f"{exchange} cannot be reached at {url}: {why}")
        self.exchange, self.url, self.why = exchange, url, why


class RateLimited(TransientError):
    """The venue asked us to slow down; `retry_after_s` is its own figure where it gives one.

    `banned`: it answers nothing at all until then, whatever the path.
    """

    def __init__(self, exchange: str, retry_after_s: float | None = None, *, banned: bool = False) -> None:
        wait = "" if retry_after_s is None else f"; it asks for {retry_after_s:g} s"
        super().__init__(f"{exchange} {'has banned us' if banned else 'limits our rate'}{wait}")
        self.exchange, self.retry_after_s, self.banned = exchange, retry_after_s, banned


class StoreFellBehind(TransientError):
    """The store has lost what it had taken, as after a crash of its server: it must be given that again."""

    def __init__(self, market: str, lacking_id: int) -> None:
        super().__init__(f"the store no longer has trade {lacking_id} of {market}, which it had taken")
        self.market, self.lacking_id = market, lacking_id


class BadDataError(TradingError):
    """Log, count and skip this one input; the stream goes on."""


class MalformedMessage(BadDataError):
    """A venue's message that does not parse. `message` is kept whole for inspection."""

    def __init__(self, exchange: str, message: str | bytes) -> None:
        shown = message if isinstance(message, str) else message.decode("utf-8", "replace")
        super().__init__(f"{exchange} sent a message that does not parse: {shown[:200]}")
        self.exchange, self.message = exchange, shown


class LateTrade(BadDataError):
    """A trade of an interval that is closed already; the candle is mended from stored trades."""

    def __init__(self, trade_id: int, traded_at_us: int, opened_at_us: int) -> None:
        super().__init__(
            f"trade {trade_id} at {traded_at_us} us is older than the open candle at {opened_at_us} us"
        )
        self.trade_id, self.traded_at_us, self.opened_at_us = trade_id, traded_at_us, opened_at_us


class RejectedError(TradingError):
    """An order was refused; it carries the reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong with what a person gave us: where it stands, what it is and what would be right."""

    where: str  # a file or an option: "config/bots/trend.json", "--from"
    field: str  # a path inside it: "long.entry.all[1].gt[0]"; empty for the whole
    value: str  # as found, shortened
    expected: str  # what would be right

    def __str__(self) -> str:
        place = f"{self.where}: {self.field}" if self.field else self.where
        found = f" is {self.value}" if self.value else ""
        return f"{place}{found}; {self.expected}"


class InvalidInput(TradingError):
    """What a person wrote cannot be used: exit status 2 on the command line, HTTP 4xx on the web."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class InstallationError(TradingError):
    """This installation cannot run as it is: a taken port, a read-only folder, a wrong password."""
