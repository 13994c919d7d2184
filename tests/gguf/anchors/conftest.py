"""Stores in folders of their own, states that tell their tokens, and clocks that stand still."""

from __future__ import annotations

import contextlib
import subprocess
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeAlias

import numpy as np
import pytest

from pensieve_gguf.anchors import AnchorIdentity, AnchorStore, Limits, State

OpenStore: TypeAlias = Callable[..., AnchorStore]


@pytest.fixture
def clock() -> SimpleNamespace:
    """Unix time: `clock.now`, which a test sets."""
    return SimpleNamespace(now=1_000_000.0)


@pytest.fixture
def identity() -> AnchorIdentity:
    return AnchorIdentity(
        label="tiny",
        model="a model",
        build="a commit",
        state_version=2,
        key_type="f16",
        value_type="f16",
        flash_attention=True,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "anchors"


@pytest.fixture
def open_store(folder: Path, identity: AnchorIdentity, clock: SimpleNamespace) -> Iterator[OpenStore]:
    """Open stores on one folder; they are closed after the test."""
    with contextlib.ExitStack() as stack:

        def open_(path: Path = folder, identity: AnchorIdentity = identity, **limits: Any) -> AnchorStore:
            chosen = Limits(**{"budget_bytes": 10**9, "reserve_bytes": 0, "near_tokens": 0, **limits})
            store = AnchorStore.open(path, identity, limits=chosen, clock=lambda: clock.now)
            assert store is not None
            stack.callback(store.close)
            return store

        yield open_


@pytest.fixture
def tokens() -> Callable[[int], array[int]]:
    """Return the first so many tokens of one and the same prompt."""
    prompt = np.random.default_rng(1).integers(0, 150_000, 100_000, np.int32)
    return lambda count: array("i", prompt[:count].tobytes())


@pytest.fixture
def state() -> Callable[..., State]:
    """Return a state that no other seed gives."""
    return lambda seed=0, size=1_000: np.random.default_rng(seed).integers(0, 256, size, np.uint8)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mount file systems in memory, of such and such options."""
    with contextlib.ExitStack() as stack:

        def mount(options: str) -> Path:
            place = tmp_path / "disk"
            place.mkdir()
            command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
            if subprocess.run(command, capture_output=True, timeout=60, check=False).returncode:
                pytest.skip("this user may not mount a file system")
            stack.callback(subprocess.run, ["umount", "-l", str(place)], timeout=60, check=True)
            return place

        yield mount
