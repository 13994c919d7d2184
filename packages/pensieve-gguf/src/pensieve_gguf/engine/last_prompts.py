"""The last prompt of each conversation: where the next one differs, if it does. A machine; `differs_at` mutates it.

What the cache held tells less: it may have lost what did not change. Above: the engine, which tells it at admission.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Hashable

from pensieve_gguf.engine.tree import common_prefix

__all__ = ["LastPrompts"]

_KEPT = 64
"""Conversations, some 100 KB each."""


class LastPrompts:
    """Remembers token ids."""

    def __init__(self) -> None:
        self._prompts: OrderedDict[Hashable, array[int]] = OrderedDict()

    def differs_at(self, conversation: Hashable, prompt: array[int]) -> int | None:
        """Return the first token of the last prompt of `conversation` that is another in `prompt`; remember this one.

        None: `prompt` begins with all of it, or there is none, or nobody knows whose it is.
        """
        if conversation is None:
            return None
        before = self._prompts.pop(conversation, prompt)
        self._prompts[conversation] = prompt[:]  # the caller's grows while it is answered
        if len(self._prompts) > _KEPT:
            self._prompts.popitem(last=False)
        common = common_prefix(before, prompt)
        return None if common == len(before) else common
