"""What the schemas say is what the converter does: each is the other's oracle."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Annotated, Any, Literal, NewType

import attrs
import cattrs
import jsonschema
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pensieve_core import FinishReason, GenerationFinished, JsonObject, PromptUsage, TextProduced, Usage
from pensieve_protocol import (
    Direction,
    FileUpload,
    Message,
    MessageAccumulator,
    MessagesRequest,
    MessageStream,
    Schemas,
    StreamEvent,
    dump_json,
)
from pensieve_protocol._constraints import AtLeast, Between, Length, Matches, MediaSize, Refuses, Unencoded
from pensieve_protocol._converter import structure
from pensieve_protocol._validation import InvalidValueError

IN, OUT = Direction.IN, Direction.OUT
Name = NewType("Name", str)


class Colour(enum.StrEnum):
    RED = "red"


@attrs.frozen(kw_only=True)
class Leaf:
    """Has one of
    everything.

    In two paragraphs.
    """

    type: Literal["leaf"]
    flag: bool = False
    count: Annotated[int, AtLeast(0)] = 3
    """How many."""
    share: Annotated[float, Between(0, 1)] | None = None
    word: Annotated[str, Matches("[ab]+")] = "a"
    data: Annotated[bytes, MediaSize("data", 3)] | None = None
    inner: JsonObject | None = None
    hidden: tuple[str, ...] = attrs.field(default=(), metadata={"wire": False})


@attrs.frozen(kw_only=True)
class Twig:
    """Has leaves."""

    type: Literal["twig", "branch"]
    leaves: Annotated[tuple[Leaf, ...], Length(2)]
    text: str | tuple[Leaf, ...] = ()


@attrs.frozen(kw_only=True)
class Tree(Leaf):
    """Inherits, and has a union."""

    type: Literal["tree"]  # type: ignore[assignment] # another tag
    crown: Annotated[Leaf | Twig, Refuses({"bird": "no birds"})]
    roots: Twig | None = None


def schema_of(type_: Any, direction: Direction) -> dict[str, Any]:
    schemas = Schemas()
    schema = schemas.of(type_, direction)
    return {**schema, "components": {"schemas": schemas.components}}


def accepts(schema: dict[str, Any], value: object) -> bool:
    return jsonschema.Draft202012Validator(schema).is_valid(value)


def converts(value: object, cls: type) -> bool:
    try:
        structure(value, cls)
    except (cattrs.BaseValidationError, InvalidValueError):
        return False
    return True


INTEGER = {"type": "integer", "format": "int64"}
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 5),
    st.sampled_from([-0.5, 0.25, 1.5]),  # no whole ones: JSON Schema takes 1.0 for an integer, the converter does not
    st.sampled_from(["", "a", "ab", "c", "leaf", "twig", "branch", "tree", "YWI=", "YWJj", "YWJjZA==", "YQ", "*"]),
)
LEAVES = st.fixed_dictionaries(
    {},
    optional={
        "type": st.just("leaf") | SCALARS,
        "flag": st.booleans() | SCALARS,
        "count": SCALARS,
        "share": SCALARS,
        "word": SCALARS,
        "data": SCALARS,
        "inner": SCALARS | st.just({"x": [1]}),
        "unknown": SCALARS,
    },
)
GOOD_LEAVES = st.fixed_dictionaries({"type": st.just("leaf")}, optional={"count": st.integers(0, 5)})
TWIGS = st.fixed_dictionaries(
    {"type": st.sampled_from(["twig", "branch", "leaf"])},
    optional={
        "leaves": st.lists(GOOD_LEAVES | LEAVES, max_size=3) | SCALARS,
        "text": st.lists(GOOD_LEAVES, max_size=2) | SCALARS,
    },
)
TREES = st.fixed_dictionaries(
    {"type": st.just("tree"), "crown": LEAVES | GOOD_LEAVES | TWIGS | SCALARS},
    optional={"roots": TWIGS | SCALARS, "count": SCALARS},
)


@pytest.mark.parametrize(("cls", "values"), [(Leaf, LEAVES), (Twig, TWIGS), (Tree, TREES)])
@settings(max_examples=300)
@given(data=st.data())
def test_a_value_fits_the_schema_exactly_if_the_converter_takes_it(
    cls: type, values: st.SearchStrategy[dict[str, Any]], data: st.DataObject
) -> None:
    """Ours: a schema that promises what is refused is a lie, one that hides what is taken is useless."""
    value = data.draw(values | SCALARS)
    assert accepts(schema_of(cls, IN), value) == converts(value, cls)


def test_the_oracle_sees_both_sides() -> None:
    good = {"type": "tree", "crown": {"type": "branch", "leaves": [{"type": "leaf"}]}, "roots": None}
    assert converts(good, Tree)
    assert accepts(schema_of(Tree, IN), good)
    assert not converts({**good, "crown": {"type": "bird"}}, Tree)
    assert not accepts(schema_of(Tree, IN), {**good, "crown": {"type": "bird"}})


def test_fields_bring_their_descriptions_and_defaults_along() -> None:
    schemas = Schemas()
    schemas.of(Leaf, IN)
    leaf: Any = schemas.components["Leaf"]
    assert leaf["description"] == "Has one of everything.\nIn two paragraphs."
    assert leaf["required"] == ["type"]
    assert leaf["properties"]["count"]["description"] == "How many."
    assert leaf["properties"]["count"]["default"] == 3
    assert "hidden" not in leaf["properties"]


def test_inherited_fields_keep_their_descriptions() -> None:
    schemas = Schemas()
    schemas.of(Tree, IN)
    tree: Any = schemas.components["Tree"]
    assert tree["properties"]["count"]["description"] == "How many."


def test_going_out_every_field_is_written() -> None:
    schemas = Schemas()
    schemas.of(Leaf, OUT)
    leaf: Any = schemas.components["Leaf"]
    assert leaf["required"] == list(leaf["properties"])
    assert leaf["properties"]["share"]["anyOf"][1] == {"type": "null"}


def test_a_class_that_travels_both_ways_has_two_schemas_if_they_differ() -> None:
    schemas = Schemas()
    assert schemas.of(Leaf, OUT) == {"$ref": "#/components/schemas/Leaf"}
    assert schemas.of(Leaf, IN) == {"$ref": "#/components/schemas/LeafParam"}
    assert schemas.of(Leaf, OUT) == {"$ref": "#/components/schemas/Leaf"}


def test_two_classes_of_one_name_are_told_apart_or_refused() -> None:
    schemas = Schemas()
    fields = [{"x": attrs.field(type=kind)} for kind in (int, str, float)]
    for members in fields[:2]:
        schemas.of(attrs.make_class("Same", members, frozen=True), IN)
    assert sorted(schemas.components) == ["Same", "SameParam"]
    with pytest.raises(TypeError, match="two classes on the wire are named Same"):
        schemas.of(attrs.make_class("Same", fields[2], frozen=True), IN)


def test_classes_told_apart_by_a_tag_have_a_discriminator() -> None:
    schema: Any = Schemas().of(Leaf | Twig, IN)
    assert schema["discriminator"]["propertyName"] == "type"
    assert sorted(schema["discriminator"]["mapping"]) == ["branch", "leaf", "twig"]


@pytest.mark.parametrize(
    ("type_", "schema"),
    [
        (Name, {"type": "string"}),
        (Colour, {"enum": ["red"]}),
        (object, {}),
        (int | None, {"anyOf": [INTEGER, {"type": "null"}]}),
        (str | int | None, {"anyOf": [{"type": "string"}, INTEGER, {"type": "null"}]}),
        (Annotated[str, Length(5)], {"type": "string", "minLength": 1, "maxLength": 5}),
    ],
)
def test_a_type_has_its_schema(type_: Any, schema: JsonObject) -> None:
    assert Schemas().of(type_, OUT) == schema


def test_a_type_that_the_wire_does_not_know_is_refused() -> None:
    with pytest.raises(TypeError, match="no JSON Schema is known"):
        Schemas().of(list[int], IN)


def test_an_accepted_request_fits_the_schema(body: Callable[..., bytes]) -> None:
    image = {"type": "base64", "media_type": "image/png", "data": "aGk="}
    request = body(
        system=[{"type": "text", "text": "Be brief."}],
        messages=[
            {"role": "user", "content": [{"type": "image", "source": image}]},
            {"role": "assistant", "content": [{"type": "web_search_tool_result", "content": []}]},
        ],
        tools=[{"type": "bash_20250124", "name": "bash"}, {"name": "f", "input_schema": {}, "type": None}],
        thinking={"type": "enabled", "budget_tokens": 2000},
        max_tokens=3000,
    )
    schema = schema_of(MessagesRequest, IN)
    assert accepts(schema, orjson.loads(request))
    assert not accepts(schema, orjson.loads(body(messages=[{"role": "user", "content": [{"type": "video"}]}])))


def test_what_is_written_fits_the_schema() -> None:
    stream, message = MessageStream(message_id="msg_1", model="m"), MessageAccumulator()
    finished = GenerationFinished(reason=FinishReason.END_OF_TURN, usage=Usage(prompt_tokens=5, generated_tokens=1))
    events = [
        *stream.start(PromptUsage(prompt_tokens=5)),
        *stream.feed(TextProduced(text="Hi")),
        *stream.feed(finished),
    ]
    message.add(*events)
    assert accepts(schema_of(Message, OUT), orjson.loads(dump_json(message.message)))
    assert all(accepts(schema_of(StreamEvent, OUT), orjson.loads(dump_json(event))) for event in events)


def test_what_a_form_carries_is_described_as_bytes_and_taken_as_it_is() -> None:
    """OpenAPI's word for a file in a form; whoever reads the form checks it."""
    schema = Schemas().fields(FileUpload, Direction.IN)["file"]
    assert (schema["type"], schema["format"]) == ("string", "binary")
    assert Unencoded().problem(b"anything") is None
