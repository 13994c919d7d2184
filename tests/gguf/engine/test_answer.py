"""Ours: from sampled tokens to events. The vocabulary here has one token per byte, and one that ends the turn."""

from __future__ import annotations

import json
from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st
from llguidance import LLTokenizer

from pensieve_core import (
    AnswerProgressed,
    FinishReason,
    GenerationEvent,
    GenerationRequest,
    ModelId,
    RequestId,
    Role,
    TextPart,
    TextProduced,
    ThinkingProduced,
    Tool,
    ToolCallArguments,
    ToolCallId,
    ToolCallStarted,
    ToolChoice,
    Turn,
)
from pensieve_gguf.constraints import Constraint, Guide, Plan, Vocabulary
from pensieve_gguf.engine.answer import Answer
from pensieve_gguf.engine.repeats import Repeat, RepeatGuard
from pensieve_gguf.parsers import make_parser

END = 256
CALL = '<tool_call>{"name": "ls", "arguments": {"path": "/"}}</tool_call>'


class ByteVocabulary:
    """`Pieces`: tokens 0 to 255 are bytes."""

    def is_end(self, token: int) -> bool:
        return token == END

    def piece(self, token: int) -> bytes:
        return bytes([token])


def answer(
    *,
    stops: tuple[str, ...] = (),
    max_tokens: int = 1_000,
    opens_thinking: bool = False,
    parallel: bool = True,
    turn_ends: tuple[str, ...] = (),
    guard: RepeatGuard | None = None,
    plan: Plan | None = None,
) -> Answer:
    request = GenerationRequest(
        id=RequestId("req_1"),
        model=ModelId("bytes"),
        turns=(Turn(role=Role.USER, parts=(TextPart(text="hi"),)),),
        tools=(Tool(name="ls", parameters={"type": "object"}),),
        tool_choice=ToolChoice(parallel=parallel),
        max_tokens=max_tokens,
    )
    parser = make_parser("", request, opens_thinking=opens_thinking, new_call_id=lambda: ToolCallId("toolu_1"))
    return Answer(
        ByteVocabulary(),
        parser,
        stop_sequences=stops,
        max_tokens=max_tokens,
        turn_ends=turn_ends,
        guard=guard,
        guide=None if plan is None else Guide(plan),
    )


def say(one: Answer, text: str | bytes, *, end: bool = False) -> list[GenerationEvent]:
    """Push as `pushed` does; return all that a client sees."""
    return [event for event in pushed(one, text, end=end) if not isinstance(event, AnswerProgressed)]


def pushed(one: Answer, text: str | bytes, *, end: bool = False) -> list[GenerationEvent]:
    """Push the text's bytes, and the end; return all events. Nothing may be sampled after the end."""
    data = text.encode() if isinstance(text, str) else text
    events: list[GenerationEvent] = []
    for token in [*data, END] if end else data:
        assert one.finish_reason is None, f"sampled after {one.finish_reason}"
        events.extend(one.push(token))
    return events


def text_of(events: Iterable[GenerationEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextProduced))


def test_tokens_become_text_as_they_come() -> None:
    one = answer()
    assert one.push(ord("h")) == (TextProduced(text="h"),)
    assert one.push(ord("i")) == (TextProduced(text="i"),)
    assert (one.generated_tokens, one.finish_reason) == (2, None)


def test_the_end_token_ends_the_turn_and_is_not_counted() -> None:
    one = answer()
    assert text_of(say(one, "hi", end=True)) == "hi"
    assert (one.finish_reason, one.generated_tokens) == (FinishReason.END_OF_TURN, 2)


def test_a_character_of_several_tokens_waits_until_it_is_whole() -> None:
    one = answer()
    first, *middle, last = "😀".encode()
    assert one.push(first) == ()
    assert [one.push(token) for token in middle] == [(), ()]
    assert one.push(last) == (TextProduced(text="😀"),)


def test_a_character_that_never_became_whole_is_replaced_at_the_end() -> None:
    one = answer()
    assert text_of(say(one, b"a\xf0\x9f", end=True)) == "a\ufffd"


def test_a_stop_sequence_ends_the_answer_and_is_not_part_of_it() -> None:
    one = answer(stops=("\n\nHuman:",))
    assert text_of(say(one, "yes\n\nHuman:")) == "yes"
    assert (one.finish_reason, one.stop_sequence) == (FinishReason.STOP_SEQUENCE, "\n\nHuman:")


def test_what_may_become_a_stop_sequence_is_held_back_until_it_did_not() -> None:
    one = answer(stops=("END",))
    assert text_of(say(one, "an-E")) == "an-"
    assert text_of(say(one, "N")) == ""
    assert text_of(say(one, "C")) == "ENC"


