"""Rules for the arguments of a call whose parameters stand between tags, in any order.

In state S, a set of required parameters that have come, `n_S` is what may follow: a further parameter, or the end of
the call once all have come. What is text by its schema is free up to its closing tag; all else is JSON by its schema.

Pure. Above: `_grammars`. Below: `_lark`; the tags are the parser's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from pensieve_core import JsonObject, JsonValue
from pensieve_gguf.constraints._lark import OWN_LAYOUT, TRACKED, Speller, json_rule, literal, with_definitions
from pensieve_gguf.parsers import Tags, types_admitted

__all__ = ["TaggedMembers"]


class TaggedMembers:
    """The rules of one tool's arguments; `arguments` is the first, the end of the call is part of it.

    Args:
        schema: Of the arguments.
        tags: Whose.
        spell: Writes the tags.
        prefix: Of the rules' names.
    """

    def __init__(self, schema: JsonValue, tags: Tags, spell: Speller, *, prefix: str = "") -> None:
        given: JsonObject = schema if isinstance(schema, Mapping) else {}
        properties = given.get("properties")
        known: JsonObject = properties if isinstance(properties, Mapping) else {}
        self._names = list(known)
        self._schemas = [with_definitions(known[name], given) for name in self._names]
        required = given.get("required")
        wanted = [name for name in self._names if isinstance(required, list | tuple) and name in required]
        self._required = wanted if len(wanted) <= TRACKED else []
        self._open = given.get("additionalProperties", True) is not False or "patternProperties" in given
        self._tags = tags
        self._spell = spell
        self._prefix = prefix

    def rules(self) -> Iterable[str]:
        """Return them, one a line."""
        yield f"{self._prefix}arguments: space {self._prefix}n_0"
        for state in range(1 << len(self._required)):
            yield f"{self._prefix}n_{state}: {' | '.join(self._after(state))}"
        for number, schema in enumerate(self._schemas):
            yield from self._parameter(number, literal(self._names[number]), schema)
        if self._open:
            yield from self._parameter(len(self._names), self._unknown_name(), {"type": "string"})

    def _after(self, state: int) -> Iterable[str]:
        for number, name in enumerate(self._names):
            bit = 1 << self._required.index(name) if name in self._required else 0
            if not state & bit:
                yield f"{self._prefix}m_{number} space {self._prefix}n_{state | bit}"
        if self._open:
            yield f"{self._prefix}m_{len(self._names)} space {self._prefix}n_{state}"
        if state == (1 << len(self._required)) - 1:
            yield self._spell(self._tags.end)

    def _unknown_name(self) -> str:
        known = "|".join(re.escape(name).replace("/", r"\/") for name in self._names)
        return rf"/[^<>\s\/]+/ & ~/({known})/" if known else r"/[^<>\s\/]+/"

    def _parameter(self, number: int, name: str, schema: JsonValue) -> Iterable[str]:
        rule, tags = f"{self._prefix}m_{number}", self._tags
        name_rule = f"{self._prefix.upper()}K_{number}"
        before_value = f"space {self._spell(tags.value)} " if tags.value else ""
        head = f"{rule}: {self._spell(tags.key)} {name_rule} {self._spell(tags.after_key)} {before_value}{rule}_v"
        yield head
        yield f"{name_rule}: {name}"
        yield self._value(f"{rule}_v", schema)

    def _value(self, rule: str, schema: JsonValue) -> str:
        closer = self._tags.after_value
        if "string" not in types_admitted(schema):
            return f"{rule}: space {json_rule(schema, OWN_LAYOUT)} space {self._spell(closer)}"
        choices = schema.get("enum") if isinstance(schema, Mapping) else None
        if isinstance(choices, list | tuple) and choices and all(isinstance(choice, str) for choice in choices):
            texts = " | ".join(literal(str(choice)) for choice in choices)
            return f"{rule}: space ({texts}) space {self._spell(closer)}"
        token = self._spell.token(closer)
        if token is None:
            return f"{rule}[suffix={literal(closer)}]: /(?s:.*)/"
        return f"{rule}: /(?s:.*)/ <[{token}]>"
