"""Takes back what was sampled and is not to be: an answer that only repeats a call, and a call that broke.

Nobody has seen anything of either. Above: the engine loop, in whose thread it runs. Below: the scheduler and the cells.
"""

from __future__ import annotations

from pensieve_gguf.engine.cells import Cells
from pensieve_gguf.engine.job import Job
from pensieve_gguf.engine.scheduler import Scheduler
from pensieve_gguf.engine.vitals import Vitals
from pensieve_gguf.llama import Context

__all__ = ["Retakes"]


class Retakes:
    """Of the jobs of one context.

    Args:
        context: Its cells are cut.
        scheduler: Is told.
        cells: Takes back what cannot be cut.
        vitals: Counters.
    """

    def __init__(self, context: Context, scheduler: Scheduler, cells: Cells, vitals: Vitals) -> None:
        self._context = context
        self._scheduler = scheduler
        self._cells = cells
        self._vitals = vitals

    def ask_again(self, job: Job) -> None:
        """Take a refused answer back; the next one begins otherwise."""
        self._vitals.repeated_calls_refused += 1
        job.answer = job.make_answer()  # first: should it fail, the cache is as it was
        job.not_first.add(job.sequence.tokens[job.sequence.prompt_tokens])
        self._take_back(job, 0)

    def mend(self, job: Job) -> None:
        """Take a broken call back; what stood before it stays, and a call that cannot break follows."""
        self._vitals.broken_calls_refused += 1
        broken, begin = job.answer, job.sequence.prompt_tokens
        kept = job.sequence.tokens[begin : begin + broken.sound_tokens]
        answer = job.make_answer()
        answer.resume(kept, broken.told)
        job.answer = answer
        self._take_back(job, len(kept))

    def _take_back(self, job: Job, kept: int) -> None:
        cut = self._scheduler.take_back(job.sequence, kept)
        if not self._context.cut(cut.slot, cut.length):
            self._cells.fall_back(job.sequence, cut.length)
