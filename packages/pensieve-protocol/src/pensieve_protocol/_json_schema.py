"""JSON Schema (2020-12) of the wire, read off the classes that `_converter` converts by. Pure, but for reading sources.

The converter's table from the other side; a field that is declared is a field that is described:

    str, int, float, bool   the JSON type
    bytes                   base64
    Literal, Enum           the listed values
    tuple[X, ...]           an array
    Mapping                 an object
    attrs class             an object, by reference; the strings below its fields are their descriptions
    A | B | …               any of them; of classes told apart by a tag, the one with that tag
    Annotated[X, …]         X, with the keywords of each `Constraint`

It matters which way a class travels. Coming in, a field with a default may be left out or be null, and unknown members
are ignored; going out (`_json.dump_json`) every field is written. Above: `pensieve_http` makes its OpenAPI document of
this. Rules between fields (`_rules`) have no place in a schema.
"""

from __future__ import annotations

import ast
import collections.abc
import enum
import functools
import inspect
import itertools
import sys
import types
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, NewType, Union, get_args, get_origin

import attrs

from pensieve_core import JsonObject, JsonValue
from pensieve_protocol._constraints import Refuses
from pensieve_protocol._json import RARE
from pensieve_protocol._tags import tag_field, tags

__all__ = ["Direction", "Schemas"]

REFERENCE_PREFIX = "#/components/schemas/"
"""Where OpenAPI keeps what is referred to."""

_BASE64 = "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"

_PRIMITIVES: Mapping[object, JsonObject] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer", "format": "int64"},
    float: {"type": "number"},
    bytes: {"type": "string", "contentEncoding": "base64", "pattern": _BASE64},
    type(None): {"type": "null"},
    object: {},
    Any: {},
}


class Direction(enum.StrEnum):
    """Which way a value travels, seen from the server. The value is what a class's second form is named with."""

    IN = "Param"
    OUT = "Answer"


class Schemas:
    """Makes schemas of types; collects those of classes, to be referred to."""

    def __init__(self) -> None:
        self.components: dict[str, JsonObject] = {}
        """By name: every class that was met so far."""
        self._references: dict[tuple[type, Direction], JsonObject] = {}

    def of(self, type_: Any, direction: Direction) -> JsonObject:  # noqa: ANN401 - a typing construct
        """Return the schema of values of `type_`.

        Raises:
            TypeError: the converter knows no such type either.
        """
        if isinstance(type_, NewType):
            return self.of(type_.__supertype__, direction)
        if type_ in _PRIMITIVES:
            return _PRIMITIVES[type_]
        if isinstance(type_, type) and issubclass(type_, enum.Enum):
            return {"enum": [member.value for member in type_]}
        if attrs.has(type_):
            return self._reference(type_, direction)
        return self._of_generic(type_, direction)

    def fields(self, cls: type[attrs.AttrsInstance], direction: Direction) -> dict[str, JsonObject]:
        """Return the schema of each field of `cls` that is on the wire, with its description and its default."""
        return {name: self._of_field(field, note, direction) for name, (field, note) in _described_fields(cls).items()}

    def _of_generic(self, type_: Any, direction: Direction) -> JsonObject:  # noqa: ANN401 - a typing construct
        origin, arguments = get_origin(type_), get_args(type_)
        if origin is Annotated:
            return self._constrained(self.of(arguments[0], direction), arguments[1:])
        if origin is Literal:
            return {"enum": list(arguments)}
        if origin is tuple:
            return {"type": "array", "items": self.of(arguments[0], direction)}
        if origin is collections.abc.Mapping:
            return {"type": "object"}
        if origin in (Union, types.UnionType):
            return self._of_union(arguments, direction)
        raise TypeError(f"no JSON Schema is known for {type_!r}")

    def _constrained(self, schema: JsonObject, metadata: Iterable[Any]) -> JsonObject:
        for item in metadata:
            if not isinstance(item, Refuses):
                schema = {**schema, **item.keywords(schema)}
        return schema

    def _of_union(self, members: tuple[Any, ...], direction: Direction) -> JsonObject:
        some = tuple(member for member in members if member is not type(None))
        schema = self._of_members(some, direction) if len(some) > 1 else self.of(some[0], direction)
        return schema if len(some) == len(members) else _nullable(schema)

    def _of_members(self, members: tuple[Any, ...], direction: Direction) -> JsonObject:
        classes = [member for member in members if attrs.has(member)]
        schemas = [self.of(member, direction) for member in members]
        tag = tag_field(classes) if len(classes) == len(members) else None
        if tag is None:
            return {"anyOf": schemas}
        mapping = {
            value: schema["$ref"] for cls, schema in zip(classes, schemas, strict=True) for value in tags(cls, tag)
        }
        return {"oneOf": schemas, "discriminator": {"propertyName": tag, "mapping": mapping}}

    def _reference(self, cls: type[attrs.AttrsInstance], direction: Direction) -> JsonObject:
        known = self._references.get((cls, direction))
        if known is not None:
            return known
        schema = self._of_class(cls, direction)
        name = self._name(cls, schema, direction)
        self.components[name] = schema
        reference = {"$ref": f"{REFERENCE_PREFIX}{name}"}
        self._references[cls, direction] = reference
        return reference

    def _name(self, cls: type, schema: JsonObject, direction: Direction) -> str:
        """Return the class's own name; a longer one for the same class the other way round, where that differs."""
        for name in (cls.__name__, f"{cls.__name__}{direction.value}"):
            if self.components.get(name, schema) == schema:
                return name
        raise TypeError(f"two classes on the wire are named {cls.__name__}")

    def _of_class(self, cls: type[attrs.AttrsInstance], direction: Direction) -> JsonObject:
        properties = self.fields(cls, direction)
        required = [name for name, (field, _) in _described_fields(cls).items() if _is_required(field, direction)]
        schema: dict[str, JsonValue] = {"type": "object", "description": _text(cls.__doc__), "properties": properties}
        return {**schema, "required": required} if required else schema

    def _of_field(self, field: attrs.Attribute[Any], note: str, direction: Direction) -> JsonObject:
        schema = dict(self.of(field.type, direction))
        if direction is Direction.IN and not _is_required(field, direction):
            schema = _nullable(schema)
            if isinstance(field.default, str | int | float):
                schema["default"] = field.default
        return {**schema, "description": note} if note else schema


