r"""Pieces of llguidance's dialect of Lark, of which the grammars are made.

Pure. Above: `_grammars`, `_tagged_members`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from pensieve_core import JsonObject, JsonValue

__all__ = [
    "ANYTHING",
    "OWN_LAYOUT",
    "SPACE_RULES",
    "TRACKED",
    "SpecialToken",
    "Speller",
    "in_json",
    "json_rule",
    "literal",
    "quoted",
    "with_definitions",
]

SpecialToken: TypeAlias = Callable[[str], int | None]
"""A text → the token that is this text and no ordinary text; None when there is none."""

_SPACE: Final = r"[ \t]{1,4}(\r?\n[ \t]{0,40})?|\r?\n[ \t]{0,40}"
"""White space between two tokens of JSON as people write it: at most one line break, and its indentation."""
SPACE_RULES: Final = f"space: SPACE?\nSPACE: /{_SPACE}/"
OWN_LAYOUT: Final = {
    "whitespace_flexible": True,
    "whitespace_pattern": _SPACE,
    "coerce_one_of": True,
    "json_allow_general_unicode_escapes": True,
}

ANYTHING: Final = "/(?s:.*)/"

TRACKED: Final = 5
"""So many required members are counted off, in as many states as they have subsets; more are not insisted on."""


class Speller:
    """Writes a text as Lark: its special tokens by number, all else as literals."""

    _MARK: Final = re.compile(r"(<[^<>\s]+>|\[[A-Z_]+\])")

    def __init__(self, special: SpecialToken) -> None:
        self._special = special

    def token(self, text: str) -> int | None:
        """Return the special token of this text, if there is one."""
        return self._special(text)

    def __call__(self, text: str) -> str:
        pieces = (self._piece(piece) for piece in self._MARK.split(text) if piece)
        return " ".join(pieces) or '""'

    def _piece(self, piece: str) -> str:
        token = self._special(piece) if self._MARK.fullmatch(piece) else None
        return literal(piece) if token is None else f"<[{token}]>"


def with_definitions(schema: JsonValue, root: JsonObject) -> JsonValue:
    """Return `schema`, a part of `root`, such that it can stand alone."""
    definitions = {keyword: root[keyword] for keyword in ("$defs", "definitions") if keyword in root}
    return {**definitions, **schema} if isinstance(schema, Mapping) else schema


def json_rule(schema: JsonValue, style: JsonObject) -> str:
    # `true`, and anything that is no schema at all, admits any value.
    given = schema if isinstance(schema, Mapping) else {}
    return f"%json {json.dumps({**given, 'x-guidance': style}, ensure_ascii=False)}"


def literal(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def quoted(text: str) -> str:
    """Return the literal of a JSON string."""
    return literal(f'"{in_json(text)}"')


def in_json(text: str) -> str:
    """Return `text` as it stands within the quotes of a JSON string."""
    return json.dumps(text, ensure_ascii=False)[1:-1]
