"""Every policy at every pool size: simulations side by side in processes of their own."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import attrs

from simulator.policies import Policy, residents_of
from simulator.traces import Trace, read_traces
from simulator.world import Outcome, Setting, simulate

__all__ = ["Case", "Half", "Result", "sweep"]

Half = str
"""`fitted`, `judged` or `all`: which traces are played."""

_PARTS: dict[Half, slice] = {"fitted": slice(0, None, 2), "judged": slice(1, None, 2), "all": slice(None)}


@attrs.frozen(kw_only=True)
class Case:
    """One simulation."""

    traces: Path
    half: Half = "all"
    policy: Policy
    setting: Setting


@attrs.frozen(kw_only=True)
class Result:
    """What came of a case."""

    case: Case
    outcome: Outcome


def sweep(cases: Iterable[Case], processes: int) -> Iterator[Result]:
    """Yield the results in the order of `cases`."""
    with ProcessPoolExecutor(processes, mp_context=get_context("forkserver")) as pool:
        yield from pool.map(_play, cases)


def _play(case: Case) -> Result:
    setting = case.setting
    residents = residents_of(case.policy, slots=setting.slots, cells=setting.cells)
    outcome = simulate(_traces(case.traces)[_PARTS[case.half]], residents, setting)
    return Result(case=case, outcome=outcome)


@functools.cache
def _traces(path: Path) -> list[Trace]:
    return read_traces(path)
