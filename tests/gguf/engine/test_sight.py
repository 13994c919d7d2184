"""Ours: the images of a step, and who is to blame when one cannot be computed."""

from __future__ import annotations

from array import array
from typing import Any, cast

import attrs
import numpy as np

from pensieve_core import ImagePart
from pensieve_gguf.engine.job import Job
from pensieve_gguf.engine.pictures import Pictures
from pensieve_gguf.engine.scribe import Scribe
from pensieve_gguf.engine.sequence import ImageSpan, Sequence
from pensieve_gguf.engine.sight import Sight
from pensieve_gguf.engine.steps import Row, Step
from pensieve_gguf.engine.vitals import Vitals
from pensieve_gguf.llama import Embeddings, ProjectionError, Rows

IMAGE = ImageSpan(start=2, stop=6, image=ImagePart(media_type="image/png", data=b""), digest=b"", piece=0)


@attrs.define
class BlamedJob:
    error: Any = None


class FakePictures(Pictures):
    """Computes ones; looks at the engine's vitals meanwhile."""

    def __init__(self, vitals: Vitals, *, fails: bool = False) -> None:
        super().__init__(None)
        self.vitals = vitals
        self.fails = fails
        self.seen_at: list[float | None] = []

    def embeddings(self, span: ImageSpan, start: int, stop: int) -> Embeddings:
        self.seen_at.append(self.vitals.decoding_since)
        if self.fails:
            msg = "the encoder failed"
            raise ProjectionError(msg)
        return np.ones((stop - start, 8), np.float32)


def step(*rows: tuple[int, int]) -> tuple[Step, list[Rows]]:
    """Return a step with a row for each of several sequences that show IMAGE."""
    sequences = [
        Sequence(key=key, tokens=array("i", [1, 1, -1, -2, -3, -4, 1]), prompt_tokens=7, max_tokens=1, images=(IMAGE,))
        for key in range(len(rows))
    ]
    planned = tuple(
        Row(sequence=sequence, start=start, stop=stop, samples=stop == 7)
        for sequence, (start, stop) in zip(sequences, rows, strict=True)
    )
    filled = [
        Rows(
            slot=row.sequence.key,
            start=row.start,
            tokens=row.sequence.tokens[row.start : row.stop],
            wants_logits=row.samples,
        )
        for row in planned
    ]
    return Step(moves=(), rows=planned, has_images=True), filled


def jobs(count: int) -> dict[int, Job]:
    return {key: cast("Job", BlamedJob()) for key in range(count)}


def test_rows_that_are_parts_of_images_get_embeddings_and_the_others_none() -> None:
    vitals = Vitals()
    pictures = FakePictures(vitals)
    planned, rows = step((0, 2), (2, 5), (6, 7))
    assert Sight(pictures, Scribe(), vitals, lambda: 12.0).see(planned, rows, jobs(3)) is None
    assert [row.embeddings is None for row in rows] == [True, False, True]
    assert rows[1].embeddings is not None
    assert len(rows[1].embeddings) == 3


def test_while_an_image_is_computed_the_thread_is_said_to_be_at_work() -> None:
    """An encoder that hangs must not pass for an idle engine."""
    vitals = Vitals()
    pictures = FakePictures(vitals)
    Sight(pictures, Scribe(), vitals, lambda: 12.0).see(*step((2, 6)), jobs(1))
    assert pictures.seen_at == [12.0]
    assert vitals.decoding_since is None


def test_who_brought_the_image_is_to_blame_and_nobody_else() -> None:
    vitals = Vitals()
    asked = jobs(2)
    failed = Sight(FakePictures(vitals, fails=True), Scribe(), vitals, lambda: 0.0).see(*step((0, 2), (2, 6)), asked)
    assert failed is asked[1]
    assert failed.error is not None
    assert "the encoder failed" in str(failed.error)
    assert asked[0].error is None


def test_without_eyes_an_image_is_an_error_of_its_job() -> None:
    failed = Sight(None, Scribe(), Vitals(), lambda: 0.0).see(*step((2, 6)), jobs(1))
    assert failed is not None
    assert failed.error is not None
