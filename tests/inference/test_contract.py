"""The contract suite: the fakes keep it, and an implementation that breaks a promise is caught by name."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import pytest

from pensieve_core import (
    FinishReason,
    GenerationEvent,
    GenerationFinished,
    GenerationRequest,
    ModelDescriptor,
    ModelId,
    ModelNotFoundError,
    PensieveError,
    PrefillProgressed,
    PromptTooLongError,
    TextProduced,
    ThinkingProduced,
    ToolCallArguments,
    ToolCallId,
    ToolCallStarted,
    Usage,
)
from pensieve_inference import InferenceEngine
from pensieve_inference.testing import (
    InMemoryCatalog,
    Script,
    ScriptedEngine,
    ScriptedGeneration,
    Wait,
    call,
    count_words,
    make_descriptor,
    say,
    think,
)
from pensieve_inference.testing.contract import (
    CATALOG_CHECKS,
    ENGINE_CHECKS,
    MAX_TOKENS_CHECKS,
    CatalogCheck,
    ContractBrokenError,
    EngineCase,
    EngineCheck,
    RequestFactory,
    check_name,
    check_transcript,
)

MODEL = make_descriptor(context_tokens=200)
STORY = say("once upon a time a keeper lit the lamp")


def case_of(make: Callable[[], InferenceEngine], request_for: RequestFactory, patience_s: float = 30.0) -> EngineCase:
    async def open_engine() -> InferenceEngine:
        return make()

    return EngineCase(open_engine=open_engine, request=request_for, patience_s=patience_s)


def check_called(checks: Sequence[Any], name: str) -> Any:
    (found,) = [check for check in checks if check.__name__ == name]
    return found


ENGINES: dict[str, Callable[[], InferenceEngine]] = {
    "speaks": lambda: ScriptedEngine(STORY, model=MODEL, max_running=3),
    "calls": lambda: ScriptedEngine([*think("hm"), *STORY, *call("Bash", {"a": 1})], model=MODEL, max_running=3),
    "waits": lambda: ScriptedEngine([*say("one two"), Wait(0.001), *say("three")], model=MODEL, max_running=1),
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("check", ENGINE_CHECKS, ids=check_name)
async def test_the_scripted_engine_keeps_the_engine_contract(
    check: EngineCheck, engine: str, request_for: RequestFactory
) -> None:
    await check(case_of(ENGINES[engine], request_for))


def obedient(request: GenerationRequest) -> Script:
    """Script as many words as were asked for."""
    usage = Usage(prompt_tokens=count_words(request), generated_tokens=request.max_tokens)
    words = [TextProduced(text="word ") for _ in range(request.max_tokens)]
    return [*words, GenerationFinished(reason=FinishReason.MAX_TOKENS, usage=usage)]


@pytest.mark.parametrize("check", MAX_TOKENS_CHECKS, ids=check_name)
async def test_an_engine_that_obeys_max_tokens_passes(check: EngineCheck, request_for: RequestFactory) -> None:
    await check(case_of(lambda: ScriptedEngine(obedient, model=MODEL), request_for))


async def test_an_answer_may_be_shorter_than_max_tokens(request_for: RequestFactory) -> None:
    check = check_called(MAX_TOKENS_CHECKS, "generates_no_more_than_max_tokens")
    await check(case_of(lambda: ScriptedEngine(say("ok"), model=MODEL), request_for))


@pytest.mark.parametrize("check", MAX_TOKENS_CHECKS, ids=check_name)
async def test_an_engine_that_ignores_max_tokens_is_caught(check: EngineCheck, request_for: RequestFactory) -> None:
    with pytest.raises(ContractBrokenError):
        await check(case_of(lambda: ScriptedEngine(STORY, model=MODEL), request_for))


class Miscounting(ScriptedEngine):
    async def count_tokens(self, request: GenerationRequest) -> int:
        return await super().count_tokens(request) + 1


class CountingFromNothing(ScriptedEngine):
    async def count_tokens(self, request: GenerationRequest) -> int:
        return len(self.requests)


class Truncating(ScriptedEngine):
    async def generate(self, request: GenerationRequest) -> ScriptedGeneration:
        try:
            return await super().generate(request)
        except PromptTooLongError:
            return await super().generate(attrs.evolve(request, turns=()))


class DeafGeneration(ScriptedGeneration):
    def cancel(self) -> None:
        """Go on as if nothing was said."""


class Leaking(ScriptedGeneration):
    async def aclose(self) -> None:
        self.cancel()


class Undead(ScriptedGeneration):
    async def aclose(self) -> None:
        """Go on as if nothing was said."""


class Restless(ScriptedGeneration):
    """Begins again when it is asked after its end."""

    async def __anext__(self) -> GenerationEvent:
        if self._finished:
            self._finished = False
            raise StopAsyncIteration
        return await super().__anext__()


def making(kind: type[ScriptedGeneration]) -> type[ScriptedEngine]:
    class Making(ScriptedEngine):
        async def generate(self, request: GenerationRequest) -> ScriptedGeneration:
            sound = await super().generate(request)
            self.running.discard(sound)
            made = kind(list(sound._steps), sound.prompt.prompt_tokens, self._clock, self.running.discard)
            self.running.add(made)
            return made

    return Making


class Reopening(ScriptedEngine):
    async def aclose(self) -> None:
        for generation in list(self.running):
            await generation.aclose()


class Hanging(ScriptedEngine):
    async def aclose(self) -> None:
        await asyncio.Event().wait()


def faulty(kind: type[ScriptedEngine], script: Script = STORY) -> Callable[[], InferenceEngine]:
    return lambda: kind(script, model=MODEL, max_running=2)


def without_sequences() -> InferenceEngine:
    engine = ScriptedEngine(STORY, model=MODEL)
    engine.description = attrs.evolve(engine.description, max_sequences=0)
    return engine


DEAF = faulty(making(DeafGeneration), [*say("once"), Wait(3600.0), *say("upon")])
FAULTS: list[tuple[str, Callable[[], InferenceEngine], str]] = [
    ("ends_with_exactly_one_finish", faulty(making(Restless)), "a finished generation stays finished"),
    ("charges_for_the_prompt_what_it_counts", faulty(Miscounting), "are the same number"),
    ("charges_for_the_prompt_what_it_counts", faulty(CountingFromNothing), "a prompt has tokens"),
    ("counts_without_generating", faulty(CountingFromNothing), "too long a prompt is still counted"),
    ("refuses_a_prompt_that_exceeds_the_context", faulty(Truncating), "raises PromptTooLongError"),
    ("refuses_a_prompt_that_exceeds_the_context", faulty(Miscounting), "the error says"),
    ("ends_the_iteration_when_cancelled", DEAF, "a generation ends, within"),
    ("may_be_cancelled_before_it_is_read", DEAF, "a generation ends, within"),
    ("wakes_its_reader_when_cancelled", DEAF, "is woken, within"),
    ("gives_back_what_abandoned_generations_held", faulty(making(Leaking)), "give their places back"),
    ("closes_a_generation_more_than_once", faulty(making(Undead)), "a closed generation yields nothing"),
    ("refuses_requests_once_closed", faulty(Reopening), "refuses with OverloadedError"),
    ("refuses_requests_once_closed", faulty(Hanging), "aclose of an engine returns, within"),
    ("ends_running_generations_when_closed", faulty(Reopening), "raises OverloadedError"),
    ("describes_what_it_loaded", without_sequences, "an engine runs a sequence"),
]


@pytest.mark.parametrize(
    ("check", "make", "promise"), FAULTS, ids=[f"{check}: {promise}" for check, _, promise in FAULTS]
)
async def test_a_broken_promise_is_named(
    check: str, make: Callable[[], InferenceEngine], promise: str, request_for: RequestFactory
) -> None:
    with pytest.raises(ContractBrokenError, match=promise):
        await check_called(ENGINE_CHECKS, check)(case_of(make, request_for, patience_s=0.2))


async def test_an_engine_may_have_finished_before_it_is_closed(request_for: RequestFactory) -> None:
    """Ours: what was ready may still be read; a real engine runs ahead of its reader."""
    finish = GenerationFinished(reason=FinishReason.END_OF_TURN, usage=Usage(prompt_tokens=1))

    class RunningAhead(ScriptedGeneration):
        def interrupt(self, error: PensieveError) -> None:
            """Nothing is left to interrupt."""

    engine = faulty(making(RunningAhead), [*say("a"), finish])
    await check_called(ENGINE_CHECKS, "ends_running_generations_when_closed")(case_of(engine, request_for))


USAGE = Usage(prompt_tokens=10, cached_tokens=4, generated_tokens=3)
FINISH = GenerationFinished(reason=FinishReason.END_OF_TURN, usage=USAGE)
STARTED = ToolCallStarted(id=ToolCallId("toolu_1"), name="Bash")
CALLED = attrs.evolve(FINISH, reason=FinishReason.TOOL_CALLS)


def prefilled(processed: int, total: int = 10) -> PrefillProgressed:
    return PrefillProgressed(processed_tokens=processed, total_tokens=total)


@pytest.mark.parametrize(
    "events",
    [
        [FINISH],
        [prefilled(4), prefilled(10), *say("a b"), *think("c"), FINISH],
        [STARTED, ToolCallArguments(fragment='{"a"'), prefilled(1), ToolCallArguments(fragment=": 1}"), CALLED],
        [*call("A", {}), *call("B", {"b": [1]}), CALLED],
        [*say("a"), attrs.evolve(FINISH, reason=FinishReason.STOP_SEQUENCE, stop_sequence="END")],
    ],
)
def test_a_legal_transcript_passes(events: list[GenerationEvent]) -> None:
    check_transcript(events)


@pytest.mark.parametrize(
    ("events", "promise"),
    [
        ([], "exactly one GenerationFinished, not 0"),
        ([FINISH, FINISH], "exactly one GenerationFinished, not 2"),
        ([FINISH, *say("late")], "nothing comes after GenerationFinished"),
        ([TextProduced(text=""), FINISH], "TextProduced is never empty"),
        ([ThinkingProduced(text=""), FINISH], "ThinkingProduced is never empty"),
        ([ToolCallArguments(fragment="{}"), FINISH], "ToolCallArguments follow their call"),
        ([STARTED, *say("a"), ToolCallArguments(fragment="{}"), CALLED], "ToolCallArguments follow their call"),
        ([STARTED, CALLED], "are one JSON object"),
        ([STARTED, ToolCallArguments(fragment="[]"), CALLED], "are one JSON object"),
        ([CALLED], "TOOL_CALLS takes at least one call"),
        ([prefilled(5), prefilled(4), FINISH], "prefill never goes back"),
        ([prefilled(11), FINISH], "prefill stays within the prompt"),
        ([attrs.evolve(FINISH, stop_sequence="END")], "stop_sequence is set exactly when"),
        ([attrs.evolve(FINISH, reason=FinishReason.STOP_SEQUENCE)], "stop_sequence is set exactly when"),
        ([attrs.evolve(FINISH, usage=attrs.evolve(USAGE, cache_created_tokens=7))], "disjoint parts of the prompt"),
        ([attrs.evolve(FINISH, usage=attrs.evolve(USAGE, thinking_tokens=4))], "thinking tokens are generated ones"),
    ],
)
def test_an_illegal_transcript_is_named(events: list[GenerationEvent], promise: str) -> None:
    with pytest.raises(ContractBrokenError, match=promise):
        check_transcript(events)


@pytest.mark.parametrize("check", CATALOG_CHECKS, ids=check_name)
@pytest.mark.parametrize(
    "catalog",
    [
        InMemoryCatalog(),
        InMemoryCatalog(make_descriptor("one"), make_descriptor("two"), aliases={"claude-two": ModelId("two")}),
    ],
    ids=["one model", "two models"],
)
def test_the_catalog_in_memory_keeps_the_catalog_contract(check: CatalogCheck, catalog: InMemoryCatalog) -> None:
    check(catalog)


class Guessing(InMemoryCatalog):
    def resolve(self, name: str) -> ModelDescriptor:
        return self._models[-1]


class Mumbling(InMemoryCatalog):
    """Says that another name was not found."""

    def resolve(self, name: str) -> ModelDescriptor:
        raise ModelNotFoundError(name.upper(), ())


class Curt(InMemoryCatalog):
    """Does not say what there is."""

    def resolve(self, name: str) -> ModelDescriptor:
        raise ModelNotFoundError(name, ())


class Forgetful(InMemoryCatalog):
    def models(self) -> tuple[ModelDescriptor, ...]:
        self._models = tuple(reversed(self._models))
        return self._models


class Empty(InMemoryCatalog):
    def models(self) -> tuple[ModelDescriptor, ...]:
        return ()


ONE, TWO = make_descriptor("one"), make_descriptor("two")


@pytest.mark.parametrize(
    ("check", "catalog", "promise"),
    [
        ("has_models_of_different_ids", InMemoryCatalog(ONE, ONE), "ids are unique"),
        ("has_models_of_different_ids", Forgetful(ONE, TWO), "the same question gets the same answer"),
        ("has_models_of_different_ids", Empty(), "holds a model"),
        ("resolves_every_id", Guessing(ONE, TWO), "the id one means its model"),
        ("resolves_every_listed_alias", Guessing(ONE, TWO, aliases={"a": ONE.id}), "the listed alias a means one"),
        ("lists_no_alias_that_hides_a_model", InMemoryCatalog(ONE, aliases={"one": ONE.id}), "no alias is the id"),
        ("takes_any_claude_name_for_the_first_model", Guessing(ONE, TWO), "means the default model"),
        ("says_which_names_would_have_worked", Guessing(ONE), "raises ModelNotFoundError"),
        ("says_which_names_would_have_worked", Mumbling(ONE), "the error tells the name"),
        ("says_which_names_would_have_worked", Curt(ONE), "the error lists every model"),
    ],
)
def test_a_catalogs_broken_promise_is_named(check: str, catalog: InMemoryCatalog, promise: str) -> None:
    with pytest.raises(ContractBrokenError, match=promise):
        check_called(CATALOG_CHECKS, check)(catalog)


def test_a_claude_name_that_is_listed_need_not_mean_the_default() -> None:
    """Ours: the alias table goes before the rule for all other `claude-*` names."""
    catalog = InMemoryCatalog(ONE, TWO, aliases={"claude-opus-4-8": TWO.id})
    check_called(CATALOG_CHECKS, "takes_any_claude_name_for_the_first_model")(catalog)
    assert catalog.resolve("claude-opus-4-8") == TWO


def test_a_check_is_named_like_a_sentence() -> None:
    assert check_name(CATALOG_CHECKS[1]) == "resolves every id"
