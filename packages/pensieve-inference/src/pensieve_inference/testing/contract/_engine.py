"""The contract of `InferenceEngine` and `Generation`.

Each check opens an engine of its own and closes it. Waits are bounded by `EngineCase.patience_s`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Protocol, TypeAlias

import attrs

from pensieve_core import (
    FinishReason,
    GenerationEvent,
    GenerationFinished,
    GenerationRequest,
    OverloadedError,
    PromptTooLongError,
    TextProduced,
    ThinkingProduced,
    ToolCallStarted,
)
from pensieve_inference._protocols import Generation, InferenceEngine
from pensieve_inference.testing.contract._events import check_transcript, finish_of
from pensieve_inference.testing.contract._expect import ContractBrokenError, expect, soon

__all__ = ["ENGINE_CHECKS", "MAX_TOKENS_CHECKS", "EngineCase", "EngineCheck", "RequestFactory"]

_PROMPT = "Write a long story about a lighthouse."
_OTHER_PROMPT = "Count from one to a hundred, in words, and then back to one again, please."
_MAX_TOKENS = 24


class RequestFactory(Protocol):
    """Makes a request that the engine under test can serve."""

    def __call__(self, text: str, *, max_tokens: int) -> GenerationRequest:
        """Return a request with a fresh id whose user says `text`."""
        ...


@attrs.frozen(kw_only=True)
class EngineCase:
    """An engine under test."""

    open_engine: Callable[[], Awaitable[InferenceEngine]]
    """Returns a fresh engine, loaded."""
    request: RequestFactory
    patience_s: float = 60.0
    """How long one generation, or the closing of an engine, may take on this machine."""

    @contextlib.asynccontextmanager
    async def engine(self) -> AsyncIterator[InferenceEngine]:
        """Open an engine, and close it after the block."""
        engine = await self.open_engine()
        try:
            yield engine
        finally:
            await soon(engine.aclose(), within_s=self.patience_s, promise="aclose of an engine returns")

    async def generate(self, engine: InferenceEngine, text: str = _PROMPT) -> Generation:
        """Admit a request of moderate length."""
        request = self.request(text, max_tokens=_MAX_TOKENS)
        return await soon(engine.generate(request), within_s=self.patience_s, promise="generate returns")

    async def rest(self, generation: Generation) -> list[GenerationEvent]:
        """Return all events that are still to come."""
        return await soon(_all(generation), within_s=self.patience_s, promise="a generation ends")

    async def first(self, generation: Generation) -> GenerationEvent:
        """Return the next event."""
        return await soon(anext(generation), within_s=self.patience_s, promise="a generation yields an event")


EngineCheck: TypeAlias = Callable[[EngineCase], Awaitable[None]]


async def _all(generation: Generation) -> list[GenerationEvent]:
    return [event async for event in generation]


async def ends_with_exactly_one_finish(case: EngineCase) -> None:
    """Events keep their grammar, and nothing follows the last one."""
    async with case.engine() as engine, contextlib.aclosing(await case.generate(engine)) as generation:
        check_transcript(await case.rest(generation))
        expect(await case.rest(generation) == [], "a finished generation stays finished")


async def charges_for_the_prompt_what_it_counts(case: EngineCase) -> None:
    """`count_tokens`, `Generation.prompt` and `Usage` agree."""
    async with case.engine() as engine:
        for text in (_PROMPT, _OTHER_PROMPT):
            counted = await engine.count_tokens(case.request(text, max_tokens=_MAX_TOKENS))
            async with contextlib.aclosing(await case.generate(engine, text)) as generation:
                admitted = generation.prompt.prompt_tokens
                charged = finish_of(await case.rest(generation)).usage.prompt_tokens
            expect(counted > 0, "a prompt has tokens")
            expect(
                counted == admitted == charged,
                f"count_tokens {counted}, prompt_tokens {admitted} and usage {charged} are the same number",
            )


async def counts_without_generating(case: EngineCase) -> None:
    """`count_tokens` may be asked about prompts of any length, and again."""
    async with case.engine() as engine:
        request = case.request(_too_long_for(engine), max_tokens=1)
        counts = [await engine.count_tokens(request) for _ in range(2)]
    expect(counts[0] == counts[1] > engine.description.context_tokens, f"too long a prompt is still counted: {counts}")


async def generates_no_more_than_max_tokens(case: EngineCase) -> None:
    """An answer that is cut off says so, and is as long as allowed."""
    async with case.engine() as engine:
        for limit in (1, 5):
            finish = finish_of(await _run(case, engine, case.request(_PROMPT, max_tokens=limit)))
            generated = finish.usage.generated_tokens
            expect(generated <= limit, f"at most {limit} tokens are generated, not {generated}")
            if finish.reason is FinishReason.MAX_TOKENS:
                expect(generated == limit, f"MAX_TOKENS means that all {limit} were generated, not {generated}")


async def computes_only_the_prompt_for_zero_tokens(case: EngineCase) -> None:
    """`max_tokens` 0 warms the cache."""
    async with case.engine() as engine:
        events = await _run(case, engine, case.request(_PROMPT, max_tokens=0))
    finish = finish_of(events)
    output = [event for event in events if isinstance(event, TextProduced | ThinkingProduced | ToolCallStarted)]
    expect(not output, f"nothing is produced: {output}")
    expect(finish.usage.generated_tokens == 0, "nothing is charged as generated")
    expect(finish.reason is FinishReason.MAX_TOKENS, f"the reason is MAX_TOKENS, not {finish.reason}")


async def refuses_a_prompt_that_exceeds_the_context(case: EngineCase) -> None:
    """The error carries both numbers, and is raised on admission."""
    async with case.engine() as engine:
        request = case.request(_too_long_for(engine), max_tokens=1)
        counted = await engine.count_tokens(request)
        try:
            await (await engine.generate(request)).aclose()
        except PromptTooLongError as error:
            expect(
                error.prompt_tokens == counted, f"the error says {error.prompt_tokens} tokens, count_tokens {counted}"
            )
            expect(error.maximum <= engine.description.context_tokens, "the maximum is no more than the context")
            check_transcript(await _run(case, engine, case.request(_PROMPT, max_tokens=_MAX_TOKENS)))
            return
    msg = "a prompt that exceeds the context raises PromptTooLongError"
    raise ContractBrokenError(msg)


async def serves_generations_at_once(case: EngineCase) -> None:
    """Each gets its own events; a slow reader does not hold the others up."""
    async with case.engine() as engine:
        unread = await case.generate(engine)
        others = [_OTHER_PROMPT, _PROMPT][: engine.description.max_sequences - 1]
        running = [await case.generate(engine, text) for text in others]
        transcripts = await asyncio.gather(*(case.rest(generation) for generation in running))
        for events in [*transcripts, await case.rest(unread)]:
            check_transcript(events)


async def ends_the_iteration_when_cancelled(case: EngineCase) -> None:
    """At most what was ready already still comes. Cancelling again does nothing."""
    async with case.engine() as engine, contextlib.aclosing(await case.generate(engine)) as generation:
        await case.first(generation)
        generation.cancel()
        generation.cancel()
        late = await case.rest(generation)
        expect(
            all(not isinstance(event, GenerationFinished) for event in late[:-1]),
            "nothing comes after GenerationFinished",
        )
        expect(await case.rest(generation) == [], "a cancelled generation stays ended")


async def may_be_cancelled_before_it_is_read(case: EngineCase) -> None:
    """A client that leaves while its request waits."""
    async with case.engine() as engine, contextlib.aclosing(await case.generate(engine)) as generation:
        generation.cancel()
        await case.rest(generation)


async def may_be_cancelled_after_its_end(case: EngineCase) -> None:
    """A client that leaves with the last event."""
    async with case.engine() as engine:
        generation = await case.generate(engine)
        check_transcript(await case.rest(generation))
        generation.cancel()
        await generation.aclose()
        generation.cancel()


async def wakes_its_reader_when_cancelled(case: EngineCase) -> None:
    """Whoever waits for the next event does not wait for ever."""
    async with case.engine() as engine, contextlib.aclosing(await case.generate(engine)) as generation:
        reader = asyncio.ensure_future(_all(generation))
        await asyncio.sleep(0)
        generation.cancel()
        await soon(reader, within_s=case.patience_s, promise="the reader of a cancelled generation is woken")


async def closes_a_generation_more_than_once(case: EngineCase) -> None:
    """`aclose` is idempotent, and ends the iteration."""
    async with case.engine() as engine:
        generation = await case.generate(engine)
        await case.first(generation)
        for _ in range(3):
            await soon(generation.aclose(), within_s=case.patience_s, promise="aclose of a generation returns")
        expect(await case.rest(generation) == [], "a closed generation yields nothing")


async def gives_back_what_abandoned_generations_held(case: EngineCase) -> None:
    """More generations are begun and left than fit at once; then one must still be served."""
    async with case.engine() as engine:
        for _ in range(2 * engine.description.max_sequences + 1):
            async with contextlib.aclosing(await _admitted(case, engine)) as generation:
                await case.first(generation)
        check_transcript(await case.rest(await _admitted(case, engine)))


async def _admitted(case: EngineCase, engine: InferenceEngine) -> Generation:
    try:
        return await case.generate(engine)
    except OverloadedError:
        msg = "abandoned generations give their places back"
        raise ContractBrokenError(msg) from None


async def refuses_requests_once_closed(case: EngineCase) -> None:
    """Closing is idempotent, and to a client it means "come back later"."""
    engine = await case.open_engine()
    for _ in range(2):
        await soon(engine.aclose(), within_s=case.patience_s, promise="aclose of an engine returns")
    try:
        await case.generate(engine)
    except OverloadedError:
        return
    msg = "a closed engine refuses with OverloadedError"
    raise ContractBrokenError(msg)


async def ends_running_generations_when_closed(case: EngineCase) -> None:
    """A reader hears of it as `OverloadedError`, unless the generation was done already."""
    engine = await case.open_engine()
    generation = await case.generate(engine)
    await case.first(generation)
    await soon(engine.aclose(), within_s=case.patience_s, promise="aclose of an engine returns")
    try:
        finished = [event for event in await case.rest(generation) if isinstance(event, GenerationFinished)]
    except OverloadedError:
        return
    expect(bool(finished), "a generation cut off by closing its engine raises OverloadedError")


async def describes_what_it_loaded(case: EngineCase) -> None:
    """The numbers that others plan with."""
    async with case.engine() as engine:
        description = engine.description
    expect(description.context_tokens > 0, "an engine has a context")
    expect(description.max_sequences > 0, "an engine runs a sequence")
    expect(bool(description.engine), "an engine has a name")


async def _run(case: EngineCase, engine: InferenceEngine, request: GenerationRequest) -> Sequence[GenerationEvent]:
    async with contextlib.aclosing(await engine.generate(request)) as generation:
        return await case.rest(generation)


def _too_long_for(engine: InferenceEngine) -> str:
    """Return more words than the context has tokens; no tokeniser makes one token of several different words."""
    return "lighthouse keeper " * (engine.description.context_tokens // 2 + 64)


ENGINE_CHECKS: tuple[EngineCheck, ...] = (
    describes_what_it_loaded,
    ends_with_exactly_one_finish,
    charges_for_the_prompt_what_it_counts,
    counts_without_generating,
    refuses_a_prompt_that_exceeds_the_context,
    serves_generations_at_once,
    ends_the_iteration_when_cancelled,
    may_be_cancelled_before_it_is_read,
    may_be_cancelled_after_its_end,
    wakes_its_reader_when_cancelled,
    closes_a_generation_more_than_once,
    gives_back_what_abandoned_generations_held,
    refuses_requests_once_closed,
    ends_running_generations_when_closed,
)
"""What every engine does, one that plays scripts included."""

MAX_TOKENS_CHECKS: tuple[EngineCheck, ...] = (
    generates_no_more_than_max_tokens,
    computes_only_the_prompt_for_zero_tokens,
)
"""What every engine does that generates its own tokens."""
