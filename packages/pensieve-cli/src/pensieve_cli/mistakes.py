"""What is said of words that make no sense: what is wrong with them, and what was meant perhaps. Pure.

cyclopts finds the mistakes. Those that people make with commands are told here in our words, all others in its own.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

from cyclopts import App, CycloptsError, UnusedCliTokensError
from cyclopts.exceptions import MissingArgumentError

__all__ = ["explain"]

_NEEDED = {
    "MODEL_NAME": "the name of a MODEL; pensieve-server list has all",
    "SHELL": "a SHELL: bash, zsh or fish",
}
"""By cyclopts's name of the parameter."""


def explain(error: CycloptsError, commands: Mapping[str, App]) -> str:
    """Return what is wrong. `commands`: all there are, by their words."""
    chain = tuple(error.command_chain or ())
    match error:
        case UnusedCliTokensError():
            return _too_many(tuple(error.unused_tokens or ()), chain, commands)
        case MissingArgumentError(keyword=None) if error.argument is not None and error.argument.name in _NEEDED:
            return f"{' '.join(chain)} needs {_NEEDED[error.argument.name]}"
        case _:
            return str(error).rstrip(".")


def _too_many(words: Sequence[str], chain: Sequence[str], commands: Mapping[str, App]) -> str:
    first, said = next(iter(words), ""), " ".join(words)
    if first in commands:
        return f"a command stands before its options: pensieve-server {first} …"
    if not chain:
        return f"unknown command: {said}{_perhaps(first, commands)}"
    if chain == ("claude",):
        return f"what is for Claude Code stands behind --: pensieve-server claude -- {said}"
    below = [word for word in commands[chain[0]] if not word.startswith("-")]
    if below and len(chain) == 1:
        return f"{chain[0]} has no {first}: it has {', '.join(below)}"
    return f"too many words: {said}"


def _perhaps(word: str, commands: Mapping[str, App]) -> str:
    close = difflib.get_close_matches(word, commands, n=1)
    return f"; did you mean {close[0]}?" if close else ""
