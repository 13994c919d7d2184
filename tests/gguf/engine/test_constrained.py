"""Ours: what a request demands of its answer is kept, with a real model. The benchmark asks far more of it."""

from __future__ import annotations

import asyncio
import json
from random import Random
from typing import Any

import attrs
import jsonschema
import pytest

from pensieve_core import (
    FinishReason,
    Sampling,
    Tool,
    ToolCallArguments,
    ToolCallStarted,
    ToolChoice,
    ToolChoiceMode,
)
from pensieve_gguf.engine import GgufEngine
from pensieve_gguf.testing import bounded_schema, bounded_tool

pytestmark = pytest.mark.model

ANY = ToolChoice(mode=ToolChoiceMode.ANY)


def calls_of(answer: Any) -> list[tuple[str, Any]]:
    calls: list[tuple[str, str]] = []
    for event in answer.events:
        if isinstance(event, ToolCallStarted):
            calls.append((event.name, ""))
        elif isinstance(event, ToolCallArguments):
            calls[-1] = (calls[-1][0], calls[-1][1] + event.fragment)
    return [(name, json.loads(arguments)) for name, arguments in calls]


@pytest.mark.parametrize("seed", range(6))
async def test_an_output_schema_is_kept(engine: GgufEngine, client: Any, seed: int) -> None:
    schema = bounded_schema(Random(seed))
    sampling = Sampling(temperature=0.0 if seed % 2 else 1.0, seed=seed)
    request = client.request("Tell me of lighthouses.", output_schema=schema, max_tokens=400, sampling=sampling)
    answer = await client.ask(engine, request)
    assert answer.finish.reason is FinishReason.END_OF_TURN
    jsonschema.validate(json.loads(answer.text), schema)
    assert engine.vitals.constraints_failed == 0


@pytest.mark.parametrize("seed", range(2))
async def test_a_call_that_is_demanded_is_made(engine: GgufEngine, client: Any, seed: int) -> None:
    random = Random(seed)
    tools = tuple(bounded_tool(random, name, depth=3) for name in ("look", "listen"))
    choice = ToolChoice(mode=ToolChoiceMode.TOOL, name="listen", parallel=False) if seed % 2 else ANY
    sampling = Sampling(temperature=1.0, seed=seed)
    request = client.request("Who is there?", tools=tools, tool_choice=choice, max_tokens=400, sampling=sampling)
    answer = await client.ask(engine, request)
    assert answer.finish.reason is FinishReason.TOOL_CALLS
    calls = calls_of(answer)
    assert calls
    assert answer.text == ""
    schemas = {tool.name: tool.parameters for tool in tools}
    for name, arguments in calls:
        assert name == "listen" or choice is ANY
        jsonschema.validate(arguments, schemas[name])


PAINT = Tool(
    name="paint",
    parameters={
        "type": "object",
        "properties": {"colour": {"enum": ["red", "blue", "green"]}, "walls": {"type": "integer"}},
        "required": ["colour", "walls"],
    },
)
PAINTED = (
    "Paint one wall red.",
    '<tool_call>\n{"name": "paint", "arguments": {"colour": "red", "walls": 1}}\n</tool_call>',
    "Paint two walls blue.",
    '<tool_call>\n{"name": "paint", "arguments": {"colour": "blue", "walls": 2}}\n</tool_call>',
)


async def test_a_call_begun_unasked_is_held_to_its_schema(engine: GgufEngine, client: Any) -> None:
    """SmolLM2 calls as it was shown; asked for purple, it would paint purple."""
    before = engine.vitals.tokens_refused
    answer = await client.ask(
        engine, client.request(*PAINTED, "Paint nine walls purple.", tools=(PAINT,), max_tokens=60)
    )
    ((name, arguments),) = calls_of(answer)
    assert name == "paint"
    jsonschema.validate(arguments, PAINT.parameters)
    assert engine.vitals.tokens_refused > before
    assert engine.vitals.constraints_failed == 0


