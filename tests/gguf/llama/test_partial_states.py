"""Ours: what llama.cpp does with states that cannot be cut back. The facts that checkpoints are built on (design 2)."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Any

import pytest

from pensieve_gguf.llama import Context, ContextShape, DecodeOutcome, Model, Rows

pytestmark = pytest.mark.model

PROMPT = array("i", [(7 * number) % 1_500 + 100 for number in range(120)])
OTHER = array("i", [(11 * number) % 1_500 + 100 for number in range(120)])


@pytest.fixture(scope="module", params=("recurrent", "hybrid", "windowed"))
def model(request: pytest.FixtureRequest, tiny_models: Any) -> Iterator[Model]:
    model = Model(getattr(tiny_models, request.param).path)
    yield model
    model.close()


@pytest.fixture
def context(model: Model) -> Iterator[Context]:
    context = Context(model, ContextShape(cells=512, sequences=4, batch_tokens=128, threads=1))
    yield context
    context.close()


def likeliest(context: Context, slot: int, start: int, tokens: array[int]) -> int:
    """Compute `tokens` from `start` on; return what comes next."""
    rows = Rows(slot=slot, start=start, tokens=tokens[start:], wants_logits=True)
    outcome, last = context.decode([rows])
    assert outcome is DecodeOutcome.DONE
    return int(context.logits(last[0]).argmax())


def spoken(context: Context, slot: int, start: int, tokens: array[int], count: int = 6) -> list[int]:
    """Return what the model goes on with."""
    said = tokens[:]
    for _ in range(count):
        said.append(likeliest(context, slot, start, said))
        start = len(said) - 1
    return said[len(tokens) :].tolist()


def test_a_part_of_a_state_cannot_be_cut_off(context: Context) -> None:
    """What a window has passed is there until others need the room, as they do further below."""
    likeliest(context, 0, 0, PROMPT[:60])
    likeliest(context, 0, 60, PROMPT)
    assert not context.model.forgets_partially
    assert context.holds(0, 120)
    assert context.cut(0, 20) is not context.model.has_state
    assert context.cut(0, 0)
    assert context.holds(0, 0)


def test_a_slot_goes_back_to_a_checkpoint_and_on_from_there(context: Context) -> None:
    likeliest(context, 0, 0, PROMPT[:60])
    checkpoint = context.checkpoint(0)
    assert len(checkpoint) == context.checkpoint_bytes(0)
    other = PROMPT[:60] + OTHER[:40]
    likeliest(context, 0, 60, PROMPT)
    assert context.rewind(0, checkpoint, 60)
    assert spoken(context, 0, 60, other) == spoken(context, 1, 0, other)


def test_what_another_slot_holds_is_shared_from_a_checkpoint_on(context: Context) -> None:
    likeliest(context, 0, 0, PROMPT[:60])
    checkpoint = context.checkpoint(0)
    likeliest(context, 0, 60, PROMPT)
    context.share(0, 1, 60)
    assert context.rewind(1, checkpoint, 60)
    other = PROMPT[:60] + OTHER[:40]
    assert spoken(context, 1, 60, other) == spoken(context, 2, 0, other)


def test_all_that_another_slot_holds_is_shared_and_stays_what_it_was(context: Context) -> None:
    likeliest(context, 0, 0, PROMPT[:60])
    context.share(0, 1, 60)
    other = PROMPT[:60] + OTHER[:40]
    assert spoken(context, 1, 60, other) == spoken(context, 2, 0, other)
    assert spoken(context, 0, 60, PROMPT) == spoken(context, 3, 0, PROMPT)


def test_a_state_that_is_restored_leads_back_to_a_checkpoint_too(context: Context) -> None:
    likeliest(context, 0, 0, PROMPT[:60])
    checkpoint = context.checkpoint(0)
    likeliest(context, 0, 60, PROMPT)
    state = context.state(0)
    context.cut(0, 0)
    assert context.restore(1, state)
    assert context.holds(1, 120)
    assert context.rewind(1, checkpoint, 60)
    other = PROMPT[:60] + OTHER[:40]
    assert spoken(context, 1, 60, other) == spoken(context, 2, 0, other)


def test_a_checkpoint_that_llama_cpp_refuses_leaves_the_slot_empty(context: Context) -> None:
    likeliest(context, 0, 0, PROMPT)
    assert not context.rewind(0, context.checkpoint(0)[:-8], 120)
    assert context.holds(0, 0)


def test_of_a_window_what_is_in_sight_is_kept(tiny_models: Any) -> None:
    """Many sequences of many tokens fit, and drafts can still be cut off: what they saw is there."""
    model = Model(tiny_models.windowed.path)
    context = Context(model, ContextShape(cells=2_048, sequences=4, batch_tokens=64, threads=1, drafted=8))
    try:
        assert (model.window, model.window_start(100), model.window_start(3)) == (24, 77, 0)
        for start in range(0, 1_024, 64):
            tokens = array("i", [number % 1_500 for number in range(start + 64)])
            likeliest(context, 0, start, tokens)
        drafts = array("i", [5, 6, 7, 8])
        context.decode([Rows(slot=0, start=1_024, tokens=drafts, wants_logits=True, drafted=3)])
        assert context.cut(0, 1_025)
        assert context.holds(0, 1_025)
        assert not context.cut(0, 400)
    finally:
        context.close()
        model.close()
