"""What is computed next. A pure machine: `schedule` → (llama_decode) → `commit`.

There is no prefill phase and no decode phase: each sequence's computed tokens catch up with its known tokens (the
rule of vLLM v1's scheduler). A step holds first one row for every sequence that is answering, then chunks of the
others, up to a budget: small enough to hold the latency goal while anyone streams, the whole batch when nobody does
(unless that would take too long on this machine). When all are answering, their rows may be followed by drafts: tokens
that are guessed, and known only once they are sampled.

Above: the engine loop, which owns the context and samples. It calls from one thread; time is passed in.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Sequence as Several

from pensieve_gguf.engine.carrying import ON_CPU, Carrying
from pensieve_gguf.engine.checkpoints import plan_checkpoints
from pensieve_gguf.engine.drafts import DraftPolicy
from pensieve_gguf.engine.moves import Change, Cut, Elsewhere, Evict, Idle, Placement, Rewind, Save
from pensieve_gguf.engine.pace import Pace
from pensieve_gguf.engine.residents import Residents
from pensieve_gguf.engine.sequence import Sequence
from pensieve_gguf.engine.shelf import Shelf, Shelved
from pensieve_gguf.engine.steps import Evicted, Exhausted, Move, Preempted, Relief, Restore, Row, Step, Undrafted
from pensieve_gguf.engine.tree import common_prefix

__all__ = ["Scheduler"]

# How long answers get is not known before (clients ask for 64,000 and take 222); so much is kept free for each.
_ANSWER_CELLS = 256
# Short prompts go first, and none starves: what has waited ten times as long as it takes to compute goes before all
# that came later. In tokens/s the credit follows the machine; 50 on any made slow ones compute 1.4 times as much, as
# sessions pushed each other out in turn (simulated, docs/benchmarks).
_AGE_CREDIT = 0.1
# So many tokens are computed twice rather than waited for.
_WORTH_A_WAIT = 16


class Scheduler:
    """Waiting and running sequences.

    Args:
        residents: The slots; mutated here only.
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
        self._shelf = Shelf(0) if shelf is None else shelf
        self._carrying = carrying
        self._batch_tokens = batch_tokens
        self._max_running = max_running
        self.pace = Pace(batch_tokens=batch_tokens, stretch=stretch)
        """What steps cost; may be taught before the first one."""
        self._drafts = drafts
        self._plan = plan
        self._drafted = False
        """Whether the step that was scheduled last holds drafts."""
        self._cramped = False
        """Whether drafts found no room."""
        self._parked: set[Sequence] = set()
        """Preempted sequences: placed again only when another one has left, or they would push each other out."""
        self._full = False
        """Whether the most urgent one found no place; it looks again only when somebody has come or left."""
        self.waiting: list[Sequence] = []
        self.running: list[Sequence] = []

    @property
    def idle(self) -> bool:
        """Whether there is nothing to compute."""
        return not self.waiting and not self.running

    def add(self, sequence: Sequence) -> None:
        """Let `sequence` wait for its turn."""
        self.waiting.append(sequence)
        self._full = False

    def schedule(self, now: float) -> Step | None:
        """Decide the next step. None: nothing to do. Mutates by placing waiting sequences and evicting idle prefixes.

        A step that does not fit even so is returned all the same: the decode will find no room.
        """
        moves = self._place(now) if self.waiting else ()
        rows = self._answers([sequence for sequence in self.running if sequence.answering][: self._batch_tokens])
        has_images = False
        if len(rows) < len(self.running):
            chunks = tuple(self._chunks(rows, now))
            rows.extend(chunks)
            has_images = any(row.sequence.image_at(row.start) is not None for row in chunks)
        self._drafted = any(row.draft for row in rows)
        if not rows:
            return None
        evicted = self._residents.make_room(sum(row.stop - row.start for row in rows))
        return Step(moves=(*moves, *evicted), rows=tuple(rows), has_images=has_images)

    def _chunks(self, answers: Several[Row], now: float) -> Iterable[Row]:
        """Yield as much of the prompts as may be computed beside `answers`."""
        budget = self.pace.budget(sum(1 + len(row.draft) for row in answers))
        for sequence in self._by_urgency([s for s in self.running if not s.answering], now):
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
        streaming = sum([row.sequence.answering for row in step.rows])
        self._residents.note_steps(bool(streaming) + (step.tokens - streaming) // self._carrying.prompt_tokens)
        self._learn(step, streaming, elapsed_s)
        moves = [self._advance(row, sampled.get(row.sequence.key, ()), now) for row in step.rows]
        return tuple([move for move in moves if move is not None])

    def remove(self, sequence: Sequence, now: float) -> None:
        """Take `sequence` out, done or cancelled; what it computed stays as an idle prefix."""
        self._parked.discard(sequence)
        self._full = False
        if sequence in self.waiting:
            self.waiting.remove(sequence)
            return
        self.running.remove(sequence)
        self._parked.clear()
        self._residents.release(_slot(sequence), now)
        sequence.slot = None

    def relieve(self) -> Relief:
        """Make room after a decode found none: drafts go first, then idle prefixes, then the youngest waits."""
        if self._drafted:
            self._cramped = True
            return Undrafted()
        evicted = self.evict()
        if evicted is not None:
            return Evicted(evicted)
        youngest = max(self.running, key=lambda sequence: (sequence.priority, sequence.arrived))
        if len(self.running) == 1:
            return Exhausted(youngest)
        self._parked.add(youngest)
        cut = self._residents.preempt(_slot(youngest))
        self._wait_again(youngest)
        return Preempted(youngest, cut)

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
        self._residents.advance(_slot(sequence), sequence.computed)
        if sequence.drafter is not None:
            sequence.drafter.restart()
        return Cut(_slot(sequence), sequence.computed)

    def fall_back(self, sequence: Sequence, limit: int) -> Cut | Rewind:
        """Take a running `sequence`, of which no part can be forgotten, back to where `limit` tokens at most are left.

        That is its last checkpoint; without one, nothing is left.
        """
        back = self._residents.rewound(_slot(sequence), limit)
        if back is None:
            return self.rewind(sequence)
        sequence.computed = back.checkpoint.length
        return back

    def rewind(self, sequence: Sequence) -> Cut:
        """Forget all that was computed of a running `sequence`: its cells are not to be trusted."""
        cut = self._residents.drop(_slot(sequence))
        self._wait_again(sequence)
        return cut

    def _place(self, now: float) -> tuple[Move, ...]:
        moves: list[Move] = []
        if not self.running:
            self._parked.clear()
        if self._full or len(self.running) >= self._max_running:
            return ()
        for sequence in self._by_urgency([s for s in self.waiting if s not in self._parked], now):
            if len(self.running) >= self._max_running:
                break
            shelved, elsewhere = self._shelf.best(sequence.tokens, self.longest_prefix(sequence.tokens))
            if self._is_being_computed(sequence, elsewhere):
                continue
            placement = self._residents.place(
                sequence.tokens,
                now,
                priority=sequence.priority,
                conversation=sequence.conversation,
                marks=sequence.marks,
                elsewhere=None if shelved is None else _elsewhere(shelved, elsewhere),
                claimed=self._claimed(),
            )
            self._full = placement is None
            if placement is None:
                break
            moves.extend(placement.moves)
            if placement.restores and shelved is not None:
                moves.append(self._restore(placement, shelved, sequence, now))
            self._start(sequence, placement, now)
            if moves and isinstance(moves[-1], Restore | Rewind):
                break  # it may fail: nobody may be placed upon it before it is there
        return tuple(moves)

    def _restore(self, placement: Placement, shelved: Shelved, sequence: Sequence, now: float) -> Restore:
        shelved.used_at = now
        checkpoint = None
        if not self._residents.forgets_partially and placement.reused < len(shelved.tokens):
            checkpoint = self._shelf.checkpoint(sequence.tokens, placement.reused)
        return Restore(placement.slot, shelved, placement.reused, checkpoint, held=placement.held)

    def _start(self, sequence: Sequence, placement: Placement, now: float) -> None:
        self.waiting.remove(sequence)
        self.running.append(sequence)
        sequence.slot = placement.slot
        sequence.computed = placement.reused
        if sequence.placed_at is None:
            sequence.placed_at = now
            sequence.cached = placement.reused
        if not self._residents.forgets_partially:
            sequence.checkpoints = self._planned(sequence, placement, now)

    def _planned(self, sequence: Sequence, placement: Placement, now: float) -> list[int]:
        latest = placement.reused if placement.restores else 0  # it stays on the shelf
        checkpoint = self._shelf.checkpoint(sequence.tokens, placement.reused)
        if checkpoint is not None:
            checkpoint.used_at = now
            latest = max(latest, checkpoint.length)
        planned = self._plan(
            sequence.marks, sequence.prompt_tokens, reused=placement.reused, latest=latest, parts=placement.parts
        )
        return list(planned)

    def _is_being_computed(self, sequence: Sequence, elsewhere: int) -> bool:
        """Return whether a sibling is computing a prefix of `sequence`, longer than any that is known: worth a wait."""
        siblings = [one for one in self.running if not one.answering and one.priority <= sequence.priority]
        if not siblings:
            return False
        coming, sibling = max(
            ((common_prefix(one.tokens, sequence.tokens), one) for one in siblings), key=lambda pair: pair[0]
        )
        if coming <= max(elsewhere, self._residents.longest_prefix(sequence.tokens)) + _WORTH_A_WAIT:
            return False
        return self._residents.forgets_partially or sibling.will_save(coming - _WORTH_A_WAIT)

    def _claimed(self) -> int | None:
        """Return how many cells those that run will take, as far as that can be foreseen. None: nobody runs."""
        return sum(_to_come(one) for one in self.running) if self.running else None

    def _answers(self, answering: list[Sequence]) -> list[Row]:
        busy = self._cramped or self.waiting or len(answering) < len(self.running)
        if self._drafts is None or busy:
            return [_row(sequence, 1) for sequence in answering]
        drafts = self._drafts.plan(answering, self._batch_tokens - len(answering))
        return [_row(sequence, 1, draft) for sequence, draft in zip(answering, drafts, strict=True)]

    def _learn(self, step: Step, streaming: int, elapsed_s: float) -> None:
        tokens = step.tokens
        if self._drafts is not None and streaming == len(step.rows) == 1:
            self._drafts.note(step.rows[0].sequence, tokens, elapsed_s)
        if not self._drafted:
            self.pace.note(streaming=streaming, prefilled=tokens - streaming, elapsed_s=elapsed_s)

    def _by_urgency(self, sequences: list[Sequence], now: float) -> list[Sequence]:
        def urgency(sequence: Sequence) -> tuple[int, float]:
            credit = (now - sequence.arrived) * _AGE_CREDIT / self.pace.prefill_s
            return sequence.priority, self._work(sequence) - credit

        return sorted(sequences, key=urgency) if len(sequences) > 1 else sequences

    def _work(self, sequence: Sequence) -> int:
        """Return how many tokens are to be computed before it answers: what waits may find a prefix in the cache."""
        if sequence.slot is not None:
            return sequence.pending
        there = self.longest_prefix(sequence.tokens)
        return sequence.pending - max(there, self._shelf.best(sequence.tokens, there)[1])

    def _advance(self, row: Row, sampled: Several[int], now: float) -> Cut | Save | None:
        sequence = row.sequence
        save: Save | None = None
        if sequence.answering:
            sequence.steps += 1
        else:
            sequence.prefilled += row.stop - row.start
            save = _save(sequence, row.stop) if sequence.checkpoints else None
        sequence.tokens.extend(sampled)
        sequence.computed = row.stop + max(0, len(sampled) - 1)
        self._residents.advance(_slot(sequence), sequence.computed)
        if row.samples and sequence.answered_at is None:
            sequence.answered_at = now
        wrong = row.stop + len(row.draft) - sequence.computed
        return Cut(_slot(sequence), sequence.computed) if wrong else save

    def _wait_again(self, sequence: Sequence) -> None:
        self._full = False
        self.running.remove(sequence)
        self.waiting.append(sequence)
        sequence.slot = None
        sequence.computed = 0


def _row(sequence: Sequence, count: int, draft: tuple[int, ...] = ()) -> Row:
    stop = sequence.computed + count
    samples = stop == len(sequence.tokens)
    return Row(sequence=sequence, start=sequence.computed, stop=stop, samples=samples, draft=draft)


def _elsewhere(shelved: Shelved, length: int) -> Elsewhere:
    return Elsewhere(length=length, cells=len(shelved.tokens) - shelved.start, behind=shelved.start)


def _save(sequence: Sequence, computed: int) -> Save | None:
    """Return the checkpoint that is to be made now that the first `computed` tokens are there."""
    if sequence.checkpoints[-1] > computed:
        return None
    return Save(_slot(sequence), sequence.tokens[: sequence.checkpoints.pop()])


def _to_come(sequence: Sequence) -> int:
    return sequence.pending + min(_ANSWER_CELLS, max(0, sequence.max_tokens - sequence.generated))


def _slot(sequence: Sequence) -> int:
    if sequence.slot is None:
        msg = "only a running sequence has a slot"
        raise AssertionError(msg)
    return sequence.slot
