"""Whenever the process dies or the disk refuses, what is found afterwards is whole, and nothing is left behind."""

from __future__ import annotations

import errno
import itertools
import shutil
import signal
import subprocess
import sys
from array import array
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TypeAlias

import numpy as np
import pytest
import structlog

from pensieve_gguf.anchors import AnchorIdentity, AnchorKind, AnchorStore, Limits, Saved, State
from pensieve_gguf.anchors.testing import FaultyFolder

Tokens: TypeAlias = "Callable[[int], array[int]]"
MakeState: TypeAlias = Callable[..., State]
OpenStore: TypeAlias = Callable[..., AnchorStore]
TURN = AnchorKind.TURN
WRITER = Path(__file__).with_name("dying_writer.py")
BOUND_S = 60.0
OLD, NEW = array("i", range(100)), array("i", range(200))


def _drafts(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.suffix == ".part"]


def _value(store: AnchorStore) -> int | None:
    """Return the byte that the best state consists of, after a look at each of them."""
    anchor = store.longest(NEW)
    state = None if anchor is None else store.load(anchor, NEW)
    if state is None:
        return None
    assert (state == state[0]).all()
    return int(state[0])


def test_killed_at_any_step_of_a_write_the_old_turn_or_the_new_one_is_there_and_whole(
    open_store: OpenStore, folder: Path
) -> None:
    """Ours, SQLite's way: the N-th step fails, for every N, until the scenario passes untouched."""
    found = []
    for step in itertools.count(1):
        (fresh := open_store()).save(OLD, np.full(1_000, 1, np.uint8), kind=TURN)
        fresh.close()
        done = subprocess.run([sys.executable, WRITER, folder, str(step)], timeout=BOUND_S, check=False)
        after = open_store()
        assert _drafts(folder) == []
        found.append(_value(after))
        after.close()
        if done.returncode != -signal.SIGKILL:
            break
        for file in folder.glob("*.anchor"):
            file.unlink()
    assert done.returncode == 0
    assert len(found) > 10
    # Not there before it had its name, there ever after.
    assert found == sorted(found, key=lambda value: value or 0)
    assert set(found) == {1, 2}


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_when_any_step_fails_the_store_goes_on_and_leaves_nothing_behind(
    folder: Path, identity: AnchorIdentity, clock: SimpleNamespace, open_store: OpenStore, code: int
) -> None:
    limits = Limits(budget_bytes=10**9, reserve_bytes=0)
    for step in itertools.count(1):
        faulty = FaultyFolder.open(folder)
        store = AnchorStore(faulty, identity, limits=limits, clock=lambda: clock.now)
        assert store.save(OLD, np.full(1_000, 1, np.uint8), kind=TURN) is Saved.SAVED
        steps: list[str] = []

        def before(name: str, steps: list[str] = steps, last: int = step) -> None:
            steps.append(name)
            if len(steps) == last:
                raise OSError(code, "as the test wanted")

        faulty.before = before
        outcome = store.save(NEW, np.full(10 << 20, 2, np.uint8), kind=TURN)
        faulty.before = lambda _: None
        assert _value(store) in {1, 2}
        assert _drafts(folder) == [] or steps[-1] == "remove"
        store.close()
        after = open_store()
        assert _drafts(folder) == []
        assert _value(after) in {1, 2}
        after.close()
        for file in folder.glob("*.anchor"):
            file.unlink()
        if len(steps) < step:
            break
        assert outcome is (Saved.NO_ROOM if code == errno.ENOSPC else Saved.FAILED)
    assert outcome is Saved.SAVED
    assert step > 8


def test_a_use_that_cannot_be_noted_does_not_cost_the_state(
    folder: Path, identity: AnchorIdentity, clock: SimpleNamespace
) -> None:
    faulty = FaultyFolder.open(folder)
    store = AnchorStore(faulty, identity, limits=Limits(budget_bytes=10**9, reserve_bytes=0), clock=lambda: clock.now)
    store.save(OLD, np.full(1_000, 1, np.uint8), kind=TURN)

    def before(step: str) -> None:
        if step == "touch":
            raise OSError(errno.EROFS, "as the test wanted")

    faulty.before = before
    assert _value(store) == 1
    store.close()


