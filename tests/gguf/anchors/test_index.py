"""The index is a cache: whatever happens to it, what the files hold is found."""

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import attrs
import numpy as np
import pytest
import structlog

from pensieve_gguf.anchors import AnchorIdentity, AnchorKind, AnchorStore, Saved, State

Tokens: TypeAlias = "Callable[[int], array[int]]"
MakeState: TypeAlias = Callable[..., State]
OpenStore: TypeAlias = Callable[..., AnchorStore]
HEAD = AnchorKind.HEAD


@pytest.fixture
def filled(open_store: OpenStore, tokens: Tokens, state: MakeState) -> AnchorStore:
    """A store with two anchors."""
    store = open_store()
    for length in (100, 200):
        assert store.save(tokens(length), state(length), kind=HEAD) is Saved.SAVED
    return store


def _both_are_found(store: AnchorStore, tokens: Tokens) -> bool:
    found = [store.longest(tokens(length), at_least=length) for length in (100, 200)]
    return all(a is not None and store.load(a, tokens(a.length)) is not None for a in found)


def _newest(folder: Path) -> Path:
    return max(folder.glob("index-*.sqlite"))


def _without_log(folder: Path) -> None:
    for log in (*folder.glob("index-*-wal"), *folder.glob("index-*-shm")):
        log.unlink()


def _gone(folder: Path) -> None:
    _newest(folder).unlink()
    _without_log(folder)


def _no_database(folder: Path) -> None:
    _newest(folder).write_bytes(b"this is no database, but it is long enough to look like one" * 100)


def _empty(folder: Path) -> None:
    _newest(folder).write_bytes(b"")
    _without_log(folder)


