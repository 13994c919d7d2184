"""Requests, as short as a test wants them."""

import itertools
from collections.abc import Callable

import pytest

from pensieve_core import GenerationRequest, ModelId, RequestId, Role, TextPart, Turn

RequestMaker = Callable[..., GenerationRequest]

_numbers = itertools.count()


def make_request(text: str = "hello there", *, max_tokens: int = 100) -> GenerationRequest:
    return GenerationRequest(
        id=RequestId(f"req_{next(_numbers)}"),
        model=ModelId("scripted"),
        turns=(Turn(role=Role.USER, parts=(TextPart(text=text),)),),
        max_tokens=max_tokens,
    )


@pytest.fixture
def request_for() -> RequestMaker:
    return make_request
