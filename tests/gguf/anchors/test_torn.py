"""A file that is not what was written is not loaded, whatever happened to it, and is removed."""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from pensieve_gguf.anchors import AnchorKind, AnchorStore, Saved, State
from pensieve_gguf.anchors.format import HEADER_BYTES, Header, NotAnAnchorError

Tokens: TypeAlias = "Callable[[int], array[int]]"
MakeState: TypeAlias = Callable[..., State]
OpenStore: TypeAlias = Callable[..., AnchorStore]

LENGTH, STATE_BYTES = 100, 1_000
FILE_BYTES = HEADER_BYTES + 4 * LENGTH + STATE_BYTES
OFFSETS = {
    "magic": 3,
    "version": 8,
    "kind": 12,
    "length": 16,
    "state_bytes": 24,
    "created_at": 36,
    "identity": 50,
    "prefix": 80,
    "conversation": 100,
    "checksum": 110,
    "label": 130,
    "header checksum": HEADER_BYTES - 1,
    "first token": HEADER_BYTES,
    "last token": HEADER_BYTES + 4 * LENGTH - 1,
    "first byte of the state": HEADER_BYTES + 4 * LENGTH,
    "last byte of the state": FILE_BYTES - 1,
}
CUTS = (0, 1, 8, HEADER_BYTES - 1, HEADER_BYTES, HEADER_BYTES + 5, FILE_BYTES - STATE_BYTES, FILE_BYTES - 1)


@pytest.fixture
def saved(open_store: OpenStore, tokens: Tokens, state: MakeState, folder: Path) -> Path:
    """The file of one anchor."""
    assert open_store().save(tokens(LENGTH), state(0, STATE_BYTES), kind=AnchorKind.HEAD) is Saved.SAVED
    (file,) = folder.glob("*.anchor")
    assert file.stat().st_size == FILE_BYTES
    return file


def _flip(file: Path, offset: int) -> None:
    data = bytearray(file.read_bytes())
    data[offset] ^= 0x40
    file.write_bytes(data)


@pytest.mark.parametrize("place", OFFSETS)
def test_a_flipped_bit_anywhere_is_seen_by_who_loads(
    open_store: OpenStore, saved: Path, tokens: Tokens, place: str
) -> None:
    store = open_store()
    anchor = store.longest(tokens(LENGTH))
    assert anchor is not None
    _flip(saved, OFFSETS[place])
    with structlog.testing.capture_logs() as logs:
        assert store.load(anchor, tokens(LENGTH)) is None
    assert [log["event"] for log in logs] == ["anchor_discarded"]
    assert store.longest(tokens(LENGTH)) is None
    assert saved.exists() == (place == "version"), "a later Pensieve's file is left alone"


@pytest.mark.parametrize("size", [*CUTS, FILE_BYTES + 1])
def test_a_file_of_another_size_is_seen_by_who_loads(
    open_store: OpenStore, saved: Path, tokens: Tokens, size: int
) -> None:
    store = open_store()
    anchor = store.longest(tokens(LENGTH))
    assert anchor is not None
    with saved.open("r+b") as file:
        file.truncate(size)
    assert store.load(anchor, tokens(LENGTH)) is None
    assert not saved.exists()


@pytest.mark.parametrize("size", [*CUTS, FILE_BYTES + 1])
def test_a_torn_file_without_a_row_is_removed_at_the_start(
    open_store: OpenStore, saved: Path, folder: Path, tokens: Tokens, size: int
) -> None:
    with saved.open("r+b") as file:
        file.truncate(size)
    for index in folder.glob("index-*"):
        index.unlink()
    assert open_store().longest(tokens(LENGTH)) is None
    assert not saved.exists()


def test_a_file_of_a_later_pensieve_is_left_alone_at_the_start(
    open_store: OpenStore, saved: Path, folder: Path, tokens: Tokens
) -> None:
    data = bytearray(saved.read_bytes())
    data[8:12] = (2).to_bytes(4, "little")
    saved.write_bytes(data)
    for index in folder.glob("index-*"):
        index.unlink()
    assert open_store().longest(tokens(LENGTH)) is None
    assert saved.read_bytes() == data


def test_a_file_that_is_gone_is_no_error_and_the_next_best_is_found_then(
    open_store: OpenStore, saved: Path, tokens: Tokens, state: MakeState
) -> None:
    store = open_store()
    store.save(tokens(50), state(5), kind=AnchorKind.HEAD)
    saved.unlink()
    prompt = tokens(LENGTH)
    lost = store.longest(prompt)
    assert lost is not None
    assert store.load(lost, prompt) is None
    found = store.longest(prompt)
    assert found is not None
    assert found.length == 50


def test_a_link_in_place_of_a_file_is_not_followed(
    open_store: OpenStore, saved: Path, tokens: Tokens, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    saved.rename(elsewhere)
    saved.symlink_to(elsewhere)
    store = open_store()
    anchor = store.longest(tokens(LENGTH))
    assert anchor is not None
    with structlog.testing.capture_logs() as logs:
        assert store.load(anchor, tokens(LENGTH)) is None
    assert [log["event"] for log in logs] == ["anchor_task_failed"]
    assert elsewhere.exists()


def test_a_folder_or_a_pipe_with_the_name_of_an_anchor_harms_nobody(
    open_store: OpenStore, folder: Path, tokens: Tokens
) -> None:
    open_store()
    (folder / "a.anchor").mkdir()
    os.mkfifo(folder / "b.anchor")
    store = open_store()
    assert store.longest(tokens(LENGTH)) is None


def test_a_longer_anchor_that_is_torn_covers_nothing(
    open_store: OpenStore, saved: Path, tokens: Tokens, state: MakeState
) -> None:
    store = open_store(near_tokens=16)
    _flip(saved, OFFSETS["last token"])
    assert store.save(tokens(LENGTH - 5), state(7), kind=AnchorKind.HEAD) is Saved.SAVED
    assert not saved.exists()


@given(data=st.binary(max_size=2 * HEADER_BYTES))
def test_no_bytes_crash_the_reading_of_a_header(data: bytes) -> None:
    for candidate in (data, (b"PNSVANCH\1\0\0\0" + data)[:HEADER_BYTES].ljust(HEADER_BYTES, b"\0")):
        try:
            header = Header.decode(candidate)
        except NotAnAnchorError:
            continue
        assert header.file_bytes >= HEADER_BYTES


def test_a_header_that_claims_an_exabyte_costs_no_memory(open_store: OpenStore, saved: Path, tokens: Tokens) -> None:
    store = open_store()
    anchor = store.longest(tokens(LENGTH))
    assert anchor is not None
    data = bytearray(saved.read_bytes())
    data[24:32] = np.uint64(1 << 60).tobytes()
    saved.write_bytes(data)
    assert store.load(anchor, tokens(LENGTH)) is None
