"""Ours: what the model sampled is what its next prompt holds (design 2, Own turns replayed exactly); a real model."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import attrs
import pytest

from pensieve_core import (
    GenerationRequest,
    Part,
    Role,
    Sampling,
    TextPart,
    Tool,
    ToolCallArguments,
    ToolCallId,
    ToolCallPart,
    ToolCallStarted,
    ToolResultPart,
    Turn,
)
from pensieve_gguf.engine import GgufEngine

pytestmark = pytest.mark.model

SLACK = 8
"""Tokens that a warm turn may compute beyond the new ones: the last token sampled was never computed."""

BASH = Tool(
    name="Bash",
    description="Runs a command.",
    parameters={"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]},
)


def turn(role: Role, *parts: Part) -> Turn:
    return Turn(role=role, parts=parts)


def shown(command: str, number: int) -> tuple[Turn, Turn]:
    """Return a call and its result; a small model does as it has seen it done."""
    call_id = ToolCallId(f"toolu_{number}")
    call = ToolCallPart(id=call_id, name="Bash", arguments={"timeout": number, "command": command})
    result = ToolResultPart(call_id=call_id, content=(TextPart(text=f"ok {number}"),))
    return turn(Role.ASSISTANT, call), turn(Role.USER, result)


def sent_back(answer: Any) -> Turn:
    """Return an answer as a client sends it: parsed, keys in another order."""
    calls: list[tuple[ToolCallStarted, list[str]]] = []
    for event in answer.events:
        if isinstance(event, ToolCallStarted):
            calls.append((event, []))
        elif isinstance(event, ToolCallArguments):
            calls[-1][1].append(event.fragment)
    text = (TextPart(text=answer.text),) if answer.text.strip() else ()
    return turn(Role.ASSISTANT, *text, *(_call(started, "".join(written)) for started, written in calls))


def _call(started: ToolCallStarted, written: str) -> ToolCallPart:
    arguments = dict(reversed(json.loads(written or "{}").items()))
    return ToolCallPart(id=started.id, name=started.name, arguments=arguments)


def reply(said: Turn) -> Turn:
    """Return what the user's side says next."""
    calls = [part for part in said.parts if isinstance(part, ToolCallPart)]
    results = [ToolResultPart(call_id=call.id, content=(TextPart(text="notes.txt"),)) for call in calls]
    return turn(Role.USER, *results) if results else turn(Role.USER, TextPart(text="And then?"))


async def talk(engine: GgufEngine, client: Any, request: GenerationRequest, seeds: range) -> list[Turn]:
    """Let the model speak once per seed; hold each warm turn to what is new in it. Return what it said."""
    known, said = None, []
    for seed in seeds:
        request = attrs.evolve(request, sampling=attrs.evolve(request.sampling, seed=seed))
        counted = await engine.count_tokens(request)
        answer = await client.ask(engine, request)
        usage, computed = answer.finish.usage, answer.finish.timings.prefilled_tokens
        assert usage.prompt_tokens == counted, "count_tokens takes the same path"
        if known is not None:
            new = usage.prompt_tokens - known.prompt_tokens - known.generated_tokens
            assert computed <= new + SLACK, f"turn {len(said)}: {computed} tokens computed, {new} are new"
        known = usage
        said.append(sent_back(answer))
        request = attrs.evolve(request, turns=(*request.turns, said[-1], reply(said[-1])))
    return said


async def test_warm_turns_of_plain_text_compute_only_what_is_new(engine: GgufEngine, client: Any) -> None:
    """Noise; each answer is remembered, whatever it is."""
    noisy = Sampling(temperature=50.0, top_p=1.0, top_k=0)
    request = client.request("Write a poem in C++.", system="You are a programmer.", max_tokens=24, sampling=noisy)
    said = await talk(engine, client, request, range(5))
    turns = (*request.turns, *(each for turn in said for each in (turn, reply(turn))))
    assert len(engine._prompts._own_turns.recall(turns)) == len(said)


async def test_an_answer_that_was_begun_within_a_word_is_repeated_as_sampled(engine: GgufEngine, client: Any) -> None:
    """Tokenised anew, the word would be one token, and the prefix would end before it."""
    asked = ("What is the capital of France?", "The capital of France is Par")
    first = await client.ask(engine, client.request(*asked, max_tokens=24))
    assert first.text.startswith("is")
    assert len(engine._model.tokenize_plain(" Paris")) == 1
    known = first.finish.usage
    again = await client.ask(engine, client.request(asked[0], asked[1] + first.text, "And of Spain?", max_tokens=1))
    assert again.finish.usage.cached_tokens >= known.prompt_tokens + known.generated_tokens - 1


async def test_warm_turns_with_calls_compute_only_what_is_new(engine: GgufEngine, client: Any) -> None:
    request = client.request("Look around.", max_tokens=60, tools=(BASH,), sampling=Sampling(temperature=1.0))
    examples = [
        each for number, command in enumerate(("ls /tmp", "cat a.txt", "ls -l b")) for each in shown(command, number)
    ]
    request = attrs.evolve(request, turns=(*request.turns, *examples))
    said = await talk(engine, client, request, range(5))
    assert any(isinstance(part, ToolCallPart) for turn in said for part in turn.parts)


async def test_conversations_side_by_side_do_not_disturb_each_other(engine: GgufEngine, client: Any) -> None:
    noisy = Sampling(temperature=1.5, top_p=1.0, top_k=0)
    requests = [client.request(f"Tell me of {name}.", max_tokens=12, sampling=noisy) for name in ("Ann", "Bob")]
    async with asyncio.timeout(60):
        await asyncio.gather(*(talk(engine, client, request, range(3)) for request in requests))
