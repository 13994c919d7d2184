"""Saving off the hot path: nothing waits, nothing grows without bound, closing ends in time."""

from __future__ import annotations

import itertools
import threading
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TypeAlias

import numpy as np
import pytest

from pensieve_gguf.anchors import AnchorIdentity, AnchorKind, AnchorStore, AnchorWriter, Limits, Saved, State
from pensieve_gguf.anchors.testing import FaultyFolder

Tokens: TypeAlias = "Callable[[int], array[int]]"
MakeState: TypeAlias = Callable[..., State]
OpenStore: TypeAlias = Callable[..., AnchorStore]
HEAD = AnchorKind.HEAD
BOUND_S = 30.0


class SlowDisk:
    """A store whose writes stand still until they are let go."""

    def __init__(self, path: Path, identity: AnchorIdentity) -> None:
        self.reached, self.let_go = threading.Semaphore(0), threading.Event()
        folder = FaultyFolder.open(path)
        self.store = AnchorStore(
            folder, identity, limits=Limits(budget_bytes=10**9, reserve_bytes=0, near_tokens=0), clock=lambda: 1_000.0
        )
        folder.before = self._before

    def _before(self, step: str) -> None:
        if step == "write":
            self.reached.release()
            assert self.let_go.wait(BOUND_S)


@pytest.fixture
def slow_disk(folder: Path, identity: AnchorIdentity) -> Iterator[SlowDisk]:
    disk = SlowDisk(folder, identity)
    yield disk
    disk.let_go.set()
    disk.store.close()


def test_what_is_offered_is_saved(open_store: OpenStore, tokens: Tokens, state: MakeState) -> None:
    store = open_store()
    writer = AnchorWriter(store)
    assert writer.offer(tokens(100), state(1), kind=HEAD)
    assert writer.offer(tokens(100), state(1), kind=HEAD)
    assert writer.offer(tokens(200), state(2), kind=AnchorKind.TURN, conversation="mine")
    assert writer.flush(BOUND_S)
    assert writer.outcomes == {Saved.SAVED: 2, Saved.KNOWN: 1}
    found = store.longest(tokens(200))
    assert found is not None
    assert (found.length, found.kind) == (200, AnchorKind.TURN)
    assert writer.close(BOUND_S)


def test_an_offer_never_waits_and_what_exceeds_the_queue_is_dropped(
    slow_disk: SlowDisk, tokens: Tokens, state: MakeState
) -> None:
    writer = AnchorWriter(slow_disk.store, queue_bytes=2_500)
    assert writer.offer(tokens(10), state(1), kind=HEAD)
    assert slow_disk.reached.acquire(timeout=BOUND_S), "the first is being written"
    taken = [writer.offer(tokens(length), state(length), kind=HEAD) for length in (20, 30, 40)]
    assert taken == [True, False, False]
    assert writer.dropped == 2
    assert not writer.flush(0.0)
    slow_disk.let_go.set()
    assert writer.flush(BOUND_S)
    assert writer.outcomes == {Saved.SAVED: 2}
    assert writer.offer(tokens(50), state(50, 10_000), kind=HEAD), "a large one is taken when nothing waits"
    assert writer.close(BOUND_S)


def test_closing_saves_what_was_taken_and_takes_no_more(
    open_store: OpenStore, tokens: Tokens, state: MakeState
) -> None:
    store = open_store()
    writer = AnchorWriter(store)
    for length in range(10, 60, 10):
        assert writer.offer(tokens(length), state(length), kind=HEAD)
    assert writer.close(BOUND_S)
    assert writer.outcomes == {Saved.SAVED: 5}
    assert not writer.offer(tokens(100), state(), kind=HEAD)
    assert writer.close(0.0)


def test_at_the_deadline_the_running_write_is_given_up_and_the_rest_dropped(
    slow_disk: SlowDisk, tokens: Tokens, state: MakeState, folder: Path
) -> None:
    writer = AnchorWriter(slow_disk.store)
    for length in (10, 20):
        assert writer.offer(tokens(length), np.zeros(20 << 20, np.uint8), kind=HEAD)
    assert slow_disk.reached.acquire(timeout=BOUND_S)
    assert not writer.close(0.0), "the disk hangs"
    slow_disk.let_go.set()
    assert writer.close(BOUND_S)
    assert writer.outcomes == {Saved.CANCELLED: 1}
    assert writer.dropped == 1
    assert [path.name for path in folder.iterdir() if path.suffix in {".part", ".anchor"}] == []


def test_a_disk_that_fails_does_not_end_the_thread(
    folder: Path, identity: AnchorIdentity, clock: SimpleNamespace, tokens: Tokens, state: MakeState
) -> None:
    faulty = FaultyFolder.open(folder)
    store = AnchorStore(faulty, identity, limits=Limits(budget_bytes=10**9, reserve_bytes=0), clock=lambda: clock.now)
    count = itertools.count()

    def before(_step: str) -> None:
        if next(count) == 0:
            raise OSError(5, "as the test wanted")

    faulty.before = before
    writer = AnchorWriter(store)
    for length in (10, 20):
        assert writer.offer(tokens(length), state(length), kind=HEAD)
    assert writer.close(BOUND_S)
    assert writer.outcomes == {Saved.FAILED: 1, Saved.SAVED: 1}
    store.close()
