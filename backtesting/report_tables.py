"""The tables of a report as HTML. Every text that a person wrote is escaped here."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence

import msgspec

from backtesting.analysis import Analysis, Benchmark, DayReturn, Group
from backtesting.course import Course
from backtesting.metrics import Metrics
from data.timeframes import to_datetime

MOST_TRADES = 1_000  # rows of the trade table; trades.csv has them all
MINUS, MISSING = "\N{MINUS SIGN}", "\N{EN DASH}"
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def percent(value: float | None, digits: int = 2, *, signed: bool = True) -> str:
    """`+1.84%`; an exact zero has no sign, and what is not defined is a dash."""
    if value is None or not math.isfinite(value):
        return MISSING
    sign = "+" if signed and value > 0 else ""
    return f"{sign}{value:,.{digits}%}".replace("-", MINUS)


def amount(value: float | None, digits: int = 2, *, signed: bool = False) -> str:
    """`12,843.55`; what is not defined is a dash."""
    if value is None or not math.isfinite(value):
        return MISSING
    sign = "+" if signed and value > 0 else ""
    return f"{sign}{value:,.{digits}f}".replace("-", MINUS)


def duration(seconds: float | None) -> str:
    """`2h 17m`, `3d 4h`, `45s`."""
    if seconds is None or not math.isfinite(seconds):
        return MISSING
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    minutes = whole // 60
    if minutes < 60:
        return f"{minutes}m"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours}h {minutes}m" if minutes else f"{hours}h"
    days, hours = divmod(hours, 24)
    return f"{days:,}d {hours}h" if hours and days < 100 else f"{days:,}d"


def moment(text: str | None) -> str:
    """`2024-03-05 14:00` from ISO 8601; heads of columns say UTC."""
    return MISSING if text is None else text[:16].replace("T", " ")


def months_table(analysis: Analysis) -> str:
    """Years by months, shaded by return, and what each year came to."""
    by_year: dict[int, dict[int, float | None]] = {}
    for one in analysis.months:
        by_year.setdefault(one.year, {})[one.month] = one.rate
    largest = max((abs(one.rate) for one in analysis.months if one.rate is not None), default=0.0)
    rows = []
    for year, months in by_year.items():
        rates = [rate for rate in months.values() if rate is not None]
        whole = math.prod(1.0 + rate for rate in rates) - 1.0 if len(rates) == len(months) else None
        cells = [_heat(months[month], largest) if month in months else "<td></td>" for month in range(1, 13)]
        rows.append([word(str(year)), *cells, signed_cell(whole, percent(whole, 1))])
    whole_table = table(("Year", *_MONTHS, "Year total"), rows, words=1, label="Monthly returns")
    return f'<div class="heat">{whole_table}</div>'


def _heat(rate: float | None, largest: float) -> str:
    if rate is None or largest == 0:
        return number(percent(rate, 1))
    tone = "up" if rate > 0 else "down"
    depth = abs(rate) / largest
    return f'<td class="cell" style="--rgb:var(--heat-{tone});--depth:{depth:.3f}">{percent(rate, 1)}</td>'


def drawdowns_table(analysis: Analysis) -> str:
    """The worst falls with their dates."""
    rows = [
        [
            word(str(rank)),
            signed_cell(-fall.depth, percent(-fall.depth)),
            number(moment(fall.start)),
            number(moment(fall.trough)),
            number("not yet" if fall.recovery is None else moment(fall.recovery)),
            number(duration(fall.to_trough)),
            number(duration(fall.to_recovery)),
            number(duration(fall.duration)),
        ]
        for rank, fall in enumerate(analysis.drawdowns, 1)
    ]
    heads = ("#", "Depth", "Start, UTC", "Trough, UTC", "Recovery, UTC", "To trough", "To recovery", "In all")
    return table(heads, rows, words=1, label="Worst drawdowns") if rows else "<p>Equity never fell.</p>"


def groups_table(title: str, groups: Sequence[Group]) -> str:
    """Trades by side, by exit reason or by symbol."""
    rows = [
        [
            word(group.name.replace("_", " ")),
            number(f"{group.trades:,}"),
            signed_cell(group.pnl, amount(group.pnl, signed=True)),
            number(percent(group.win_rate, 1, signed=False)),
            signed_cell(group.average_trade, percent(group.average_trade)),
            number(amount(group.profit_factor)),
            number(duration(group.average_duration)),
        ]
        for group in groups
    ]
    heads = (title, "Trades", "Profit", "Won", "Average", "Profit factor", "Held, average")
    return table(heads, rows, words=1, label=title)


def benchmark_table(run: Benchmark, held: Benchmark) -> str:
    """The run beside buying and holding."""
    rows = [
        [word(name), number(show(getattr(run, field))), number(show(getattr(held, field)))]
        for name, field, show in (
            ("Return", "total_return", percent),
            ("Per year (CAGR)", "cagr", percent),
            ("Sharpe", "sharpe", amount),
            ("Sortino", "sortino", amount),
            ("Calmar", "calmar", amount),
            ("Volatility per year", "volatility", _plain_percent),
            ("Largest drawdown", "max_drawdown", _plain_percent),
        )
    ]
    return table(("Figure", "Strategy", "Buy and hold"), rows, words=1, label="Against buy and hold")


def statistics_tables(metrics: Metrics, analysis: Analysis) -> list[tuple[str, str]]:
    """(title, table) of each family of figures."""
    held, costs = analysis.holding_times, analysis.costs
    families: list[tuple[str, list[tuple[str, str]]]] = [
        (
            "Returns",
            [
                ("Capital", amount(metrics.initial_equity)),
                ("Final equity", amount(metrics.final_equity)),
                ("Return", percent(metrics.total_return)),
                ("Per year (CAGR)", percent(metrics.cagr)),
                ("Best day", _dated(_day(analysis.best_day))),
                (
                    "Worst day",
                    _dated(_day(analysis.worst_day)),
                ),
                ("Best month", _dated(_month_of(analysis, best=True))),
                ("Worst month", _dated(_month_of(analysis, best=False))),
                ("Days in profit", percent(analysis.positive_days, 1, signed=False)),
                ("Months in profit", percent(analysis.positive_months, 1, signed=False)),
                ("Time in market", percent(metrics.exposure, 1, signed=False)),
                ("Turnover", f"{amount(metrics.turnover, 1)} times the mean equity"),
            ],
        ),
        (
            "Risk",
            [
                ("Sharpe", amount(metrics.sharpe)),
                ("Sortino", amount(metrics.sortino)),
                ("Calmar", amount(metrics.calmar)),
                ("Volatility per year", _plain_percent(metrics.volatility)),
                ("Sampled at", metrics.sampling.replace("utc_", "UTC ").replace("_", " ")),
                ("Largest drawdown", _plain_percent(metrics.max_drawdown)),
                ("Longest drawdown", duration(metrics.max_drawdown_duration)),
                ("System quality number", amount(metrics.sqn)),
                ("Kelly fraction", percent(metrics.kelly, 1)),
            ],
        ),
        (
            "Trades",
            [
                ("Closed trades", f"{metrics.trades:,}"),
                ("Won", percent(metrics.win_rate, 1, signed=False)),
                ("Profit factor", amount(metrics.profit_factor)),
                ("Payoff ratio", amount(metrics.payoff_ratio)),
                ("Mean profit", amount(metrics.expectancy, signed=True)),
                ("Average trade", percent(metrics.average_trade)),
                ("Median trade", percent(metrics.median_trade)),
                ("Best trade", percent(metrics.best_trade)),
                ("Worst trade", percent(metrics.worst_trade)),
                ("Average win", amount(metrics.average_win, signed=True)),
                ("Average loss", amount(metrics.average_loss, signed=True)),
                ("Longest winning streak", _streak(analysis, winning=True)),
                ("Longest losing streak", _streak(analysis, winning=False)),
                ("Ambiguous exits", f"{metrics.ambiguous_exits:,}"),
                ("Refused orders", f"{metrics.refused_orders:,}"),
            ],
        ),
        (
            "Holding times and costs",
            [
                ("Shortest", duration(held.shortest)),
                ("Median", duration(held.median)),
                ("Average", duration(held.average)),
                ("Longest", duration(held.longest)),
                ("Average winner", duration(held.average_winner)),
                ("Average loser", duration(held.average_loser)),
                ("Fees", amount(costs.fees)),
                ("Slippage and rounding", amount(costs.slippage)),
                (
                    "All costs",
                    f"{amount(costs.total)} ({percent(costs.share_of_capital, 1, signed=False)} of capital)",
                ),
                ("Gain before costs", amount(costs.before_costs, signed=True)),
            ],
        ),
    ]
    return [
        (
            title,
            table(
                ("Figure", "Value"),
                [[word(name), number(value)] for name, value in rows],
                words=1,
                label=title,
            ),
        )
        for title, rows in families
    ]


def trades_table(course: Course) -> str:
    """The closed trades, at most `MOST_TRADES` of them."""
    several = len(set(course.owners)) > 1
    rows = []
    shown = zip(
        course.trades, course.owners, course.adverse.tolist(), course.favourable.tolist(), strict=True
    )
    for trade, owner, adverse, favourable in list(shown)[:MOST_TRADES]:
        rate, pnl = float(trade.return_rate), float(trade.pnl)
        held_s = (trade.exit_at_us - trade.entry_at_us) / 1e6
        rows.append(
            [
                *([word(owner)] if several else []),
                word(trade.side.value),
                number(_time(trade.entry_at_us)),
                number(f"{float(trade.entry_price):,.8g}"),
                number(_time(trade.exit_at_us)),
                number(f"{float(trade.exit_price):,.8g}"),
                number(f"{float(trade.quantity):,.8g}"),
                number(duration(held_s)),
                number(trade.exit_reason.value.replace("_", " ")),
                number(amount(float(trade.fees))),
                signed_cell(pnl, amount(pnl, signed=True)),
                signed_cell(rate, percent(rate)),
                number(percent(adverse)),
                number(percent(favourable)),
            ]
        )
    heads = (
        *(["Symbol"] if several else []),
        *("Side", "Entry, UTC", "Price", "Exit, UTC", "Price", "Quantity", "Held", "Reason"),
        *("Fees", "Profit", "Return", "MAE", "MFE"),
    )
    if not rows:
        return "<p>No trade was closed.</p>"
    left = len(course.trades) - len(rows)
    more = f"<p>{left:,} later trades are in trades.csv and trades.parquet.</p>" if left > 0 else ""
    return table(heads, rows, words=2 if several else 1, label="Trades") + more


def facts_table(label: str, facts: Iterable[tuple[str, str]]) -> str:
    """Names and values, both escaped."""
    return table(
        ("Fact", "Value"), [[word(name), word(value)] for name, value in facts], words=2, label=label
    )


def manifest_details(manifest: msgspec.Struct) -> str:
    """The whole manifest, folded away."""
    indented = msgspec.json.format(msgspec.json.encode(manifest), indent=2).decode()
    return f"<details><summary>The whole manifest</summary><pre>{html.escape(indented)}</pre></details>"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, words: int, label: str) -> str:
    """A table that scrolls within itself; the first `words` columns are text. Cells are HTML already."""
    head = "".join(
        f'<th scope="col"{" class=word" if column < words else ""}>{html.escape(name)}</th>'
        for column, name in enumerate(heads)
    )
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{html.escape(label)}">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def word(text: str) -> str:
    """A cell of text."""
    return f'<td class="word">{html.escape(text)}</td>'


def number(text: str) -> str:
    """A cell of digits."""
    return f"<td>{html.escape(text)}</td>"


def signed_cell(value: float | None, text: str) -> str:
    """A cell in the colour of gain or loss; the text carries the sign."""
    kind = "none" if not value else "gain" if value > 0 else "loss"
    return f'<td class="{kind}">{html.escape(text)}</td>'


def _plain_percent(value: float | None) -> str:
    return percent(value, signed=False)


def _time(at_us: int) -> str:
    return to_datetime(at_us).strftime("%Y-%m-%d %H:%M")


def _dated(found: tuple[float | None, str] | None) -> str:
    return MISSING if found is None else f"{percent(found[0])} ({found[1]})"


def _day(found: DayReturn | None) -> tuple[float | None, str] | None:
    return None if found is None else (found.rate, found.day)


def _month_of(analysis: Analysis, *, best: bool) -> tuple[float | None, str] | None:
    found = analysis.best_month if best else analysis.worst_month
    return None if found is None else (found.rate, f"{_MONTHS[found.month - 1]} {found.year}")


def _streak(analysis: Analysis, *, winning: bool) -> str:
    found = analysis.longest_winning_streak if winning else analysis.longest_losing_streak
    return "0" if found is None else f"{found.trades:,} ({amount(found.pnl, signed=True)})"
