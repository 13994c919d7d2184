"""Ours: what outlives a process is believed with its checksum only, and costs nobody an exception."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pensieve_gguf.anchors import Journal, clear_folder

NAME = "answers-of-tiny"


@contextlib.contextmanager
def opened(folder: Path, most_bytes: int = 10_000) -> Iterator[Journal]:
    journal = Journal.open(folder, NAME, most_bytes=most_bytes)
    assert journal is not None
    with contextlib.closing(journal):
        yield journal


def file_in(folder: Path) -> Path:
    return folder / f"{NAME}.journal"


def test_records_come_back_in_their_order_after_a_restart(folder: Path) -> None:
    with opened(folder) as journal:
        assert journal.records() == []
        for record in (b"one", b"", b"three 3"):
            journal.append(record)
    with opened(folder) as journal:
        journal.append(b"four")
        assert journal.records() == [b"one", b"", b"three 3", b"four"]
    assert file_in(folder).stat().st_mode & 0o777 == 0o600


def test_a_torn_end_costs_its_record_and_no_later_one(folder: Path) -> None:
    with opened(folder) as journal:
        for record in (b"one", b"two"):
            journal.append(record)
    file = file_in(folder)
    file.write_bytes(file.read_bytes()[:-2])
    with opened(folder) as journal:
        assert journal.records() == [b"one"]
        journal.append(b"three")
    with opened(folder) as journal:
        assert journal.records() == [b"one", b"three"]


def test_what_grew_too_large_begins_anew_with_its_last_half(folder: Path) -> None:
    records = [b"%03d" % number * 10 for number in range(100)]
    with opened(folder, most_bytes=2_000) as journal:
        for record in records:
            journal.append(record)
        assert journal.records() == records
        kept = journal.records()
    assert kept == records[-len(kept) :]
    assert 15 < len(kept) < 25
    assert file_in(folder).stat().st_size <= 1_000


@given(st.lists(st.binary(max_size=20).filter(lambda record: b"\n" not in record), max_size=5), st.data())
def test_whatever_happens_to_the_file_only_records_that_were_written_come_back(
    tmp_path_factory: pytest.TempPathFactory, records: list[bytes], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("journal") / "anchors"
    with opened(folder) as journal:
        for record in records:
            journal.append(record)
        content = bytearray(file_in(folder).read_bytes()) if records else bytearray()
        for place in data.draw(st.lists(st.integers(0, max(0, len(content) - 1)), max_size=3)) if content else ():
            content[place] = data.draw(st.integers(0, 255))
        file_in(folder).write_bytes(content[: data.draw(st.integers(0, len(content)))])
        found = journal.records()
    assert set(found) <= set(records)


def test_a_folder_that_is_not_ours_is_left_alone(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "photo.jpg").write_text("mine")
    assert Journal.open(folder, NAME, most_bytes=100) is None
    assert [path.name for path in folder.iterdir()] == ["photo.jpg"]


def test_a_file_that_cannot_be_read_or_written_costs_its_records_and_nothing_else(folder: Path) -> None:
    with opened(folder) as journal:
        file_in(folder).mkdir()
        journal.append(b"lost")
        assert journal.records() == []


def test_clearing_takes_journals_along(folder: Path) -> None:
    with opened(folder) as journal:
        journal.append(b"a secret")
        size = file_in(folder).stat().st_size
        assert clear_folder(folder, unused_since=0.0).file_bytes == 0
        cleared = clear_folder(folder)
    assert (cleared.anchors, cleared.file_bytes) == (0, size)
    assert not file_in(folder).exists()
