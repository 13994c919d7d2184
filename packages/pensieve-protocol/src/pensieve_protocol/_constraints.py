"""What a field may hold beyond its type, said where the field is declared: `Annotated[int, AtLeast(0)]`.

Each constraint only detects; `_converter` applies it, `_validation` says where in the request it was, and
`_json_schema` tells clients of it beforehand.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sized
from typing import Any, Protocol

import attrs

from pensieve_core import JsonObject

__all__ = ["AtLeast", "Between", "Constraint", "Length", "Matches", "MediaSize", "Refuses", "Unencoded"]


class Constraint(Protocol):
    """Something that a value of the right type can violate."""

    def problem(self, value: Any, /) -> str | None:  # noqa: ANN401 - each constraint has its own type of value
        """Return what is wrong with `value`; None when nothing is."""
        ...

    def keywords(self, schema: JsonObject, /) -> JsonObject:
        """Return the keywords of JSON Schema that say the same, to be added to `schema`."""
        ...


@attrs.frozen
class AtLeast:
    """For numbers: no less than `minimum`."""

    minimum: float

    def problem(self, value: float, /) -> str | None:
        """Compare."""
        return f"must be at least {self.minimum}, got {value}" if value < self.minimum else None

    def keywords(self, _schema: JsonObject, /) -> JsonObject:
        """Return the bound."""
        return {"minimum": self.minimum}


@attrs.frozen
class Between:
    """For numbers: `low` to `high`, both included."""

    low: float
    high: float

    def problem(self, value: float, /) -> str | None:
        """Compare."""
        return None if self.low <= value <= self.high else f"must be from {self.low} to {self.high}, got {value}"

    def keywords(self, _schema: JsonObject, /) -> JsonObject:
        """Return both bounds."""
        return {"minimum": self.low, "maximum": self.high}


@attrs.frozen
class Length:
    """For strings, bytes and arrays: one to `maximum` characters, bytes or items."""

    maximum: int

    def problem(self, value: Sized, /) -> str | None:
        """Count."""
        if len(value) > self.maximum:
            return f"must not be longer than {self.maximum}, got {len(value)}"
        return None if len(value) else "must not be empty"

    def keywords(self, schema: JsonObject, /) -> JsonObject:
        """Return the bounds of what `schema` describes: items or characters."""
        unit = "Items" if schema.get("type") == "array" else "Length"
        return {f"min{unit}": 1, f"max{unit}": self.maximum}


@attrs.frozen
class MediaSize:
    """For the bytes of an image or a PDF: some, and not more than `maximum`.

    In Anthropic's words: Claude Code 2.1.330 finds them in a 400, and goes on without the block that was refused.
    """

    kind: str
    maximum: int

    def problem(self, value: Sized, /) -> str | None:
        """Count."""
        if len(value) > self.maximum:
            return f"{self.kind} exceeds the maximum of {self.maximum} bytes: got {len(value)}"
        return None if len(value) else f"{self.kind} cannot be empty"

    def keywords(self, _schema: JsonObject, /) -> JsonObject:
        """Return the bounds of the base64 characters that stand for the bytes."""
        return {"minLength": 1, "maxLength": -(-self.maximum // 3) * 4}


@attrs.frozen
class Matches:
    """For strings: the whole of it matches `pattern`."""

    pattern: str

    def problem(self, value: str, /) -> str | None:
        """Match."""
        return None if re.fullmatch(self.pattern, value) else f"must match {self.pattern}, got {value[:80]!r}"

    def keywords(self, _schema: JsonObject, /) -> JsonObject:
        """Return the pattern, anchored: JSON Schema searches."""
        return {"pattern": f"^(?:{self.pattern})$"}


@attrs.frozen(eq=False)
class Refuses:
    """For objects told apart by `type`: these types exist, but are not served, each for a reason of its own.

    Unlike a `Constraint` it is asked before conversion: there is no class for what is refused.
    """

    sentences: Mapping[str, str]
    """From `type` to the sentence that answers it."""

    def refusal(self, value: object) -> str | None:
        """Return the sentence for `value`, still JSON; None when it is not refused."""
        tag = value.get("type") if isinstance(value, dict) else None
        return self.sentences.get(tag) if isinstance(tag, str) else None


@attrs.frozen
class Unencoded:
    """Bytes as they are, which a form can carry and JSON cannot. Described, never converted."""

    def problem(self, value: Any) -> str | None:  # noqa: ANN401, ARG002 - any value
        """Return None: whoever reads the form checks it."""
        return None

    def keywords(self, schema: JsonObject) -> JsonObject:  # noqa: ARG002 - the same for all
        """Return OpenAPI's word for it."""
        return {"format": "binary"}
