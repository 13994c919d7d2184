"""The conversation itself: words, history, figures."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pensieve_cli.errors import CommandError
from pensieve_cli.exit_codes import ExitCode
from pensieve_cli.model_commands.chat import (
    Ending,
    Heard,
    History,
    Text,
    Thought,
    divide_words,
    figures,
    joined,
    safe_on_terminal,
)

_ENDING = Ending(stop_reason="end_turn", prompt_tokens=40, cached_tokens=12, generated_tokens=11)


def _knows(word: str) -> bool:
    return word in {"tiny", "other"}


def _advice(word: str) -> str:
    return f"; fetch {word}" if word.startswith("t") else ""


@pytest.mark.parametrize(
    ("words", "alone", "divided"),
    [
        ([], True, (None, "")),
        (["tiny"], True, ("tiny", "")),
        (["tiny", "Why?"], True, ("tiny", "Why?")),
        (["tiny", "Why", "not?"], True, ("tiny", "Why not?")),
        (["Why is that?"], True, (None, "Why is that?")),
        (["explain"], False, (None, "explain")),
        (["tiny"], False, ("tiny", "")),
        (["tiny or other"], True, (None, "tiny or other")),
    ],
)
def test_a_model_is_a_word_that_somebody_knows(
    words: list[str], *, alone: bool, divided: tuple[str | None, str]
) -> None:
    assert divide_words(words, _knows, _advice, alone=alone) == divided


@pytest.mark.parametrize(
    ("words", "alone"), [(["tny"], True), (["tny"], False), (["tny", "Why?"], True), (["why", "not"], False)]
)
def test_a_mistyped_model_is_no_text(words: list[str], *, alone: bool) -> None:
    with pytest.raises(CommandError, match=f"quotes{_advice(words[0])}$") as refused:
        divide_words(words, _knows, _advice, alone=alone)
    assert refused.value.exit_code is ExitCode.NOT_FOUND


@given(exchanges=st.lists(st.tuples(st.text(), st.text())))
def test_every_question_begins_with_the_whole_of_the_one_before(exchanges: list[tuple[str, str]]) -> None:
    """So that what a server has computed is found again."""
    history, before = History(system="s", max_tokens=5), History(system="s", max_tokens=5).question("")
    for text, answer in exchanges:
        question = history.question(text)
        assert question.messages[: len(before.messages) - 1] == before.messages[:-1]
        assert question.messages[-1].text == text
        history, before = history.after(text, answer), question
        roles = [message.role for message in history.messages]
        assert roles == ["user", "assistant"] * (len(roles) // 2)


def test_an_answer_without_a_word_was_none() -> None:
    history = History(system="", max_tokens=5)
    assert history.after("question", " \n") is history


def test_what_is_piped_in_stands_below_the_text() -> None:
    assert joined("Explain", "a\nb\n") == "Explain\n\na\nb"
    assert joined("", "a") == "a"
    assert joined(" Explain ", "") == "Explain"


def test_figures_tell_speed_and_what_was_known() -> None:
    heard = Heard(began=10.0)
    assert figures(heard) == "ended"
    for piece, now in ((Thought("hm"), 10.5), (Text("a"), 11.0), (Text("b"), 12.0), (_ENDING, 12.5)):
        heard.feed(piece, now)
    assert (heard.text, heard.thinking) == ("ab", "hm")
    assert figures(heard) == "11 tokens, 5.0 tok/s, first after 0.5 s, 12 of 40 known"


def test_a_single_token_has_no_speed() -> None:
    heard = Heard(began=0.0)
    heard.feed(Ending(stop_reason="end_turn", prompt_tokens=1, cached_tokens=0, generated_tokens=1), 1.0)
    assert figures(heard) == "1 tokens, first after 1.0 s, 0 of 1 known"


@given(text=st.text())
def test_nothing_that_a_terminal_obeys_reaches_it(text: str) -> None:
    shown = safe_on_terminal(text + "\x1b]0;title\x07\x9b31m")
    assert not set(shown) & {chr(code) for code in (*range(9), *range(11, 32), *range(127, 160))}
    assert len(shown) == len(text + "\x1b]0;title\x07\x9b31m")
