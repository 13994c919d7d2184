"""The three input figures of the usage, over random conversations."""

from __future__ import annotations

import random

import pytest
from conformance.scripted_server import Json, ScriptedServer

requirement = pytest.mark.requirement

WORDS = ("otter", "river", "stone", "moon", "paper", "lamp", "seven", "green", "walks", "sings", "never", "once")
MARK: Json = {"cache_control": {"type": "ephemeral"}}
TOOL: Json = {"name": "ls", "input_schema": {"type": "object", "properties": {"path": {"type": "string"}}}}
SYSTEMS: list[str] = ["You are brief.", "You are a poet. You love otters.", ""]
OPENINGS = ["Tell me of otters.", "What is the moon made of?", "Count to three, please."]


def conversation(chance: random.Random) -> Json:
    """Return a request: few beginnings, so that prompts share some; random words; marks here and there."""

    def words() -> str:
        return " ".join(chance.choices(WORDS, k=chance.randint(1, 6)))

    def text(said: str) -> list[Json]:
        return [{"type": "text", "text": said, **(MARK if chance.random() < 0.25 else {})}]

    turns = chance.choice([1, 1, 3, 5, 2])
    roles = ["user", "assistant"] * 3
    spoken: list[Json] = [
        {"role": roles[number], "content": text(words() if number else chance.choice(OPENINGS))}
        for number in range(turns)
    ]
    if chance.random() < 0.2:
        spoken.insert(1, {"role": "system", "content": words()})
    tools = [TOOL] if chance.random() < 0.1 else []
    return {
        "messages": spoken,
        "system": [*text(chance.choice(SYSTEMS)), *text(words())],
        **({"tools": tools} if tools else {}),
        **(MARK if chance.random() < 0.2 else {}),
    }


async def hold(server: ScriptedServer, seed: int) -> int:
    """Hold that sum, count and work of one conversation agree; return how much of it came from the cache."""
    chance = random.Random(seed)
    request = conversation(chance)
    counted = await server.count(**request)
    streamed, max_tokens = chance.random() < 0.3, chance.choice([0, 1, 1, 2])
    if streamed:
        events = await server.stream(**request, max_tokens=max_tokens)
        message, usage = events[0]["message"], events[-2]["usage"]
    else:
        message = await server.ask(**request, max_tokens=max_tokens)
        usage = message["usage"]
    read, created = usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"]
    line = await server.line_of(message)
    assert usage["input_tokens"] + read + created == counted == line["prompt_tokens"], seed
    assert min(usage["input_tokens"], read, created) >= 0, seed
    if line["prefilled_tokens"] or read:  # a scripted engine processes nothing
        assert line["prefilled_tokens"] + read == counted, seed
    return int(read)


@requirement("usage:sum", "endpoint:count_tokens:exact")
async def test_the_figures_add_up_to_the_count_over_random_conversations(server: ScriptedServer) -> None:
    for seed in range(200):
        await hold(server, seed)


@requirement("usage:sum", "usage:read", "endpoint:count_tokens:exact")
@pytest.mark.model
async def test_the_figures_add_up_to_the_count_and_to_the_models_work(model_server: ScriptedServer) -> None:
    read = [await hold(model_server, seed) for seed in range(80)]
    assert sum(tokens > 0 for tokens in read) > 20
