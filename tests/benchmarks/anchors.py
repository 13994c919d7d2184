"""How fast anchors are found, saved and loaded on this machine's disk.

    python tests/benchmarks/anchors.py [--folder DIR] [--size BYTES ...]

The folder should lie on the disk that is asked about; a folder of its own is made in it and removed. "Cold" is after
the kernel was asked to forget the file (`posix_fadvise`), "warm" right after. The first load also touches memory that
this process never had, which some virtual machines make dear.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from array import array
from collections.abc import Callable
from pathlib import Path

import numpy as np

from pensieve_gguf.anchors import AnchorIdentity, AnchorKind, AnchorStore, Limits, Saved, State

IDENTITY = AnchorIdentity(model="m", build="b", state_version=2, key_type="f16", value_type="f16", flash_attention=True)
PROMPT_TOKENS = 24_000
ANCHORS = 300
RUNS = 200
SIZES = (100_000_000, 1_000_000_000)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path.cwd())
    parser.add_argument("--size", type=int, nargs="*", default=SIZES)
    arguments = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {arguments.folder}")
    with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="anchors-") as home:
        measure_search(Path(home) / "many")
        for size in arguments.size:
            measure_state(Path(home) / str(size), size)


def measure_search(folder: Path) -> None:
    """Print what it costs to find the longest of many anchors, and that there is none."""
    store = _open(folder)
    prompt = _prompt(PROMPT_TOKENS)
    for count in np.linspace(100, PROMPT_TOKENS - 100, ANCHORS, dtype=int).tolist():
        assert store.save(prompt[:count], np.zeros(1_000, np.uint8), kind=AnchorKind.HEAD) is Saved.SAVED
    other = array("i", [0, *prompt[1:]])
    for name, tokens in (("found", prompt), ("none", other)):
        times = [_seconds(lambda: store.longest(tokens)) for _ in range(RUNS)]  # noqa: B023 - called at once
        median, worst = statistics.median(times) * 1e3, max(times) * 1e3
        print(f"longest(), {PROMPT_TOKENS} tokens, {ANCHORS} anchors, {name}: {median:.2f} ms (worst {worst:.2f})")
    times = [_seconds(lambda: store.wants(prompt, 1_000, kind=AnchorKind.TURN)) for _ in range(RUNS)]
    print(f"wants(), the same: {statistics.median(times) * 1e3:.2f} ms (worst {max(times) * 1e3:.2f})")
    store.close()
    print(f"opening a store of {ANCHORS}: {_seconds(lambda: _open(folder).close()) * 1e3:.1f} ms")
    for index in folder.glob("index-*"):
        index.unlink()
    print(f"the same with its index lost: {_seconds(lambda: _open(folder).close()) * 1e3:.1f} ms")


def measure_state(folder: Path, size: int) -> None:
    """Print how fast a state of `size` bytes is saved and loaded."""
    store = _open(folder)
    state: State = np.random.default_rng(0).integers(0, 256, size, np.uint8)
    prompt = _prompt(PROMPT_TOKENS)
    saved_s = _seconds(lambda: store.save(prompt, state, kind=AnchorKind.HEAD))
    anchor = store.longest(prompt)
    assert anchor is not None
    colds = []
    for _ in range(2):
        _forget(folder / anchor.name)
        colds.append(_seconds(lambda: store.load(anchor, prompt)))
    warm_s = min(_seconds(lambda: store.load(anchor, prompt)) for _ in range(3))
    for name, seconds in (("saved", saved_s), ("loaded, first", colds[0]), ("cold", colds[1]), ("warm", warm_s)):
        print(f"{size / 1e6:,.0f} MB {name}: {size / seconds / 1e6:,.0f} MB/s ({seconds:.2f} s)")
    loaded = store.load(anchor, prompt)
    assert loaded is not None
    assert np.array_equal(loaded, state)
    store.close()


def _open(folder: Path) -> AnchorStore:
    limits = Limits(budget_bytes=10**11, bytes_per_hour=10**12, reserve_bytes=0, near_tokens=0)
    store = AnchorStore.open(folder, IDENTITY, limits=limits, clock=time.time)
    assert store is not None
    return store


def _prompt(count: int) -> array[int]:
    return array("i", np.random.default_rng(1).integers(1, 150_000, count, np.int32).tobytes())


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _forget(path: Path) -> None:
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


if __name__ == "__main__":
    main()
