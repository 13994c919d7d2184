"""Makes a schema sound: what a grammar cannot be made of is left out, and nothing else.

    mend(schema, sound)  →  Mended(schema=…, dropped=("/properties/url/format",))

MCP servers send formats that nobody knows, look-ahead in patterns, references to nowhere, keywords with values of the
wrong type, and demands that contradict each other. No table of what is supported is kept here, for it would age: the
compiler is asked. The theory: a schema that says nothing (`true`) is sound. So each place that is at fault is emptied,
and gets its keywords back one by one, those that make the whole document unsound excepted; then its subschemas, each
of which is mended in its place if it does. Only the way to a fault is walked.

Pure. Above: `_grammarian`, which knows the compiler. Below: nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final, TypeAlias

import attrs

from pensieve_core import JsonValue

__all__ = ["Mended", "mend"]

_ONE: Final = frozenset(
    {"additionalItems", "additionalProperties", "contains", "else", "if", "items", "not", "propertyNames", "then"}
)
"""Keywords whose value is a schema."""
_NAMED: Final = frozenset({"$defs", "definitions", "dependentSchemas", "patternProperties", "properties"})
"""… is an object of schemas."""
_LISTED: Final = frozenset({"allOf", "anyOf", "items", "oneOf", "prefixItems"})
"""… is a list of schemas."""
_DEFINITIONS: Final = frozenset({"$defs", "definitions"})

_PATIENCE: Final = 300
"""Questions to the compiler at 0.1 to 10 ms each. A schema with more faults than that is dropped as a whole."""

Sound: TypeAlias = Callable[[JsonValue], bool]
_Place: TypeAlias = tuple[str, str | int | None]
"""Where a subschema stands in its parent: a keyword, and a name or an index below it."""


@attrs.frozen(kw_only=True)
class Mended:
    """A schema that is sound."""

    schema: JsonValue
    """True, which admits anything, when nothing could be kept."""
    dropped: tuple[str, ...] = ()
    """JSON pointers to what was left out; "" is the whole."""


class _OutOfPatienceError(Exception):
    pass


def mend(schema: JsonValue, sound: Sound) -> Mended:
    """Return `schema` less what is unsound.

    Args:
        schema: A JSON schema, or what calls itself one.
        sound: Whether a grammar can be made of a document. `True` must be sound.
    """
    mender = _Mender(sound)
    try:
        mended = mender.mend(schema, "", lambda document: document)
    except _OutOfPatienceError:
        return Mended(schema=True, dropped=("",))
    return Mended(schema=mended, dropped=tuple(mender.dropped))


class _Mender:
    def __init__(self, sound: Sound) -> None:
        self._sound = sound
        self._asked = 0
        self.dropped: list[str] = []

    def mend(self, node: JsonValue, path: str, placed: Callable[[JsonValue], JsonValue]) -> JsonValue:
        """Return `node` less its faults. `placed(x)` is the document with x in its place; sound for x = True."""
        if self._is_sound(placed(node)):
            return node
        if not isinstance(node, Mapping):
            self.dropped.append(path)
            return True
        return self._mend_subschemas(node, self._keywords(node, path, placed), path, placed)

    def _keywords(
        self, node: Mapping[str, JsonValue], path: str, placed: Callable[[JsonValue], JsonValue]
    ) -> dict[str, JsonValue]:
        """Return the keywords that can stay, with subschemas that say nothing."""
        kept: dict[str, JsonValue] = {}
        # Definitions first: what refers to them would be at fault without them.
        for keyword in sorted(node, key=lambda keyword: keyword not in _DEFINITIONS):
            longer = {**kept, keyword: _hollow(keyword, node[keyword])}
            if self._is_sound(placed(longer)):
                kept = longer
            else:
                self.dropped.append(f"{path}/{_escaped(keyword)}")
        return kept

    def _mend_subschemas(
        self,
        node: Mapping[str, JsonValue],
        kept: dict[str, JsonValue],
        path: str,
        placed: Callable[[JsonValue], JsonValue],
    ) -> JsonValue:
        # Definitions last: their faults show only where something refers to them.
        for keyword in sorted(kept, key=lambda keyword: keyword in _DEFINITIONS):
            for place in _places(keyword, node[keyword]):
                whole = kept
                subschema = self.mend(
                    _at(node, place),
                    "".join([path, *(f"/{_escaped(str(part))}" for part in place if part is not None)]),
                    lambda value, whole=whole, place=place: placed(_with(whole, place, value)),  # type: ignore[misc]
                )
                kept = _with(kept, place, subschema)
        return kept

    def _is_sound(self, document: JsonValue) -> bool:
        self._asked += 1
        if self._asked > _PATIENCE:
            raise _OutOfPatienceError
        return self._sound(document)


def _places(keyword: str, value: JsonValue) -> Iterator[_Place]:
    """Return where subschemas stand below a keyword."""
    if keyword in _NAMED and isinstance(value, Mapping):
        yield from ((keyword, name) for name in value)
    elif keyword in _LISTED and isinstance(value, list | tuple):
        yield from ((keyword, index) for index in range(len(value)))
    elif keyword in _ONE and isinstance(value, Mapping):
        yield keyword, None


def _hollow(keyword: str, value: JsonValue) -> JsonValue:
    """Return a keyword's value with subschemas that admit anything."""
    if keyword in _NAMED and isinstance(value, Mapping):
        return dict.fromkeys(value, True)
    if keyword in _LISTED and isinstance(value, list | tuple):
        return [True] * len(value)
    return True if keyword in _ONE and isinstance(value, Mapping) else value


def _at(node: Mapping[str, JsonValue], place: _Place) -> JsonValue:
    keyword, key = place
    below = node[keyword]
    match below:
        case Mapping() if isinstance(key, str):
            return below[key]
        case list() | tuple() if isinstance(key, int):
            return below[key]
        case _:
            return below


def _with(node: dict[str, JsonValue], place: _Place, value: JsonValue) -> dict[str, JsonValue]:
    keyword, key = place
    below = node[keyword]
    match below:
        case dict() if isinstance(key, str):
            return {**node, keyword: {**below, key: value}}
        case list() if isinstance(key, int):
            return {**node, keyword: [*below[:key], value, *below[key + 1 :]]}
        case _:
            return {**node, keyword: value}


def _escaped(token: str) -> str:
    """Spell one step of a JSON pointer (RFC 6901, section 3)."""
    return token.replace("~", "~0").replace("/", "~1")
