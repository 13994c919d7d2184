"""A job: what the engine loop is asked to answer, for whom, and what became of it.

Above: the loop, which computes it. Below: the sequence, of which the scheduler knows, and the answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import attrs

from pensieve_core import EngineFailedError, GenerationEvent, PensieveError, Timings, Usage
from pensieve_gguf.engine.answer import Answer
from pensieve_gguf.engine.candidates import Candidates
from pensieve_gguf.engine.prompts import Remember
from pensieve_gguf.engine.sequence import Sequence
from pensieve_gguf.llama import Sampler

__all__ = ["Job", "Sink", "blaming", "timings_of", "usage_of"]


class Sink(Protocol):
    """Where a job's events go; called in the engine thread, never blocks."""

    def event(self, event: GenerationEvent) -> None:
        """Take the next event; `GenerationFinished` is the last."""
        ...

    def failed(self, error: PensieveError) -> None:
        """Take the error that ended the job; nothing follows."""
        ...


@attrs.define(kw_only=True, eq=False)
class Job:
    """A sequence with all that the loop needs to answer it."""

    sequence: Sequence
    make_answer: Callable[[], Answer]
    """Starts the answer; again, when the first was refused."""
    sampler: Sampler
    sink: Sink
    marked_tokens: int = 0
    """Prompt tokens before the last cache mark."""
    head_tokens: int = 0
    """Prompt tokens before the cache mark where tools and system text end; 0: there is none."""
    opens: bool = False
    """Whether it is the first turn of its conversation: what it shares with others is a head, marked or not."""
    on_disk: Candidates | None = None
    """What the disk has of its prompt."""
    may_be_empty: bool = False
    """Whether the model may end its turn at once; if not, it is asked a second time."""
    remember: Remember | None = None
    """Takes its words and tokens for the next prompt, once it is done."""
    answer: Answer = attrs.field(init=False)
    prefill_told: int = 0
    """Prompt tokens that the client has been told to be computed; never goes back."""
    not_first: set[int] = attrs.field(factory=set, init=False)
    """Tokens that the answer must not begin with, since an answer that did was refused."""
    error: PensieveError | None = attrs.field(default=None, init=False)
    """What ends this job alone: a bug in its sampler, its parser or its answer."""

    def __attrs_post_init__(self) -> None:
        self.answer = self.make_answer()


@attrs.frozen
class blaming:  # noqa: N801 - reads as the context manager that it is; a generator would cost more than the work within
    """Note in `job.error` what goes wrong with it: its bug must not end the answers of all others."""

    job: Job

    def __enter__(self) -> None:
        """Nothing is to be prepared."""

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> bool:
        """Swallow what is an `Exception`."""
        if not isinstance(error, Exception):
            return False
        self.job.error = EngineFailedError(f"the engine cannot answer this request: {error!r}")
        return True


def usage_of(job: Job) -> Usage:
    """Return the tokens of a job that is done."""
    sequence = job.sequence
    return Usage(
        prompt_tokens=sequence.prompt_tokens,
        cached_tokens=sequence.cached,
        cache_created_tokens=max(0, min(job.marked_tokens, sequence.prompt_tokens) - sequence.cached),
        generated_tokens=job.answer.generated_tokens,
        thinking_tokens=job.answer.thinking_tokens,
    )


def timings_of(sequence: Sequence, now: float) -> Timings:
    """Return where the time of a job went that is done `now`."""
    placed = now if sequence.placed_at is None else sequence.placed_at
    answered = now if sequence.answered_at is None else sequence.answered_at
    return Timings(
        queue_s=placed - sequence.arrived,
        prefill_s=answered - placed,
        decode_s=now - answered,
        decode_steps=sequence.steps,
        prefilled_tokens=sequence.prefilled,
    )
