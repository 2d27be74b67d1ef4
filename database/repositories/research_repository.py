"""Research in PostgreSQL: backtests that were kept, searches, and every trial of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine

from backtesting.manifest import Manifest, Source
from backtesting.portfolio_document import PortfolioManifest
from backtesting.search.result import SearchResult
from backtesting.search.spec import SearchSpec, TrialRow
from data.timeframes import to_datetime, to_us
from database.engine import database_errors, sync_engine

_AT_ONCE = 1_000  # trials in one statement


class KeptSearch(msgspec.Struct, frozen=True, kw_only=True):
    """A search as it was asked, and its result as JSON once it is finished."""

    search: str
    strategy: str
    begun_at_us: int
    finished_at_us: int | None
    trials: int
    source: Source
    spec: SearchSpec
    result: dict[str, Any] | None


class KeptRun(msgspec.Struct, frozen=True, kw_only=True):
    """A backtest that was kept. `document` is the whole result where that was wanted."""

    run_id: int
    saved_at_us: int
    manifest: Manifest | PortfolioManifest
    metrics: dict[str, Any]
    document: dict[str, Any] | None


class ResearchRepository:
    """Runs, searches and trials. Safe to use from several threads; saving twice keeps one."""

    def __init__(self, url: str, *, pool_size: int = 2) -> None:
        self._url = url
        self._engine: Engine = sync_engine(url, application_name="candlewick research", pool_size=pool_size)

    def close(self) -> None:
        self._engine.dispose()

    # --- searches

    def begin(self, search: str, source: Source, spec: SearchSpec, *, begun_at_us: int) -> None:
        """Make the search known. One that is known already keeps its trials and gets the newest question."""
        self._run(
            "INSERT INTO searches (search, strategy, begun_at, source, spec)"
            " VALUES (%s, %s, %s, %s::jsonb, %s::jsonb)"
            " ON CONFLICT (search) DO UPDATE SET source = excluded.source, spec = excluded.spec",
            (search, spec.document["name"], to_datetime(begun_at_us), _json(source), _json(spec)),
        )

    def log(self, search: str) -> _TrialLog:
        """The search's trials, as `backtesting.search.spec.TrialLog`."""
        return _TrialLog(self, search)

    def add_trials(self, search: str, rows: Sequence[TrialRow]) -> None:
        """Keep trials in one transaction; a point that is there stays as it is."""
        with self._transaction() as connection:
            for start in range(0, len(rows), _AT_ONCE):
                part = rows[start : start + _AT_ONCE]
                connection.exec_driver_sql(
                    "INSERT INTO trials (search, point, values, figures, blocks, refusal) VALUES "
                    + ", ".join(["(%s, %s, %s, %s::jsonb, %s::jsonb, %s)"] * len(part))
                    + " ON CONFLICT DO NOTHING",
                    tuple(
                        value
                        for row in part
                        for value in (
                            search,
                            list(row.point),
                            list(row.values),
                            _json(row.figures),
                            _json(row.blocks),
                            row.refusal,
                        )
                    ),
                )

    def trials(self, search: str) -> list[TrialRow]:
        """Every trial of the search, in the order of their points."""
        rows = self._rows(
            "SELECT point, values, figures, blocks, refusal FROM trials WHERE search = %s ORDER BY point",
            (search,),
        )
        return [msgspec.convert(dict(row), TrialRow) for row in rows]

    def finish(self, search: str, result: SearchResult, *, finished_at_us: int) -> None:
        """Keep what the search found."""
        self._run(
            "UPDATE searches SET finished_at = %s, result = %s::jsonb WHERE search = %s",
            (to_datetime(finished_at_us), _json(result), search),
        )

    def search(self, search: str) -> KeptSearch | None:
        """The search of this id, if there is one."""
        found = self._searches("WHERE s.search = %s", (search,))
        return found[0] if found else None

    def searches(self, *, most: int = 100) -> list[KeptSearch]:
        """The newest searches first."""
        return self._searches("ORDER BY s.begun_at DESC LIMIT %s", (most,))

    def forget_search(self, search: str) -> bool:
        """Remove a search and its trials; whether there was one."""
        return bool(self._rows("DELETE FROM searches WHERE search = %s RETURNING search", (search,)))

    def _searches(self, condition: str, parameters: tuple[Any, ...]) -> list[KeptSearch]:
        rows = self._rows(
            "SELECT s.search, s.strategy, s.begun_at, s.finished_at, s.source, s.spec, s.result,"
            " (SELECT count(*) FROM trials t WHERE t.search = s.search) AS trials"
            f" FROM searches s {condition}",
            parameters,
        )
        return [
            KeptSearch(
                search=row["search"],
                strategy=row["strategy"],
                begun_at_us=to_us(row["begun_at"]),
                finished_at_us=None if row["finished_at"] is None else to_us(row["finished_at"]),
                trials=row["trials"],
                source=msgspec.convert(row["source"], Source),
                # Decimals are strings in JSON, which only the strict reading of JSON turns back.
                spec=msgspec.json.decode(msgspec.json.encode(row["spec"]), type=SearchSpec),
                result=row["result"],
            )
            for row in rows
        ]

    # --- backtests

    def save_run(
        self,
        manifest: Manifest | PortfolioManifest,
        metrics: Mapping[str, Any],
        *,
        saved_at_us: int,
        document: bytes | None = None,
    ) -> int:
        """Keep a backtest and return its number; the same run from the same place is kept once.

        `metrics` are JSON values; `document` is the result as JSON. A run of several legs goes by the names
        of all their strategies, each once.
        """
        legs = manifest.legs if isinstance(manifest, PortfolioManifest) else (manifest,)
        with self._transaction() as connection:
            run_id: int = connection.exec_driver_sql(
                "INSERT INTO backtest_runs"
                " (run_hash, strategy, strategy_hash, saved_at, manifest, metrics, document)"
                " VALUES (%s, %s, %s, %s, %s::jsonb, %s::jsonb, %s::jsonb)"
                " ON CONFLICT (run_hash) DO UPDATE"
                " SET document = coalesce(excluded.document, backtest_runs.document) RETURNING run_id",
                (
                    hashlib.sha256(msgspec.json.encode(manifest)).hexdigest(),
                    ", ".join(dict.fromkeys(leg.strategy for leg in legs)),
                    ", ".join(dict.fromkeys(leg.strategy_hash for leg in legs)),
                    to_datetime(saved_at_us),
                    _json(manifest),
                    _json(metrics),
                    None if document is None else document.decode(),
                ),
            ).scalar_one()
        return run_id

    def run(self, run_id: int) -> KeptRun | None:
        """The kept backtest of this number, if there is one."""
        found = self._runs("WHERE run_id = %s", (run_id,), "document")
        return found[0] if found else None

    def runs(self, *, most: int = 100, words: Sequence[str] = ()) -> list[KeptRun]:
        """The newest kept backtests first, without their documents.

        Each of `words` must stand in the strategy's name or hash, or in what the run was made of, such as its
        market or time frame; whether in capitals does not matter.
        """
        condition = " AND ".join(
            ["position(lower(%s) in lower(strategy || ' ' || strategy_hash || ' ' || manifest::text)) > 0"]
            * len(words)
        )
        return self._runs(
            f"WHERE {condition or 'true'} ORDER BY saved_at DESC, run_id DESC LIMIT %s",
            (*words, most),
            "NULL",
        )

    def forget_run(self, run_id: int) -> bool:
        """Remove a kept backtest; whether there was one. Its files are not ours."""
        return bool(self._rows("DELETE FROM backtest_runs WHERE run_id = %s RETURNING run_id", (run_id,)))

    def _runs(self, condition: str, parameters: tuple[Any, ...], document: str) -> list[KeptRun]:
        rows = self._rows(
            f"SELECT run_id, saved_at, manifest, metrics, {document} AS document"
            f" FROM backtest_runs {condition}",
            parameters,
        )
        return [
            KeptRun(
                run_id=row["run_id"],
                saved_at_us=to_us(row["saved_at"]),
                manifest=_manifest(row["manifest"]),
                metrics=row["metrics"],
                document=row["document"],
            )
            for row in rows
        ]

    # --- the connection

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with database_errors(self._url), self._engine.begin() as connection:
            yield connection

    def _rows(self, sql: str, parameters: tuple[Any, ...]) -> list[dict[str, Any]]:
        with self._transaction() as connection:
            return [dict(row) for row in connection.exec_driver_sql(sql, parameters).mappings()]

    def _run(self, sql: str, parameters: tuple[Any, ...]) -> None:
        with self._transaction() as connection:
            connection.exec_driver_sql(sql, parameters)


class _TrialLog:
    """One search's trials in the database."""

    def __init__(self, repository: ResearchRepository, search: str) -> None:
        self._repository, self._search = repository, search

    def read(self) -> Iterable[TrialRow]:
        return self._repository.trials(self._search)

    def add(self, rows: Sequence[TrialRow]) -> None:
        self._repository.add_trials(self._search, rows)


def _manifest(document: Mapping[str, Any]) -> Manifest | PortfolioManifest:
    # Decimals are strings in JSON, which only the strict reading of JSON turns back.
    content = msgspec.json.encode(document)
    if "legs" in document:
        return msgspec.json.decode(content, type=PortfolioManifest)
    return msgspec.json.decode(content, type=Manifest)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
