"""Ours, on Anthropic's tool search: an answer in several generations is one answer, and pays for all of them."""

from __future__ import annotations

import json
from collections.abc import Sequence

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pensieve_core import (
    FinishReason,
    GenerationEvent,
    GenerationFinished,
    GenerationRequest,
    ModelId,
    RequestId,
    Role,
    TextPart,
    TextProduced,
    Thinking,
    ThinkingPart,
    ThinkingProduced,
    Timings,
    Tool,
    ToolCallArguments,
    ToolCallId,
    ToolCallPart,
    ToolCallStarted,
    ToolChoice,
    ToolChoiceMode,
    ToolReferencePart,
    ToolResultPart,
    Turn,
    Usage,
)
from pensieve_protocol import Searched, SearchTurn, ServerCallStarted, ToolSearch, ToolsFound, TurnEvent

WEATHER = Tool(name="get_weather", description="Tell the weather.", parameters={"type": "object"}, deferred=True)
FIND = Tool(name="find", description="Find tools.", parameters={"type": "object"})
SEARCH = ToolSearch(kinds={"find": "regex"}, tools=(WEATHER,))
ASKED = GenerationRequest(
    id=RequestId("req_1"),
    model=ModelId("m"),
    turns=(Turn(role=Role.USER, parts=(TextPart(text="Is it sunny?"),)),),
    tools=(FIND,),
    max_tokens=100,
)


def finish(reason: FinishReason = FinishReason.TOOL_CALLS, **figures: float) -> GenerationFinished:
    usage = {name: figures.pop(name) for name in attrs.fields_dict(Usage) if name in figures}
    return GenerationFinished(reason=reason, usage=Usage(**{"prompt_tokens": 1, **usage}), timings=Timings(**figures))  # type: ignore[arg-type]


def call(name: str, number: int = 1, query: str = "weather") -> list[GenerationEvent]:
    text = json.dumps({"query": query})
    return [
        ToolCallStarted(id=ToolCallId(f"toolu_{number}"), name=name),
        ToolCallArguments(fragment=text[:4]),
        ToolCallArguments(fragment=text[4:]),
    ]


def feed(turn: SearchTurn, *events: GenerationEvent) -> list[TurnEvent]:
    return [told for event in events for told in turn.feed(event)]


def ended(told: Sequence[TurnEvent]) -> GenerationFinished:
    assert isinstance(told[-1], GenerationFinished)
    return told[-1]


def test_an_answer_without_searches_is_passed_on_as_it_is() -> None:
    turn = SearchTurn(ASKED, SEARCH)
    events: list[GenerationEvent] = [TextProduced(text="Yes."), finish(FinishReason.END_OF_TURN, generated_tokens=2)]
    assert turn.request is ASKED
    assert not turn.begun
    assert feed(turn, *events) == events
    assert turn.request is None


def test_a_search_is_told_and_the_answer_goes_on_with_what_was_found() -> None:
    turn = SearchTurn(ASKED, SEARCH)
    told = feed(turn, TextProduced(text="I "), TextProduced(text="look."), *call("find"), finish(generated_tokens=9))
    assert isinstance(told[2], ServerCallStarted)
    assert told[-1] == Searched(call_id=ToolCallId("toolu_1"), result=ToolsFound(names=("get_weather",)))
    assert turn.begun
    assert turn.request is not None
    assert turn.request.max_tokens == 91
    assert turn.request.tools == (FIND, WEATHER)
    assert turn.request.turns[:1] == ASKED.turns
    asked, found = turn.request.turns[1:]
    searched = ToolCallPart(id=ToolCallId("toolu_1"), name="find", arguments={"query": "weather"})
    assert asked == Turn(role=Role.ASSISTANT, parts=(TextPart(text="I look."), searched))
    result = ToolResultPart(call_id=ToolCallId("toolu_1"), content=(ToolReferencePart(name="get_weather"),))
    assert found == Turn(role=Role.USER, parts=(result,))


def test_the_end_tells_the_usage_and_the_time_of_all_generations() -> None:
    """Tokens a second are counted with both: those of all generations by the time of the last were too many."""
    turn = SearchTurn(ASKED, SEARCH)
    feed(turn, *call("find"), finish(prompt_tokens=10, generated_tokens=5, decode_s=2.0, queue_s=0.5, decode_steps=4))
    last = finish(FinishReason.END_OF_TURN, prompt_tokens=20, cached_tokens=10, generated_tokens=3, decode_s=1.0)
    end = ended(feed(turn, TextProduced(text="Yes."), last))
    assert end.reason is FinishReason.END_OF_TURN
    assert end.usage == Usage(prompt_tokens=30, cached_tokens=10, generated_tokens=8)
    assert end.timings == Timings(decode_s=3.0, queue_s=0.5, decode_steps=4)


def test_what_was_found_and_does_not_fit_any_more_ends_the_answer_with_what_it_has_cost() -> None:
    turn = SearchTurn(ASKED, SEARCH)
    feed(turn, *call("find"), finish(prompt_tokens=10, generated_tokens=5, decode_s=2.0))
    end = turn.overflow()
    assert (end.reason, end.usage.generated_tokens, end.timings.decode_s) == (FinishReason.CONTEXT_FULL, 5, 2.0)
    assert turn.request is None


