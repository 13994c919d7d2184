"""The scripted engine: what other packages' tests rely on it for."""

import asyncio
import contextlib
from collections.abc import Callable

import attrs
import pytest

from pensieve_core import (
    EngineFailedError,
    EnginePhase,
    FinishReason,
    GenerationEvent,
    GenerationFinished,
    GenerationRequest,
    ImagePart,
    ModelBrokenError,
    ModelId,
    OverloadedError,
    PromptTooLongError,
    Role,
    TextPart,
    TextProduced,
    ThinkingPart,
    Tool,
    ToolCallArguments,
    ToolCallId,
    ToolCallPart,
    ToolCallStarted,
    ToolReferencePart,
    ToolResultPart,
    Turn,
    Usage,
)
from pensieve_inference import EngineProvider, Generation, InferenceEngine
from pensieve_inference.testing import (
    FakeClock,
    Raise,
    ScriptedEngine,
    ScriptedProvider,
    Wait,
    call,
    count_words,
    make_descriptor,
    say,
    think,
)

RequestMaker = Callable[..., GenerationRequest]


async def play(engine: ScriptedEngine, request: GenerationRequest) -> list[GenerationEvent]:
    async with contextlib.aclosing(await engine.generate(request)) as generation:
        return [event async for event in generation]


async def test_says_its_script_word_by_word_and_counts_the_words(request_for: RequestMaker) -> None:
    events = await play(ScriptedEngine(say("Hello dear world")), request_for("one two"))
    assert events == [
        TextProduced(text="Hello"),
        TextProduced(text=" dear"),
        TextProduced(text=" world"),
        GenerationFinished(reason=FinishReason.END_OF_TURN, usage=Usage(prompt_tokens=2, generated_tokens=3)),
    ]


async def test_says_ok_when_it_was_given_nothing_to_say(request_for: RequestMaker) -> None:
    assert (await play(ScriptedEngine(), request_for()))[0] == TextProduced(text="ok")


async def test_a_call_comes_in_fragments_and_ends_in_tool_calls(request_for: RequestMaker) -> None:
    started, first, second, finish = await play(ScriptedEngine(call("Bash", {"a": 1}, "toolu_9")), request_for())
    assert started == ToolCallStarted(id=ToolCallId("toolu_9"), name="Bash")
    assert isinstance(first, ToolCallArguments)
    assert isinstance(second, ToolCallArguments)
    assert first.fragment + second.fragment == '{"a": 1}'
    assert isinstance(finish, GenerationFinished)
    assert finish.reason is FinishReason.TOOL_CALLS


async def test_thoughts_are_charged_as_words(request_for: RequestMaker) -> None:
    *_, finish = await play(ScriptedEngine([*think("let me see"), *say("yes")]), request_for())
    assert isinstance(finish, GenerationFinished)
    assert finish.usage.generated_tokens == 4


async def test_each_request_takes_the_next_script_and_the_last_is_repeated(request_for: RequestMaker) -> None:
    engine = ScriptedEngine(say("first"), say("second"))
    answers = [(await play(engine, request_for()))[0] for _ in range(3)]
    assert answers == [TextProduced(text=text) for text in ("first", "second", "second")]
    assert len(engine.requests) == 3


async def test_a_script_may_depend_on_the_request(request_for: RequestMaker) -> None:
    engine = ScriptedEngine(lambda request: say(str(request.max_tokens)))
    assert (await play(engine, request_for(max_tokens=7)))[0] == TextProduced(text="7")


async def test_a_script_may_bring_its_own_finish(request_for: RequestMaker) -> None:
    finish = GenerationFinished(reason=FinishReason.CONTEXT_FULL, usage=Usage(prompt_tokens=1))
    assert await play(ScriptedEngine([finish, *say("never said")]), request_for()) == [finish]


async def test_an_error_in_the_script_ends_the_generation(request_for: RequestMaker) -> None:
    engine = ScriptedEngine([*say("so far"), Raise(EngineFailedError("died"))])
    generation = await engine.generate(request_for())
    assert [await anext(generation), await anext(generation)] == say("so far")
    with pytest.raises(EngineFailedError, match="died"):
        await anext(generation)
    assert not engine.running
    assert [event async for event in generation] == []


async def test_waits_on_the_clock_it_was_given(request_for: RequestMaker) -> None:
    clock = FakeClock()
    engine = ScriptedEngine([Wait(60.0), *say("late")], clock=clock)
    reader = asyncio.ensure_future(play(engine, request_for()))
    await clock.advance(0.0)  # lets the reader begin
    await clock.advance(59.0)
    assert (clock.sleeping, reader.done()) == (1, False)
    await clock.advance(1.0)
    assert (await asyncio.wait_for(reader, 10))[0] == TextProduced(text="late")


