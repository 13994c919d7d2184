"""What is written beside the computation: in order, all of it, and before anyone looks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, cast

import attrs
import pytest

from pensieve_core import GenerationEvent, PensieveError, TextProduced
from pensieve_gguf.engine.scribe import Scribe

WAIT_S = 10.0


@pytest.fixture
def scribe() -> Iterator[Scribe]:
    scribe = Scribe()
    scribe.start()
    yield scribe
    scribe.close()


class Letters:
    """An answer that says a letter for each token; the token 0 is a bug."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()

    def push(self, token: int) -> tuple[GenerationEvent, ...]:
        assert self.gate.wait(WAIT_S)
        if not token:
            raise ZeroDivisionError
        return (TextProduced(text=chr(token)),)


@attrs.define
class Spoken:
    """A job, as far as a scribe knows it, and its sink."""

    answer: Letters = attrs.field(factory=Letters)
    error: PensieveError | None = None
    heard: list[str] = attrs.field(factory=list)

    @property
    def sink(self) -> Spoken:
        return self

    def event(self, event: TextProduced) -> None:
        self.heard.append(event.text)


def _take(scribe: Scribe, job: Spoken, token: int) -> None:
    scribe.take(cast("Any", job), token)


def test_what_was_taken_is_written_in_order_once_it_is_settled(scribe: Scribe) -> None:
    one, other = Spoken(), Spoken()
    for letter in "abc":
        _take(scribe, one, ord(letter))
        _take(scribe, other, ord(letter.upper()))
    scribe.settle()
    assert (one.heard, other.heard) == (list("abc"), list("ABC"))


def test_to_take_a_token_does_not_wait_for_its_text(scribe: Scribe) -> None:
    job = Spoken()
    job.answer.gate.clear()
    _take(scribe, job, ord("a"))
    assert job.heard == []
    job.answer.gate.set()
    scribe.settle()
    assert job.heard == ["a"]


def test_the_bug_of_one_answer_is_its_own(scribe: Scribe) -> None:
    broken, sound = Spoken(), Spoken()
    _take(scribe, broken, 0)
    _take(scribe, sound, ord("a"))
    scribe.settle()
    assert broken.error is not None
    assert "ZeroDivisionError" in str(broken.error)
    assert (sound.heard, sound.error) == (["a"], None)


def test_what_is_not_settled_is_written_before_the_end() -> None:
    scribe, job = Scribe(), Spoken()
    scribe.start()
    for letter in "abc":
        _take(scribe, job, ord(letter))
    scribe.close()
    assert job.heard == list("abc")


def test_one_that_never_began_can_be_closed() -> None:
    before = set(threading.enumerate())
    Scribe().close()
    assert set(threading.enumerate()) <= before