def _cut(folder: Path) -> None:
    data = _newest(folder).read_bytes()
    _without_log(folder)
    _newest(folder).write_bytes(data[: len(data) // 2])


def _holes(folder: Path) -> None:
    data = bytearray(_newest(folder).read_bytes())
    data[4096:] = b"\xee" * (len(data) - 4096)
    _newest(folder).write_bytes(data)


def _other_tables(folder: Path) -> None:
    with sqlite3.connect(_newest(folder)) as connection:
        connection.execute("DROP TABLE anchors")
        connection.execute("CREATE TABLE anchors (something_else TEXT)")
    connection.close()


def _odd_rows(folder: Path) -> None:
    with sqlite3.connect(_newest(folder)) as connection:
        connection.execute("UPDATE anchors SET file_bytes = 'many', kind = 77")
    connection.close()


DAMAGES = [_gone, _no_database, _empty, _cut, _holes, _other_tables, _odd_rows]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__.strip("_"))
def test_a_damaged_index_is_replaced_at_the_start(
    filled: AnchorStore, open_store: OpenStore, folder: Path, tokens: Tokens, damage: Callable[[Path], None]
) -> None:
    filled.close()
    damage(folder)
    assert _both_are_found(open_store(), tokens)
    assert _both_are_found(open_store(), tokens)


@pytest.mark.parametrize("damage", [_no_database, _other_tables, _odd_rows], ids=lambda d: d.__name__.strip("_"))
def test_an_index_that_is_damaged_under_two_stores_is_replaced_once_for_both(
    filled: AnchorStore,
    open_store: OpenStore,
    folder: Path,
    tokens: Tokens,
    damage: Callable[[Path], None],
) -> None:
    other = open_store()
    with structlog.testing.capture_logs() as logs:
        damage(folder)
        _without_log(folder)
        assert _both_are_found(filled, tokens)
        assert _both_are_found(other, tokens)
    assert [log["event"] for log in logs].count("anchor_index_damaged") <= 1
    assert filled.save(tokens(300), np.zeros(100, np.uint8), kind=HEAD) is Saved.SAVED
    found = other.longest(tokens(300))
    assert found is not None
    assert found.length == 300


def test_the_damaged_index_is_kept_until_the_next_start(
    filled: AnchorStore, open_store: OpenStore, folder: Path, tokens: Tokens
) -> None:
    filled.close()
    _no_database(folder)
    open_store()
    assert sorted(path.name for path in folder.glob("index-*.sqlite")) == ["index-2.0.sqlite", "index-2.1.sqlite"]
    open_store()
    assert sorted(path.name for path in folder.glob("index-*.sqlite")) == ["index-2.1.sqlite"]


def test_an_index_of_an_older_layout_is_removed_and_of_a_newer_one_left_alone(
    filled: AnchorStore, open_store: OpenStore, folder: Path, tokens: Tokens
) -> None:
    filled.close()
    (folder / "index-0.7.sqlite").write_text("old")
    (folder / "index-3.0.sqlite").write_text("new")
    assert _both_are_found(open_store(), tokens)
    names = {path.name for path in folder.glob("index-*.sqlite")}
    assert names == {"index-2.0.sqlite", "index-3.0.sqlite"}


def test_rows_that_lie_find_nothing_and_files_without_rows_are_found_at_the_start(
    filled: AnchorStore, open_store: OpenStore, folder: Path, tokens: Tokens
) -> None:
    with sqlite3.connect(_newest(folder)) as connection:
        connection.execute("UPDATE anchors SET prefix = zeroblob(16) WHERE length = 100")
        connection.execute("DELETE FROM anchors WHERE length = 200")
    connection.close()
    assert filled.longest(tokens(300)) is None
    filled.close()
    found = open_store().longest(tokens(300))
    assert found is not None
    assert found.length == 200


def test_rows_of_two_files_that_were_swapped_lead_to_no_wrong_state(
    filled: AnchorStore, folder: Path, tokens: Tokens
) -> None:
    with sqlite3.connect(_newest(folder)) as connection:
        (one, other) = connection.execute("SELECT name, prefix FROM anchors ORDER BY length").fetchall()
        connection.execute("UPDATE anchors SET name = 'x' WHERE name = ?", (one[0],))
        connection.execute("UPDATE anchors SET prefix = ?, length = 100 WHERE name = ?", (one[1], other[0]))
    connection.close()
    for _ in range(3):
        anchor = filled.longest(tokens(100))
        assert anchor is None or filled.load(anchor, tokens(100)) is None
    assert filled.longest(tokens(100)) is None


def test_rows_that_lie_about_their_lengths_find_nothing(filled: AnchorStore, folder: Path, tokens: Tokens) -> None:
    with sqlite3.connect(_newest(folder)) as connection:
        connection.execute("UPDATE anchors SET length = 300 - length")
    connection.close()
    assert filled.longest(tokens(300)) is None


def test_a_row_that_gives_us_another_models_file_leads_to_no_state(
    filled: AnchorStore, open_store: OpenStore, folder: Path, tokens: Tokens, identity: AnchorIdentity
) -> None:
    theirs = open_store(identity=attrs.evolve(identity, model="theirs"))
    assert theirs.save(tokens(300), np.zeros(100, np.uint8), kind=HEAD) is Saved.SAVED
    with sqlite3.connect(_newest(folder)) as connection:
        connection.execute("UPDATE anchors SET identity = ?", (identity.digest,))
    connection.close()
    anchor = filled.longest(tokens(300))
    assert anchor is not None
    assert anchor.length == 300
    assert filled.load(anchor, tokens(300)) is None


def test_an_index_that_another_process_holds_is_no_damage_and_no_exception(
    filled: AnchorStore, folder: Path, tokens: Tokens, state: MakeState
) -> None:
    holder = sqlite3.connect(_newest(folder), isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        assert filled.longest(tokens(300)) is not None, "who reads does not wait"
        assert filled.save(tokens(300), state(), kind=HEAD) is Saved.FAILED
    finally:
        holder.execute("ROLLBACK")
        holder.close()
    assert filled.save(tokens(300), state(), kind=HEAD) is Saved.SAVED
    assert [path.name for path in folder.glob("index-*.sqlite")] == ["index-2.0.sqlite"]
