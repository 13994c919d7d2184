"""Ours: a constraint over tokens, and over a real vocabulary."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pensieve_core import ModelDescriptor
from pensieve_gguf.constraints import Constraint, Vocabulary
from pensieve_gguf.llama import Model

END = 261
AB = 'start: "ab" | "abc" | "x" /[0-9]{1,3}/ "y"'


def after(vocabulary: Vocabulary, text: str, grammar: str = AB) -> Constraint:
    constraint = vocabulary.compile(grammar).begun(text)
    assert constraint is not None
    return constraint


def admitted(constraint: Constraint, size: int = 262) -> set[int]:
    logits = np.zeros(size, np.float32)
    constraint.mask(logits)
    return set(np.flatnonzero(np.isfinite(logits)).tolist())


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", {*b"ax"}),
        ("a", {*b"b"}),
        ("ab", {*b"c", END}),
        ("abc", {END}),
        ("x1", {*b"0123456789y"}),
        ("x123", {*b"y"}),
    ],
)
def test_the_end_of_the_turn_is_admitted_only_where_the_text_may_end(
    vocabulary: Vocabulary, text: str, tokens: set[int]
) -> None:
    constraint = after(vocabulary, text)
    assert admitted(constraint) == tokens
    assert {token for token in range(262) if constraint.admits(token)} == tokens
    assert constraint.satisfied == (END in tokens)
    assert constraint.ended == (tokens == {END})


@given(st.sampled_from(["ab", "abc", "x7y", "x123y"]))
def test_a_text_that_is_accepted_token_by_token_can_be_taken_back(vocabulary: Vocabulary, text: str) -> None:
    constraint = vocabulary.compile(AB)
    for token in text.encode():
        assert constraint.admits(token)
        assert constraint.accept(token)
    assert constraint.satisfied
    constraint.rollback(len(text))
    assert admitted(constraint) == {*b"ax"}


def test_what_must_come_is_told(vocabulary: Vocabulary) -> None:
    assert bytes(after(vocabulary, "", 'start: "{" /[a-z]+/ "}end"').forced()) == b"{"
    assert bytes(after(vocabulary, "{a}", 'start: "{" /[a-z]+/ "}end"').forced()) == b"end"


def test_a_refused_token_that_is_accepted_all_the_same_ends_the_constraint(vocabulary: Vocabulary) -> None:
    constraint = vocabulary.compile(AB)
    told = [(constraint.accept(token), bool(constraint.failed)) for token in b"xz"]
    assert told == [(True, False), (False, True)]
    assert admitted(constraint) == set()
    assert constraint.begun() is None


def test_a_constraint_begins_at_many_places_and_stays_where_it_is(vocabulary: Vocabulary) -> None:
    constraint = vocabulary.compile(AB)
    assert constraint.begun("ab") is not None
    assert constraint.begun("zz") is None
    assert admitted(constraint) == {*b"ax"}


def test_a_grammar_that_is_none_is_told(vocabulary: Vocabulary) -> None:
    assert "nowhere" in vocabulary.fault("start: nowhere")
    assert vocabulary.fault(AB) == ""
    assert vocabulary.compile("start: nowhere").failed


@pytest.fixture(scope="module")
def model(smollm2: ModelDescriptor) -> Iterator[Model]:
    model = Model(smollm2.path)
    yield model
    model.close()


@pytest.mark.model
def test_a_models_own_tokens_are_constrained_and_all_that_end_its_turn(model: Model) -> None:
    vocabulary = Vocabulary.of(model)
    constraint = vocabulary.compile('start: "France"')
    (france,) = model.tokenize("France").tolist()
    assert france in admitted(constraint, model.vocabulary_size)
    assert all(b"France".startswith(model.piece(t)) for t in admitted(constraint, model.vocabulary_size))
    assert constraint.accept(france)
    assert admitted(constraint, model.vocabulary_size) == model.end_tokens


@pytest.mark.model
def test_special_tokens_are_known_by_their_texts(model: Model) -> None:
    vocabulary = Vocabulary.of(model)
    assert vocabulary.special("<|im_start|>") == model.tokenize("<|im_start|>")[0]
    assert vocabulary.special("<tool_call>") is None
    assert vocabulary.special("France") is None


@pytest.mark.model
def test_a_vocabulary_that_is_read_before_the_weights_is_the_same(smollm2: ModelDescriptor, model: Model) -> None:
    complete, of = Vocabulary.begin(smollm2.path), Vocabulary.of(model)
    ahead = complete(model)
    assert ahead.ends.tolist() == of.ends.tolist()
    assert ahead.tokens("In France <|im_end|>") == of.tokens("In France <|im_end|>")
    grammar = 'start: %json {"type": "object", "properties": {"a": {"type": "string"}}}'
    for text in ("", '{"a": "'):
        begun = [vocabulary.compile(grammar).begun(text) for vocabulary in (ahead, of)]
        first, second = (admitted(one, model.vocabulary_size) for one in begun if one is not None)
        assert first == second != set()
