"""A request's prompt in tokens, by the path that the engine takes; and what two prompts share.

Counters say how much a server reused. This says how much there was to reuse.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from pensieve_core import ModelId, Origin, RequestId
from pensieve_gguf.llama import Model
from pensieve_gguf.templates import ChatTemplate
from pensieve_protocol import parse_messages_request, to_generation_request

__all__ = ["Tokenizer", "first_difference", "prompt_tokens", "text_tokens"]

Tokenizer: TypeAlias = Callable[[Mapping[str, Any]], Sequence[int]]
"""From a request's body to its prompt."""


def prompt_tokens(model: Path) -> Tokenizer:
    """Return what renders and tokenises requests for `model`."""
    loaded = Model(model, gpu_layers=0)
    template = ChatTemplate(loaded.chat_template or "", bos_token=loaded.bos_text, eos_token=loaded.eos_text)

    def tokens(body: Mapping[str, Any]) -> Sequence[int]:
        wire = parse_messages_request(json.dumps(body).encode(), version="2023-06-01")
        request = to_generation_request(wire, request_id=RequestId("req"), model=ModelId("any"), origin=Origin())
        return list(loaded.tokenize(template.render(request).text))

    return tokens


def text_tokens(model: Path) -> Callable[[str], Sequence[int]]:
    """Return what tokenises plain text for `model`."""
    loaded = Model(model, gpu_layers=0)
    return lambda text: list(loaded.tokenize(text))


def first_difference(left: Sequence[int], right: Sequence[int]) -> int | None:
    """Return where two answers or prompts part; None: they are equal."""
    for position, (one, other) in enumerate(zip(left, right, strict=False)):
        if one != other:
            return position
    return None if len(left) == len(right) else min(len(left), len(right))