def test_a_closed_store_finds_nothing_and_saves_nothing_but_does_not_raise(open_store: OpenStore) -> None:
    store = open_store()
    store.save(OLD, np.full(1_000, 1, np.uint8), kind=TURN)
    anchor = store.longest(OLD)
    assert anchor is not None
    store.close()
    store.close()
    assert store.longest(OLD) is None
    assert store.load(anchor, OLD) is None
    assert not store.wants(NEW, 1_000, kind=TURN)
    assert store.save(NEW, np.full(1_000, 2, np.uint8), kind=TURN) is Saved.FAILED


# -- disks ---------------------------------------------------------------------------------------------------------


def test_a_disk_that_fills_up_in_the_middle_of_a_write_costs_that_anchor_alone(
    small_disk: Callable[[str], Path], identity: AnchorIdentity, clock: SimpleNamespace
) -> None:
    disk = small_disk("size=32m")
    faulty = FaultyFolder.open(disk / "anchors")
    store = AnchorStore(faulty, identity, limits=Limits(budget_bytes=10**9, reserve_bytes=0), clock=lambda: clock.now)
    assert store.save(OLD, np.full(1 << 20, 1, np.uint8), kind=TURN) is Saved.SAVED
    left = itertools.count(3, -1)

    def before(step: str) -> None:
        if step == "write" and next(left) == 0:
            _fill_up(disk / "of others")

    faulty.before = before
    assert store.save(NEW, np.full(20 << 20, 2, np.uint8), kind=TURN) is Saved.NO_ROOM
    faulty.before = lambda _: None
    assert _drafts(disk / "anchors") == []
    assert _value(store) == 1
    (disk / "of others").unlink()
    assert store.save(NEW, np.full(20 << 20, 2, np.uint8), kind=TURN) is Saved.SAVED
    assert _value(store) == 2
    store.close()


def test_a_disk_that_is_full_already_is_no_error_to_anyone(
    small_disk: Callable[[str], Path], open_store: OpenStore, identity: AnchorIdentity, clock: SimpleNamespace
) -> None:
    disk = small_disk("size=16m")
    store = open_store(disk / "anchors")
    assert store.save(OLD, np.full(1 << 20, 1, np.uint8), kind=TURN) is Saved.SAVED
    _fill_up(disk / "of others")
    assert not store.wants(NEW, 1 << 20, kind=TURN)
    assert store.save(NEW, np.full(1 << 20, 2, np.uint8), kind=TURN) is Saved.NO_ROOM
    assert _value(store) == 1
    store.close()
    limits = Limits(budget_bytes=10**9)
    with structlog.testing.capture_logs() as logs:
        late = AnchorStore.open(disk / "anchors", identity, limits=limits, clock=lambda: clock.now)
    assert late is None
    assert [log["event"] for log in logs] == ["anchors_disabled"]


def test_when_others_take_the_space_anchors_make_room(
    small_disk: Callable[[str], Path], open_store: OpenStore, tokens: Tokens, clock: SimpleNamespace
) -> None:
    disk = small_disk("size=20m")
    store = open_store(disk / "anchors", reserve_bytes=5 << 20)
    for length in (10, 20, 30):
        saved = store.save(tokens(length), np.full(3 << 20, length, np.uint8), kind=AnchorKind.HEAD)
        assert saved is Saved.SAVED
        clock.now += 1
    (disk / "of others").write_bytes(bytes(5 << 20))
    assert store.save(tokens(40), np.full(3 << 20, 40, np.uint8), kind=AnchorKind.HEAD) is Saved.SAVED
    found = [store.longest(tokens(length), at_least=length) for length in (10, 20, 30, 40)]
    assert [anchor is not None for anchor in found] == [False, True, True, True]


def test_a_disk_that_became_read_only_switches_the_tier_off_with_one_warning(
    small_disk: Callable[[str], Path], open_store: OpenStore, identity: AnchorIdentity, clock: SimpleNamespace
) -> None:
    disk = small_disk("size=16m")
    open_store(disk / "anchors").close()
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], timeout=BOUND_S, check=True)
    limits = Limits(budget_bytes=10**9)
    for path in (disk / "anchors", disk / "new"):
        with structlog.testing.capture_logs() as logs:
            assert AnchorStore.open(path, identity, limits=limits, clock=lambda: clock.now) is None
        assert [(log["event"], log["log_level"]) for log in logs] == [("anchors_disabled", "warning")]


def _fill_up(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        room = shutil.disk_usage(path).free
        while room:
            file.write(bytes(min(room, 1 << 20)))
            room = shutil.disk_usage(path).free
