"""Ours: after a restart a conversation's own turns are still the tokens that were sampled."""

from __future__ import annotations

import contextlib
from array import array
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pensieve_core import FinishReason, GenerationEvent, GenerationFinished, Role, TextPart, TextProduced, Turn, Usage
from pensieve_gguf.engine.own_turns import Opening, OwnTurn, OwnTurns, opening_of
from pensieve_gguf.engine.turn_journal import TurnJournal, decode_turn, encode_turn

ASKED = (Turn(role=Role.USER, parts=(TextPart(text="Who are you?"),)),)
FINISH = GenerationFinished(reason=FinishReason.END_OF_TURN, usage=Usage(prompt_tokens=1))


def noted(words: str, tokens: list[int], journal: TurnJournal | None = None) -> OwnTurn:
    """Return what is noted of an answer to `ASKED`; `journal` keeps it."""
    found: list[OwnTurn] = []
    opening = opening_of(ASKED, "<user>Who are you?<assistant>")
    assert isinstance(opening, Opening)
    told: list[GenerationEvent] = [TextProduced(text=words), FINISH]
    OwnTurns(noted=found.append).note(words, array("i", tokens), told, opening)
    if journal is not None:
        journal.note(found[0])
    return found[0]


def recalled(folder: Path, answer: str) -> OwnTurn | None:
    """Return what another process knows of `answer` when it comes back."""
    own_turns = OwnTurns()
    journal = TurnJournal.open(folder, "tiny")
    assert journal is not None
    with contextlib.closing(journal):
        journal.recall_into(own_turns)
    turns = (*ASKED, Turn(role=Role.ASSISTANT, parts=(TextPart(text=answer),)))
    return own_turns.recall(turns).get(1)


def test_an_answer_is_known_after_a_restart(tmp_path: Path) -> None:
    journal = TurnJournal.open(tmp_path / "anchors", "tiny")
    assert journal is not None
    with contextlib.closing(journal):
        turn = noted("A keeper of lights.", [5, 6, 7], journal)
    assert recalled(tmp_path / "anchors", "A keeper of lights.") == turn
    assert recalled(tmp_path / "anchors", "A keeper of bees.") is None


@given(st.text(min_size=1).filter(str.strip), st.lists(st.integers(0, 2**31 - 1), max_size=5))
def test_what_is_written_is_read(words: str, tokens: list[int]) -> None:
    turn = noted(words, tokens)
    record = encode_turn(turn)
    assert b"\n" not in record
    assert decode_turn(record) == turn


@pytest.mark.parametrize("record", [b"", b"{", b"{}", b"[]", b'{"words": 1}', b"\xff"])
def test_what_others_wrote_is_no_answer(record: bytes) -> None:
    assert decode_turn(record) is None


def test_a_record_of_tokens_that_are_none_is_no_answer() -> None:
    record = encode_turn(noted("Yes.", [5]))
    assert decode_turn(record.replace(b"[5]", b"[99999999999]")) is None
    assert decode_turn(record.replace(b"[5]", b'["a"]')) is None


def test_what_is_no_unicode_is_not_kept_and_hurts_nobody(tmp_path: Path) -> None:
    journal = TurnJournal.open(tmp_path / "anchors", "tiny")
    assert journal is not None
    with contextlib.closing(journal):
        noted("half a pair: \ud800", [1], journal)
        turn = noted("Yes.", [2], journal)
    assert recalled(tmp_path / "anchors", "Yes.") == turn


def test_a_folder_that_cannot_be_used_keeps_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert TurnJournal.open(tmp_path / "file", "tiny") is None
