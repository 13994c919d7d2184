"""Ours: design 2, "Drafts": what is likely to come, and how likely."""

from __future__ import annotations

from array import array

import pytest

from pensieve_gguf.engine.drafter import Drafter, DraftSource, Guess


class Skeleton:
    """A constraint that knows what must come."""

    def __init__(self, *forced: int) -> None:
        self.left = list(forced)

    def forced(self) -> list[int]:
        return self.left


class Text:
    """A text that grows, and its drafter."""

    def __init__(self, prompt: str, source: DraftSource | None = None) -> None:
        self.tokens = array("i", list(prompt.encode()))
        self.drafter = Drafter(self.tokens, len(prompt), source)

    def say(self, text: str) -> None:
        self.tokens.extend(list(text.encode()))

    def drafted(self, most: int = 4) -> str:
        return bytes(self.drafter.draft(most).tokens).decode()

    def odds(self) -> float:
        """How likely the next guess is right."""
        return self.drafter.draft(1).expected[0]


def test_a_draft_is_what_followed_before() -> None:
    text = Text("def area(self): return self.width * self.height")
    text.say("def a")
    assert text.drafted(7) == "rea(sel"
    text.say("rea(self, s")
    assert text.drafted(4) == "elf."
    text.say("cale)")
    assert text.drafted() == ""


def test_tokens_are_less_likely_the_farther_ahead_they_are() -> None:
    text = Text("abcdefghij")
    text.say("abc")
    expected = text.drafter.draft(6).expected
    gains = [after - before for before, after in zip((0.0, *expected), expected, strict=False)]
    assert gains == sorted(gains, reverse=True)
    assert all(0 < gain < 1 for gain in gains)


def test_a_draft_that_is_cut_expects_less() -> None:
    text = Text("abcdefghij")
    text.say("abc")
    draft = text.drafter.draft(6)
    assert draft.cut(2).tokens == draft.tokens[:2]
    assert draft.cut(2).expected == draft.expected[:2]


def test_the_longer_the_match_the_likelier_the_guess() -> None:
    text = Text("0123456789" * 2 + "abcdefghijklmnopqrst")
    told = []
    for letter in "abcdefghijklmnopqr":
        text.say(letter)
        told.append(text.drafter.draft(1).expected)
    likely = [expected[0] for expected in told if expected]
    assert likely[0] < 0.5 < likely[1] < 0.7 < likely[2]
    assert likely[-1] > 0.95


def test_an_answer_that_goes_other_ways_is_no_longer_trusted_whether_drafts_are_computed_or_not() -> None:
    text = Text("ab1 ab2 ab3")
    text.say("ab")
    at_first = text.odds()
    text.say("".join(f"{letter}ab" for letter in "cdefghijklmnopq"))
    assert text.odds() < at_first / 3


def test_trust_comes_back() -> None:
    text = Text("ab1 ab2 ab3")
    text.say("ab" + "".join(f"{letter}ab" for letter in "cdefghijklmnopq"))
    poor = text.odds()
    for _ in range(40):
        text.say("q\nab")  # as after the last `ab`; the line break ends the match
        assert text.drafted(1) == "q"
    assert text.odds() > 0.8 > poor


def test_forced_tokens_come_before_likely_ones() -> None:
    skeleton = Skeleton(*b'{"name": ')
    text = Text("abcdef", skeleton)
    text.say("abc")
    assert text.drafted(5) == '{"nam'
    assert text.odds() == pytest.approx(0.9)
    skeleton.left = []
    assert text.drafted(1) == "d"


def test_forced_tokens_that_are_spelt_otherwise_are_trusted_less() -> None:
    skeleton = Skeleton(*b"[1,2]")
    text = Text("", skeleton)
    for _ in range(30):
        assert text.drafted(2) == "[1"
        text.say("[")
        text.say(" ")
    assert text.odds() == pytest.approx(0.5, abs=0.1)


def test_what_is_taken_back_is_forgotten() -> None:
    text = Text("xy")
    text.say("abcabc")
    assert text.drafted(1) == "a"
    del text.tokens[2:]
    text.drafter.restart()
    text.say("ab")
    assert text.drafted() == ""