def test_what_was_held_back_for_a_stop_sequence_is_let_out_at_the_end() -> None:
    one = answer(stops=("END",))
    assert text_of(say(one, "an EN", end=True)) == "an EN"
    assert (one.finish_reason, one.stop_sequence) == (FinishReason.END_OF_TURN, None)


def test_the_token_limit_ends_the_answer_with_that_token() -> None:
    one = answer(max_tokens=3)
    assert text_of(say(one, "abc")) == "abc"
    assert (one.finish_reason, one.generated_tokens) == (FinishReason.MAX_TOKENS, 3)


def test_the_token_limit_lets_out_what_was_held_back() -> None:
    one = answer(max_tokens=3, stops=("bcd",))
    assert text_of(say(one, "abc")) == "abc"
    assert one.finish_reason is FinishReason.MAX_TOKENS


def test_a_stop_sequence_that_is_complete_with_the_last_token_wins_over_the_limit() -> None:
    one = answer(max_tokens=3, stops=("bc",))
    assert text_of(say(one, "abc")) == "a"
    assert one.finish_reason is FinishReason.STOP_SEQUENCE


def test_an_answer_with_a_call_ends_as_tool_calls() -> None:
    one = answer()
    events = say(one, CALL, end=True)
    assert ToolCallStarted(id=ToolCallId("toolu_1"), name="ls") in events
    fragments = [event.fragment for event in events if isinstance(event, ToolCallArguments)]
    assert json.loads("".join(fragments)) == {"path": "/"}
    assert one.finish_reason is FinishReason.TOOL_CALLS


def test_a_call_that_only_the_end_makes_sure_of_counts_all_the_same() -> None:
    """Small models write bare JSON: it is a call once nothing more can come."""
    one = answer()
    events = say(one, '{"name": "ls", "arguments": {}}', end=True)
    assert any(isinstance(event, ToolCallStarted) for event in events)
    assert one.finish_reason is FinishReason.TOOL_CALLS


def test_when_one_call_is_allowed_and_whole_nothing_more_is_sampled() -> None:
    one = answer(parallel=False)
    for token in CALL.encode():
        one.push(token)
        if one.finish_reason is not None:
            break
    assert one.finish_reason is FinishReason.TOOL_CALLS


def test_a_call_cut_off_by_the_limit_did_not_end_as_a_call() -> None:
    """The client must not run half a call: `max_tokens` tells it so."""
    one = answer(max_tokens=len(CALL) - 20)
    say(one, CALL[:-20])
    assert one.finish_reason is FinishReason.MAX_TOKENS


def test_reasoning_is_counted_in_tokens() -> None:
    one = answer(opens_thinking=True)
    events = say(one, "so be it</think>yes", end=True)
    assert "".join(event.text for event in events if isinstance(event, ThinkingProduced)) == "so be it"
    assert text_of(events) == "yes"
    assert one.thinking_tokens == len("so be it</think>")
    assert one.generated_tokens == len("so be it</think>yes")


def test_an_answer_without_reasoning_spent_no_tokens_on_it() -> None:
    one = answer()
    say(one, "yes", end=True)
    assert one.thinking_tokens == 0


def test_the_engine_may_end_the_answer_and_gets_what_was_held_back() -> None:
    one = answer(stops=("END",))
    say(one, "an-EN")
    assert text_of(one.finish(FinishReason.CONTEXT_FULL)) == "EN"
    assert one.finish_reason is FinishReason.CONTEXT_FULL


def test_a_text_that_ends_the_turn_is_not_the_clients_stop_sequence() -> None:
    """A model whose template was replaced by ChatML writes `<|im_end|>` in letters."""
    one = answer(turn_ends=("<|im_end|>",), stops=("STOP",))
    assert text_of(say(one, "hi<|im_end|>")) == "hi"
    assert (one.finish_reason, one.stop_sequence) == (FinishReason.END_OF_TURN, None)


def test_an_answer_remembers_its_words_and_what_was_told() -> None:
    one = answer()
    events = say(one, f"look: {CALL}", end=True)
    assert one.words.startswith("look: <tool_call>")
    assert one.told == events


def test_progress_is_told_every_eighth_token_whatever_can_be_seen_of_it() -> None:
    """A call is seen only once it is complete; the speed is to be seen before."""
    events = pushed(answer(), f"look: {CALL}")
    told = [event.generated_tokens for event in events if isinstance(event, AnswerProgressed)]
    assert told == list(range(8, len(f"look: {CALL}") + 1, 8))


def test_an_answer_that_only_repeats_a_call_is_refused_before_anyone_sees_it() -> None:
    one = answer(guard=RepeatGuard(frozenset({Repeat("ls", '{"path":"/"}')})))
    events: list[GenerationEvent] = []
    for token in CALL.encode():
        events.extend(one.push(token))
        if one.refused:
            break
    assert one.refused
    assert one.told == [event for event in events if not isinstance(event, AnswerProgressed)] == []
    assert one.finish_reason is None


