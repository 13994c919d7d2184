"""A header is read once for as long as its file stays the same."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from pensieve_registry import FolderSource, Found, LocalCatalog
from pensieve_registry._cards import KnownFiles, ModelCard, RefusedCard
from pensieve_registry.testing import write_chat_model

NAMES = {"general.name": "Ada"}


def test_a_file_that_has_not_changed_is_not_read_again(tmp_path: Path) -> None:
    """Its bytes are other ones now, and nothing that a look at the folder tells has changed."""
    known, path = KnownFiles(), write_chat_model(tmp_path / "m.gguf", NAMES)
    before, status = known.card(path), path.stat()
    with path.open("r+b") as file:
        file.write(b"JUNK")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert known.card(path) is before
    known.forget_others()
    assert known.card(path) is before


@pytest.mark.parametrize("change", ["time", "size", "another file"])
def test_a_file_that_has_changed_is_read_again(tmp_path: Path, change: str) -> None:
    known, path = KnownFiles(), write_chat_model(tmp_path / "m.gguf", NAMES)
    before = known.card(path)
    match change:
        case "time":
            os.utime(path, ns=(0, 1))
        case "size":
            path.write_bytes(path.read_bytes() + b"x")
        case _:
            status = path.stat()
            write_chat_model(tmp_path / "n.gguf", NAMES).replace(path)
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert known.card(path) is not before


def test_a_shard_that_was_missing_is_seen_when_it_comes(tmp_path: Path) -> None:
    known = KnownFiles()
    first = write_chat_model(tmp_path / "m-00001-of-00002.gguf", {"split.no": 0, "split.count": 2}, shapes={"a": (8,)})
    assert isinstance(known.card(first), RefusedCard)
    write_chat_model(tmp_path / "m-00002-of-00002.gguf", {"split.no": 1, "split.count": 2}, shapes={"b": (8,)})
    assert isinstance(known.card(first), ModelCard)


def test_what_nobody_asks_for_any_more_is_forgotten(tmp_path: Path) -> None:
    known = KnownFiles()
    paths = [write_chat_model(tmp_path / f"{name}.gguf") for name in "ab"]
    before = [known.card(path) for path in paths]
    known.forget_others()
    assert known.card(paths[0]) is before[0]
    known.forget_others()
    assert known.card(paths[0]) is before[0]
    assert known.card(paths[1]) is not before[1]


def test_hundreds_of_files_are_looked_at_in_a_breath(tmp_path: Path) -> None:
    """Ours: 300 vocabularies of 500 tokens; the second look reads none of them."""
    tokens = {"tokenizer.ggml.tokens": [f"token-{number}" for number in range(500)]}
    for number in range(300):
        write_chat_model(tmp_path / f"{number % 7}" / f"m{number}.gguf", tokens)
    catalog = LocalCatalog([FolderSource(tmp_path)])
    seconds = []
    for _ in range(2):
        started = time.process_time()
        catalog.scan()
        seconds.append(time.process_time() - started)
    assert len(catalog.models()) == 300
    assert seconds[0] < 5
    assert seconds[1] < seconds[0]


class FailingSource:
    """A stranger's source, on a disk that fails in the middle."""

    name = "failing"

    def __init__(self, path: Path) -> None:
        self.path = path

    def find(self) -> Iterable[Found]:
        yield self.path
        raise PermissionError(13, "Permission denied", "/mnt/theirs")


def test_a_source_that_fails_is_a_problem_and_hides_nothing(tmp_path: Path) -> None:
    path = write_chat_model(tmp_path / "m.gguf")
    catalog = LocalCatalog([FailingSource(path), FolderSource(tmp_path)])
    assert [model.id for model in catalog.models()] == ["m"]
    (problem,) = catalog.problems
    assert (str(problem.path), problem.source) == ("/mnt/theirs", "failing")
    assert problem.reason == "cannot be searched: Permission denied"
