"""Ours: fragments are tokenised once, and make up the whole text's tokens (design 2, Prompts)."""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pensieve_core import ModelDescriptor
from pensieve_gguf.engine.fragments import Fragments, any_of
from pensieve_gguf.llama import Model, Special, TokenIds

CODER = Path.home() / ".cache/pensieve-test-models/qwen2.5-coder-1.5b-instruct.Q4_K_M.gguf"
NOTHING = re.compile("(?!)")


def ids_of(fragments: Fragments, text: str, unwanted: re.Pattern[str] = NOTHING) -> list[int]:
    """Return the tokens of all fragments, after a look at their offsets."""
    position, ids = 0, array("i")
    for fragment in fragments.cut(text, unwanted, 0, len(text)):
        assert fragment.start == position
        position = fragment.stop
        ids.extend(fragment.tokens)
    assert position == len(text)
    return ids.tolist()


TOY_TEXTS = st.lists(
    st.sampled_from(["<s>", "<|end|>", "<|end|>more", "<|im_end|>", "<|im_", "the", "abc", " ", "\n", "ä", "<"]),
    max_size=12,
).map("".join)


@pytest.mark.parametrize("knobs", [{}, {"space_prefix": True}, {"strips": True}], ids=str)
@given(text=TOY_TEXTS)
def test_fragments_make_up_the_tokens_of_the_whole(toy: Callable[..., Any], knobs: dict[str, bool], text: str) -> None:
    vocabulary = toy(**knobs)
    assert ids_of(Fragments(vocabulary), text) == vocabulary.tokenize_whole(text)


# -- real vocabularies ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def smol(smollm2: ModelDescriptor) -> Iterator[Model]:
    model = Model(smollm2.path)
    yield model
    model.close()


@pytest.fixture(scope="module")
def coder() -> Iterator[Model]:
    if not CODER.exists():
        pytest.skip(f"{CODER} is not there")
    model = Model(CODER)
    yield model
    model.close()


REAL_TEXTS = st.lists(
    st.one_of(
        st.sampled_from(["<|im_start|>", "<|im_end|>", "<|im_end|>\n", "<|endoftext|>", "<file_sep>", "</s>", "<|im_"]),
        st.sampled_from(["<tool_call>", "</tool_call>", "|>", "\n\n", "\t", "user\n", "don't", "1234", "日本", "🙂"]),
        st.just("  "),
        st.text(max_size=12),
    ),
    max_size=12,
).map("".join)


@pytest.mark.model
@given(text=REAL_TEXTS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_starter_models_fragments_make_up_the_tokens_of_the_whole(smol: Model, text: str) -> None:
    assert ids_of(Fragments(smol), text) == smol.tokenize(text).tolist()


@pytest.mark.coder
@given(text=REAL_TEXTS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_coders_fragments_make_up_the_tokens_of_the_whole(coder: Model, text: str) -> None:
    assert ids_of(Fragments(coder), text) == coder.tokenize(text).tolist()


@pytest.mark.model
def test_a_model_tells_its_control_tokens(smol: Model) -> None:
    end = smol.specials["<|im_end|>"]
    assert (end.id, end.shown, end.strips_before, end.strips_after) == (2, False, False, False)
    assert "the" not in smol.specials
    assert smol.first_token is None
    assert 2 not in smol.tokenize_plain("<|im_end|>")


# -- the memory ----------------------------------------------------------------------------------------------------


class Counting:
    """Counts the characters that are tokenised."""

    def __init__(self, vocabulary: Any) -> None:
        self._vocabulary = vocabulary
        self.specials = vocabulary.specials
        self.first_token = None
        self.characters = 0

    def tokenize_plain(self, text: str) -> TokenIds:
        self.characters += len(text)
        ids: TokenIds = self._vocabulary.tokenize_plain(text)
        return ids


def test_a_text_that_grew_is_tokenised_where_it_grew(toy: Callable[..., Any]) -> None:
    counting = Counting(toy())
    fragments = Fragments(counting)
    text = "<s>" + "the sea is wide " * 100 + "<|im_end|>"
    ids_of(fragments, text)
    before = counting.characters
    ids_of(fragments, text + "and deep<|im_end|>")
    assert counting.characters - before == len("and deep")


def test_the_memory_is_bounded(toy: Callable[..., Any]) -> None:
    counting = Counting(toy())
    fragments = Fragments(counting, max_bytes=1_000)
    for number in range(20):
        fragments.tokens(f"fragment {number}")
    before = counting.characters
    fragments.tokens("fragment 19")
    assert counting.characters == before
    fragments.tokens("fragment 0")
    assert counting.characters == before + len("fragment 0")


# -- cuts ----------------------------------------------------------------------------------------------------------


def test_what_is_unwanted_is_left_out_after_the_cuts_were_found(toy: Callable[..., Any]) -> None:
    """The guard's marks: the spelling that they broke is plain text."""
    vocabulary = toy()
    ids = ids_of(Fragments(vocabulary), "a<s><!s>b", re.compile("!"))
    assert ids == [*b"a", vocabulary.specials["<s>"].id, *b"<s>b"]


@given(st.lists(st.text("ab<|", min_size=1, max_size=4), max_size=8), st.text("ab<|", max_size=20))
def test_of_several_spellings_the_longest_is_found(spellings: list[str], text: str) -> None:
    pattern = any_of(spellings)
    match = pattern.search(text)
    starts = [start for start in range(len(text)) if any(text.startswith(word, start) for word in spellings)]
    assert (match is not None) == bool(starts)
    if match is not None:
        assert match.start() == starts[0]
        assert match[0] == max((word for word in spellings if text.startswith(word, starts[0])), key=len)


def test_a_control_token_of_one_character_is_text(toy: Callable[..., Any]) -> None:
    """Nothing could keep it out of what a client says."""

    class OneCharacter(Counting):
        def __init__(self) -> None:
            super().__init__(toy())
            self.specials = {"x": Special(id=7)}

    assert ids_of(Fragments(OneCharacter()), "axa") == list(b"axa")
