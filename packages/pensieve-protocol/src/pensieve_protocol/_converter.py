"""One cattrs converter that takes JSON at its word.

cattrs is built for friendly input: it turns `"false"` into True, a string into a list of letters, an unknown tag
into a missing field, and it has no hook for `str | tuple[Block, ...]`. So each kind of type gets a strict hook:

    str, int, float, bool   the JSON type and no other; an integer serves as a float, a boolean never as a number
    bytes                   base64
    Literal                 one of the listed values
    tuple[X, ...]           an array
    Mapping                 an object, kept as it is
    attrs class             an object; null in an optional field means that the field was left out
    A | B | …               of classes: by `type`; otherwise by the JSON type
    Annotated[X, …]         each `Refuses`, then X, then each `Constraint`

Hooks raise `InvalidValueError`; cattrs collects it with its place. Presentation is in `_validation`.
"""

from __future__ import annotations

import base64
import binascii
import collections.abc
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin

import attrs
import cattrs
from cattrs.cols import homogenous_tuple_structure_factory
from cattrs.gen import make_dict_structure_fn, override

from pensieve_protocol._constraints import Constraint, Refuses
from pensieve_protocol._tags import tag_field, tags
from pensieve_protocol._tools import (
    CLIENT_TOOL_PREFIXES,
    SEARCH_TOOL_PREFIX,
    SERVER_TOOL_PREFIXES,
    ClientTool,
    CustomTool,
    RequestTool,
    SearchTool,
)
from pensieve_protocol._validation import InvalidValueError

__all__ = ["structure"]

_T = TypeVar("_T")
_Hook = Callable[[Any, Any], Any]

_JSON_NAMES: Mapping[type, str] = {
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    list: "an array",
    dict: "an object",
    type(None): "null",
}

_LARGEST_INTEGER = 2**63 - 1
"""Of the format int64, which `_json_schema` promises; the reader of JSON takes 64 bits without a sign, too."""


def structure(value: object, cls: type[_T]) -> _T:
    """Return `value`, parsed JSON, as a `cls`.

    Raises:
        cattrs.BaseValidationError: a tree whose leaves are `InvalidValueError`, and KeyError for a missing field.
        InvalidValueError: `value` is no object at all.
    """
    return _CONVERTER.structure(value, cls)


def _expect(json_type: type, value: object) -> None:
    if type(value) is not json_type:
        raise InvalidValueError(f"expected {_JSON_NAMES[json_type]}, got {_JSON_NAMES[type(value)]}")


def _primitive(json_type: type) -> _Hook:
    def hook(value: object, _: type) -> object:
        _expect(json_type, value)
        return value

    return hook


def _structure_integer(value: Any, _: type) -> int:  # noqa: ANN401 - any JSON value
    _expect(int, value)
    if value > _LARGEST_INTEGER:
        raise InvalidValueError(f"expected an integer of at most {_LARGEST_INTEGER}, got {value}")
    return int(value)


def _structure_float(value: Any, _: type) -> float:  # noqa: ANN401 - any JSON value
    if type(value) is not int:
        _expect(float, value)
    return float(value)


def _structure_bytes(value: Any, _: type) -> bytes:  # noqa: ANN401 - any JSON value
    _expect(str, value)
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        msg = "expected base64"
        raise InvalidValueError(msg) from None


def _structure_literal(value: object, literal: Any) -> object:  # noqa: ANN401 - a typing construct
    allowed = get_args(literal)
    if value not in allowed:
        raise InvalidValueError(f"expected {_one_of(allowed)}, got {_shown(value)}")
    return value


def _structure_mapping(value: object, _: object) -> object:
    _expect(dict, value)
    return value


def _tuple_hook(cls: Any, converter: cattrs.Converter) -> _Hook:  # noqa: ANN401 - a typing construct
    items: _Hook = homogenous_tuple_structure_factory(cls, converter)

    def hook(value: object, type_: object) -> object:
        _expect(list, value)
        return items(value, type_)

    return hook


def _annotated_hook(cls: Any, converter: cattrs.Converter) -> _Hook:  # noqa: ANN401 - a typing construct
    base, *metadata = get_args(cls)
    refusals = [item for item in metadata if isinstance(item, Refuses)]
    constraints: list[Constraint] = [item for item in metadata if not isinstance(item, Refuses)]
    inner = converter.get_structure_hook(base)

    def hook(value: object, _: object) -> object:
        _raise_first(item.refusal(value) for item in refusals)
        structured = inner(value, base)
        _raise_first(item.problem(structured) for item in constraints)
        return structured

    return hook


def _raise_first(found: Iterable[str | None]) -> None:
    for problem in found:
        if problem is not None:
            raise InvalidValueError(problem)


def _class_hook(cls: type[attrs.AttrsInstance], converter: cattrs.Converter) -> _Hook:
    fields = attrs.fields(cls)
    optional = frozenset(field.name for field in fields if field.default is not attrs.NOTHING)
    hidden = {field.name: override(omit=True) for field in fields if not field.metadata.get("wire", True)}
    members = make_dict_structure_fn(cls, converter, **hidden)  # type: ignore[arg-type] # stubs want one keyword type

    def hook(value: Any, type_: Any) -> object:  # noqa: ANN401 - JSON in, a value of `cls` out
        _expect(dict, value)
        return members({k: v for k, v in value.items() if v is not None or k not in optional}, type_)

    return hook