def _described_fields(cls: type[attrs.AttrsInstance]) -> dict[str, tuple[attrs.Attribute[Any], str]]:
    """Return the fields that are on the wire, each with the string that stands below it."""
    notes: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        notes.update(_notes_of_module(base.__module__).get(base.__name__, {}))
    fields = attrs.fields(attrs.resolve_types(cls))
    return {field.name: (field, notes.get(field.name, "")) for field in fields if _is_on_the_wire(field)}


def _is_on_the_wire(field: attrs.Attribute[Any]) -> bool:
    return bool(field.metadata.get("wire", True)) and not field.metadata.get("whole", False)


def _is_required(field: attrs.Attribute[Any], direction: Direction) -> bool:
    if direction is Direction.OUT:
        return not RARE.items() <= field.metadata.items()
    return field.default is attrs.NOTHING


def _nullable(schema: JsonObject) -> dict[str, JsonValue]:
    alternatives = schema.get("anyOf")
    if isinstance(alternatives, list):
        null = _PRIMITIVES[type(None)]
        return {"anyOf": alternatives if null in alternatives else [*alternatives, null]}
    return {"anyOf": [schema, _PRIMITIVES[type(None)]]}


@functools.cache
def _notes_of_module(name: str) -> Mapping[str, Mapping[str, str]]:
    """Return the strings below the fields of each class in a module; Python itself keeps none of them."""
    try:
        tree = ast.parse(inspect.getsource(sys.modules[name]))
    except (OSError, TypeError):  # a module without source: descriptions are missing, nothing else
        return {}
    return {node.name: dict(_notes(node)) for node in tree.body if isinstance(node, ast.ClassDef)}


def _notes(node: ast.ClassDef) -> Iterable[tuple[str, str]]:
    for field, below in itertools.pairwise(node.body):
        match field, below:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                yield name, _text(text)


def _text(docstring: str | None) -> str:
    """Return a docstring as one paragraph a line."""
    paragraphs = inspect.cleandoc(docstring or "").split("\n\n")
    return "\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
