from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from data.errors import InvalidInput
from strategies.python.check import CheckReport, CheckRequest, check
from strategies.python.checker import PythonStrategyFactory
from strategies.service import Difference, StrategyService, badge_text, json_differences
from strategies.versions import (
    ProofStatus,
    StrategyKind,
    StrategyStore,
    StrategySummary,
    StrategyVersion,
)
from tests.strategies.clocks import still
from tests.strategies.documents import EXAMPLE, example
from tests.strategies.python_sources import BREAKOUT, breakout

T0 = 1_700_000_000_000_000


class MemoryStrategyStore:
    """Satisfies StrategyStore."""

    def __init__(self) -> None:
        self._versions: dict[str, list[StrategyVersion]] = {}  # the one in front last
        self._archived: set[str] = set()

    def summaries(self, *, archived: bool) -> Sequence[StrategySummary]:
        return [
            StrategySummary(
                name=name,
                kind=versions[-1].kind,
                versions=len(versions),
                newest=versions[-1].version,
                badge=versions[-1].badge,
                saved_at_us=versions[-1].saved_at_us,
                archived=name in self._archived,
            )
            for name, versions in sorted(self._versions.items())
            if archived or name not in self._archived
        ]

    def history(self, name: str) -> Sequence[StrategyVersion]:
        return self._versions.get(name, [])[::-1]

    def save(self, version: StrategyVersion) -> StrategyVersion:
        self._archived.discard(version.name)
        versions = self._versions.setdefault(version.name, [])
        stored = next((one for one in versions if one.version == version.version), None)
        if stored is None:
            stored = msgspec.structs.replace(version, number=len(versions) + 1)
        else:
            versions.remove(stored)
        versions.append(stored)
        return stored

    def rename(self, name: str, to: str) -> bool:
        if to in self._versions or name not in self._versions:
            return False
        moved = self._versions.pop(name)
        self._versions[to] = [msgspec.structs.replace(one, name=to) for one in moved]
        return True

    def archive(self, name: str, at_us: int) -> bool:
        if name not in self._versions or name in self._archived:
            return False
        self._archived.add(name)
        return True


def checker(request: CheckRequest) -> CheckReport:
    return check(request, still)


@pytest.fixture
def desk() -> StrategyService:
    store: StrategyStore = MemoryStrategyStore()
    factory = PythonStrategyFactory(checker)
    return StrategyService(store, factory, clock=lambda: T0, stopwatch=still)


# Spoken to often; a few candles are enough to prove it.
QUICK = {
    "name": "quick",
    "timeframe": "1h",
    "long": {"entry": {"gt": ["close", "open"]}, "exit": {"lt": ["close", "open"]}},
}


def save(desk: StrategyService, **changes: object) -> StrategyVersion:
    document = {**QUICK, **changes}
    return desk.save(str(document["name"]), json.dumps(document), StrategyKind.JSON, who="anna", why="w")


def test_a_saved_strategy_is_proven_on_every_bar_of_as_many_candles_as_the_desk_asks_for() -> None:
    factory = PythonStrategyFactory(checker)
    desk = StrategyService(
        MemoryStrategyStore(), factory, clock=lambda: T0, stopwatch=still, proof_candles=9_000
    )
    for badge in (
        save(desk).badge,
        desk.save("again", BREAKOUT, StrategyKind.PYTHON, who="anna").badge,
    ):
        assert badge.status is ProofStatus.PROVEN
        # About one interval of a hundred has no trade, and so no candle.
        assert 8_700 < badge.bars < 9_000
        assert badge.covered == badge.bars


def test_a_saved_strategy_has_its_hash_and_its_badge(desk: StrategyService) -> None:
    saved = save(desk)
    assert (saved.name, saved.number, saved.who, saved.saved_at_us) == ("quick", 1, "anna", T0)
    assert saved.version == desk.load("quick").version
    assert saved.badge.status is ProofStatus.PROVEN
    assert saved.badge.signals > 1_000
    assert badge_text(saved.badge) == "proven"
    assert desk.show("quick") == saved


def test_the_same_is_saved_once_and_a_change_is_a_version(desk: StrategyService) -> None:
    first = save(desk)
    assert save(desk, description="in other words") == first
    second = save(desk, timeframe="4h")
    assert [one.number for one in desk.history("quick")] == [2, 1]
    assert second.version != first.version
    assert desk.show("quick@1") == desk.show(f"quick@{first.version[:6]}") == first
    assert desk.show("quick") == second
    (summary,) = desk.list_strategies()
    assert (summary.versions, summary.newest) == (2, second.version)


def test_what_is_not_there_is_answered_with_what_is(desk: StrategyService) -> None:
    with pytest.raises(InvalidInput, match="no strategy is saved yet"):
        desk.history("quick")
    save(desk)
    with pytest.raises(InvalidInput, match="did you mean quick"):
        desk.show("quik")
    for reference in ("quick@2", "quick@ffffff", "quick@", "quick@0"):
        with pytest.raises(InvalidInput, match="versions of quick are 1 \\("):
            desk.show(reference)