def test_a_call_of_the_client_beside_the_search_ends_the_answer() -> None:
    turn = SearchTurn(ASKED, SEARCH)
    told = feed(turn, *call("find", 1), *call("Bash", 2), finish())
    assert [isinstance(event, Searched) for event in told].count(True) == 1
    assert ended(told).reason is FinishReason.TOOL_CALLS
    assert turn.request is None


@pytest.mark.parametrize("reason", [FinishReason.MAX_TOKENS, FinishReason.CONTEXT_FULL])
def test_a_call_that_is_cut_off_is_not_searched_for(reason: FinishReason) -> None:
    turn = SearchTurn(ASKED, SEARCH)
    told = feed(turn, *call("find"), finish(reason))
    assert not any(isinstance(event, Searched) for event in told)
    assert ended(told).reason is reason


@pytest.mark.parametrize(("generated", "goes_on"), [(99, True), (100, False)])
def test_a_search_that_takes_the_last_token_ends_the_answer(generated: int, *, goes_on: bool) -> None:
    turn = SearchTurn(ASKED, SEARCH)
    told = feed(turn, *call("find"), finish(generated_tokens=generated))
    assert (turn.request is not None) == goes_on
    assert goes_on or ended(told).reason is FinishReason.MAX_TOKENS


@pytest.mark.parametrize("written", ['{"query": ', "[1]"])
def test_a_call_that_cannot_be_read_is_not_searched_for_and_ends_the_answer(written: str) -> None:
    turn = SearchTurn(ASKED, SEARCH)
    started = ToolCallStarted(id=ToolCallId("toolu_1"), name="find")
    told = feed(turn, started, ToolCallArguments(fragment=written), finish())
    assert not any(isinstance(event, Searched) for event in told)
    assert ended(told).reason is FinishReason.TOOL_CALLS


@pytest.mark.parametrize(("query", "said", "is_error"), [("nothing", "No tool", False), ("(", "query: no reg", True)])
def test_what_is_not_found_and_what_cannot_be_looked_for_is_told_to_the_model(
    query: str, said: str, *, is_error: bool
) -> None:
    turn = SearchTurn(ASKED, SEARCH)
    feed(turn, *call("find", query=query), finish())
    assert turn.request is not None
    (result,) = turn.request.turns[-1].parts
    assert isinstance(result, ToolResultPart)
    (text,) = result.content
    assert isinstance(text, TextPart)
    assert (text.text.startswith(said), result.is_error) == (True, is_error)
    assert turn.request.tools == (FIND,)


def test_reasoning_before_a_search_goes_back_in_one_piece() -> None:
    turn = SearchTurn(ASKED, SEARCH)
    feed(turn, ThinkingProduced(text="Let me "), ThinkingProduced(text="see."), *call("find"), finish())
    assert turn.request is not None
    thought, _ = turn.request.turns[-2].parts
    assert thought == ThinkingPart(text="Let me see.")


def test_a_search_that_was_demanded_is_not_demanded_again_and_its_reasoning_is_paid_once() -> None:
    choice = ToolChoice(mode=ToolChoiceMode.TOOL, name="find", parallel=False)
    thinking = Thinking(enabled=True, budget_tokens=50)
    turn = SearchTurn(attrs.evolve(ASKED, tool_choice=choice, thinking=thinking), SEARCH)
    feed(turn, *call("find"), finish(generated_tokens=30, thinking_tokens=20))
    assert turn.request is not None
    assert turn.request.tool_choice == ToolChoice(parallel=False)
    assert turn.request.thinking.budget_tokens == 30


def test_after_ten_searches_there_is_no_more_to_search_with() -> None:
    turn = SearchTurn(ASKED, SEARCH)
    for number in range(10):
        assert turn.request is not None
        assert FIND in turn.request.tools
        feed(turn, *call("find", number), finish())
    assert turn.request is not None
    assert turn.request.tools == (WEATHER,)


Rounds = list[tuple[list[str], int]]


@given(st.lists(st.tuples(st.lists(st.sampled_from(["find", "Bash", "text"]), max_size=3), st.integers(0, 40))))
def test_whatever_is_called_prompts_only_grow_and_every_token_is_counted(rounds: Rounds) -> None:
    turn, spent, number = SearchTurn(ASKED, SEARCH), 0, 0
    for said, generated in rounds:
        request = turn.request
        if request is None:
            break
        assert request.max_tokens == ASKED.max_tokens - spent > 0
        events: list[GenerationEvent] = []
        for word in said:
            number += 1
            events += [TextProduced(text="a")] if word == "text" else call(word, number)
        spent += generated
        told = feed(turn, *events, finish(generated_tokens=generated))
        only_searches = [word for word in said if word != "text"] and "Bash" not in said
        assert (turn.request is not None) == bool(only_searches and spent < ASKED.max_tokens)
        if turn.request is None:
            assert ended(told).usage.generated_tokens == spent
        else:
            assert turn.request.turns[: len(request.turns)] == request.turns
