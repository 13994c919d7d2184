"""Ours: design 4, "Agent-aware scheduling", on a real model: heads are shared, main turns go first, sessions share."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import attrs
import pytest

from pensieve_core import AgentId, GenerationRequest, Origin, Priority, Role, SessionId, TextPart
from pensieve_gguf.engine import GgufEngine

pytestmark = pytest.mark.model

HEAD = "You are a careful engineer who writes tests first. " * 20
SLACK = 8


def of(request: GenerationRequest, session: str, agent: str | None = None, **knobs: Any) -> GenerationRequest:
    """Return `request` as its sender's headers make it."""
    origin = Origin(
        session=SessionId(session),
        agent=None if agent is None else AgentId(agent),
        priority=Priority.MAIN if agent is None else Priority.AGENT,
    )
    return attrs.evolve(request, origin=attrs.evolve(origin, **knobs))


def marked(request: GenerationRequest) -> GenerationRequest:
    """Return `request` with a cache mark after its system text."""
    system, *others = request.turns
    assert system.role is Role.SYSTEM
    (text,) = system.parts
    assert isinstance(text, TextPart)
    return attrs.evolve(request, turns=(attrs.evolve(system, parts=(attrs.evolve(text, cache_mark=True),)), *others))


async def test_a_subagent_forks_its_parents_head_while_the_parent_is_answering(engine: GgufEngine, client: Any) -> None:
    main = of(marked(client.endless(system=HEAD)), "s")
    async with client.open(engine, main) as parent:
        await client.first_text(parent)
        task = of(marked(client.request("Find nothing.", system=HEAD)), "s", "a1")
        usage = (await client.ask(engine, task)).finish.usage
    assert usage.prompt_tokens - usage.cached_tokens < 40, "only what is its own"
    assert usage.cache_created_tokens == 0, "nothing before the mark was computed again"


async def test_the_parent_goes_on_where_it_was_after_its_subagents(engine: GgufEngine, client: Any) -> None:
    asked = of(client.request("Say one.", system=HEAD), "s")
    first = await client.ask(engine, asked)
    for number in range(3):
        await client.ask(engine, of(client.request(f"Task {number}.", system=HEAD), "s", f"a{number}"))
    again = of(client.request("Say one.", first.text, "Say two.", system=HEAD), "s")
    usage, known = (await client.ask(engine, again)).finish.usage, first.finish.usage
    assert usage.cached_tokens >= known.prompt_tokens + known.generated_tokens - SLACK


async def test_a_mark_is_charged_once_and_read_from_then_on(engine: GgufEngine, client: Any) -> None:
    """`cache_creation_input_tokens` is what was computed and stays; it is disjoint from what was read."""
    head = "Answer in one word, whatever it is that you are asked. " * 12
    first = (await client.ask(engine, marked(client.request("One?", system=head)))).finish.usage
    second = (await client.ask(engine, marked(client.request("Two?", system=head)))).finish.usage
    assert first.cache_created_tokens > 100
    assert first.cached_tokens + first.cache_created_tokens < first.prompt_tokens
    assert (second.cache_created_tokens, second.cached_tokens >= first.cache_created_tokens) == (0, True)


async def test_a_main_turn_is_answered_while_eight_agents_of_another_session_hold_all_places(
    engine: GgufEngine, client: Any
) -> None:
    async with contextlib.AsyncExitStack() as open_agents:
        agents = [
            await open_agents.enter_async_context(client.open(engine, of(client.endless(), "many", f"a{number}")))
            for number in range(9)
        ]
        await client.first_text(agents[0])
        before = engine.vitals.tokens_sampled
        answer = await client.ask(engine, of(client.counting(20, max_tokens=4), "few"))
        assert answer.finish.usage.generated_tokens == 4
        assert engine.vitals.tokens_sampled - before < 9 * 1_000, "it did not wait for the end of any of them"


async def test_who_gave_way_says_what_it_would_have_said(engine: GgufEngine, client: Any) -> None:
    alone = await client.ask(engine, client.counting(30, max_tokens=24))
    agents = [of(client.counting(30, max_tokens=24), "many", f"b{number}") for number in range(8)]
    async with asyncio.timeout(60):
        answers = asyncio.gather(*(client.ask(engine, agent) for agent in agents))
        await asyncio.sleep(0)
        await client.ask(engine, of(client.counting(20, max_tokens=4), "few"))
        assert {answer.text for answer in await answers} == {alone.text}


async def test_a_prompt_that_breaks_tells_its_first_differing_token(engine: GgufEngine, client: Any) -> None:
    first = of(client.request("Hello.", system=HEAD + "Be kind."), "breaks")
    changed = of(client.request("Hello.", system=HEAD + "Be strict."), "breaks")
    async with client.open(engine, first) as generation:
        assert generation.prompt.differs_at is None
        known = generation.prompt.prompt_tokens
        await client.rest(generation)
    async with client.open(engine, changed) as generation:
        differs_at = generation.prompt.differs_at
        usage = (await client.rest(generation)).finish.usage
    assert differs_at is not None
    assert known - 40 < differs_at < known
    assert usage.cached_tokens == differs_at, "all before it was there"
