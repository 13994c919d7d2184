"""The two APIs that an upstream may speak, as values: where to ask, what to send, who reads the answer.

All that differs between them is here and in the modules that this one names; HTTP, admission and cancelling know
neither. A third dialect is a third value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Protocol, TypeAlias

import attrs

from pensieve_core import GenerationEvent, GenerationRequest
from pensieve_upstream.anthropic_answer import MessageReader
from pensieve_upstream.anthropic_request import count_body, messages_body
from pensieve_upstream.openai_answer import ChunkReader
from pensieve_upstream.openai_request import chat_body, one_token_body, tokenize_body

__all__ = ["DIALECTS", "AnswerReader", "Count", "Dialect"]

_Json: TypeAlias = Mapping[str, Any]
_Body: TypeAlias = Callable[[GenerationRequest, str], _Json]
"""From a request, and the upstream's name of its model."""


class AnswerReader(Protocol):
    """Reads one answer."""

    finished: bool
    """Nothing more comes."""

    def feed(self, payload: _Json) -> Iterator[GenerationEvent]:
        """Yield what a payload of the stream says. `{"done": True}` stands for OpenAI's `[DONE]`.

        Raises:
            PensieveError: the upstream ended its answer with an error.
        """
        ...


@attrs.frozen(kw_only=True)
class Count:
    """A way to learn how many tokens a prompt has."""

    path: str
    body: _Body
    read: Callable[[_Json], object]
    """Finds the number in the answer; whatever is none means that the upstream does not know this way."""


@attrs.frozen(kw_only=True)
class Dialect:
    """One API."""

    path: str
    headers: Callable[[str], Mapping[str, str]]
    """That every request has, for a key; "": there is none."""
    body: _Body
    """Of a streamed request."""
    counts: tuple[Count, ...]
    """The first that the upstream knows is used."""
    reader: Callable[[GenerationRequest], AnswerReader]


def _messages_headers(key: str) -> Mapping[str, str]:
    return {"anthropic-version": "2023-06-01", **({"x-api-key": key} if key else {})}


def _chat_headers(key: str) -> Mapping[str, str]:
    return {"authorization": f"Bearer {key}"} if key else {}


_CHAT = "/v1/chat/completions"

DIALECTS: Mapping[str, Dialect] = MappingProxyType(
    {
        "anthropic": Dialect(
            path="/v1/messages",
            headers=_messages_headers,
            body=messages_body,
            counts=(
                Count(
                    path="/v1/messages/count_tokens", body=count_body, read=lambda answer: answer.get("input_tokens")
                ),
            ),
            reader=lambda _: MessageReader(),
        ),
        "openai": Dialect(
            path=_CHAT,
            headers=_chat_headers,
            body=chat_body,
            counts=(
                Count(path="/tokenize", body=tokenize_body, read=lambda answer: answer.get("count")),  # vLLM
                Count(  # llama-server
                    path=f"{_CHAT}/input_tokens", body=tokenize_body, read=lambda answer: answer.get("input_tokens")
                ),
                Count(  # all others: the prompt is computed for one token, and waits in the upstream's cache then
                    path=_CHAT,
                    body=one_token_body,
                    read=lambda answer: (answer.get("usage") or {}).get("prompt_tokens"),
                ),
            ),
            reader=lambda request: ChunkReader(only_prompt=request.max_tokens == 0),
        ),
    }
)
