"""What tells the classes of a union apart: the field whose values each of them lists.

Above: `_converter` picks the class by it, `_json_schema` describes it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args, get_origin

import attrs

__all__ = ["tag_field", "tags"]

_TAG_FIELDS = ("type", "role")
"""The first that all have: OpenAI's messages have no `type`."""


def tag_field(classes: Iterable[type[attrs.AttrsInstance]]) -> str | None:
    """Return the name of the field; None when there is none that all of them must have."""
    members = tuple(classes)
    return next((name for name in _TAG_FIELDS if all(tags(cls, name) for cls in members)), None)


def tags(cls: type[attrs.AttrsInstance], name: str) -> tuple[str, ...]:
    """Return the values of `cls`'s tag `name`; empty when they are not listed."""
    field = attrs.fields_dict(attrs.resolve_types(cls)).get(name)
    return get_args(field.type) if field is not None and get_origin(field.type) is Literal else ()
