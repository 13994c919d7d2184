r"""Grammars in llguidance's dialect of Lark: for an answer that is JSON, for whole calls, and for parts of one.

Two styles of JSON. What is constrained from its first character is written on one line, `{"a": 1, "b": [true]}`, as
templates print it: it costs the fewest tokens, and a small model cannot lose itself in white space. A call that the
model has begun unasked goes on in its own layout, with white space that is bounded.

llguidance wants the members of an object in the schema's order. Whole calls get that. Arguments begun unasked do not
(`loose_arguments`): a model that wrote `-i` before `path`, and a comma after it, could no longer say `path`, and would
have to make a member up that stands further down.

Pure. Above: `_grammarian`, which has them compiled. Below: `_dialects`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import attrs

from pensieve_core import JsonObject, JsonValue
from pensieve_gguf.constraints._dialects import Spelling
from pensieve_gguf.constraints._lark import (
    ANYTHING,
    OWN_LAYOUT,
    SPACE_RULES,
    TRACKED,
    SpecialToken,
    Speller,
    in_json,
    json_rule,
    literal,
    quoted,
    with_definitions,
)
from pensieve_gguf.constraints._tagged_members import TaggedMembers
from pensieve_gguf.parsers import Tags

__all__ = [
    "CallableTool",
    "SpecialToken",
    "answers",
    "closed",
    "document",
    "headers",
    "loose_arguments",
    "strict_arguments",
    "tagged_arguments",
    "tagged_or_json_arguments",
]

_ONE_LINE: Final = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": ", "coerce_one_of": True}

_NUMBER: Final = ' ":" /[0-9]{1,3}/'
_LEADING: Final = "/\\n{0,2}/"
"""Before an answer: after their reasoning models leave a line blank."""


@attrs.frozen(kw_only=True)
class CallableTool:
    """A tool as a grammar knows it."""

    name: str
    schema: JsonValue
    """Of its arguments, sound."""


def document(schema: JsonValue) -> str:
    """Return the grammar of one JSON value: what a schema is tried with."""
    return f"start: {json_rule(schema, _ONE_LINE)}"


def answers(
    *,
    schema: JsonValue | None,
    tools: Sequence[CallableTool],
    spelling: Spelling,
    parallel: bool,
    special: SpecialToken,
    may_think: bool = False,
) -> str:
    """Return the grammar of a whole answer: JSON by `schema`, if there is one, or calls of `tools`, if there are any.

    Args:
        schema: Sound. None: only calls will do.
        tools: Those that may be called; empty: only JSON will do.
        spelling: How the model writes calls.
        parallel: Several calls may follow each other.
        special: The vocabulary's special tokens.
        may_think: Reasoning may come first, where it is part of the text and not between marks.
    """
    spell = Speller(special)
    lines = []
    if schema is not None:
        lines.append(f"answer: {spell(spelling.answer)} {json_rule(schema, _ONE_LINE)}")
    if tools:
        more = f" ({spell(spelling.between)} call)*" if parallel else ""
        # The line break may turn out not to lead to a further call.
        trail = ' "\\n"?' if parallel else ""
        lines.append(f"calls: {spell(spelling.begin)} call{more} {spell(spelling.end)}{trail}")
        lines.append("call: " + " | ".join(f"call_{number}" for number in range(len(tools))))
        lines += [line for number, tool in enumerate(tools) for line in _call(number, tool, spelling, spell)]
        lines += [SPACE_RULES] if spelling.tags is not None else []
    choice = [name for name, given in (("answer", schema is not None), ("calls", bool(tools))) if given]
    lead = [f"lead: {_LEADING}"]
    if may_think and spelling.reasoning is not None:
        lead = _thoughts(*spelling.reasoning, spell)
    return "\n".join([f"start: lead ({' | '.join(choice)})", *lead, *lines])


def _thoughts(opener: str, closer: str, spell: Speller) -> list[str]:
    """Return the rules of reasoning that is a message of its own, after which a further one begins."""
    token = spell.token(closer)
    ended = f"[suffix={literal(closer)}]: {ANYTHING}" if token is None else f": {ANYTHING} <[{token}]>"
    return [f"lead: ({spell(opener)} thought {spell('<|start|>assistant')})?", f"thought{ended}"]


def headers(names: Iterable[str], spelling: Spelling, special: SpecialToken, *, marked: bool = False) -> str:
    """Return the grammar of what stands between the mark of a call and its arguments, and of any text after that.

    So no call breaks before it has begun, and none is made of a tool that there is not.

    Args:
        names: Of the tools.
        spelling: How the model writes calls.
        special: The vocabulary's special tokens.
        marked: The mark is part of it.
    """
    spell = Speller(special)
    mark = spell(f"{spelling.begin}{spelling.mark}") if marked else ""
    if spelling.members is not None:
        return f"start: {mark} {_header_in_braces(names, *spelling.members)}"
    choice = " | ".join(_name(name, spelling) for name in names)
    if spelling.tags is not None:
        return f"start: {mark} ({choice}) {_behind_name(spelling.tags, spell)} {ANYTHING}\n{SPACE_RULES}"
    return f'start: {mark} {spell(spelling.before)} ({choice}) {spell(spelling.middle)} "{{" {ANYTHING}'


def _behind_name(tags: Tags, spell: Speller) -> str:
    return spell(tags.after_name) if tags.after_name else f"space ({spell(tags.key)} | {spell(tags.end)})"


def _header_in_braces(names: Iterable[str], name_key: str, arguments_key: str) -> str:
    choice = " | ".join(quoted(name) for name in names)
    header = f'"{{" space {quoted(name_key)} space ":" space ({choice}) space "," space {quoted(arguments_key)}'
    return f'{header} space ":" space "{{" {ANYTHING}\n{SPACE_RULES}'


def _name(name: str, spelling: Spelling) -> str:
    # JSON's spelling in all dialects: no legal name has anything to escape.
    return f"{literal(in_json(name))}{_NUMBER if spelling.numbered else ''}"


def strict_arguments(schema: JsonValue) -> str:
    """Return the grammar of arguments by all that `schema` says, and of any text after them."""
    return f"start: arguments {ANYTHING}\narguments: {json_rule(schema, OWN_LAYOUT)}"


def loose_arguments(schema: JsonValue) -> str:
    """Return the grammar of arguments whose members come in any order, and of any text after them.

    Each member is what its own schema says. Required ones must all come, if they are few. Names that the schema does
    not know are admitted unless it refuses them.
    """
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    if not isinstance(schema, Mapping) or not isinstance(properties, Mapping) or not properties:
        return strict_arguments({"type": "object"})
    return "\n".join([f"start: arguments {ANYTHING}", *_Members(schema, properties).rules()])


def tagged_arguments(schema: JsonValue, tags: Tags, special: SpecialToken) -> str:
    """Return the grammar of arguments between tags, the end of the call included, and of any text after them.

    A parameter that may be text ends at the first closing tag: text that has such a tag in it cannot be written.
    """
    spell = Speller(special)
    return "\n".join([f"start: arguments {ANYTHING}", *TaggedMembers(schema, tags, spell).rules(), SPACE_RULES])


def tagged_or_json_arguments(schema: JsonValue, tags: Tags, special: SpecialToken) -> str:
    """Return the grammar of arguments as others than the tags' own family write them: between tags, or as JSON.

    Functionary and some Llamas write `<function=NAME>{"path": "/"}</function>`.
    """
    json_lines = loose_arguments(schema).splitlines()[1:]
    tagged = TaggedMembers(schema, tags, Speller(special), prefix="t_").rules()
    space = [] if any(line.startswith("space:") for line in json_lines) else [SPACE_RULES]
    return "\n".join([f"start: (t_arguments | space arguments) {ANYTHING}", *json_lines, *tagged, *space])


def closed(schema: JsonValue) -> JsonValue:
    """Return an object schema that refuses names that it does not know, unless it says what to do with them.

    Small models borrow arguments of other tools; in a call that was asked of them they get no chance to.
    """
    if not isinstance(schema, Mapping) or not isinstance(schema.get("properties"), Mapping):
        return schema
    said = {"additionalProperties", "patternProperties", "allOf", "anyOf", "oneOf", "$ref"} & schema.keys()
    return schema if said else {**schema, "additionalProperties": False}


def _call(number: int, tool: CallableTool, spelling: Spelling, spell: Speller) -> Iterable[str]:
    before = f"{spell(f'{spelling.mark}{spelling.before}')} {_name(tool.name, spelling)}"
    if spelling.tags is None:
        arguments = json_rule(tool.schema, _ONE_LINE)
        yield f"call_{number}: {before} {spell(spelling.middle)} {arguments} {spell(spelling.after)}"
        return
    prefix = f"c{number}_"
    yield f"call_{number}: {before} {spell(spelling.tags.after_name)} {prefix}arguments {spell(spelling.after)}"
    yield from TaggedMembers(tool.schema, spelling.tags, spell, prefix=prefix).rules()


class _Members:
    """Rules for one object whose members come in any order.

    In state S, a set of required members that have come, `o_S` is what follows an opening brace or a comma, and `n_S`
    what follows a member.
    """

    def __init__(self, schema: JsonObject, properties: JsonObject) -> None:
        self._names = list(properties)
        self._schemas = [with_definitions(properties[name], schema) for name in self._names]
        required = schema.get("required")
        wanted = [name for name in self._names if isinstance(required, list | tuple) and name in required]
        self._required = wanted if len(wanted) <= TRACKED else []
        additional = schema.get("additionalProperties", True)
        self._open = additional is not False or "patternProperties" in schema
        self._other = with_definitions(additional if isinstance(additional, Mapping) else {}, schema)

    def rules(self) -> list[str]:
        empty = "" if self._required else ' | "{" space "}"'
        members = [rule for number in range(len(self._names)) for rule in self._member(number)]
        return [
            f'arguments: "{{" space o_0{empty}',
            *(rule for state in range(1 << len(self._required)) for rule in self._state(state)),
            *members,
            *self._unknown(),
            SPACE_RULES,
        ]

    def _state(self, state: int) -> Iterable[str]:
        choices = [
            f"m_{self._names.index(name)} space n_{state | 1 << bit}"
            for bit, name in enumerate(self._required)
            if not state >> bit & 1
        ]
        free = [f"m_{number}" for number, name in enumerate(self._names) if name not in self._required]
        if self._open:
            free.append("unknown")
        if free:
            choices.append(f"({' | '.join(free)}) space n_{state}")
        if choices:
            yield f"o_{state}: {' | '.join(choices)}"
        yield f"n_{state}: {' | '.join(self._after_member(state, more=bool(choices)))}"

    def _after_member(self, state: int, *, more: bool) -> Iterable[str]:
        if more:
            yield f'"," space o_{state}'
        if state == (1 << len(self._required)) - 1:
            yield '"}"'

    def _member(self, number: int) -> Iterable[str]:
        name = quoted(self._names[number])
        yield f'm_{number}: {name} space ":" space {json_rule(self._schemas[number], OWN_LAYOUT)}'

    def _unknown(self) -> Iterable[str]:
        if self._open:
            known = "|".join(re.escape(in_json(name)).replace("/", r"\/") for name in self._names)
            yield f'unknown: UNKNOWN space ":" space {json_rule(self._other, OWN_LAYOUT)}'
            yield rf'UNKNOWN: /"[^"\\\x00-\x1f]+"/ & ~/"({known})"/'