def _shapes_hook(union: Any, converter: cattrs.Converter) -> _Hook:  # noqa: ANN401 - a typing construct
    members = {_json_type(member): member for member in _members(union)}
    expected = " or ".join(_JSON_NAMES[json_type] for json_type in members)

    def hook(value: object, _: object) -> object:
        if type(value) not in members:
            raise InvalidValueError(f"expected {expected}, got {_JSON_NAMES[type(value)]}")
        return converter.structure(value, members[type(value)])

    return hook


def _json_type(member: Any) -> type:  # noqa: ANN401 - a typing construct
    if member in (str, bool):
        return cast("type", member)
    if get_origin(member) is Annotated:
        return _json_type(get_args(member)[0])
    if get_origin(member) is Literal:
        return str
    return list if get_origin(member) is tuple else dict


def _tagged_hook(union: Any, converter: cattrs.Converter) -> _Hook:  # noqa: ANN401 - a typing construct
    # Of a class without tags of its own there is one at most: it takes what the others leave.
    rest = next((cls for cls in _members(union) if hasattr(cls, "accepts")), None)
    listed = [cls for cls in _members(union) if cls is not rest]
    name = tag_field(listed) or "type"
    by_tag = {tag: cls for cls in listed for tag in tags(cls, name)}

    def hook(value: Any, _: object) -> object:  # noqa: ANN401 - any JSON value
        _expect(dict, value)
        tag = _tag(value, name)
        if tag in by_tag:
            return converter.structure(value, by_tag[tag])
        if rest is not None and rest.accepts(tag):
            return converter.structure({**value, "raw": value}, rest)
        raise InvalidValueError(f"expected {_one_of(by_tag)}, got {_shown(tag)}", below=(name,))

    return hook


def _tag(value: dict[str, object], name: str = "type") -> str:
    tag = value.get(name)
    if isinstance(tag, str):
        return tag
    problem = f"expected a string, got {_JSON_NAMES[type(tag)]}" if name in value else "field required"
    raise InvalidValueError(problem, below=(name,))


def _structure_tool(value: Any, _: object) -> RequestTool:  # noqa: ANN401 - any JSON value
    _expect(dict, value)
    tag = _tag({**value, "type": value.get("type") or "custom"})
    if tag == "custom":
        return _CONVERTER.structure(value, CustomTool)
    if tag.startswith(CLIENT_TOOL_PREFIXES):
        return _CONVERTER.structure(value, ClientTool)
    if tag.startswith(SEARCH_TOOL_PREFIX):
        return _CONVERTER.structure(value, SearchTool)
    if tag.startswith(SERVER_TOOL_PREFIXES):
        raise InvalidValueError(f"the tool {_shown(tag)} would run on the server, and this server does not run it")
    known = _one_of(["custom", *(f"{prefix}*" for prefix in (*CLIENT_TOOL_PREFIXES, SEARCH_TOOL_PREFIX))])
    raise InvalidValueError(f"expected {known}, got {_shown(tag)}", below=("type",))


def _one_of(choices: Iterable[object]) -> str:
    shown = [_shown(choice) for choice in choices]
    return shown[0] if len(shown) == 1 else f"one of {', '.join(shown)}"


def _shown(value: object) -> str:
    return repr(value)[:80] if isinstance(value, str | int | float) else _JSON_NAMES[type(value)]


def _has_origin(origin: object) -> Callable[[Any], bool]:
    def predicate(cls: object) -> bool:
        return get_origin(cls) is origin

    return predicate


def _is_union(cls: object) -> bool:
    """Return whether `cls` has two members or more; cattrs itself handles `X | None`."""
    return len(_members(cls)) > 1


def _is_tagged_union(cls: object) -> bool:
    return _is_union(cls) and all(attrs.has(member) for member in _members(cls))


def _members(cls: object) -> list[Any]:
    is_union = get_origin(cls) in (Union, types.UnionType)
    return [member for member in get_args(cls) if member is not type(None)] if is_union else []


def _build() -> cattrs.Converter:
    converter = cattrs.Converter(detailed_validation=True)
    converter.register_structure_hook_factory(attrs.has, _class_hook)
    converter.register_structure_hook_factory(_has_origin(tuple), _tuple_hook)
    converter.register_structure_hook_func(_has_origin(collections.abc.Mapping), _structure_mapping)
    converter.register_structure_hook_func(_has_origin(Literal), _structure_literal)
    converter.register_structure_hook_factory(_is_union, _shapes_hook)
    converter.register_structure_hook_factory(_is_tagged_union, _tagged_hook)
    converter.register_structure_hook_func(lambda cls: cls == RequestTool, _structure_tool)
    converter.register_structure_hook_factory(_has_origin(Annotated), _annotated_hook)
    for json_type in (str, bool):
        converter.register_structure_hook(json_type, _primitive(json_type))
    converter.register_structure_hook(int, _structure_integer)
    converter.register_structure_hook(float, _structure_float)
    converter.register_structure_hook(bytes, _structure_bytes)
    return converter


_CONVERTER = _build()