def test_what_is_wrong_is_not_saved(desk: StrategyService) -> None:
    with pytest.raises(InvalidInput, match="timeframe"):
        save(desk, timeframe="7m")
    for name in ("", " quick", "a@b", "x" * 101, "two\nlines"):
        with pytest.raises(InvalidInput, match="name"):
            save(desk, name=name)
    with pytest.raises(InvalidInput, match='name is "quick"; expected "slow"'):
        desk.save("slow", json.dumps(QUICK), StrategyKind.JSON, who="anna")
    assert desk.list_strategies() == []


def test_files_are_saved_by_their_kind(desk: StrategyService, tmp_path: Path) -> None:
    trend, mine, bad = tmp_path / "t.json", tmp_path / "mine.py", tmp_path / "bad.py"
    trend.write_text(json.dumps(EXAMPLE))
    mine.write_text(BREAKOUT)
    bad.write_text(breakout(entry="np.roll(ohlcv.close, -1) > upper"))
    assert desk.save_file(trend, who="anna").name == "ema-cross-with-trend"
    saved = desk.save_file(mine, who="anna")
    assert (saved.name, saved.kind, saved.content) == ("mine", StrategyKind.PYTHON, BREAKOUT)
    assert saved.badge.status is ProofStatus.PROVEN
    assert desk.load("mine", {"period": 30}).parameters == {"period": 30}
    assert desk.load("mine").version == saved.version
    with pytest.raises(InvalidInput, match="depends on later candles"):
        desk.save_file(bad, who="anna")
    with pytest.raises(InvalidInput, match="no such file"):
        desk.save_file(tmp_path / "none.py", who="anna")
    assert [one.name for one in desk.list_strategies()] == ["ema-cross-with-trend", "mine"]


def test_a_clone_is_a_strategy_of_its_own(desk: StrategyService) -> None:
    save(desk)
    save(desk, timeframe="4h")
    cloned = desk.clone("quick@1", "other", who="bert")
    assert (cloned.name, cloned.number, cloned.why) == ("other", 1, "cloned from quick@1")
    assert json.loads(cloned.content) == {**QUICK, "name": "other"}
    with pytest.raises(InvalidInput, match="taken"):
        desk.clone("quick", "other", who="bert")


def test_a_renamed_strategy_takes_its_versions_along(desk: StrategyService) -> None:
    first = save(desk)
    renamed = desk.rename("quick", "swift", who="bert")
    assert renamed.number == 2
    assert desk.load("swift").name == "swift"
    assert desk.show("swift@1").content == first.content
    with pytest.raises(InvalidInput, match="unknown"):
        desk.history("quick")
    save(desk)
    with pytest.raises(InvalidInput, match="taken"):
        desk.rename("swift", "quick", who="bert")


def test_a_deleted_strategy_is_only_out_of_sight(desk: StrategyService) -> None:
    saved = save(desk)
    desk.delete("quick")
    assert desk.list_strategies() == []
    assert [one.archived for one in desk.list_strategies(archived=True)] == [True]
    assert desk.show("quick") == saved
    with pytest.raises(InvalidInput, match="archived already"):
        desk.delete("quick")
    save(desk)
    assert len(desk.list_strategies()) == 1


def test_versions_differ_path_by_path(desk: StrategyService) -> None:
    save(desk)
    save(desk, timeframe="4h", protection={"stop_loss": 0.02}, long={"entry": {"gt": ["close", 5]}})
    assert desk.diff("quick@1", "quick@2") == [
        Difference(path="timeframe", before="1h", after="4h"),
        Difference(path="long.entry.gt[1]", before="open", after=5),
        Difference(path="long.exit", before={"lt": ["close", "open"]}, after=None),
        Difference(path="protection", before=None, after={"stop_loss": 0.02}),
    ]
    assert desk.diff("quick", "quick") == []


def test_python_versions_differ_line_by_line(desk: StrategyService) -> None:
    desk.save("mine", BREAKOUT, StrategyKind.PYTHON, who="anna")
    desk.save("mine", BREAKOUT.replace("Field(20,", "Field(30,"), StrategyKind.PYTHON, who="anna")
    (difference,) = desk.diff("mine@1", "mine@2")
    assert "Field(20" in difference.before
    assert "Field(30" in difference.after
    save(desk)
    with pytest.raises(InvalidInput, match="one is JSON"):
        desk.diff("mine", "quick")


def test_differences_of_lists_and_kinds() -> None:
    assert json_differences([1, 2], [1]) == [Difference(path="[1]", before=2, after=None)]
    assert json_differences({"a": True}, {"a": 1}) == [Difference(path="a", before=True, after=1)]
    assert json_differences({"a": 1}, {"a": 1.0}) == []
    assert json_differences(example(), example()) == []
