from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy

from database.engine import sync_engine
from database.repositories.strategy_repository import StrategyRepository
from strategies.versions import (
    Badge,
    Counterexample,
    Fault,
    ProofStatus,
    StrategyKind,
    StrategyVersion,
)

pytestmark = pytest.mark.integration

T0 = 1_700_000_000_123_456
PROVEN = Badge(status=ProofStatus.PROVEN, words="fine", bars=9, covered=9, signals=2)
UNPROVEN = Badge(status=ProofStatus.NOT_PROVEN, words="slow", bars=9, covered=3, signals=2)
REFUTED = Badge(
    status=ProofStatus.REFUTED,
    words="leaks",
    bars=9,
    covered=9,
    signals=2,
    counterexample=Counterexample(
        fault=Fault.LOOK_AHEAD,
        bar=4,
        opened_at_us=T0,
        signal="long_entry",
        on_all=True,
        on_past=False,
        reads_ahead=1,
    ),
)


@pytest.fixture
def repository(store_url: str) -> Iterator[StrategyRepository]:
    repository = StrategyRepository(store_url)
    yield repository
    repository.close()


def version(name: str, hash_: str, badge: Badge = PROVEN, content: str = "{}") -> StrategyVersion:
    return StrategyVersion(
        name=name,
        version=hash_,
        number=0,
        kind=StrategyKind.JSON,
        content=content,
        saved_at_us=T0,
        who="anna",
        why="to try it",
        badge=badge,
    )


def test_versions_come_back_as_they_were_saved_newest_first(repository: StrategyRepository) -> None:
    first = repository.save(version("trip", "aaa", REFUTED, '{"name": "trip", "é": 1}'))
    second = repository.save(version("trip", "bbb"))
    assert (first.number, second.number) == (1, 2)
    assert repository.history("trip") == [second, first]
    assert first.badge == REFUTED
    assert first.content == '{"name": "trip", "é": 1}'
    assert first.saved_at_us == T0
    assert repository.history("trap") == []


def test_saving_an_old_version_brings_it_to_the_front_unchanged(repository: StrategyRepository) -> None:
    first = repository.save(version("again", "aaa", content="[1]"))
    repository.save(version("again", "bbb"))
    assert repository.save(version("again", "aaa", content="[2]")) == first
    assert [one.version for one in repository.history("again")] == ["aaa", "bbb"]
    (summary,) = [one for one in repository.summaries(archived=False) if one.name == "again"]
    assert (summary.newest, summary.versions) == ("aaa", 2)


def test_a_badge_changes_only_for_one_that_got_further(repository: StrategyRepository) -> None:
    badges = [
        repository.save(version("badge", "aaa", badge)).badge
        for badge in (UNPROVEN, PROVEN, UNPROVEN, REFUTED, PROVEN)
    ]
    assert badges == [UNPROVEN, PROVEN, PROVEN, REFUTED, REFUTED]


def test_an_archived_strategy_leaves_the_lists_and_keeps_its_versions(repository: StrategyRepository) -> None:
    saved = repository.save(version("gone", "aaa"))
    assert repository.archive("gone", T0)
    assert not repository.archive("gone", T0)
    assert "gone" not in [one.name for one in repository.summaries(archived=False)]
    assert "gone" in [one.name for one in repository.summaries(archived=True)]
    assert repository.history("gone") == [saved]
    repository.save(version("gone", "bbb"))
    assert "gone" in [one.name for one in repository.summaries(archived=False)]


def test_a_name_can_be_taken_once(repository: StrategyRepository) -> None:
    repository.save(version("one", "aaa"))
    repository.save(version("two", "aaa"))
    assert not repository.rename("one", "two")
    assert not repository.rename("none", "three")
    assert repository.rename("one", "three")
    assert [found.version for found in repository.history("three")] == ["aaa"]
    assert repository.history("one") == []


def test_the_database_itself_refuses_to_change_or_remove_a_version(
    repository: StrategyRepository, store_url: str
) -> None:
    repository.save(version("fixed", "aaa"))
    engine = sync_engine(store_url)
    for statement in (
        "UPDATE strategy_versions SET content = '[]'",
        "UPDATE strategy_versions SET badge = '{}', who = 'bert'",
        "DELETE FROM strategy_versions",
        "TRUNCATE strategy_versions",
    ):
        with pytest.raises(sqlalchemy.exc.DBAPIError, match="kept as they are"), engine.begin() as connection:
            connection.exec_driver_sql(statement)
    engine.dispose()
    assert repository.history("fixed")[0].content == "{}"


def test_people_who_save_at_once_get_numbers_of_their_own(repository: StrategyRepository) -> None:
    with ThreadPoolExecutor(4) as threads:
        saved = list(threads.map(lambda at: repository.save(version("busy", f"hash{at}")), range(12)))
    assert sorted(one.number for one in saved) == list(range(1, 13))
