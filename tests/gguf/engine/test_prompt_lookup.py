"""Ours: design 2, "Drafts": what is likely to come is found without reading the text again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pensieve_gguf.engine.prompt_lookup import PromptLookup

texts = st.lists(st.integers(0, 3), max_size=16)
"""Few different tokens, so that much repeats; and never in more places than are compared."""


def lookup(prompt: str, answer: str) -> PromptLookup:
    """Return a lookup over a text in which every letter is a token."""
    one = PromptLookup()
    one.extend(map(ord, prompt))
    for letter in answer:
        one.push(ord(letter))
    return one


def predicted(one: PromptLookup, count: int = 5) -> str:
    return "".join(map(chr, one.predict(count)))


@pytest.mark.parametrize("answer", ["", "x", "cd", "ed"])
def test_nothing_is_predicted_of_what_was_not_there(answer: str) -> None:
    one = lookup("abcde", answer)
    assert one.matched == (2 if answer == "cd" else 0)
    assert predicted(one, 1) == ("e" if answer == "cd" else "")


def test_what_followed_in_the_prompt_is_predicted() -> None:
    one = lookup("the quick brown fox", "a quick b")
    assert predicted(one) == "rown "
    assert one.matched == len(" quick b")


def test_the_place_of_the_longest_match_wins() -> None:
    assert predicted(lookup("one-two-3. two-two-4.", "xone-two-"), 1) == "3"


def test_of_equally_long_matches_the_latest_wins() -> None:
    assert predicted(lookup("a=1;b=1;a=2;", "\na="), 1) == "2"


def test_the_answer_itself_is_looked_up_too() -> None:
    assert predicted(lookup("", "hello, hel")) == "lo, h"


def test_a_place_near_the_end_is_followed_in_a_circle() -> None:
    assert predicted(lookup("", "abcabca"), 8) == "bcabcabc"


def test_a_place_is_followed_until_something_else_comes() -> None:
    one = lookup("abcdefgh", "xabc")
    assert (predicted(one, 1), one.matched) == ("d", 3)
    one.push(ord("d"))
    assert (predicted(one, 1), one.matched) == ("e", 4)
    one.push(ord("d"))
    assert (predicted(one, 1), one.matched) == ("", 0)


def test_after_a_change_the_way_back_is_found_with_two_tokens() -> None:
    one = lookup("price * count + tax;", "price * number")
    assert predicted(one, 1) == ""
    one.push(ord(" "))
    one.push(ord("+"))
    assert predicted(one) == " tax;"


def test_matches_are_compared_up_to_a_length_and_at_so_many_places() -> None:
    """What comes in a hundred places is not compared with all of them."""
    one = lookup("ab" + "." * 40 + "c" + "ab" + "." * 40 + "d" + " ab" * 50, "ab" + "." * 40)
    assert predicted(one, 1) == "d"
    assert predicted(lookup("xab1" + " ab2" * 50 + "xa", "b"), 1) == "2"


@given(prompt=texts, answer=texts)
def test_the_followed_place_is_one_where_the_last_tokens_stood(prompt: list[int], answer: list[int]) -> None:
    one = PromptLookup()
    one.extend(prompt)
    text = list(prompt)
    for token in answer:
        guess, matched = one.predict(1), one.matched
        one.push(token)
        text.append(token)
        assert len(one) == len(text)
        assert one.matched == matched + 1 if guess == [token] else one.matched == longest_match(text)
        if one.matched:
            assert followed(text, one.matched), "so many tokens stood nowhere before"
            assert one.predict(3)[:1] in [text[place : place + 1] for place in followed(text, one.matched)]


@given(prompt=texts, answer=texts, count=st.integers(0, 12))
def test_as_many_tokens_are_predicted_as_are_asked_for_or_none(
    prompt: list[int], answer: list[int], count: int
) -> None:
    one = PromptLookup()
    one.extend(prompt)
    for token in answer:
        one.push(token)
    assert len(one.predict(count)) == (count if one.matched else 0)
    assert one.predict(12)[:count] == one.predict(count)


def followed(text: list[int], matched: int) -> list[int]:
    """Return all places before which the last `matched` tokens of `text` stood."""
    return [place for place in range(matched, len(text)) if text[place - matched : place] == text[-matched:]]


def longest_match(text: list[int]) -> int:
    """Return how many of the last tokens stood somewhere before; 0 for fewer than two."""
    lengths = range(min(len(text) - 1, 32), 1, -1)
    return next((length for length in lengths if followed(text, length)), 0)