def test_an_answer_whose_words_and_call_came_before_ends_with_its_words() -> None:
    guard = RepeatGuard(frozenset({Repeat("ls", '{"path":"/"}', "Look:")}))
    one = answer(guard=guard)
    events: list[GenerationEvent] = []
    for token in ("Look:\n" + CALL).encode():
        if one.finish_reason is None:
            events.extend(one.push(token))
    assert one.finish_reason is FinishReason.END_OF_TURN
    assert "".join(event.text for event in events if isinstance(event, TextProduced)).strip() == "Look:"
    assert not any(isinstance(event, ToolCallStarted) for event in events)


def test_an_answer_that_differs_from_the_answered_call_is_told_whole() -> None:
    guarded = say(answer(guard=RepeatGuard(frozenset({Repeat("ls", '{"path":"/tmp"}')}))), CALL, end=True)
    assert guarded == say(answer(), CALL, end=True)


@given(st.text(st.sampled_from('ab<>t\u00e9\U0001f600 \n{}"'), max_size=30), st.text("ab<", min_size=1, max_size=3))
def test_no_stop_sequence_is_ever_let_out_and_no_text_before_it_is_lost(text: str, stop: str) -> None:
    one = answer(stops=(stop,))
    events: list[GenerationEvent] = []
    for token in [*text.encode(), END]:
        events.extend(one.push(token))
        if one.finish_reason is not None:
            break
    expected, _, _ = text.partition(stop)
    assert text_of(events).strip() == expected.strip()
    assert one.stop_sequence == (stop if stop in text else None)


# -- constraints -----------------------------------------------------------------------------------------------------


def constraint(grammar: str) -> Constraint:
    return Vocabulary(LLTokenizer("byte"), {261}).compile(grammar)


def admitted(one: Answer, said: str) -> str:
    assert one.guide is not None
    return "".join(char for char in said if one.guide.admits(ord(char)))


def test_an_answer_that_is_all_that_was_demanded_ends_without_being_told() -> None:
    """That saves a decode."""
    one = answer(plan=Plan(whole=constraint('start: "{}"')))
    assert text_of(say(one, "{}")) == "{}"
    assert one.finish_reason is FinishReason.END_OF_TURN
    assert one.unkept == ""


def test_an_answer_that_may_go_on_is_ended_by_the_model() -> None:
    one = answer(plan=Plan(whole=constraint("start: /[0-9]+/")))
    say(one, "12")
    assert one.unkept == ""
    say(one, "", end=True)
    assert (one.finish_reason, one.unkept) == (FinishReason.END_OF_TURN, "")


def test_an_answer_that_ends_too_early_is_told_unless_it_was_cut_off() -> None:
    plan = Plan(whole=constraint('start: "{}"'))
    ended, cut, torn = answer(plan=plan), answer(plan=plan, max_tokens=1), answer(plan=plan, max_tokens=2)
    say(ended, "{", end=True)
    assert "before the answer was complete" in ended.unkept
    say(cut, "{")
    assert (cut.finish_reason, cut.unkept) == (FinishReason.MAX_TOKENS, "")
    say(torn, "zz")
    assert torn.unkept != "", "what failed has failed, cut off or not"
    assert answer().unkept == ""


def test_one_call_is_enough_where_one_is_allowed() -> None:
    """The parser has heard all that counts before the closing tag."""
    one = answer(parallel=False, plan=Plan(whole=constraint(f"start: {json.dumps(CALL)}")))
    say(one, CALL[: CALL.index("</")].removesuffix("}"))
    assert (one.finish_reason, one.unkept) == (FinishReason.TOOL_CALLS, "")


def test_arguments_are_constrained_from_where_the_parser_knows_the_call() -> None:
    rest = 'start: /[{] *"path": *"[a-z]*"[}]/ /(?s:.*)/'
    one = answer(plan=Plan(calls={"ls": constraint(rest)}), stops=("STOP",))
    say(one, '<tool_call>{"name": "ls", "arguments": ')
    assert admitted(one, "{z1") == "{z1"
    say(one, '{"path": "')
    assert admitted(one, 'z1"') == 'z"'
    say(one, 'z"}')
    assert admitted(one, "z1}") == "z1}"


def test_what_is_held_back_is_not_taken_for_said() -> None:
    """`{` may begin the stop sequence: the parser has not seen it when the call has begun."""
    one = answer(plan=Plan(calls={"ls": constraint('start: "{1" /(?s:.*)/')}), stops=("1}",))
    say(one, '<tool_call>{"name": "ls", "arguments": {1')
    assert admitted(one, "2z") == "2z"
    say(one, "2")
    assert one.finish_reason is None
