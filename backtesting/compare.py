"""Two finished runs side by side: trade by trade, figure by figure, and what in their making differs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeGuard

import msgspec

Cell = Decimal | float | str | bool | None
Key = tuple[str, str, str, str]

# Name in the JSON, and here.
_AMOUNTS = (
    *((name, name) for name in ("entry_price", "exit_price", "quantity", "fees", "pnl")),
    ("return", "rate"),
)


class StoredTrade(msgspec.Struct, frozen=True, kw_only=True):
    """A closed trade as a result's JSON holds it; `symbol` and `strategy` in a portfolio's."""

    side: str
    entry_time: str
    entry_price: Decimal
    exit_time: str
    exit_price: Decimal
    quantity: Decimal
    fees: Decimal
    pnl: Decimal
    rate: Decimal = msgspec.field(name="return")
    exit_reason: str
    symbol: str = ""
    strategy: str = ""

    @property
    def key(self) -> Key:
        """What makes two trades the same one: where, which side, and when it was entered."""
        return self.symbol, self.strategy, self.side, self.entry_time


class StoredPoint(msgspec.Struct, frozen=True, gc=False):
    """One point of the equity curve."""

    time: str
    equity: float | None


class StoredRun(msgspec.Struct, frozen=True, kw_only=True):
    """What a comparison needs of a result's JSON; everything else in it is left unread."""

    metrics: dict[str, float | int | str | None]
    trades: list[StoredTrade]
    manifest: dict[str, Any]
    equity: list[StoredPoint] = []


class FieldDifference(msgspec.Struct, frozen=True, kw_only=True):
    """One field that differs; `by` is B less A where both are numbers."""

    field: str
    a: Cell
    b: Cell
    by: Decimal | float | None


class TradeDifference(msgspec.Struct, frozen=True, kw_only=True):
    """A trade that both runs have, entered at the same time on the same side, with what differs."""

    number_a: int  # counted from 1, in the order of exits
    number_b: int
    symbol: str
    side: str
    entry_time: str
    fields: list[FieldDifference]


class NumberedTrade(msgspec.Struct, frozen=True, kw_only=True):
    """A trade that one run has alone."""

    number: int
    trade: StoredTrade


class Divergence(msgspec.Struct, frozen=True, kw_only=True):
    """The first moment at which the runs were not the same."""

    time: str
    what: str


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """All that differs between run A and run B."""

    same: bool  # the same trades and the same figures
    same_trades: int
    differing: list[TradeDifference]
    only_a: list[NumberedTrade]
    only_b: list[NumberedTrade]
    first_divergence: Divergence | None
    metrics: list[FieldDifference]  # those that differ
    making: list[FieldDifference]  # entries of the manifests that differ, `costs.fee_bps`
    causes: list[str]  # what that says, the likeliest cause first


def compare_runs(a: StoredRun, b: StoredRun) -> Comparison:
    """Compare two runs exactly: a difference in the last digit is one."""
    pairs, only_a, only_b = _paired(a.trades, b.trades)
    differing = []
    for row_a, row_b in pairs:
        fields = _trade_fields(a.trades[row_a], b.trades[row_b])
        if fields:
            trade = a.trades[row_a]
            differing.append(
                TradeDifference(
                    number_a=row_a + 1,
                    number_b=row_b + 1,
                    symbol=trade.symbol,
                    side=trade.side,
                    entry_time=trade.entry_time,
                    fields=fields,
                )
            )
    metrics = [
        found
        for name in dict.fromkeys((*a.metrics, *b.metrics))
        if (found := _difference(name, a.metrics.get(name), b.metrics.get(name))) is not None
    ]
    making = list(_manifest_differences("", a.manifest, b.manifest))
    same = not (differing or only_a or only_b or metrics or _other_curve(a, b))
    return Comparison(
        same=same,
        same_trades=len(pairs) - len(differing),
        differing=differing,
        only_a=[NumberedTrade(number=row + 1, trade=a.trades[row]) for row in only_a],
        only_b=[NumberedTrade(number=row + 1, trade=b.trades[row]) for row in only_b],
        first_divergence=_first_divergence(a, b, differing, only_a, only_b),
        metrics=metrics,
        making=making,
        causes=_causes(making, same=same),
    )


def _paired(
    a: Sequence[StoredTrade], b: Sequence[StoredTrade]
) -> tuple[list[tuple[int, int]], list[int], list[int]]:
    """Rows of the same trades, and rows of one side alone. Parts of one position pair in order."""
    waiting: defaultdict[Key, list[int]] = defaultdict(list)
    for row, trade in enumerate(b):
        waiting[trade.key].append(row)
    pairs, only_a = [], []
    for row, trade in enumerate(a):
        rows = waiting[trade.key]
        if rows:
            pairs.append((row, rows.pop(0)))
        else:
            only_a.append(row)
    only_b = sorted(row for rows in waiting.values() for row in rows)
    return pairs, only_a, only_b


def _trade_fields(a: StoredTrade, b: StoredTrade) -> list[FieldDifference]:
    rows = [("exit_time", a.exit_time, b.exit_time), ("exit_reason", a.exit_reason, b.exit_reason)]
    amounts = [(name, getattr(a, attribute), getattr(b, attribute)) for name, attribute in _AMOUNTS]
    told = (_difference(*row) for row in (*rows, *amounts))
    return [found for found in told if found is not None]


def _difference(field: str, a: Cell, b: Cell) -> FieldDifference | None:
    if a == b:
        return None
    return FieldDifference(field=field, a=a, b=b, by=_less(b, a))


def _less(b: Cell, a: Cell) -> Decimal | float | None:
    if isinstance(a, Decimal) and isinstance(b, Decimal):
        return b - a
    return b - a if _is_count(a) and _is_count(b) else None