async def test_a_call_begun_unasked_is_one_of_a_tool_that_there_is(engine: GgufEngine, client: Any) -> None:
    """SmolLM2 calls what it was shown, though there is no such tool any more."""
    wash = attrs.evolve(PAINT, name="wash")
    answer = await client.ask(engine, client.request(*PAINTED, "Paint one wall red.", tools=(wash,), max_tokens=60))
    assert [name for name, _ in calls_of(answer)] == ["wash"]


def painted(*calls: str) -> tuple[str, ...]:
    """Return a conversation in which the model has painted red and blue, and called like that."""
    return PAINTED[0], calls[0], PAINTED[2], calls[1]


async def test_a_call_that_breaks_is_made_once_more_as_it_should_be(engine: GgufEngine, client: Any) -> None:
    """SmolLM2 calls as it was shown, with a list that cannot be arguments."""
    closed = attrs.evolve(PAINT, parameters={**PAINT.parameters, "additionalProperties": False})
    before = engine.vitals.broken_calls_refused
    shown = painted('{"name": "paint", "arguments": ["red", 1]}', '{"name": "paint", "arguments": ["blue", 2]}')
    answer = await client.ask(engine, client.request(*shown, "Paint one wall green.", tools=(closed,), max_tokens=60))
    assert engine.vitals.broken_calls_refused == before + 1
    (name, arguments), *_ = calls_of(answer)
    assert name == "paint"
    jsonschema.validate(arguments, PAINT.parameters)
    assert answer.text == "", "nobody has seen the broken one"


async def test_a_call_in_another_familys_form_is_held_to_its_schema_too(engine: GgufEngine, client: Any) -> None:
    """The model was told of Hermes' form; asked for purple, it would paint purple."""
    form = "<function=paint>\n<parameter=colour>\n{}\n</parameter>\n<parameter=walls>\n{}\n</parameter>\n</function>"
    before = engine.vitals.tokens_refused
    shown = painted(form.format("red", 1), form.format("blue", 2))
    request = client.request(*shown, "Paint nine walls purple.", tools=(PAINT,), max_tokens=60)
    async with asyncio.timeout(60):
        while engine.vitals.tokens_refused == before:  # the first one may be over before its constraint is made
            answer = await client.ask(engine, request)
    (name, arguments), *_ = calls_of(answer)
    assert name == "paint"
    jsonschema.validate(arguments, PAINT.parameters)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
async def test_what_is_admitted_is_said_as_if_nothing_was_demanded(
    engine: GgufEngine, client: Any, temperature: float
) -> None:
    """The list that SmolLM2 goes on with is one of integers anyway."""
    said = ("Count in JSON.", "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10,")
    knobs = {"max_tokens": 12, "sampling": Sampling(temperature=temperature, top_k=2, seed=1)}
    numbers = {"type": "array", "items": {"type": "integer"}}
    before = engine.vitals.tokens_refused
    free = await client.ask(engine, client.request(*said, **knobs))
    bound = await client.ask(engine, client.request(*said, **knobs, output_schema=numbers))
    assert free.text == bound.text
    assert engine.vitals.tokens_refused == before


async def test_an_answer_in_json_ends_as_soon_as_it_is_whole(engine: GgufEngine, client: Any) -> None:
    request = client.request("Is it night?", output_schema={"const": {"night": True}}, max_tokens=50)
    answer = await client.ask(engine, request)
    assert answer.text == '{"night": true}'
    assert answer.finish.reason is FinishReason.END_OF_TURN
    assert answer.finish.usage.generated_tokens == answer.finish.timings.decode_steps + 1


async def test_counting_tokens_compiles_nothing(engine: GgufEngine, client: Any) -> None:
    request = client.request("Hello", output_schema={"type": "object", "title": "counted"})
    assert await engine.count_tokens(request) > 0
    assert not any("counted" in key for key in engine._grammarian._schemas)
