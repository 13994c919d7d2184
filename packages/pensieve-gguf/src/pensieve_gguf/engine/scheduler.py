"""What is computed next. A pure machine: `schedule` → (llama_decode) → `commit`.

There is no prefill phase and no decode phase: each sequence's computed tokens catch up with its known tokens (the
rule of vLLM v1's scheduler). A step holds first one row for every sequence that is answering, then chunks of the
others, up to a budget: small enough to hold the latency goal while anyone streams, the whole batch when nobody does
(unless that would take too long on this machine). When all are answering, their rows may be followed by drafts: tokens
that are guessed, and known only once they are sampled.

Above: the engine loop, which owns the context and samples. It calls from one thread; time is passed in. Below:
`placing` lets those run that can, `precedence` says who goes first, `residents` what is forgotten.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Sequence as Several

from pensieve_gguf.engine.carrying import ON_CPU, Carrying
from pensieve_gguf.engine.checkpoints import plan_checkpoints
from pensieve_gguf.engine.drafter import NO_DRAFT, Draft
from pensieve_gguf.engine.drafts import DraftPolicy
from pensieve_gguf.engine.moves import Change, Cut, Evict, Idle, Rewind, Save
from pensieve_gguf.engine.pace import Pace
from pensieve_gguf.engine.placing import Placing
from pensieve_gguf.engine.precedence import taking_part, youngest
from pensieve_gguf.engine.residents import Residents
from pensieve_gguf.engine.sequence import Sequence
from pensieve_gguf.engine.shelf import Shelf
from pensieve_gguf.engine.steps import Evicted, Exhausted, Preempted, Relief, Row, Step, Undrafted

__all__ = ["Scheduler"]


class Scheduler:
    """Decides what a step holds, and notes what became of it.

    Args:
        residents: The slots; mutated here and in `placing` only.
        batch_tokens: Rows of one step at most.
        max_running: Sequences that run at once.
        stretch: How many times as long a step may take while anyone streams, for prefill's sake.
        shelf: Prefixes that are not in the cache any more; only read here.
        carrying: When idle prefixes are carried to the shelf.
        drafts: Drafts what sequences with a drafter will say. None: nothing is drafted.
        plan: Says where checkpoints are made, if the model needs any.
    """

    def __init__(
        self,
        residents: Residents,
        *,
        batch_tokens: int,
        max_running: int,
        stretch: float,
        shelf: Shelf | None = None,
        carrying: Carrying = ON_CPU,
        drafts: DraftPolicy | None = None,
        plan: Callable[..., tuple[int, ...]] = plan_checkpoints,
    ) -> None:
        self._residents = residents
        self._carrying = carrying
        self._batch_tokens = batch_tokens
        shelf = Shelf(0) if shelf is None else shelf
        self._placing = placing = Placing(residents, shelf, max_running=max_running, plan=plan)
        self.waiting, self.running = placing.waiting, placing.running
        self.pace = Pace(batch_tokens=batch_tokens, stretch=stretch)
        """What steps cost; may be taught before the first one."""
        self._beat = 0
        """Steps that were committed."""
        self._drafts = drafts
        self._drafted = False
        """Whether the step that was scheduled last holds drafts."""
        self._cramped = False
        """Whether drafts found no room."""

    @property
    def idle(self) -> bool:
        """Whether there is nothing to compute."""
        return not self.waiting and not self.running

    def add(self, sequence: Sequence) -> None:
        """Let `sequence` wait for its turn."""
        self._placing.add(sequence)

    def schedule(self, now: float) -> Step | None:
        """Decide the next step. None: nothing to do. Mutates by placing waiting sequences and evicting idle prefixes.

        A step that does not fit even so is returned all the same: the decode will find no room.
        """
        moves = self._placing.place(now, self.pace.prefill_s) if self.waiting else ()
        running = taking_part(self.running, self._beat)
        rows = self._answers([sequence for sequence in running if sequence.answering][: self._batch_tokens], running)
        has_images = False
        if len(rows) < len(running):
            chunks = tuple(self._chunks(rows, [sequence for sequence in running if not sequence.answering], now))
            rows.extend(chunks)
            has_images = any(row.sequence.image_at(row.start) is not None for row in chunks)
        self._drafted = any(row.draft for row in rows)
        if not rows:
            return None
        evicted = self._residents.make_room(sum(row.stop - row.start for row in rows))
        return Step(moves=(*moves, *evicted), rows=tuple(rows), has_images=has_images)

    def _chunks(self, answers: Several[Row], prompts: list[Sequence], now: float) -> Iterable[Row]:
        """Yield as much of the `prompts` as may be computed beside `answers`, which are not drafted then."""
        budget = self.pace.budget(len(answers))
        answering = (row.sequence for row in answers)
        for sequence in self._placing.by_urgency(prompts, now, self.pace.prefill_s, busy=answering):
            chunk = min(budget, sequence.ahead)
            if chunk == 0:
                return
            yield _row(sequence, chunk)
            budget -= chunk

    def commit(
        self, step: Step, sampled: Mapping[int, Several[int]], elapsed_s: float, now: float
    ) -> tuple[Cut | Save, ...]:
        """Note that `step` was computed, in `elapsed_s` seconds.

        Args:
            step: What `schedule` returned.
            sampled: sequence key → the tokens drawn: the first of the draft, as far as it was right, and one more.
                A sequence that ends before has none.
            elapsed_s: Duration of the decode.
            now: Seconds on the engine's clock.

        Returns:
            What is to be cut out of the cache: drafts that were wrong; and the checkpoints to be made.
        """
        self._cramped = False
        self._beat += 1
        streaming = sum([row.sequence.answering for row in step.rows])
        self._residents.note_steps(bool(streaming) + (step.tokens - streaming) // self._carrying.prompt_tokens)
        self._learn(step, streaming, elapsed_s)
        moves = [self._advance(row, sampled.get(row.sequence.key, ()), now) for row in step.rows]
        return tuple([move for move in moves if move is not None])

    def remove(self, sequence: Sequence, now: float) -> None:
        """Take `sequence` out, done or cancelled; what it computed stays as an idle prefix."""
        self._placing.remove(sequence, now)
        if self._drafts is not None:
            self._drafts.forget(sequence)

    def relieve(self) -> Relief:
        """Make room after a decode found none: drafts go first, then idle prefixes, then the youngest waits."""
        if self._drafted:
            self._cramped = True
            return Undrafted()
        evicted = self.evict()
        if evicted is not None:
            return Evicted(evicted)
        leaver = youngest(self.running)
        if len(self.running) == 1:
            return Exhausted(leaver)
        cut = self._residents.preempt(leaver.place)
        self._placing.park(leaver)
        return Preempted(leaver, cut)

    def longest_prefix(self, prompt: array[int]) -> int:
        """Return how many tokens of `prompt` are in the cache."""
        return self._residents.longest_prefix(prompt)

    def sharing(self, tokens: array[int], target: int) -> tuple[Change, ...]:
        """Return the moves that let `target`, a slot that is not scheduled, hold exactly `tokens`; none: it cannot."""
        return self._residents.sharing(tokens, target)

    def stale(self) -> Idle | None:
        """Return an idle prefix that costs more where it is than on the shelf: `drop` or `keep` it."""
        return self._residents.stale(self._carrying)

    def drop(self, idle: Idle) -> Cut:
        """Forget an idle prefix."""
        return self._residents.drop(idle.slot)

    def keep(self, idle: Idle, now: float) -> None:
        """Leave an idle prefix where it is."""
        self._residents.touch(idle.slot, now)

    def evict(self) -> Cut | Evict | None:
        """Forget the end of what is worth least; its cells are still to be cut. None: there is nothing idle."""
        return self._residents.evict()

    def lose(self, slot: int) -> Cut:
        """Begin anew with the running sequence in `slot`: what it was to hold could not be restored."""
        return self.rewind(next(sequence for sequence in self.running if sequence.slot == slot))

    def check(self) -> None:
        """Raise AssertionError when what is known of the cache contradicts itself."""
        self._residents.check()

    def reset(self) -> None:
        """Forget what is in the cache, while nothing runs."""
        self._residents.reset()

    def take_back(self, sequence: Sequence, kept: int = 0) -> Cut:
        """Forget what a running `sequence` has sampled after `kept` tokens; the last one before is computed again."""
        length = sequence.prompt_tokens + kept
        del sequence.tokens[length:]
        sequence.computed = min(sequence.computed, length - 1)
        self._residents.advance(sequence.place, sequence.computed)
        if sequence.drafter is not None:
            sequence.drafter.restart()
        return Cut(sequence.place, sequence.computed)

    def fall_back(self, sequence: Sequence, limit: int) -> Cut | Rewind:
        """Take a running `sequence`, of which no part can be forgotten, back to where `limit` tokens at most are left.

        That is its last checkpoint; without one, nothing is left.
        """
        back = self._residents.rewound(sequence.place, limit)
        if back is None:
            return self.rewind(sequence)
        sequence.computed = back.checkpoint.length
        return back

    def rewind(self, sequence: Sequence) -> Cut:
        """Forget all that was computed of a running `sequence`: its cells are not to be trusted."""
        cut = self._residents.drop(sequence.place)
        self._placing.wait_again(sequence)
        return cut

    def _answers(self, answering: list[Sequence], running: list[Sequence]) -> list[Row]:
        busy = self._cramped or self.waiting or len(answering) < len(running)
        if self._drafts is None or busy:
            return [_row(sequence, 1) for sequence in answering]
        drafts = self._drafts.plan(answering, self._batch_tokens - len(answering))
        return [_row(sequence, 1, draft) for sequence, draft in zip(answering, drafts, strict=True)]

    def _learn(self, step: Step, streaming: int, elapsed_s: float) -> None:
        tokens = step.tokens
        if self._drafts is not None and streaming == len(step.rows):
            if streaming == 1:
                self._drafts.note(step.rows[0].sequence, tokens, elapsed_s)
            else:
                self._drafts.note_several(tokens, elapsed_s)
        if not self._drafted:
            self.pace.note(streaming=streaming, prefilled=tokens - streaming, elapsed_s=elapsed_s)

    def _advance(self, row: Row, sampled: Several[int], now: float) -> Cut | Save | None:
        sequence = row.sequence
        save: Save | None = None
        if sequence.answering:
            sequence.steps += 1
        else:
            sequence.prefilled += row.stop - row.start
            self._placing.precedence.note(sequence, row.stop - row.start)
            save = _save(sequence, row.stop) if sequence.checkpoints else None
        sequence.tokens.extend(sampled)
        sequence.computed = row.stop + max(0, len(sampled) - 1)
        self._residents.advance(sequence.place, sequence.computed)
        if row.samples and sequence.answered_at is None:
            sequence.answered_at = now
        wrong = row.stop + len(row.draft) - sequence.computed
        return Cut(sequence.place, sequence.computed) if wrong else save


def _row(sequence: Sequence, count: int, draft: Draft = NO_DRAFT) -> Row:
    stop = sequence.computed + count
    return Row(
        sequence=sequence,
        start=sequence.computed,
        stop=stop,
        samples=stop == len(sequence.tokens),
        draft=draft.tokens,
        by_model=draft.guessed,
    )


def _save(sequence: Sequence, computed: int) -> Save | None:
    """Return the checkpoint that is to be made now that the first `computed` tokens are there."""
    if sequence.checkpoints[-1] > computed:
        return None
    return Save(sequence.place, sequence.tokens[: sequence.checkpoints.pop()])