def test_of_a_very_long_prompt_the_end_is_looked_up() -> None:
    text = Text("ab1" + "." * (1 << 16) + "ab2")
    text.say("ab")
    assert text.drafted(1) == "2"
    assert Text("ab1" + "." * (1 << 16)).drafted() == ""


def test_what_stands_before_is_not_looked_up_where_it_must_not_be() -> None:
    """The stand-ins of an image are no tokens."""
    for before, since, drafted in (([1, 2, -7, -8, 9], 4, ()), ([1, 2, -7, -8, 1, 2, 3, 4, 9], 4, (3, 4))):
        tokens = array("i", before)
        drafter = Drafter(tokens, len(tokens), since=since)
        tokens.extend([1, 2])
        assert drafter.draft(2).tokens == drafted


# -- a draft model's guesses -------------------------------------------------------------------------------------------


def guessed(text: Text, said: str, probability: float = 0.8, *, asked: int | None = None) -> float:
    """Return how many tokens of a guess are expected to be right."""
    text.drafter.draft(1)
    guess = Guess(tuple(said.encode()), (probability,) * len(said))
    draft = text.drafter.guessed(guess, len(said) if asked is None else asked)
    assert draft.guessed
    assert draft.cut(1).guessed
    return draft.expected[-1] if said else 0.0


def test_a_guess_is_trusted_the_more_the_surer_the_model_is() -> None:
    text = Text("?")
    text.say("a")
    expected = [guessed(text, "bcd", probability) for probability in (0.3, 0.7, 0.8, 0.95, 0.99)]
    assert expected == sorted(expected)
    assert 0 < expected[0] < 1 < expected[-1] < 3


def test_how_far_a_model_can_be_trusted_is_learned_for_each_degree_of_sureness() -> None:
    text = Text("?")
    text.say("a")
    sure, unsure = guessed(text, "b", 0.99), guessed(text, "b", 0.3)
    for _ in range(10):
        guessed(text, "b", 0.99)
        text.say("x")
        guessed(text, "b", 0.3)
        text.say("b")
    assert guessed(text, "b", 0.99) < sure
    assert guessed(text, "b", 0.3) > unsure


def test_a_model_promises_what_it_has_kept() -> None:
    good, bad = Text("?"), Text("?")
    before = good.drafter.promise(4)
    for _ in range(5):
        for text, said in ((good, "bcde"), (bad, "xyz!")):
            guessed(text, "bcde")
            text.say(said)
    for text in (good, bad):
        text.drafter.draft(1)
    assert bad.drafter.promise(4) < before < good.drafter.promise(4) < 4
    assert good.drafter.promise(1) < good.drafter.promise(2)


def test_guesses_that_were_asked_for_and_doubted_count_as_wrong_once_they_are_reached() -> None:
    doubting, wanting = Text("?"), Text("?")
    for text, asked in ((doubting, 4), (wanting, 2)):
        guessed(text, "bc", asked=asked)
        text.say("bcd")
        text.drafter.draft(1)
    assert doubting.drafter.promise(4) < wanting.drafter.promise(4)


def test_after_a_wrong_guess_the_rest_of_it_teaches_nothing() -> None:
    ones = Text("?"), Text("?")
    for text, said in zip(ones, ("bxxx", "b"), strict=True):
        guessed(text, said)
        text.say("bqxx")
        text.drafter.draft(1)
    assert ones[0].drafter.promise(1) < ones[1].drafter.promise(1)
    again = Text("?")
    guessed(again, "bx")
    again.say("bqxx")
    again.drafter.draft(1)
    assert again.drafter.promise(1) == ones[0].drafter.promise(1)


def test_what_is_taken_back_is_no_guess_any_more() -> None:
    text = Text("?")
    guessed(text, "bc")
    before = text.drafter.promise(1)
    text.drafter.restart()
    text.say("xx")
    text.drafter.draft(1)
    assert text.drafter.promise(1) == before


def test_guesses_are_compared_with_what_came_where_they_were_made() -> None:
    """Another sequence may take all room for what is known: nothing is looked up, and a draft model guesses."""
    text = Text("?")
    for token in b"abcdefghijklmnopqrstuvwxyz":
        text.drafter.guessed(Guess((token,), (0.9,)), 1)
        text.say(chr(token))
    assert text.drafted() == ""
    assert text.drafter.promise(1) > 0.95
