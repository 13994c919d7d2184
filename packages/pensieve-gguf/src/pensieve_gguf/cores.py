"""How many cores may compute, and how their threads wait for each other.

Imports no llama.cpp: the supervisor reads it, too.
"""

from __future__ import annotations

import os
from pathlib import Path

import psutil

__all__ = ["PAGES_DEFAULT", "SPIN_DEFAULT", "cores_of_quota", "usable_cores"]

SPIN_DEFAULT = ("GOMP_SPINCOUNT", "2000")
"""A variable, and what it is in every process that loads llama.cpp, unless the user has set it.

llama.cpp's threads meet some 300 times a token, and spin while they wait. GNU's default is to spin for so long that
other busy processes stall them all: with two busy cores of two, SmolLM2 fell from 134 to 3 tokens a second, and to 20
with this; alone it costs nothing. Not to spin at all (OMP_WAIT_POLICY=passive) holds 38 there, but alone no more.
"""

PAGES_DEFAULT = ("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")
"""A variable of a worker, unless the user has set it: what is allocated in large pieces lies in huge pages.

Where Linux gives those to who asks for them (`madvise`, the usual setting), each token reads its weights and cells with
fewer misses of the address cache: 3 to 4 % faster (1.5B coder, SmolLM2). Others ignore the variable.
"""

_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")


def usable_cores() -> int:
    """Return how many real cores this process may use: two threads on one core only wait for each other."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(allowed, psutil.cpu_count(logical=False) or allowed, _quota(_CPU_MAX) or allowed)


def cores_of_quota(cpu_max: str) -> int | None:
    """Return how many cores a container may keep busy, rounded up. None: as many as there are.

    Args:
        cpu_max: The content of `cpu.max` (Linux, Documentation/admin-guide/cgroup-v2.rst): `$MAX $PERIOD`, both in
            microseconds; `max` means no limit.
    """
    quota, _, period = cpu_max.strip().partition(" ")
    if not (quota.isdecimal() and period.isdecimal() and int(period)):
        return None
    return max(1, -(-int(quota) // int(period)))


def _quota(file: Path) -> int | None:
    try:
        return cores_of_quota(file.read_text("ascii"))
    except (OSError, ValueError):  # not Linux, or no cgroup of version 2
        return None
