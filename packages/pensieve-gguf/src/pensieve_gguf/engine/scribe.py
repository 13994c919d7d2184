"""Writes down what was sampled, in a thread of its own, while the engine thread computes the next step.

A sampled token has to become text, events and a delivery; none of that decides what is computed next, as long as
nothing ends. Done between two decodes it delays every stream. Done here it costs no time: `llama_decode` runs without
the interpreter's lock. What ends an answer by its text is noticed one step later, and that step is in vain.

Above: the loop, which hands tokens over, and settles before it looks at an answer. Below: the jobs' answers and sinks.
"""

from __future__ import annotations

import queue
import threading

from pensieve_gguf.engine.job import Job, blaming

__all__ = ["Scribe"]


class Scribe:
    """One thread, and what it has still to write. All methods: from the engine thread."""

    def __init__(self) -> None:
        self._taken: queue.SimpleQueue[tuple[Job, int] | None] = queue.SimpleQueue()
        self._written: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._pending = 0
        self._thread = threading.Thread(target=self._run, name="scribe", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def take(self, job: Job, token: int) -> None:
        """Let the answer of `job` have its next token, and its sink what that says. Look at neither before `settle`."""
        self._pending += 1
        self._taken.put((job, token))

    def settle(self) -> None:
        """Wait until all is written that was taken."""
        while self._pending:
            self._written.get()
            self._pending -= 1

    def close(self) -> None:
        """Write the rest, and end the thread."""
        self._taken.put(None)
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while (item := self._taken.get()) is not None:
            job, token = item
            with blaming(job):
                for event in job.answer.push(token):
                    job.sink.event(event)
            self._written.put(None)
