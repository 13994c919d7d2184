"""What a worker takes, beside what was predicted before it was loaded, within memory of several sizes. Pensieve alone.

The memory is pretended: the engine is told how much it may take. Taken is the peak of the worker's resident memory
(`VmHWM`, proc_pid_status(5)), after loading, and after a long prompt and two rounds of several at once, by which time
prompts outside the cache fill the room that they have. Once more with a disk tier, whose copies come and go.
"""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Sequence
from pathlib import Path

import attrs
import psutil
from scenario import Bench, Claim, Part, Scenario, Table

from pensieve_core import (
    GenerationRequest,
    MemoryTerm,
    ModelDescriptor,
    ModelId,
    RequestId,
    Role,
    Sampling,
    TextPart,
    Turn,
)
from pensieve_gguf import GgufSettings
from pensieve_gguf.memory_sum import total_bytes
from pensieve_gguf.worker import SupervisedEngine
from pensieve_inference import SystemClock
from pensieve_inference.testing import make_descriptor

__all__ = ["SCENARIO", "Taken", "judge", "table"]

_GIB, _MIB = 1 << 30, 1 << 20
_SIZES = (2, 4, 8, 24)
_WITHIN = 0.1
_KEPT_BYTES = 32 * _MIB
"""For prompts outside the cache: so little that a few minutes fill it."""
_LONG, _SHORT, _AT_ONCE, _ROUNDS = 1_500, 400, 3, 2
_TOKENS_A_WORD = 3.6
_ids = itertools.count(1)


@attrs.frozen(kw_only=True)
class Taken:
    """One worker, in bytes."""

    budget: int
    disk: bool
    context: int
    cells: int
    terms: tuple[MemoryTerm, ...]
    loaded: int
    """Its peak once loaded."""
    busy: int
    """Its peak after all prompts."""

    @property
    def at_first(self) -> int:
        """What was predicted for the time after loading."""
        return total_bytes(term for term in self.terms if not term.at_most)

    @property
    def at_last(self) -> int:
        """What was predicted at most."""
        return total_bytes(self.terms)


def judge(runs: Sequence[Taken]) -> tuple[Claim, ...]:
    """Hold what was taken against what was predicted, and against the budget."""
    plain = [run for run in runs if not run.disk]
    loaded = max(abs(run.loaded / run.at_first - 1) for run in plain)
    busy = max(abs(run.busy / run.at_last - 1) for run in plain)
    fullest = max(run.busy / run.budget for run in runs)
    return (
        Claim(text="loaded, within 10 % of the prediction", measured=f"{loaded:.1%} off", holds=loaded <= _WITHIN),
        Claim(text="busy, within 10 % of the prediction", measured=f"{busy:.1%} off", holds=busy <= _WITHIN),
        Claim(text="never over the budget", measured=f"{fullest:.0%} of it", holds=fullest <= 1),
    )


def table(runs: Sequence[Taken]) -> Table:
    """Return prediction and peak of each worker."""
    columns = ("may take", "context", "cells", "predicted", "loaded", "predicted at most", "busy")
    return Table(title="Predicted and real peak of resident memory, MiB", columns=columns, rows=tuple(map(_row, runs)))


def _row(run: Taken) -> tuple[str, ...]:
    sizes = (
        _mib(run.at_first),
        f"{_mib(run.loaded)} ({run.loaded / run.at_first - 1:+.1%})",
        _mib(run.at_last),
        f"{_mib(run.busy)} ({run.busy / run.at_last - 1:+.1%})",
    )
    name = f"{run.budget // _GIB} GiB{', disk' if run.disk else ''}"
    return (name, f"{run.context:,}", f"{run.cells:,}", *sizes)


def _terms(runs: Sequence[Taken]) -> Table:
    """Return each term of the predictions."""
    names = list(dict.fromkeys(term.name for run in runs for term in run.terms))
    rows = (
        (
            f"{run.budget // _GIB} GiB{', disk' if run.disk else ''}",
            *(_mib(sum(term.size_bytes for term in run.terms if term.name == name)) for name in names),
        )
        for run in runs
    )
    return Table(title="The terms of the predictions, MiB", columns=("may take", *names), rows=tuple(rows))


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / _MIB:,.0f}"


def run(bench: Bench) -> Part:
    """Load, and ask, within each size of memory."""
    cases = [*((size, None) for size in _SIZES), (_SIZES[0], bench.folder / "disk")]
    runs = [asyncio.run(_taken(bench, size * _GIB, disk)) for size, disk in cases]
    return Part(tables=(table(runs), _terms(runs)), claims=judge(runs))


async def _taken(bench: Bench, budget: int, disk: Path | None) -> Taken:
    path = bench.model
    model = attrs.evolve(make_descriptor(path.stem), path=path, size_bytes=path.stat().st_size)
    settings = GgufSettings(
        memory_bytes=budget, cache_ram_bytes=_KEPT_BYTES, threads=bench.threads, cache_folder=disk, max_resident=48
    )
    engine = SupervisedEngine(model, settings, SystemClock())
    await engine.start()
    try:
        (worker,) = psutil.Process().children()
        loaded = _peak_bytes(worker.pid)
        cells = await _kept_busy(engine, model)
        return Taken(
            budget=budget,
            disk=disk is not None,
            context=engine.description.context_tokens,
            cells=cells,
            terms=engine.description.memory,
            loaded=loaded,
            busy=_peak_bytes(worker.pid),
        )
    finally:
        await engine.aclose()


async def _kept_busy(engine: SupervisedEngine, model: ModelDescriptor) -> int:
    """Ask, and return how many cells the note speaks of."""
    await _ask(engine, model.id, _LONG)
    for _ in range(_ROUNDS):
        await asyncio.gather(*(_ask(engine, model.id, _SHORT) for _ in range(_AT_ONCE)))
    return int(re.findall(r"([\d,]+) cells", engine.description.notes[0])[0].replace(",", ""))


async def _ask(engine: SupervisedEngine, model: ModelId, tokens: int) -> None:
    number = next(_ids)
    words = (f"{'abcdefg'[number % 7]}{number * 1_000 + word}" for word in range(int(tokens / _TOKENS_A_WORD)))
    request = GenerationRequest(
        id=RequestId(f"req_{number}"),
        model=model,
        turns=(Turn(role=Role.USER, parts=(TextPart(text=" ".join(words)),)),),
        max_tokens=4,
        sampling=Sampling(temperature=0.0),
    )
    async for _ in await engine.generate(request):
        pass


def _peak_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) << 10


SCENARIO = Scenario(name="memory", shows="what a worker takes beside what was predicted, with 2 to 24 GiB", run=run)