def _is_count(value: Cell) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _first_divergence(
    a: StoredRun,
    b: StoredRun,
    differing: Sequence[TradeDifference],
    only_a: Sequence[int],
    only_b: Sequence[int],
) -> Divergence | None:
    """The earliest of: an entry that one run has alone, a trade that differs, equity that differs."""
    found = []
    for rows, trades, name in ((only_a, a.trades, "A"), (only_b, b.trades, "B")):
        found += [
            (
                trades[row].entry_time,
                1,
                f"only {name} enters {_named(trades[row])} here (its trade {row + 1})",
            )
            for row in rows
        ]
    for one in differing:
        names = [field.field for field in one.fields]
        at_entry = {"entry_price", "quantity"} & set(names)
        trade_a, trade_b = a.trades[one.number_a - 1], b.trades[one.number_b - 1]
        time = one.entry_time if at_entry else min(trade_a.exit_time, trade_b.exit_time)
        what = f"trade {one.number_a} of A and {one.number_b} of B differ in {', '.join(names)}"
        found.append((time, 0, what))
    point = _other_curve(a, b)
    if point is not None:
        found.append((point.time, 2, point.what))
    if not found:
        return None
    time, _, what = min(found)
    return Divergence(time=time, what=what)


def _other_curve(a: StoredRun, b: StoredRun) -> Divergence | None:
    for one, other in zip(a.equity, b.equity, strict=False):
        if one.time != other.time:
            time, later = sorted((one.time, other.time))
            return Divergence(time=time, what=f"one run has a candle's close here, the other next at {later}")
        if one.equity != other.equity:
            return Divergence(time=one.time, what=f"equity is {one.equity} in A and {other.equity} in B")
    if len(a.equity) != len(b.equity):
        longer = max(a.equity, b.equity, key=len)
        return Divergence(
            time=longer[min(len(a.equity), len(b.equity))].time,
            what=f"{'A' if longer is a.equity else 'B'} goes on, the other has ended",
        )
    return None


def _named(trade: StoredTrade) -> str:
    return f"{trade.symbol} {trade.side}".strip()


# Of the manifest, in the order in which they explain a difference: entry, and what to say.
_MEANINGS = (
    ("engine_version", "the engine's version is another: the same input may give other fills"),
    ("strategy_hash", "the strategy is another"),
    ("parameters", "parameters differ"),
    ("timeframe", "the time frames differ"),
    ("data_hash", "the candles are others"),
    ("starts_at", "the runs begin at different times"),
    ("ends_at", "the runs end at different times"),
    ("finer_hash", "the trades or smaller candles that decide between stop and target are others"),
    ("capital", "the capital differs"),
    ("costs", "the costs differ"),
    ("rules", "ticks, lots or minima differ"),
    ("later_rules", "ticks, lots or minima change otherwise within the run"),
    ("rounding", "only one run puts prices and quantities on ticks and lots"),
    ("close_at_end", "only one run closes its position at the end"),
    ("missing", "the stretches without data differ"),
    ("legs", "the legs of the portfolios differ in number or kind"),
    ("seed", "the seeds differ"),
)
# A hash of results is no cause, a path is none either, and counts follow from hashes.
_NO_CAUSE = frozenset(
    {
        "result_hash",
        "source",
        "strategy",
        "candles",
        "symbol",
        "finer_timeframe",
        "finer_trades",
        "finer_candles",
    }
)


def _causes(making: Sequence[FieldDifference], *, same: bool) -> list[str]:
    """Sentences, the likeliest cause first; one that says so where the manifests give none."""
    if same:
        return []
    by_entry: defaultdict[str, list[FieldDifference]] = defaultdict(list)
    legs = set()
    for one in making:
        head, _, rest = one.field.partition(".")
        if head == "legs" and rest:
            number, _, field = rest.partition(".")
            legs.add(number)
            by_entry[field.partition(".")[0] or "legs"].append(one)
        else:
            by_entry[head].append(one)
    told = []
    for entry, meaning in _MEANINGS:
        found = by_entry.get(entry)
        if not found or entry in _NO_CAUSE:
            continue
        if entry == "strategy_hash" and "parameters" in by_entry:
            # The hash covers the parameter values, which the next sentence names.
            meaning = "the strategy or its parameters are others"
        details = "; ".join(f"{one.field}: {_short(one.a)} in A, {_short(one.b)} in B" for one in found)
        told.append(f"{meaning} ({details})")
    if told:
        return told
    return [
        "the manifests name the same inputs, terms and engine: one of the files was changed after its run, "
        "or a run was not repeatable; repeat both with --manifest"
    ]


def _short(value: Cell) -> str:
    text = "nothing" if value is None else str(value)
    return f"{text[:12]}…" if len(text) == 64 and text.isalnum() else text


def _manifest_differences(path: str, a: Any, b: Any) -> list[FieldDifference]:
    """Leaves of two documents that differ, by dotted path; the order is A's, then B's."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        names = dict.fromkeys((*a, *b))
        prefix = f"{path}." if path else ""
        return [
            found
            for name in names
            for found in _manifest_differences(f"{prefix}{name}", a.get(name), b.get(name))
        ]
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return [
            found
            for number, (one, other) in enumerate(zip(a, b, strict=True), 1)
            for found in _manifest_differences(f"{path}.{number}", one, other)
        ]
    if a == b:
        return []
    found = _difference(path, _leaf(a), _leaf(b))
    return [] if found is None else [found]


def _leaf(value: Any) -> Cell:
    if isinstance(value, (dict, list)):
        return msgspec.json.encode(value).decode()
    leaf: Cell = value
    return leaf
