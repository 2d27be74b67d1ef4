from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data.collectors.journal import Journal, JournalRecord, JournalUnwritable, Position
from data.errors import InstallationError
from data.models import TradeGap, TradeRun
from data.stores import MarketBatch
from tests.data.trade_series import MARKET, SECOND_US, START_US, trade

UNHURRIED = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def record(first_id: int, count: int = 3) -> JournalRecord:
    trades = [
        trade(number, START_US + number * SECOND_US, price=number / 8)
        for number in range(first_id, first_id + count)
    ]
    run = TradeRun(
        first_id=1, last_id=first_id + count - 1, first_at_us=START_US, last_at_us=trades[-1].traded_at_us
    )
    gap = TradeGap(first_id=7, last_id=9, reason="history_unavailable", found_at_us=START_US)
    batch = MarketBatch(trades=trades, candles=[], runs=[(MARKET, run)], gaps=[(MARKET, gap)])
    return JournalRecord(batch, ((MARKET, (START_US,)),))


def opened(folder: Path, **sizes: int) -> Journal:
    journal = Journal(folder, **sizes)
    journal.open()
    return journal


def all_of(journal: Journal) -> list[JournalRecord]:
    return journal.read(journal.begin, 2**62).records


def first_ids(journal: Journal) -> list[int]:
    return [each.batch.trades[0].trade_id for each in all_of(journal)]


def segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.journal"))


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = opened(tmp_path)
    yield made
    made.close()


def test_records_come_back_as_they_were_in_the_next_process(tmp_path: Path) -> None:
    first = opened(tmp_path, segment_bytes=600)
    written = [record(1), record(4), record(7, 1)]
    for each in written:
        first.append(each)
    first.close()
    again = opened(tmp_path)
    assert all_of(again) == written
    assert again.trades_from(again.begin) == 7
    assert len(segments(tmp_path)) > 1
    again.append(record(8))
    assert first_ids(again) == [1, 4, 7, 8]
    again.close()


def test_a_page_ends_where_the_next_one_begins(journal: Journal) -> None:
    for first_id in (1, 4, 7):
        journal.append(record(first_id))
    page = journal.read(journal.begin, 4)
    assert [each.batch.trades[0].trade_id for each in page.records] == [1, 4]
    assert page.end < journal.end
    rest = journal.read(page.end, 4)
    assert [each.batch.trades[0].trade_id for each in rest.records] == [7]
    assert rest.end == journal.end
    assert journal.read(rest.end, 4).records == []


def test_what_is_released_is_not_read_again_and_its_segments_are_deleted(tmp_path: Path) -> None:
    first = opened(tmp_path, segment_bytes=1)
    for first_id in (1, 4, 7):
        first.append(record(first_id))
    second = first.read(first.begin, 4).end
    first.release(second)
    assert first_ids(first) == [7]
    assert len(segments(tmp_path)) == 2  # the one that the place lies in, and the one behind it
    first.close()
    again = opened(tmp_path)
    assert first_ids(again) == [7]
    again.release(again.end)
    assert segments(tmp_path) == []
    assert all_of(again) == []
    again.close()


def test_a_damaged_note_of_what_is_stored_only_makes_it_be_stored_once_more(tmp_path: Path) -> None:
    first = opened(tmp_path)
    for first_id in (1, 4):
        first.append(record(first_id))
    first.release(first.read(first.begin, 1).end)
    first.close()
    (tmp_path / "stored").write_bytes(b"\x00" * 11)
    again = opened(tmp_path)
    assert first_ids(again) == [1, 4]
    again.close()


@UNHURRIED
@given(counts=st.lists(st.integers(1, 4), min_size=1, max_size=6), data=st.data())
def test_any_cut_of_the_tail_loses_the_torn_record_alone(
    tmp_path_factory: pytest.TempPathFactory, counts: list[int], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("journal")
    first = opened(folder)
    ends = []
    for number, count in enumerate(counts):
        first.append(record(1 + 10 * number, count))
        ends.append(first.end.offset)
    first.close()
    (segment,) = segments(folder)
    cut = data.draw(st.integers(0, ends[-1]))
    os.truncate(segment, cut)

    again = opened(folder)
    whole = sum(end <= cut for end in ends)
    assert first_ids(again) == [1 + 10 * number for number in range(whole)]
    assert again.damaged == []
    again.append(record(501))
    assert first_ids(again)[-1] == 501
    again.close()


@UNHURRIED
@given(damaged=st.integers(0, 3), data=st.data())
def test_a_changed_byte_costs_one_record_which_is_told_and_kept_aside(
    tmp_path_factory: pytest.TempPathFactory, damaged: int, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("journal")
    first = opened(folder)
    begins = [first.append(record(1 + 10 * number)).offset for number in range(4)] + [first.end.offset]
    first.close()
    (segment,) = segments(folder)
    content = bytearray(segment.read_bytes())
    at = data.draw(st.integers(begins[damaged], begins[damaged + 1] - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    segment.write_bytes(content)

    again = opened(folder)
    assert first_ids(again) == [1 + 10 * number for number in range(4) if number != damaged]
    assert len(again.damaged) == 1
    (aside,) = (folder / "damaged").iterdir()
    assert aside.read_bytes() == bytes(content[begins[damaged] : begins[damaged + 1]])
    again.close()


def test_a_whole_segment_of_nonsense_is_kept_aside_and_the_next_one_read(tmp_path: Path) -> None:
    first = opened(tmp_path, segment_bytes=1)
    for first_id in (1, 4, 7):
        first.append(record(first_id))
    first.close()
    segments(tmp_path)[1].write_bytes(b"\x00" * 5_000)
    again = opened(tmp_path)
    assert first_ids(again) == [1, 7]
    assert "5000 bytes of the journal are damaged and kept in" in again.damaged[0]
    again.close()


def test_a_journal_has_one_owner(journal: Journal, tmp_path: Path) -> None:
    with pytest.raises(InstallationError, match="in use by another collector"):
        Journal(tmp_path).open()
    journal.close()
    opened(tmp_path).close()


def test_a_journal_takes_no_more_than_it_may(tmp_path: Path) -> None:
    journal = opened(tmp_path, max_bytes=1_500)
    journal.append(record(1))
    journal.append(record(4))
    with pytest.raises(JournalUnwritable, match="holds the 1500 bytes it may"):
        journal.append(record(7, 9))
    assert first_ids(journal) == [1, 4]
    journal.release(journal.end)
    journal.append(record(7, 9))
    assert first_ids(journal) == [7]
    journal.close()


def test_a_disk_that_fills_up_in_the_middle_of_a_record_leaves_no_half_of_it(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.append(record(1))
    write = os.write
    room = [100]

    def write_until_full(file: int, content: bytes) -> int:
        if room[0] == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        count = write(file, content[: room[0]])
        room[0] -= count
        return count

    with monkeypatch.context() as full:
        full.setattr(os, "write", write_until_full)
        with pytest.raises(JournalUnwritable, match="No space left on device"):
            journal.append(record(4))
    journal.append(record(7))
    assert first_ids(journal) == [1, 7]
    journal.sync()


def test_an_empty_journal_has_nothing_and_releases_nothing(journal: Journal) -> None:
    assert journal.begin == journal.end
    assert all_of(journal) == []
    assert journal.trades_from(Position(0, 0)) == 0
    journal.release(journal.end)
    assert journal.size == 0
