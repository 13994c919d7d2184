"""Ours: design 3, "own signature (HMAC), foreign ones accepted"."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pensieve_core import Role, TextPart, ThinkingPart
from pensieve_protocol import MessagesRequest, Recalled, Signatures

OURS, THEIRS = Signatures(b"k" * 32), Signatures(b"x" * 32)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@given(TEXTS)
def test_what_was_signed_is_verified_as_it_stands(text: str) -> None:
    assert OURS.recall(text, OURS.sign(text)) == Recalled(text=text, verified=True)


@given(TEXTS)
def test_what_was_sealed_comes_back_from_its_signature_alone(text: str) -> None:
    """The SDK on `display`: "thinking content is redacted but a signature is returned for multi-turn continuity"."""
    assert OURS.recall("", OURS.seal(text)) == Recalled(text=text, verified=True)


@given(TEXTS.filter(bool), TEXTS)
def test_a_text_that_was_changed_is_taken_as_it_came(text: str, other: str) -> None:
    changed = text + other + "."
    assert OURS.recall(changed, OURS.sign(text)) == Recalled(text=changed, verified=False)
    assert OURS.recall(changed, OURS.seal(text)) == Recalled(text=changed, verified=False)


@given(TEXTS)
def test_signatures_of_others_are_no_failure(text: str) -> None:
    assert OURS.recall(text, THEIRS.sign(text)) == Recalled(text=text, verified=False)
    assert OURS.recall("", THEIRS.seal(text)) == Recalled(text="", verified=False)


@given(TEXTS, TEXTS | st.binary().map(lambda data: base64.urlsafe_b64encode(data).decode()))
def test_anything_may_stand_in_place_of_a_signature(text: str, signature: str) -> None:
    assert OURS.recall(text, signature) == Recalled(text=text, verified=False)


@given(TEXTS, st.integers(0, 400))
def test_a_signature_that_lost_a_letter_is_none(text: str, position: int) -> None:
    signature = OURS.seal(text)
    position %= len(signature) - 2
    torn = signature[:position] + signature[position + 1 :]
    assert not OURS.recall("", torn).verified


@pytest.fixture
def returned(parse: Callable[..., MessagesRequest]) -> Callable[..., MessagesRequest]:
    """Return a request in which the assistant's turn holds these blocks."""
    return lambda *blocks: parse(
        messages=[
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": list(blocks)},
            {"role": "user", "content": [{"type": "text", "text": "And?"}]},
        ]
    )


def test_all_reasoning_of_a_request_is_recalled_and_what_is_foreign_counted(
    returned: Callable[..., MessagesRequest],
) -> None:
    def thinking(text: str, signature: str) -> dict[str, Any]:
        return {"type": "thinking", "thinking": text, "signature": signature}

    text = {"type": "text", "text": "Yes."}
    redacted = {"type": "redacted_thinking", "data": "?"}
    wire = returned(thinking("", OURS.seal("Hm.")), thinking("So.", "EqQB"), redacted, text)
    recalled, foreign = OURS.recall_all(wire)
    assert foreign == 1
    assert recalled == returned(thinking("Hm.", OURS.seal("Hm.")), thinking("So.", "EqQB"), redacted, text)


def test_recalled_reasoning_reaches_the_model(
    returned: Callable[..., MessagesRequest], as_asked: Callable[[MessagesRequest], Any]
) -> None:
    sealed = OURS.seal("Hm.")
    wire, _ = OURS.recall_all(returned({"type": "thinking", "thinking": "", "signature": sealed}))
    assert as_asked(wire).turns[1].role is Role.ASSISTANT
    assert as_asked(wire).turns[1].parts == (ThinkingPart(text="Hm.", signature=sealed),)
    assert as_asked(wire).turns[0].parts == (TextPart(text="Hi"),)
