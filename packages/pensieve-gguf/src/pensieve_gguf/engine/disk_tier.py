"""What the engine thread has to do with the disk: prompts wait for what is there, answers are kept when it is quiet.

Where there is no disk tier, nobody waits and nothing is kept. Above: the loop, in whose thread all of this runs. Below:
`keeping` decides when, `cells` copies, `anchoring` reads and writes in threads of its own.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import attrs

from pensieve_core import FinishReason, Priority
from pensieve_gguf.engine.anchoring import Anchoring
from pensieve_gguf.engine.candidates import Loaded
from pensieve_gguf.engine.cells import Cells
from pensieve_gguf.engine.job import Job
from pensieve_gguf.engine.keeping import Keep, Keeping
from pensieve_gguf.engine.vitals import Vitals

__all__ = ["LAST_SAVES_S", "DiskTier"]

LAST_SAVES_S = 4.0
"""For what waits to be saved when the engine ends: some 1 GB, on a disk of 2026."""
_WORTH_READING = 256
"""Tokens; fewer are computed sooner than read."""


class DiskTier:
    """The disk, as the loop sees it.

    Args:
        anchors: Closed by `close`. None: there is no disk tier.
        cells: What is copied out of, and put into.
        vitals: Counters.
        clock: Monotonic seconds.
    """

    def __init__(self, anchors: Anchoring | None, cells: Cells, vitals: Vitals, clock: Callable[[], float]) -> None:
        self._anchors = anchors
        self._cells = cells
        self._vitals = vitals
        self._clock = clock
        self._keeping = Keeping()

    def fetch(self, job: Job, then: Callable[[Loaded | None], None]) -> bool:
        """Read what the disk has of a prompt, if that is more than is known here; `then` is called in another thread.

        False: the job need not wait, and `then` is not called.
        """
        if self._anchors is None or job.on_disk is None:
            return False
        at_least = self._cells.known(job.sequence.tokens) + _WORTH_READING
        if job.on_disk.at_most < at_least:
            return False
        self._anchors.read(job.on_disk, job.sequence.tokens, at_least, then)
        return True

    def take(self, loaded: Loaded) -> None:
        """Lay on the shelf what was read."""
        self._vitals.anchors_read += 1
        self._cells.put(loaded.tokens, loaded.state)

    def note(self, job: Job, reason: FinishReason | None) -> None:
        """Let prompt and answer of a job that is done be saved, if they may come again. None: it was cut short."""
        sequence = job.sequence
        if self._anchors is None or sequence.priority >= Priority.BACKGROUND:
            return
        self._keeping.note(
            sequence.tokens[: sequence.computed],
            head=0 if reason is None else _head(job),
            conversation="" if sequence.conversation is None else str(sequence.conversation),
            goes_on=reason is FinishReason.TOOL_CALLS,
            now=self._clock(),
        )

    def due_in(self) -> float | None:
        """Return in how many seconds something is to be saved, if nothing is asked until then. None: nothing is."""
        return self._keeping.due_in(self._clock())

    def keep(self) -> None:
        """Save what is due, now that there is nothing else to do; one at a time."""
        keep = self._keeping.take(self._clock())
        if keep is not None:
            self._save(keep)

    def close(self, save_s: float) -> None:
        """Save what waits, for `save_s` at most, and close the folder. 0: the cells are not to be trusted."""
        if self._anchors is None:
            return
        deadline = self._clock() + save_s
        while self._clock() < deadline and (keep := self._keeping.take_any()) is not None:
            self._save(keep)
        self._anchors.close(max(0.0, deadline - self._clock()))

    def _save(self, keep: Keep) -> None:
        if self._anchors is None:
            return
        keep = attrs.evolve(keep, tokens=self._cells.copyable(keep.tokens))
        state = self._cells.copy(keep.tokens, functools.partial(self._anchors.wants, keep))
        if state is not None and self._anchors.save(keep, state):
            self._vitals.anchors_saved += 1


def _head(job: Job) -> int:
    return max(job.head_tokens, job.sequence.cached) if job.opens else job.head_tokens
