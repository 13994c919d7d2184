"""Computes the images of a step before it is decoded. Runs in the engine thread, which nobody else computes beside.

Above: the loop. Below: the pictures, which keep what was computed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs

from pensieve_core import EngineFailedError
from pensieve_gguf.engine.job import Job, blaming
from pensieve_gguf.engine.pictures import Pictures
from pensieve_gguf.engine.scribe import Scribe
from pensieve_gguf.engine.sequence import ImageSpan
from pensieve_gguf.engine.steps import Row, Step
from pensieve_gguf.engine.vitals import Vitals
from pensieve_gguf.llama import Embeddings, Rows

__all__ = ["Sight"]


class Sight:
    """Sees for the loop.

    Args:
        pictures: Of all jobs. None: there are no images, then.
        scribe: Is settled first, or a job might be blamed by two at once.
        vitals: Say that the thread is at work; an encoder may take seconds.
        clock: Monotonic seconds.
    """

    def __init__(self, pictures: Pictures | None, scribe: Scribe, vitals: Vitals, clock: Callable[[], float]) -> None:
        self._pictures = pictures
        self._scribe = scribe
        self._vitals = vitals
        self._clock = clock

    def see(self, step: Step, rows: list[Rows], jobs: Mapping[int, Job]) -> Job | None:
        """Put embeddings into those of `rows`, in place, that are parts of images.

        Returns:
            The job that is to blame for what went wrong; the step is off then.
        """
        self._scribe.settle()
        with self._vitals.decoding(self._clock()):
            for index, row in enumerate(step.rows):
                span = row.sequence.image_at(row.start)
                if span is None:
                    continue
                job = jobs[row.sequence.key]
                with blaming(job):
                    rows[index] = attrs.evolve(rows[index], embeddings=self._embeddings(span, row))
                if job.error is not None:
                    return job
        return None

    def _embeddings(self, span: ImageSpan, row: Row) -> Embeddings:
        if self._pictures is None:
            msg = "an image without a projector"
            raise EngineFailedError(msg)
        return self._pictures.embeddings(span, row.start, row.stop)
