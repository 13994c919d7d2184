"""Ours: the engine in this process, with a real model. Counters before seconds (design 2)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import attrs
import pytest

from pensieve_core import (
    EngineDescription,
    EngineFailedError,
    FinishReason,
    ModelDescriptor,
    OverloadedError,
    PrefillProgressed,
    PromptTooLongError,
    RequestRefusedError,
    Role,
    Sampling,
    TextPart,
    Turn,
)
from pensieve_gguf import GgufSettings
from pensieve_gguf.engine import GgufEngine
from pensieve_gguf.engine.loading import Loaded
from pensieve_gguf.engine.vocabulary_ahead import VocabularyAhead
from pensieve_gguf.llama import Context, ContextShape, Model, Special, TokenIds
from pensieve_inference import InferenceEngine, SystemClock
from pensieve_inference.testing.contract import (
    ENGINE_CHECKS,
    MAX_TOKENS_CHECKS,
    EngineCase,
    EngineCheck,
    check_name,
    check_transcript,
)

pytestmark = pytest.mark.model

OpenEngine = Callable[..., GgufEngine]
SYSTEM = "You are a lighthouse keeper who loves the sea, the birds and long letters to old friends. "


@contextlib.asynccontextmanager
async def opened(open_engine: OpenEngine, **knobs: Any) -> AsyncIterator[GgufEngine]:
    engine = open_engine(**knobs)
    try:
        yield engine
    finally:
        async with asyncio.timeout(30):
            await engine.aclose()


@pytest.mark.parametrize("check", [*ENGINE_CHECKS, *MAX_TOKENS_CHECKS], ids=check_name)
async def test_keeps_the_engine_contract(check: EngineCheck, open_engine: OpenEngine, client: Any) -> None:
    async def fresh() -> InferenceEngine:
        return open_engine(context_tokens=512, max_running=3)

    await check(EngineCase(open_engine=fresh, request=client.request))


# -- answers -------------------------------------------------------------------------------------------------------


async def test_the_model_speaks(engine: GgufEngine, client: Any) -> None:
    """A real answer: the template, the tokens and the detokeniser work together."""
    answer = await client.ask(engine, client.request("What is the sea?", max_tokens=24))
    assert {"the", "of"} & set(answer.text.split()), f"no English: {answer.text!r}"
    check_transcript(answer.events)


async def test_greedy_answers_are_the_same_every_time(engine: GgufEngine, client: Any) -> None:
    """The first computes its prompt; the second finds it in the cache."""
    first = await client.ask(engine, client.counting(31))
    second = await client.ask(engine, client.counting(31))
    assert first.text == second.text
    assert "31, 32, 33" in first.text
    assert first.finish.usage.cached_tokens < second.finish.usage.cached_tokens


async def test_a_seed_gives_the_same_answer_and_another_seed_another(engine: GgufEngine, client: Any) -> None:
    async def told(seed: int) -> str:
        sampling = Sampling(temperature=1.5, top_p=1.0, top_k=0, seed=seed)
        answer = await client.ask(engine, client.request("Tell me a story.", max_tokens=12, sampling=sampling))
        return str(answer.text)

    assert await told(1) == await told(1)
    assert len({await told(seed) for seed in range(4)}) > 1


async def test_a_stop_sequence_ends_the_answer(engine: GgufEngine, client: Any) -> None:
    said = ("What is the capital of France?", "The capital of France is")
    request = client.request(*said, max_tokens=12, stop_sequences=("Paris",))
    answer = await client.ask(engine, request)
    assert answer.finish.reason is FinishReason.STOP_SEQUENCE
    assert answer.finish.stop_sequence == "Paris"
    assert "Paris" not in answer.text


async def test_an_answer_that_is_begun_is_continued(engine: GgufEngine, client: Any) -> None:
    """A last turn of the assistant is not answered but carried on (`GenerationRequest.turns`)."""
    request = client.request("What is the capital of France?", "The capital of France is", max_tokens=4)
    answer = await client.ask(engine, request)
    assert "Paris" in answer.text


async def test_zero_tokens_warm_the_cache_for_the_next_request(engine: GgufEngine, client: Any) -> None:
    said = "Warm me up, please, for I shall be back."
    await client.ask(engine, client.request(said, max_tokens=0))
    answer = await client.ask(engine, client.request(said, max_tokens=1))
    usage = answer.finish.usage
    assert usage.cached_tokens == usage.prompt_tokens - 1
    assert answer.finish.timings.prefilled_tokens == 1


async def test_a_prompt_too_long_is_refused_with_both_numbers(engine: GgufEngine, client: Any) -> None:
    request = client.request("sea " * 3_000)
    counted = await engine.count_tokens(request)
    with pytest.raises(PromptTooLongError) as caught:
        await engine.generate(request)
    assert caught.value.prompt_tokens == counted
    assert caught.value.maximum < engine.description.context_tokens


# -- reuse ---------------------------------------------------------------------------------------------------------


async def test_the_next_turn_computes_only_what_is_new(engine: GgufEngine, client: Any) -> None:
    """A warm turn of Claude Code brings 727 new tokens to 24,000 known ones (design 2)."""
    system = SYSTEM * 4
    first = await client.ask(engine, client.request("Who are you?", system=system))
    second = await client.ask(
        engine, client.request("Who are you?", first.text, "And where do you live?", system=system)
    )
    known, usage = first.finish.usage, second.finish.usage
    assert usage.cached_tokens >= known.prompt_tokens
    assert second.finish.timings.prefilled_tokens == usage.prompt_tokens - usage.cached_tokens
    assert second.finish.timings.prefilled_tokens < 30


async def test_two_conversations_compute_their_system_prompt_once(engine: GgufEngine, client: Any) -> None:
    system = "You count waves. " + SYSTEM * 4
    first = await client.ask(engine, client.request("How many waves are there?", system=system))
    second = await client.ask(engine, client.request("Tell me of storms.", system=system))
    assert first.finish.usage.cached_tokens < 10
    assert second.finish.timings.prefilled_tokens < 30


async def test_a_prompt_shares_what_a_running_answer_has_computed(engine: GgufEngine, client: Any) -> None:
    """A subagent starts beside its parent; `llama-server` computes the head again (design 2)."""
    system = "You collect shells. " + SYSTEM * 4
    async with client.open(engine, client.endless(system=system)) as parent:
        await client.first_text(parent)
        child = await client.ask(engine, client.request("And what do you do?", system=system))
        assert child.finish.timings.prefilled_tokens < 30
        parent.cancel()


async def test_a_prompt_shared_from_a_running_answer_leads_to_the_same_answer(
    engine: GgufEngine, open_engine: OpenEngine, client: Any
) -> None:
    """What is shared is what would have been computed."""
    system = "You mend nets. " + SYSTEM * 4
    question = client.counting(41, system=system)
    async with client.open(engine, client.endless(system=system)) as parent:
        await client.first_text(parent)
        shared = await client.ask(engine, question)
        parent.cancel()
    assert shared.finish.usage.cached_tokens > 50
    async with opened(open_engine) as fresh:
        alone = await client.ask(fresh, question)
    assert shared.text == alone.text


async def test_answers_that_are_decoded_together_are_those_of_each_alone(
    engine: GgufEngine, open_engine: OpenEngine, client: Any
) -> None:
    requests = [client.counting(start) for start in (7, 21, 51, 81)]
    together = await asyncio.gather(*(client.ask(engine, request) for request in requests))
    async with opened(open_engine) as fresh:
        alone = [await client.ask(fresh, request) for request in requests]
    assert [answer.text for answer in together] == [answer.text for answer in alone]
    assert len({answer.text for answer in alone}) == 4


async def test_what_stands_before_a_cache_mark_is_told_as_created(engine: GgufEngine, client: Any) -> None:
    marked = Turn(role=Role.SYSTEM, parts=(TextPart(text="You sort stones. " + SYSTEM * 4, cache_mark=True),))
    plain = client.request("What now?")
    request = attrs.evolve(plain, turns=(marked, *plain.turns))
    first = (await client.ask(engine, request)).finish.usage
    again = (await client.ask(engine, request)).finish.usage
    assert 0 < first.cache_created_tokens < first.prompt_tokens
    assert first.cached_tokens + first.cache_created_tokens < first.prompt_tokens
    assert again.cache_created_tokens == 0


# -- limits --------------------------------------------------------------------------------------------------------


async def test_an_answer_ends_when_the_context_is_full(open_engine: OpenEngine, client: Any) -> None:
    async with opened(open_engine, context_tokens=256) as engine:
        request = client.request("Count: one two three four five six. " * 18, max_tokens=10_000)
        # SmolLM2 might end its turn: what it generates at temperature 2 is noise, and noise does not end.
        noisy = client.request(
            "Count: one two three four five six. " * 18,
            max_tokens=10_000,
            sampling=Sampling(temperature=50.0, top_k=0, top_p=1.0, seed=3),
        )
        answer = await client.ask(engine, noisy)
        usage = answer.finish.usage
        assert answer.finish.reason is FinishReason.CONTEXT_FULL
        assert usage.prompt_tokens + usage.generated_tokens == engine.description.context_tokens
        check_transcript(answer.events)
        after = await client.ask(engine, client.request("And now?"))
        assert after.finish.usage.generated_tokens > 0
        assert await engine.count_tokens(request) == usage.prompt_tokens


async def test_in_a_tiny_context_all_finish_by_taking_turns(open_engine: OpenEngine, client: Any) -> None:
    """256 cells for three sequences of some 130 each: who does not fit waits, and none is lost or computed twice.

    The batches of 512 that the settings allow are more than such a context takes: once a C assert.
    """
    async with opened(open_engine, context_tokens=256, max_running=4) as engine:
        requests = [client.request(f"{name}! " * 30, max_tokens=20) for name in ("Ann", "Bob", "Cid")]
        answers = await asyncio.gather(*(client.ask(engine, request) for request in requests))
        for answer in answers:
            check_transcript(answer.events)
        assert engine.vitals.evictions > 0
        assert engine.vitals.preemptions == 0
        assert engine.vitals.tokens_prefilled <= sum(answer.finish.usage.prompt_tokens for answer in answers)


async def test_idle_prefixes_give_way_to_a_new_prompt(open_engine: OpenEngine, client: Any) -> None:
    async with opened(open_engine, context_tokens=256) as engine:
        for name in ("Ann", "Bob", "Cid"):
            await client.ask(engine, client.request(f"{name}! " * 40, max_tokens=4))
        assert engine.vitals.evictions > 0
        assert engine.vitals.preemptions == 0


async def test_more_requests_than_may_wait_are_refused(open_engine: OpenEngine, client: Any) -> None:
    async with (
        opened(open_engine, context_tokens=512, max_running=1, max_queued=1) as engine,
        contextlib.AsyncExitStack() as stack,
    ):
        for _ in range(2):
            await stack.enter_async_context(client.open(engine, client.endless()))
        with pytest.raises(OverloadedError):
            await engine.generate(client.request("Me too!"))


async def test_progress_is_told_while_a_long_prompt_is_computed(open_engine: OpenEngine, client: Any) -> None:
    async with opened(open_engine, batch_tokens=64) as engine:
        answer = await client.ask(engine, client.request(SYSTEM * 12, max_tokens=1))
    told = [event.processed_tokens for event in answer.events if isinstance(event, PrefillProgressed)]
    assert told == sorted(told)
    assert told[:2] == [64, 128]


# -- leaving -------------------------------------------------------------------------------------------------------


async def test_a_cancelled_answer_stops_the_work(engine: GgufEngine, client: Any) -> None:
    async with client.open(engine, client.endless()) as generation:
        await client.first_text(generation)
        generation.cancel()
        await client.rest(generation)
    before = engine.vitals.tokens_sampled
    answer = await client.ask(engine, client.request("Are you there?", max_tokens=4))
    sampled = engine.vitals.tokens_sampled - before
    assert sampled <= answer.finish.usage.generated_tokens + 2, "the cancelled one went on"


async def test_cancelling_answers_in_the_middle_of_a_decode_does_not_harm_the_others(
    engine: GgufEngine, client: Any
) -> None:
    """The decode is aborted and done again for those that stay."""

    async def leaver(number: int) -> None:
        async with client.open(engine, client.request(f"{number}. " + SYSTEM * 4, max_tokens=100)) as generation:
            await anext(generation)
            generation.cancel()

    answer, *_ = await asyncio.gather(
        client.ask(engine, client.counting(61, max_tokens=40)), *(leaver(number) for number in range(3))
    )
    assert answer.text.startswith(" 61, 62, 63, 64, 65, 66, 67, 68")


class MuteModel(Model):
    """Makes no token of any text."""

    @property
    def specials(self) -> dict[str, Special]:
        return {}

    def tokenize_plain(self, text: str) -> TokenIds:
        return super().tokenize_plain(text)[:0]


async def test_a_prompt_without_tokens_is_refused(smollm2: ModelDescriptor, client: Any) -> None:
    """There would be nothing to compute, and nothing to sample after."""
    model = MuteModel(smollm2.path)
    shape = ContextShape(cells=256, sequences=9, batch_tokens=16, threads=1)
    description = EngineDescription(
        model=smollm2, engine="mute", context_tokens=256, max_sequences=8, threads=1, gpu_layers=0
    )
    loaded = Loaded(model, Context(model, shape), description, VocabularyAhead(smollm2.path))
    engine = GgufEngine(loaded, GgufSettings(), SystemClock())
    with pytest.raises(RequestRefusedError, match="the prompt is empty"):
        await client.ask(engine, client.request("Hello!"))
    assert await engine.count_tokens(client.request("Hello!")) == 0
    await engine.aclose()


def test_an_engine_that_cannot_be_made_leaves_neither_context_nor_model(smollm2: ModelDescriptor) -> None:
    made: list[Loaded] = []

    class TornEngine(GgufEngine):
        def __init__(self, loaded: Loaded, *_: Any, **__: Any) -> None:
            made.append(loaded)
            msg = "torn"
            raise RuntimeError(msg)

    with pytest.raises(RuntimeError, match="torn"):
        TornEngine.load(smollm2, GgufSettings(context_tokens=256, threads=1), SystemClock())
    (loaded,) = made
    assert loaded.model.handle is None
    assert loaded.context._handle is None


async def test_a_generation_whose_event_loop_is_closed_does_not_harm_the_others(
    open_engine: OpenEngine, client: Any
) -> None:
    async with opened(open_engine) as engine:

        def leave_open() -> None:
            loop = asyncio.new_event_loop()
            loop.run_until_complete(engine.generate(client.endless(max_tokens=30)))
            loop.close()

        await asyncio.to_thread(leave_open)
        assert (await client.ask(engine, client.counting(31))).text.startswith(" 31, 32, 33")
        assert engine.ended is None


async def test_an_engine_that_failed_refuses_instead_of_hanging(open_engine: OpenEngine, client: Any) -> None:
    """The engine thread ends with its first failure, and nobody may wait for it afterwards."""
    async with opened(open_engine, context_tokens=512) as engine:
        async with client.open(engine, client.endless()) as generation:
            await client.first_text(generation)
            engine._model.vocabulary_size = 0  # no token is known from now on: the next step fails
            with pytest.raises(EngineFailedError):
                await client.rest(generation)
        with pytest.raises(EngineFailedError):
            await client.ask(engine, client.request("Are you there?"))
