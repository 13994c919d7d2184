"""What `pensieve-server cache` sees and removes; a server may run meanwhile."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TypeAlias

import pytest

from pensieve_gguf.anchors import (
    AnchorKind,
    AnchorStore,
    FolderRefusedError,
    Saved,
    State,
    clear_folder,
    survey_folder,
)

Tokens: TypeAlias = "Callable[[int], array[int]]"
MakeState: TypeAlias = Callable[..., State]
OpenStore: TypeAlias = Callable[..., AnchorStore]
HEAD, TURN = AnchorKind.HEAD, AnchorKind.TURN


@pytest.fixture
def running(open_store: OpenStore, tokens: Tokens, state: MakeState, clock: SimpleNamespace) -> AnchorStore:
    """A store that is open while others look at its folder; its second anchor is an hour younger."""
    store = open_store()
    assert store.save(tokens(100), state(1), kind=HEAD) is Saved.SAVED
    clock.now += 3_600
    assert store.save(tokens(200), state(2), kind=TURN) is Saved.SAVED
    return store


def test_a_survey_tells_of_each_whole_file_and_of_all_bytes_and_changes_nothing(
    running: AnchorStore, folder: Path, clock: SimpleNamespace
) -> None:
    (folder / "torn.anchor").write_bytes(b"half")
    (folder / "link.anchor").symlink_to("elsewhere")
    before = {path: path.lstat().st_mtime_ns for path in folder.iterdir()}
    survey = survey_folder(folder)
    assert [(a.model, a.kind, a.tokens, a.used_at) for a in survey.anchors] == [
        ("tiny", TURN, 200, clock.now),
        ("tiny", HEAD, 100, clock.now - 3_600),
    ]
    assert all((folder / a.name).stat().st_size == a.file_bytes for a in survey.anchors)
    assert survey.total_bytes == sum(path.lstat().st_size for path in folder.iterdir())
    assert survey.free_bytes > 0
    assert {path: path.lstat().st_mtime_ns for path in folder.iterdir()} == before


def test_clearing_removes_all_files_whole_or_torn_and_their_rows(
    running: AnchorStore, folder: Path, tokens: Tokens, state: MakeState
) -> None:
    (folder / "torn.anchor").write_bytes(b"half")
    size = sum(path.stat().st_size for path in folder.glob("*.anchor"))
    cleared = clear_folder(folder)
    assert (cleared.anchors, cleared.file_bytes) == (3, size)
    assert list(folder.glob("*.anchor")) == []
    assert running.longest(tokens(300)) is None
    assert running.save(tokens(100), state(1), kind=HEAD) is Saved.SAVED


def test_clearing_can_be_held_to_what_nobody_used_for_long(
    running: AnchorStore, folder: Path, tokens: Tokens, clock: SimpleNamespace
) -> None:
    assert clear_folder(folder, unused_since=clock.now - 1).anchors == 1
    assert running.longest(tokens(100)) is None
    assert running.longest(tokens(200)) is not None


def test_clearing_works_beside_a_damaged_index(running: AnchorStore, folder: Path) -> None:
    running.close()
    for index in folder.glob("index-*"):
        index.write_bytes(b"no database at all" * 1_000)
    assert clear_folder(folder).anchors == 2


def test_what_is_not_ours_is_neither_surveyed_nor_cleared(tmp_path: Path) -> None:
    """Ours: `--cache-dir ~` must not cost anybody his home."""
    (tmp_path / "mine.anchor").write_text("of a ship")
    for use in (survey_folder, clear_folder):
        with pytest.raises(FolderRefusedError, match="no marker"):
            use(tmp_path)
    with pytest.raises(FileNotFoundError):
        survey_folder(tmp_path / "nowhere")
    assert (tmp_path / "mine.anchor").exists()
