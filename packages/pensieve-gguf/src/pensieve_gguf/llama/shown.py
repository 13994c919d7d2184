"""Which control tokens an answer shows: those that mark a dialect, for its parser reads them.

All others are hidden from the text: llama.cpp itself shows none, and a client must see none. Pure.
"""

from __future__ import annotations

from typing import Final

__all__ = ["is_shown"]

_WORDS: Final = ("tool", "think", "function", "channel", "message", "call", "python_tag")
"""In tokens of all families, in upper case with Mistral and Cohere."""
_SPELLINGS: Final = frozenset({"[ARGS]", '<|"|>'})
"""Mistral's mark before arguments, and Gemma's quote."""


def is_shown(spelling: str) -> bool:
    """Tell whether an answer shows the control token that is spelled like this."""
    lowered = spelling.casefold()
    return spelling in _SPELLINGS or any(word in lowered for word in _WORDS)
