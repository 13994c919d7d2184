"""A walk through folders ends, finds every file once, and raises nothing."""

from __future__ import annotations

import os
from pathlib import Path

from pensieve_registry import Unreadable
from pensieve_registry import _walk as walking
from pensieve_registry._walk import is_model_file, listed, walk


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def test_links_are_followed_and_circles_end(tmp_path: Path) -> None:
    real = touch(tmp_path / "elsewhere" / "m.gguf")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "link").symlink_to(real.parent)
    (tmp_path / "models" / "self").symlink_to(tmp_path / "models")
    assert list(walk(tmp_path / "models")) == [tmp_path / "models" / "link" / "m.gguf"]


def test_many_circles_hide_nothing(tmp_path: Path) -> None:
    """Ours: thirty links to the folder that they lie in are 30^8 ways, of which one is walked."""
    for number in range(30):
        (tmp_path / f"a{number}").symlink_to(tmp_path)
    late = touch(tmp_path / "z" / "m.gguf")
    assert list(walk(tmp_path)) == [late]


def test_a_link_to_itself_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "m.gguf").symlink_to(tmp_path / "m.gguf")
    assert list(walk(tmp_path)) == []


def test_a_search_stops_at_a_depth(tmp_path: Path) -> None:
    touch(tmp_path.joinpath(*"12345678", "in.gguf"))
    touch(tmp_path.joinpath(*"123456789", "out.gguf"))
    assert list(walk(tmp_path)) == [tmp_path.joinpath(*"12345678", "in.gguf")]


def test_a_search_stops_after_so_many_entries_and_says_so(tmp_path: Path) -> None:
    for number in range(walking._ENTRIES_LIMIT + 1):
        (tmp_path / f"{number}").touch()
    touch(tmp_path / "z" / "late.gguf")
    reason = "more than 20000 files and folders: the rest is left out"
    assert list(walk(tmp_path)) == [Unreadable(path=tmp_path, reason=reason)]


def deeper(folder: Path, name: str, levels: int) -> None:
    """Make folders in each other, by handles: the whole path may be too long for any call."""
    handle = os.open(folder, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir(name, dir_fd=handle)
        inner = os.open(name, os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = inner
    os.close(handle)


def test_a_folder_that_cannot_be_read_is_found_to_be_so(tmp_path: Path) -> None:
    """A path of more than 4,096 bytes, for whoever runs the tests may be root, who may read everything else."""
    good = touch(tmp_path / "a.gguf")
    base = tmp_path.joinpath(*["n" * 250] * 14)
    base.mkdir(parents=True)
    deeper(base, "m" * 250, 4)
    found = list(walk(base))
    assert [type(entry) for entry in found] == [Unreadable]
    assert "File name too long" in str(found[0])
    assert next(iter(walk(tmp_path))) == good


def test_a_place_that_is_no_folder_or_is_gone_holds_nothing(tmp_path: Path) -> None:
    assert listed(tmp_path / "none") == ([], [])
    assert listed(touch(tmp_path / "file")) == ([], [])


def test_a_file_of_which_nobody_may_know_counts_as_one(tmp_path: Path) -> None:
    """Ours: reading it says what is wrong, and the user sees that in the list of problems."""
    assert is_model_file(tmp_path / ("x" * 300 + ".gguf"))
    assert not is_model_file(tmp_path / "none.gguf")
