"""Picks a job's next token: what its sampler draws, unless that token may not stand there.

Above: the loop, which has computed the logits. Below: the context, which holds them. Runs in the engine thread.
"""

from __future__ import annotations

from pensieve_gguf.engine.job import Job
from pensieve_gguf.engine.vitals import Vitals
from pensieve_gguf.llama import Context

__all__ = ["Chooser"]


class Chooser:
    """Chooses tokens of all jobs, one at a time.

    Args:
        context: Holds the logits of the batch that was decoded last. Its logits are mutated, nothing else.
        vitals: Refusals are counted here.
    """

    def __init__(self, context: Context, vitals: Vitals) -> None:
        self._context = context
        self._vitals = vitals

    def choose(self, job: Job, index: int) -> int:
        """Return the token of `job` that follows batch row `index`; call it once a row."""
        if job.sequence.generated:
            return self._context.sample(job.sampler, index)
        return self._first(job, index)

    def _first(self, job: Job, index: int) -> int:
        context = self._context
        if job.not_first:
            context.forbid(index, sorted(job.not_first))
        token = context.sample(job.sampler, index)
        if context.model.is_end(token) and not job.may_be_empty:
            # Small models end a turn with nothing at all (seen with Qwen2.5-Coder-1.5B under Claude Code).
            self._vitals.empty_turns_refused += 1
            context.forbid(index, sorted(context.model.end_tokens))
            token = context.sample(job.sampler, index)
        return token
