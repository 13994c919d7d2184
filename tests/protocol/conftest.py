"""Builders of request bodies, shared by the tests of the wire."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from pensieve_core import GenerationRequest, ModelId, Origin, RequestId
from pensieve_protocol import MessagesRequest, parse_messages_request, to_generation_request

Parse = Callable[..., MessagesRequest]
Translate = Callable[..., GenerationRequest]


@pytest.fixture
def body() -> Callable[..., bytes]:
    """Return a builder: a minimal valid request with these fields put over it; `...` removes a field."""

    def build(**fields: Any) -> bytes:
        request = {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}], **fields}
        return orjson.dumps({name: value for name, value in request.items() if value is not ...})

    return build


@pytest.fixture
def parse(body: Callable[..., bytes]) -> Parse:
    """Return a parser of `body(**fields)`."""
    return lambda **fields: parse_messages_request(body(**fields))


@pytest.fixture
def as_asked() -> Callable[[MessagesRequest], GenerationRequest]:
    """Return what makes of a request what the engine is asked."""

    def ask(request: MessagesRequest, origin: Origin | None = None) -> GenerationRequest:
        return to_generation_request(
            request, request_id=RequestId("req_1"), model=ModelId("qwen"), origin=origin or Origin()
        )

    return ask


@pytest.fixture
def translate(parse: Parse, as_asked: Translate) -> Translate:
    """Return what the engine is asked for `body(**fields)`."""

    def build(origin: Origin | None = None, **fields: Any) -> GenerationRequest:
        return as_asked(parse(**fields), origin)

    return build
