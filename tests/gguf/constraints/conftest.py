"""A vocabulary whose tokens are bytes: grammars are tried with no model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from llguidance import LLTokenizer

from pensieve_core import GenerationRequest, ModelId, RequestId, Role, TextPart, Turn
from pensieve_gguf.constraints import Vocabulary

END = 261


@pytest.fixture(scope="session")
def vocabulary() -> Vocabulary:
    return Vocabulary(LLTokenizer("byte"), {END})


@pytest.fixture
def make_request() -> Callable[..., GenerationRequest]:
    """Makes a request; what is not said about it is as plain as can be."""

    def make_request(**knobs: Any) -> GenerationRequest:
        turns = (Turn(role=Role.USER, parts=(TextPart(text="hi"),)),)
        plain: dict[str, Any] = {"id": RequestId("req_1"), "model": ModelId("m"), "turns": turns, "max_tokens": 10}
        return GenerationRequest(**(plain | knobs))

    return make_request
