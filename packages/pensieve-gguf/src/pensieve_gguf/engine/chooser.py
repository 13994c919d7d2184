"""Picks a job's next tokens: what its sampler draws, unless that token may not stand there.

Above: the loop, which has computed the logits. Below: the context, which holds them. Runs in the engine thread.
"""

from __future__ import annotations

import attrs

from pensieve_core import GenerationEvent
from pensieve_gguf.constraints import Guide
from pensieve_gguf.engine.job import Job
from pensieve_gguf.engine.vitals import Vitals
from pensieve_gguf.llama import Context

__all__ = ["Chooser", "Drawn"]


@attrs.define
class Drawn:
    """What came of the rows of one job in one step."""

    tokens: list[int] = attrs.field(factory=list)
    events: list[GenerationEvent] = attrs.field(factory=list)
    unwritten: int | None = None
    """A token that the answer has not got yet: it does not end it, and may be written while the next is computed."""


class Chooser:
    """Chooses tokens of all jobs, one at a time.

    Args:
        context: Holds the logits of the batch that was decoded last. Its logits are mutated, nothing else.
        vitals: Refusals are counted here.
        longest: Tokens that a sequence may have.
    """

    def __init__(self, context: Context, vitals: Vitals, *, longest: int) -> None:
        self._context = context
        self._vitals = vitals
        self._longest = longest

    def choose(self, job: Job, index: int) -> int:
        """Return the token of `job` that follows batch row `index`; call it once a row.

        Where the answer leaves no choice, nothing is drawn: its reasoning has used up its budget, and ends.

        What the sampler draws is taken when its guide admits it. Else the sampler draws once more, from what is
        admitted: the same distribution as if it had drawn from that alone. But where the answer may end, it does: the
        model wants neither to end nor to say more of what was asked of it.
        """
        forced = job.answer.forced
        if forced is not None:
            return forced
        begins = not job.sequence.generated or job.answer.cut_short
        token = self._first(job, index) if begins else self._context.sample(job.sampler, index)
        guide = job.answer.guide
        if guide is None or guide.admits(token):
            return token
        admitted = self._admitted(job, guide, index)
        return token if admitted is None else admitted

    def _admitted(self, job: Job, guide: Guide, index: int) -> int | None:
        self._vitals.tokens_refused += 1
        if guide.satisfied:
            return min(self._context.model.end_tokens, default=None)
        guide.mask(self._context.logits(index))
        token = self._context.sample(job.sampler, index)
        if guide.admits(token):
            return token
        guide.give_up("nothing that may be sampled is admitted")
        return None

    def draw(self, job: Job, draft: tuple[int, ...], last: int, drawn: Drawn) -> None:
        """Choose after what is known, and after each guessed token as long as that is what was chosen before it.

        Args:
            job: Whose rows were computed; its answer takes what is chosen, and may be settled before the draft ends.
            draft: The tokens of its last rows, which are guessed.
            last: Batch index of the last of its rows.
            drawn: Takes what was chosen, as far as that goes well.
        """
        for index, guess in enumerate(draft, start=last - len(draft)):
            if self._take(job, index, drawn) != guess or job.answer.settled:
                return
        if draft or job.answer.guide is not None:  # what they draw next depends on what was written
            self._take(job, last, drawn)
            return
        token = self.choose(job, last)
        drawn.tokens.append(token)
        if job.answer.ends_with(token) or len(job.sequence.tokens) + 1 >= self._longest:
            drawn.events.extend(job.answer.push(token))
        else:
            drawn.unwritten = token

    def _take(self, job: Job, index: int, drawn: Drawn) -> int:
        token = self.choose(job, index)
        drawn.tokens.append(token)
        drawn.events.extend(job.answer.push(token))
        return token

    def _first(self, job: Job, index: int) -> int:
        """Draw what the answer begins with, be it after reasoning that was cut short."""
        context = self._context
        if job.not_first and not job.sequence.generated:
            context.forbid(index, sorted(job.not_first))
        token = context.sample(job.sampler, index)
        may_be_empty = job.may_be_empty and not job.answer.cut_short
        if context.model.is_end(token) and not may_be_empty:
            # Small models end a turn with nothing at all (seen with Qwen2.5-Coder-1.5B under Claude Code).
            self._vitals.empty_turns_refused += 1
            context.forbid(index, sorted(context.model.end_tokens))
            token = context.sample(job.sampler, index)
        return token
