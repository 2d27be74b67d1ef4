"""Frame files: every layout that recorders leave, and damage that must not end the reading."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from data.errors import InvalidInput
from data.files.frames import Frame, FrameCounts, list_frame_files, parse_frame_line, read_frames

JSON = '{"e":"trade"}'


@pytest.mark.parametrize(
    ("line", "received_at_us"),
    [
        (f"1723161254087896568 {JSON}", 1_723_161_254_087_896),
        (f"1680652800004107 {JSON}", 1_680_652_800_004_107),
        (f"1680652800004 {JSON}", 1_680_652_800_004_000),
        (f"1617566591.326123: {JSON}", 1_617_566_591_326_123),
        (f"1618677372.1768699: {JSON}", 1_618_677_372_176_869),
        (f"1617566591: {JSON}", 1_617_566_591_000_000),
        (JSON, None),
        ('{"kind":"trade","raw":"{\\"e\\":\\"trade\\"}"}', None),
    ],
)
def test_each_layout_gives_the_message_and_its_receive_time(line: str, received_at_us: int | None) -> None:
    assert parse_frame_line(line + "\n", FrameCounts()) == Frame(received_at_us, JSON)


@pytest.mark.parametrize(
    "line",
    [
        "wss://ws.okx.com:8443/ws/v5/public <-> 1652459224.53",
        'wss://ws.okx.com:8443/ws/v5/public <- 1652459225.2: {"op":"subscribe"}',
        'https://www.binance.com/api/v3/depth?symbol=A -> 1617566592.1: {"lastUpdateId":1}',
        "configuration: {}",
    ],
)
def test_what_was_not_received_is_no_frame(line: str) -> None:
    counts = FrameCounts()
    assert parse_frame_line(line, counts) is None
    assert (counts.other, counts.malformed) == (1, 0)


@pytest.mark.parametrize(
    "line",
    [
        '1680652800004107 {"e":"tra',
        "1680652800004107",
        "12x3 {}",
        "hello",
        "1.5.5: {}",
        "99999999999999.5: {}",
    ],
)
def test_a_damaged_line_is_counted_and_left_out(line: str) -> None:
    counts = FrameCounts()
    assert parse_frame_line(line, counts) is None
    assert counts == FrameCounts(lines=1, malformed=1)


def test_damaged_lines_do_not_hide_the_others(tmp_path: Path) -> None:
    path = tmp_path / "frames.log"
    path.write_bytes(f"1 {JSON}\n\nrubbish\n\xff\xfe\n2 {JSON}".encode("latin-1"))
    counts = FrameCounts()
    assert [frame.received_at_us for frame in read_frames(path, counts)] == [1_000_000, 2_000_000]
    assert counts == FrameCounts(lines=4, frames=2, malformed=2)


def test_a_gzipped_file_is_known_by_its_content(tmp_path: Path) -> None:
    path = tmp_path / "frames.log"
    path.write_bytes(gzip.compress(f"1 {JSON}\n".encode()))
    assert list(read_frames(path)) == [Frame(1_000_000, JSON)]


def test_a_gzipped_file_cut_short_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "frames.log.gz"
    path.write_bytes(gzip.compress(f"1 {JSON}\n".encode() * 500)[:-20])
    with pytest.raises(InvalidInput, match=r"frames\.log\.gz.*whole gzip file"):
        list(read_frames(path))


def test_a_folder_lists_its_frame_files_in_order_of_name(tmp_path: Path) -> None:
    for name in ("b.log.gz", "a.jsonl", ".hidden.log", "notes.md", "deeper/c.log"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [path.name for path in list_frame_files(tmp_path)] == ["a.jsonl", "b.log.gz", "c.log"]


@pytest.mark.parametrize("name", ["missing.log", "empty"])
def test_no_frame_file_is_an_error_that_names_the_place(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidInput, match=name):
        list_frame_files(tmp_path / name)


def test_the_recordings_are_read_to_the_last_line(shared_data: Path) -> None:
    for name, frames, other in (
        ("binance/spot_btcusdt_20230405.log.gz", 15_088, 0),
        ("binance/cryptofeed_spot_20210404.log.gz", 4_716, 4),
        ("okx/cryptofeed_public_20210722_conn1.log.gz", 1_616, 2),
        ("okx/single_messages_crypto_msg_parser.jsonl.gz", 35, 0),
    ):
        counts = FrameCounts()
        assert sum(1 for _ in read_frames(shared_data / "frames" / name, counts)) == frames
        assert counts == FrameCounts(lines=frames + other, frames=frames, other=other)
