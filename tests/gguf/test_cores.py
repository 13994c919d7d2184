"""Ours: as many threads as there are cores for them, and none that spins for long (ADR 5)."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pensieve_gguf.cores import SPIN_DEFAULT, cores_of_quota, usable_cores


@pytest.mark.parametrize(
    ("content", "cores"),
    [
        ("200000 100000\n", 2),
        ("150000 100000", 2),
        ("10000 100000", 1),
        ("0 100000", 1),
        ("max 100000\n", None),
        ("max", None),
        ("200000", None),
        ("200000 0", None),
        ("", None),
    ],
)
def test_a_quota_is_told_in_whole_cores(content: str, cores: int | None) -> None:
    """Linux, cgroup-v2.rst: `cpu.max` is `$MAX $PERIOD`; docker run --cpus=1.5 writes `150000 100000`."""
    assert cores_of_quota(content) == cores


@given(st.text())
def test_whatever_the_file_holds_there_is_at_least_one_core(content: str) -> None:
    cores = cores_of_quota(content)
    assert cores is None or cores >= 1


def test_this_process_may_use_a_core_and_no_more_than_the_system_allows() -> None:
    assert 1 <= usable_cores() <= len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("given", "seen"), [({}, SPIN_DEFAULT[1]), ({"GOMP_SPINCOUNT": "7"}, "7")], ids=["ours", "theirs"]
)
def test_who_loads_llama_cpp_in_process_spins_briefly_too_unless_told_otherwise(
    given: dict[str, str], seen: str
) -> None:
    """libgomp tells what it read when OMP_DISPLAY_ENV asks; it does so while it is loaded."""
    inherited = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    done = subprocess.run(
        [sys.executable, "-c", "import pensieve_gguf.llama"],
        env={**inherited, **given, "OMP_DISPLAY_ENV": "verbose"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert f"GOMP_SPINCOUNT = '{seen}'" in done.stderr
