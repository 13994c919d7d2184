"""Values: immutable, compared by content, told apart by `type`."""

import typing
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import attrs
import pytest

import pensieve_core
from pensieve_core import (
    EngineDescription,
    GenerationEvent,
    GenerationRequest,
    ModelDescriptor,
    ModelId,
    Origin,
    Part,
    Priority,
    RequestId,
    ResultPart,
    Role,
    Sampling,
    TextPart,
    Thinking,
    ToolChoice,
    ToolChoiceMode,
    Turn,
)

VALUES = [value for name in pensieve_core.__all__ if attrs.has(value := getattr(pensieve_core, name))]
NAME_OF = {"generation_finished": "GenerationFinished"}


def tags(union: Any) -> dict[type, tuple[str, ...]]:
    return {member: get_args(get_type_hints(member)["type"]) for member in get_args(union)}


@pytest.mark.parametrize("value", VALUES, ids=lambda value: value.__name__)
def test_values_are_frozen_and_take_keywords_only(value: type[attrs.AttrsInstance]) -> None:
    assert value.__setattr__ is not object.__setattr__, "attrs.frozen replaces it"
    assert all(field.kw_only for field in attrs.fields(value))


@pytest.mark.parametrize("union", [GenerationEvent, Part, ResultPart], ids=["events", "parts", "result parts"])
def test_members_of_a_union_are_told_apart_by_their_type(union: Any) -> None:
    """Style: the Literal comes first and is the class's name in snake case, so cattrs and `match` can use it."""
    for member, tag in tags(union).items():
        first = attrs.fields(member)[0]
        assert (first.name, first.default) == ("type", tag[0])
        assert get_origin(get_type_hints(member)["type"]) is Literal
    assert len(set(tags(union).values())) == len(get_args(union))


def test_a_request_needs_little_and_defaults_to_the_ordinary() -> None:
    request = GenerationRequest(
        id=RequestId("req_1"),
        model=ModelId("m"),
        turns=(Turn(role=Role.USER, parts=(TextPart(text="hi"),)),),
        max_tokens=10,
    )
    assert request.tools == ()
    assert request.tool_choice == ToolChoice(mode=ToolChoiceMode.AUTO, name=None, parallel=True)
    assert request.sampling == Sampling(temperature=None, top_p=None, top_k=None, seed=None)
    assert request.thinking == Thinking(enabled=False, budget_tokens=None)
    assert request.origin == Origin(session=None, agent=None, parent=None, priority=Priority.MAIN)
    assert request.output_schema is None


def test_equal_content_makes_equal_values() -> None:
    assert TextPart(text="a") == TextPart(text="a")
    assert TextPart(text="a") != TextPart(text="a", cache_mark=True)


def test_a_value_cannot_be_changed_afterwards() -> None:
    part = TextPart(text="a")
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        part.text = "b"  # type: ignore[misc]


def test_the_main_conversation_goes_before_agents_and_these_before_chores() -> None:
    assert Priority.MAIN < Priority.AGENT < Priority.BACKGROUND < Priority.BATCH


def test_a_description_says_which_model_it_is_of() -> None:
    model = ModelDescriptor(
        id=ModelId("m"),
        display_name="M",
        path=Path("/m.gguf"),
        source="test",
        architecture="llama",
        size_bytes=1,
        context_tokens=2048,
        created_at=0,
    )
    description = EngineDescription(
        model=model, engine="e 1.0", context_tokens=1024, max_sequences=1, threads=1, gpu_layers=0
    )
    assert (description.model, description.notes, model.parameters, model.quantization) == (model, (), None, None)


def test_everything_that_is_exported_exists_and_is_sorted() -> None:
    assert all(hasattr(pensieve_core, name) for name in pensieve_core.__all__)
    assert sorted(pensieve_core.__all__) == pensieve_core.__all__


def test_the_values_resolve_their_annotations_at_run_time() -> None:
    """Ours: cattrs needs that, which is why ruff's TC rules are off."""
    for value in VALUES:
        assert typing.get_type_hints(value)
