"""A request's prompt in tokens, by the path that the engine takes; and what two prompts share.

Counters say how much a server reused. This says how much there was to reuse.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from pensieve_core import ModelId, Origin, RequestId
from pensieve_gguf.llama import Context, ContextShape, Model, Rows
from pensieve_gguf.templates import ChatTemplate
from pensieve_protocol import parse_messages_request, to_generation_request

__all__ = ["Logits", "Tokenizer", "first_difference", "prompt_tokens", "text_tokens"]

_BATCH = 512

Tokenizer: TypeAlias = Callable[[Mapping[str, Any]], Sequence[int]]
"""From a request's body to its prompt."""


def prompt_tokens(model: Path) -> Tokenizer:
    """Return what renders and tokenises requests for `model`."""
    loaded = Model(model, gpu_layers=0)
    template = ChatTemplate(loaded.chat_template or "", bos_token=loaded.bos_text, eos_token=loaded.eos_text)

    def tokens(body: Mapping[str, Any]) -> Sequence[int]:
        wire = parse_messages_request(json.dumps(body).encode())
        request = to_generation_request(wire, request_id=RequestId("req"), model=ModelId("any"), origin=Origin())
        return loaded.tokenize(template.render(request).text).tolist()

    return tokens


def text_tokens(model: Path) -> Callable[[str], Sequence[int]]:
    """Return what tokenises plain text for `model`, without a token for the beginning."""
    loaded = Model(model, gpu_layers=0)
    return lambda text: loaded.tokenize(text)[loaded.adds_bos :].tolist()


class Logits:
    """A model that reads answers, one at a time, in a context of its own."""

    def __init__(self, model: Path, *, cells: int, threads: int) -> None:
        self._model = Model(model, gpu_layers=0)
        shape = ContextShape(cells=cells, sequences=1, batch_tokens=_BATCH, threads=threads)
        self._context = Context(self._model, shape)

    def close(self) -> None:
        """Free the model."""
        self._context.close()
        self._model.close()

    def shortfall(self, prompt: Sequence[int], answer: Sequence[int]) -> float:
        """Return how many logits the unlikeliest token of `answer` is below the likeliest in its place."""
        self._context.cut(0, 0)
        tokens = array("i", [*prompt, *answer])
        worst = 0.0
        for start, stop in self._batches(len(prompt), len(tokens)):
            wanted = len(prompt) <= stop < len(tokens)
            rows = Rows(slot=0, start=start, tokens=tokens[start:stop], wants_logits=wanted)
            _, (last,) = self._context.decode([rows])
            if wanted:
                logits = self._context.logits(last)  # the engine itself only samples
                worst = max(worst, float(logits.max() - logits[tokens[stop]]))
        return worst

    @staticmethod
    def _batches(prompt: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield from where to where: the prompt in large batches, then token by token."""
        stops = [*range(_BATCH, prompt, _BATCH), *range(prompt, end + 1)]
        yield from zip([0, *stops], stops, strict=False)


def first_difference(left: Sequence[int], right: Sequence[int]) -> int | None:
    """Return where two answers or prompts part; None: they are equal."""
    for position, (one, other) in enumerate(zip(left, right, strict=False)):
        if one != other:
            return position
    return None if len(left) == len(right) else min(len(left), len(right))