async def test_cancelling_ends_a_wait_at_once(request_for: RequestMaker) -> None:
    engine = ScriptedEngine([Wait(3600.0), *say("never")], clock=FakeClock())
    generation = await engine.generate(request_for())
    reader = asyncio.ensure_future(anext(generation, None))
    await asyncio.sleep(0)
    generation.cancel()
    assert await asyncio.wait_for(reader, 10) is None
    assert not engine.running


async def test_a_cancelled_generation_does_not_finish(request_for: RequestMaker) -> None:
    generation = await ScriptedEngine(say("all")).generate(request_for())
    await anext(generation)
    generation.cancel()
    assert [event async for event in generation] == []


async def test_closing_a_generation_frees_its_place(request_for: RequestMaker) -> None:
    engine = ScriptedEngine(max_running=1)
    generation = await engine.generate(request_for())
    with pytest.raises(OverloadedError, match="the queue is full"):
        await engine.generate(request_for())
    await generation.aclose()
    assert not engine.running
    assert await play(engine, request_for())


async def test_a_closing_engine_interrupts_what_runs(request_for: RequestMaker) -> None:
    engine = ScriptedEngine(say("one two"))
    generation = await engine.generate(request_for())
    await anext(generation)
    await engine.aclose()
    assert not engine.running
    with pytest.raises(OverloadedError, match="the engine is closing"):
        await anext(generation)
    with pytest.raises(OverloadedError, match="the engine is closing"):
        await engine.generate(request_for())


async def test_refuses_a_prompt_of_more_words_than_its_context(request_for: RequestMaker) -> None:
    engine = ScriptedEngine(model=make_descriptor(context_tokens=3))
    with pytest.raises(PromptTooLongError, match="prompt is too long: 4 tokens > 3 maximum"):
        await engine.generate(request_for("one two three four"))
    assert not engine.requests


def test_every_part_of_a_prompt_counts(request_for: RequestMaker) -> None:
    """Words of text, thinking, calls, results and tools; an image has none."""
    parts = (
        TextPart(text="one two"),
        ThinkingPart(text="three"),
        ImagePart(media_type="image/png", data=b""),
        ToolCallPart(id=ToolCallId("t"), name="four", arguments={}),
        ToolResultPart(call_id=ToolCallId("t"), content=(TextPart(text="six"), TextPart(text="seven"))),
        ToolReferencePart(name="eight"),
    )
    tool = Tool(name="nine", description="ten", parameters={})
    turns = (Turn(role=Role.USER, parts=parts),)
    assert count_words(attrs.evolve(request_for(), turns=turns, tools=(tool,))) == len(
        ["one", "two", "three", "four", "{}", "six", "seven", "eight", "nine", "ten", "{}"]
    )


def test_the_fakes_satisfy_the_protocols() -> None:
    assert isinstance(ScriptedEngine(), InferenceEngine)
    assert isinstance(ScriptedProvider(), EngineProvider)


async def test_a_generation_satisfies_the_protocol(request_for: RequestMaker) -> None:
    assert isinstance(await ScriptedEngine().generate(request_for()), Generation)


async def test_the_provider_hands_out_its_engine() -> None:
    engine = ScriptedEngine()
    provider = ScriptedProvider(engine)
    assert await provider.engine(make_descriptor("any")) is engine
    assert provider.loaded(ModelId("scripted")) is engine.description
    assert provider.loaded(ModelId("other")) is None
    (status,) = provider.statuses()
    assert (status.model, status.phase, status.detail) == ("scripted", EnginePhase.READY, "")


async def test_the_provider_fails_as_told() -> None:
    error = ModelBrokenError(ModelId("scripted"), "it is cursed")
    provider = ScriptedProvider(error=error)
    with pytest.raises(ModelBrokenError) as caught:
        await provider.engine(make_descriptor())
    assert caught.value is error
    (status,) = provider.statuses()
    assert (status.phase, status.detail) == (EnginePhase.BROKEN, "model scripted cannot be served: it is cursed")


async def test_closing_the_provider_closes_its_engine(request_for: RequestMaker) -> None:
    engine = ScriptedEngine()
    provider = ScriptedProvider(engine)
    await provider.aclose()
    assert provider.closed
    with pytest.raises(OverloadedError):
        await engine.generate(request_for())
