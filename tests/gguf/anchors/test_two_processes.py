"""Two servers share a folder: both write, one starts while the other writes, and what is found is whole."""

from __future__ import annotations

import subprocess
import sys
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from pensieve_gguf.anchors import AnchorStore

OpenStore: TypeAlias = Callable[..., AnchorStore]
WRITER = Path(__file__).with_name("busy_writer.py")
BOUND_S = 100.0


@pytest.mark.parametrize("budget", [10**9, 1_000_000])
def test_two_processes_write_at_once_while_a_third_starts_again_and_again(
    open_store: OpenStore, folder: Path, budget: int
) -> None:
    writers = [subprocess.Popen([sys.executable, WRITER, folder, str(n), str(budget)]) for n in (1, 2)]
    starts = 0
    try:
        while starts < 3 or any(writer.poll() is None for writer in writers):
            open_store(budget_bytes=budget).close()
            starts += 1
    finally:
        ends = [writer.wait(BOUND_S) for writer in writers]
    assert ends == [0, 0]
    files = list(folder.glob("*.anchor"))
    assert sum(file.stat().st_size for file in files) <= budget
    store = open_store(budget_bytes=budget)
    found = set()
    for first in (0, 1, 2):
        tokens = array("i", [first, *range(100)])
        while (anchor := store.longest(tokens)) is not None:
            state = store.load(anchor, tokens)
            assert state is not None
            assert (state == anchor.length - 1).all()
            found.add(anchor.name)
            tokens = tokens[: anchor.length - 1]
    assert found == {file.name for file in files}
    assert {path.suffix for path in folder.iterdir()} <= {".anchor", ".TAG", ".sqlite", ".sqlite-wal", ".sqlite-shm"}
