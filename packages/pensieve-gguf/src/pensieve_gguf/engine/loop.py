"""The engine thread: the only one that touches the context. `schedule → llama_decode → commit`, for ever.

It is crossed by a mailbox on the way in, and by each job's sink on the way out. It decides nothing about policy:
that is the scheduler's; nothing about text: that is the answer's.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from typing import assert_never

import structlog

from pensieve_core import (
    EngineFailedError,
    FinishReason,
    GenerationFinished,
    PensieveError,
    PrefillProgressed,
)
from pensieve_gguf.engine.anchoring import Anchoring
from pensieve_gguf.engine.candidates import Loaded
from pensieve_gguf.engine.cells import Cells
from pensieve_gguf.engine.chooser import Chooser, Drawn
from pensieve_gguf.engine.counting import count_step
from pensieve_gguf.engine.disk_tier import LAST_SAVES_S, DiskTier
from pensieve_gguf.engine.job import Job, blaming, timings_of, usage_of
from pensieve_gguf.engine.mail import Cancel, Close, Fetched, Mail, Submit
from pensieve_gguf.engine.pictures import Pictures
from pensieve_gguf.engine.retakes import Retakes
from pensieve_gguf.engine.scheduler import Scheduler
from pensieve_gguf.engine.scribe import Scribe
from pensieve_gguf.engine.shelf import Shelf
from pensieve_gguf.engine.sight import Sight
from pensieve_gguf.engine.steps import Evicted, Exhausted, Preempted, Row, Step, Undrafted
from pensieve_gguf.engine.vitals import Vitals
from pensieve_gguf.llama import Context, DecodeError, DecodeOutcome, Rows

__all__ = ["EngineLoop", "Vitals"]

_log = structlog.get_logger(__name__)

_PLACINGS = 3
"""So many times a prompt is computed whose cells are not found afterwards: once is a bug, more is one that stays."""


class EngineLoop:
    """Runs a scheduler over a context in a thread of its own.

    Args:
        context: Owned by the loop from now on; closed by `close`.
        scheduler: Owned by the loop.
        longest: Tokens that a sequence may have. None: as many as there are cells.
        shelf: Where prefixes go that leave the cache; owned by the loop.
        clock: Monotonic seconds.
        anchors: The disk tier; closed by the loop. None: there is none.
        warm_up: Called first, in the engine thread: each thread that decodes has threads of its own in OpenMP, and
            where they are more than cores all of them are slow. Is given what says whether it may go on: whoever asks
            first does not wait for it. Its decodes are aborted then.
        pictures: Compute the images of prompts. None: prompts have none.
    """

    def __init__(
        self,
        context: Context,
        scheduler: Scheduler,
        shelf: Shelf | None = None,
        clock: Callable[[], float] = time.monotonic,
        *,
        longest: int | None = None,
        anchors: Anchoring | None = None,
        warm_up: Callable[[Callable[[], bool]], None] = lambda _: None,
        pictures: Pictures | None = None,
    ) -> None:
        self._context = context
        self._longest = longest or context.cells
        self._scheduler = scheduler
        self._clock = clock
        self._mail: queue.SimpleQueue[Mail] = queue.SimpleQueue()
        self._jobs: dict[int, Job] = {}
        self._warm_up = warm_up
        self._warming = True
        self._checked = 0
        """How many decodes had been made when the cache was last looked at as a whole."""
        self._fetching: set[int] = set()
        """Jobs that wait for the disk; the scheduler does not know of them yet."""
        self._computing: frozenset[int] = frozenset()
        self._closing: PensieveError | None = None
        self._save_s = 0.0
        self.ended: PensieveError | None = None
        """Why the thread computes no more; set before it looks at its mail for the last time."""
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self.vitals = Vitals()
        self._chooser = Chooser(context, self.vitals, longest=self._longest)
        self._scribe = Scribe()
        self._sight = Sight(pictures, self._scribe, self.vitals, clock)
        self._cells = Cells(context, scheduler, Shelf(0) if shelf is None else shelf, self.vitals, clock)
        self._retakes = Retakes(context, scheduler, self._cells, self.vitals)
        self._disk = DiskTier(anchors, self._cells, self.vitals, clock)

    # -- from any thread -----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread."""
        self._scribe.start()
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Hand a job over; its sink hears of it from now on, if only that the engine is no more."""
        self._mail.put(Submit(job))
        if self._warming:
            self._context.abort.raise_flag()
        if self.ended is not None:
            self._refuse_mail(self.ended)

    def cancel(self, key: int) -> None:
        """Drop a job, even in the middle of a decode. Its sink hears nothing more. Unknown keys are ignored."""
        self._mail.put(Cancel(key))
        if key in self._computing:
            self._context.abort.raise_flag()

    def close(self, error: PensieveError, save_s: float = LAST_SAVES_S) -> None:
        """End all jobs with `error`, save prefixes for `save_s` at most, free the context, and wait for the thread."""
        self._mail.put(Close(error, save_s))
        self._context.abort.raise_flag()
        if self._thread.is_alive():
            self._thread.join()

    # -- the engine thread ---------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._warm_up(self._mail.empty)
            self._warming = False
            while self._closing is None:
                self._read_mail()
                self._step()
        except DecodeError as error:
            self._closing = EngineFailedError(str(error))
        except Exception as error:  # noqa: BLE001 - the edge of the engine thread: its clients must hear of it
            self._closing = EngineFailedError(f"the engine stopped: {error!r}")
        self._end(self._closing)

    def _end(self, error: PensieveError) -> None:
        self._scribe.close()
        self.ended = error
        self._refuse_mail(error)
        for job in self._jobs.values():
            _refuse(job, error)
            self._disk.note(job, None)
        self._jobs.clear()
        self._disk.close(0.0 if isinstance(error, EngineFailedError) else self._save_s)
        self._context.close()

    def _refuse_mail(self, error: PensieveError) -> None:
        """Answer what nobody will read; by the thread at its end, and by whoever comes later."""
        with contextlib.suppress(queue.Empty):
            while True:
                mail = self._mail.get_nowait()
                if isinstance(mail, Submit):
                    _refuse(mail.job, error)

    def _read_mail(self) -> None:
        wait = self._scheduler.idle
        if wait:
            self._check()
        while wait or not self._mail.empty():
            try:
                mail = self._mail.get(block=wait, timeout=self._disk.due_in() if wait else None)
            except queue.Empty:
                break
            wait = False
            self._scribe.settle()
            self._take(mail)
        self._context.abort.clear()

    def _take(self, mail: Mail) -> None:
        match mail:
            case Submit(job=job):
                self._jobs[job.sequence.key] = job
                self._admit(job)
            case Fetched(job=job, loaded=loaded):
                self._take_fetched(job, loaded)
            case Cancel(key=key):
                job_or_none = self._jobs.get(key)
                if job_or_none is not None:
                    self._disk.note(job_or_none, None)
                    self._forget(job_or_none)
            case Close(error=error, save_s=save_s):
                self._closing, self._save_s = error, save_s
            case _:
                assert_never(mail)

    def _admit(self, job: Job) -> None:
        """Let `job` wait for its turn; before that for the disk, if more of its prompt is there than is known here."""
        if self._disk.fetch(job, lambda loaded: self._mail.put(Fetched(job, loaded))):
            self._fetching.add(job.sequence.key)
        else:
            self._scheduler.add(job.sequence)

    def _take_fetched(self, job: Job, loaded: Loaded | None) -> None:
        if loaded is not None:
            self._disk.take(loaded)
        if job.sequence.key in self._fetching:  # not cancelled meanwhile
            self._fetching.discard(job.sequence.key)
            self._scheduler.add(job.sequence)

    def _step(self) -> None:
        began = self._clock()
        with self.vitals.decoding(began):  # a draft model may guess
            step = self._scheduler.schedule(began)
        if step is None and self._scheduler.idle:
            self._disk.keep()
        if step is None or self._closing is not None:
            return
        if not self._cells.make_ready(step):
            self._give_up_astray(step)
            return
        rows = [_rows(row) for row in step.rows]
        if step.has_images and (failed := self._sight.see(step, rows, self._jobs)) is not None:
            self._fail_if_blamed(failed)
            return
        began = self._clock()
        self._computing = frozenset(row.sequence.key for row in step.rows)
        decode = self._context.decode_with_images if step.has_images else self._context.decode
        with self.vitals.decoding(began):
            outcome, last = decode(rows)
        self._computing = frozenset()
        self._scribe.settle()
        match outcome:
            case DecodeOutcome.DONE:
                self._commit(step, last, self._clock() - began)
                self._cells.tidy()
            case DecodeOutcome.NO_ROOM:
                self._make_room()
            case DecodeOutcome.ABORTED:
                self._cells.take_back(step)
            case _:
                assert_never(outcome)

    def _check(self) -> None:
        """Look at the cache as a whole, once after something was computed."""
        if self.vitals.decodes != self._checked:
            self._checked = self.vitals.decodes
            self._cells.check()

    def _give_up_astray(self, step: Step) -> None:
        """Fail whoever's cells are never where they should be, rather than compute it for ever."""
        for job in [self._jobs[row.sequence.key] for row in step.rows if row.sequence.astray >= _PLACINGS]:
            reason = f"the engine cannot answer this request: the cache lost its prompt {_PLACINGS} times"
            job.error = EngineFailedError(reason)
            self._fail_if_blamed(job)

    def _commit(self, step: Step, last: list[int], elapsed_s: float) -> None:
        jobs = [self._jobs[row.sequence.key] for row in step.rows]
        drawn = [self._draw(job, row, index) for job, row, index in zip(jobs, step.rows, last, strict=True)]
        count_step(self.vitals, step, [len(of.tokens) for of in drawn])
        # What failed is computed all the same: it is noted before anyone is told, and stays as a prefix.
        sampled = {row.sequence.key: of.tokens for row, of in zip(step.rows, drawn, strict=True)}
        self._cells.make_all(self._scheduler.commit(step, sampled, elapsed_s, self._clock()))
        for job, row, of in zip(jobs, step.rows, drawn, strict=True):
            if of.unwritten is not None:
                self._scribe.take(job, of.unwritten)
            elif job.error is None:
                with blaming(job):
                    self._tell(job, row, of)
            self._fail_if_blamed(job)

    def _draw(self, job: Job, row: Row, last: int) -> Drawn:
        drawn = Drawn()
        if row.samples and job.sequence.max_tokens > 0 and not job.answer.settled and job.error is None:
            with blaming(job):
                self._chooser.draw(job, row.draft, last, drawn)
        return drawn

    def _tell(self, job: Job, row: Row, drawn: Drawn) -> None:
        sequence = job.sequence
        for event in drawn.events:
            job.sink.event(event)
        if job.answer.settled:
            self._wind_up(job)
        elif drawn.tokens:
            if len(sequence.tokens) >= self._longest:
                self._conclude(job, FinishReason.CONTEXT_FULL)
        elif row.samples:
            self._conclude(job, FinishReason.MAX_TOKENS)
        elif sequence.generated == 0 and row.stop > job.prefill_told:  # after a preemption it starts anew
            job.prefill_told = row.stop
            done = PrefillProgressed(processed_tokens=row.stop, total_tokens=sequence.prompt_tokens)
            job.sink.event(done)

    def _wind_up(self, job: Job) -> None:
        """Do what follows when nothing more is to be sampled for an answer."""
        if job.answer.refused:
            self._retakes.ask_again(job)
        elif job.answer.broken:
            self._retakes.mend(job)
        elif job.answer.finish_reason is not None:
            self._finish(job, job.answer.finish_reason)

    def _conclude(self, job: Job, reason: FinishReason) -> None:
        for event in job.answer.finish(reason):
            job.sink.event(event)
        self._finish(job, reason)

    def _finish(self, job: Job, reason: FinishReason) -> None:
        finished = GenerationFinished(
            reason=reason,
            stop_sequence=job.answer.stop_sequence,
            usage=usage_of(job),
            timings=timings_of(job.sequence, self._clock()),
        )
        if job.remember is not None:
            sampled = job.sequence.tokens[job.sequence.prompt_tokens :]
            job.remember(job.answer.words, job.answer.told, sampled)
        self._disk.note(job, reason)
        if job.answer.unkept:
            self.vitals.constraints_failed += 1
            _log.warning("constraint_failed", reason=job.answer.unkept)
        self._forget(job)
        job.sink.event(finished)

    def _fail_if_blamed(self, job: Job) -> None:
        if job.error is None:
            return
        if job.sequence.key in self._jobs:
            self._forget(job)
        job.sink.failed(job.error)

    def _forget(self, job: Job) -> None:
        key = job.sequence.key
        del self._jobs[key]
        if key in self._fetching:
            self._fetching.discard(key)
        else:
            self._scheduler.remove(job.sequence, self._clock())
        job.sampler.close()

    def _make_room(self) -> None:
        over = [job for job in self._jobs.values() if job.answer.settled or job.error is not None]
        for job in over:  # written since the step was scheduled
            with blaming(job):
                self._wind_up(job)
            self._fail_if_blamed(job)
        if over:
            return
        relief = self._scheduler.relieve()
        match relief:
            case Evicted(cut=cut):
                self._cells.make(cut)
            case Undrafted():
                pass
            case Preempted(cut=cut):
                self.vitals.preemptions += 1
                self._cells.make(cut)
            case Exhausted(sequence=sequence):
                job = self._jobs[sequence.key]
                with blaming(job):
                    self._conclude(job, FinishReason.CONTEXT_FULL)
                self._fail_if_blamed(job)
            case _:
                assert_never(relief)


def _refuse(job: Job, error: PensieveError) -> None:
    job.sampler.close()
    job.sink.failed(error)


def _rows(row: Row) -> Rows:
    sequence = row.sequence
    if sequence.slot is None:
        msg = "a scheduled sequence has a slot"
        raise AssertionError(msg)
    tokens = sequence.tokens[row.start : row.stop]
    if row.draft:
        tokens.extend(row.draft)
    return Rows(slot=sequence.slot, start=row.start, tokens=tokens, wants_logits=row.samples, drafted=len(row.draft))
