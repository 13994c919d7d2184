"""Ours: design 2, "Own turns replayed exactly"."""

from __future__ import annotations

import json
from array import array

import pytest

from pensieve_core import (
    FinishReason,
    GenerationEvent,
    GenerationFinished,
    ImagePart,
    JsonObject,
    Part,
    Role,
    TextPart,
    TextProduced,
    ThinkingPart,
    ThinkingProduced,
    ToolCallArguments,
    ToolCallId,
    ToolCallPart,
    ToolCallStarted,
    ToolReferencePart,
    ToolResultPart,
    Turn,
    Usage,
)
from pensieve_gguf.engine.own_turns import Opening, OwnTurn, OwnTurns, opening_of

WORDS = 'Let me see.\n<tool_call>{"name":"ls","arguments":{ "path" : "/", "all": true }}</tool_call>'
ARGUMENTS = '{ "path" : "/", "all": true }'
TOKENS = array("i", [5, 6, 7])
FINISH = GenerationFinished(reason=FinishReason.TOOL_CALLS, usage=Usage(prompt_tokens=1))


def told(call: str = "toolu_1", arguments: str = ARGUMENTS, text: str = "Let me see.") -> list[GenerationEvent]:
    """Return what a client was told: text, and a call in two fragments."""
    return [
        *([TextProduced(text=text[:3]), TextProduced(text=text[3:])] if text else []),
        ToolCallStarted(id=ToolCallId(call), name="ls"),
        ToolCallArguments(fragment=arguments[:5]),
        ToolCallArguments(fragment=arguments[5:]),
        FINISH,
    ]


def sent_back(
    *,
    call: str = "toolu_1",
    name: str = "ls",
    arguments: JsonObject | None = None,
    text: str = "Let me see.",
    before: tuple[Part, ...] = (),
) -> Turn:
    """Return the assistant's turn as a client sends it: arguments parsed, keys in another order."""
    given = {"all": True, "path": "/"} if arguments is None else arguments
    called = ToolCallPart(id=ToolCallId(call), name=name, arguments=given)
    return Turn(role=Role.ASSISTANT, parts=(*before, TextPart(text=text), called))


ASKED = Turn(role=Role.USER, parts=(TextPart(text="what is there?"),))


def opening(*turns: Turn) -> Opening:
    found = opening_of(turns, "Answer:\n")
    assert found is not None
    return found


def remembering() -> OwnTurns:
    own = OwnTurns()
    own.note(WORDS, TOKENS, told(), opening(ASKED))
    return own


def recalled(own: OwnTurns, *turns: Turn) -> list[OwnTurn | None]:
    """Return what stands for each turn."""
    found = own.recall(turns)
    return [found.get(position) for position in range(len(turns))]


def say(own: OwnTurns, text: str, *turns: Turn, words: str | None = None, tokens: array[int] = TOKENS) -> Turn:
    """Let the model answer `turns` with plain text; return the turn as a client sends it back."""
    own.note(text if words is None else words, tokens, [TextProduced(text=text), FINISH], opening(*turns))
    return Turn(role=Role.ASSISTANT, parts=(TextPart(text=text),))


# -- calls ---------------------------------------------------------------------------------------------------------


def test_a_turn_that_comes_back_is_what_the_model_said() -> None:
    (own,) = recalled(remembering(), sent_back())
    assert own is not None
    assert (own.words, own.tokens, own.calls, own.thought) == (WORDS, TOKENS, True, False)


def test_a_call_is_found_wherever_it_stands_and_other_turns_are_left_alone() -> None:
    result = ToolResultPart(call_id=ToolCallId("toolu_1"), content=(TextPart(text="bin"),))
    plain = Turn(role=Role.ASSISTANT, parts=(TextPart(text="Let me see."),))
    answered = Turn(role=Role.USER, parts=(result,))
    found = recalled(remembering(), ASKED, ASKED, sent_back(), answered, plain)
    assert [own is not None for own in found] == [False, False, True, False, False]


@pytest.mark.parametrize(
    "altered",
    [
        pytest.param(sent_back(arguments={"path": "/etc", "all": True}), id="arguments"),
        pytest.param(sent_back(name="cat"), id="name"),
        pytest.param(sent_back(text="I shall look."), id="text"),
        pytest.param(sent_back(call="toolu_2"), id="id"),
        pytest.param(sent_back(before=(ThinkingPart(text="hm"),)), id="thinking that was none"),
        pytest.param(Turn(role=Role.USER, parts=sent_back().parts), id="role"),
    ],
)
def test_a_turn_that_the_client_altered_is_not_what_the_model_said(altered: Turn) -> None:
    assert recalled(remembering(), altered) == [None]


def test_white_space_around_the_text_is_no_alteration() -> None:
    assert recalled(remembering(), sent_back(text=" Let me see.\n")) != [None]


def test_thinking_that_comes_back_belongs_to_the_turn() -> None:
    own = OwnTurns()
    words = f"<think>hm</think>{WORDS}"
    own.note(words, TOKENS, [ThinkingProduced(text="h"), ThinkingProduced(text="m"), *told()], opening(ASKED))
    (found,) = recalled(own, sent_back(before=(ThinkingPart(text="hm"),)))
    assert found is not None
    assert (found.words, found.thought) == (words, True)
    assert recalled(own, sent_back()) == [None]
    assert recalled(own, sent_back(before=(ThinkingPart(text="ha"),))) == [None]


def test_a_call_without_arguments_is_remembered() -> None:
    own = OwnTurns()
    own.note("<tool_call>…", TOKENS, [ToolCallStarted(id=ToolCallId("toolu_1"), name="ls")], opening(ASKED))
    called = ToolCallPart(id=ToolCallId("toolu_1"), name="ls", arguments={})
    assert recalled(own, Turn(role=Role.ASSISTANT, parts=(called,))) != [None]


def test_several_calls_of_one_turn_belong_together() -> None:
    own = OwnTurns()
    own.note("two calls", TOKENS, [*told("toolu_1", text="")[:-1], *told("toolu_2", text="")], opening(ASKED))
    both = [ToolCallPart(id=ToolCallId(f"toolu_{n}"), name="ls", arguments={"path": "/", "all": True}) for n in (1, 2)]
    assert recalled(own, Turn(role=Role.ASSISTANT, parts=tuple(both))) != [None]
    assert recalled(own, Turn(role=Role.ASSISTANT, parts=(both[0],))) == [None]


def test_a_call_whose_arguments_are_no_json_is_not_remembered() -> None:
    own = OwnTurns()
    own.note(WORDS, TOKENS, told(arguments='{"path": '), opening(ASKED))
    assert recalled(own, sent_back()) == [None]


def test_the_spelling_of_arguments_is_known_by_the_turn_and_the_call() -> None:
    own = remembering()
    one = ToolCallId("toolu_1")
    assert own.spelling(one, one) == ARGUMENTS
    assert own.spelling(one, ToolCallId("toolu_2")) is None
    assert own.spelling(ToolCallId("toolu_2"), one) is None
    assert json.loads(ARGUMENTS) == {"path": "/", "all": True}


# -- plain text ----------------------------------------------------------------------------------------------------


def test_a_text_is_found_by_itself_and_all_that_was_said_before() -> None:
    own = OwnTurns()
    first = say(own, "Done.", ASKED, tokens=array("i", [1, 2]))
    second = say(own, "Done.", ASKED, first, ASKED, tokens=array("i", [3]))
    found = recalled(own, ASKED, first, ASKED, second)
    assert [turn and turn.tokens.tolist() for turn in found] == [None, [1, 2], None, [3]]
    assert recalled(own, first) == [None]
    assert recalled(own, ASKED, ASKED, first) == [None, None, None]


def test_two_answers_to_the_same_question_are_kept_apart() -> None:
    own = OwnTurns()
    yes, no = say(own, "Yes.", ASKED, tokens=array("i", [1])), say(own, "No.", ASKED, tokens=array("i", [2]))
    for turn, token in ((yes, 1), (no, 2)):
        _, found = recalled(own, ASKED, turn)
        assert found is not None
        assert found.tokens.tolist() == [token]


def test_cache_marks_and_reasoning_do_not_count_among_what_was_said_before() -> None:
    """Clients move the marks with every request, and drop reasoning at some time."""
    own = OwnTurns()
    thought = Turn(role=Role.ASSISTANT, parts=(ThinkingPart(text="hm"), TextPart(text="Yes.")))
    second = say(own, "Done.", ASKED, thought, ASKED)
    marked = Turn(role=Role.USER, parts=(TextPart(text="what is there?", cache_mark=True),))
    without = Turn(role=Role.ASSISTANT, parts=(TextPart(text="Yes."),))
    assert recalled(own, marked, without, ASKED, second)[-1] is not None


@pytest.mark.parametrize(
    "part",
    [
        TextPart(text="other"),
        ToolReferencePart(name="ls"),
        ToolCallPart(id=ToolCallId("a"), name="ls", arguments={}),
        ToolResultPart(call_id=ToolCallId("a"), content=(TextPart(text="bin"), ToolReferencePart(name="ls"))),
        ToolResultPart(call_id=ToolCallId("a"), content=(), is_error=True),
        ImagePart(media_type="image/png", data=b"png"),
    ],
    ids=lambda part: part.type,
)
def test_whatever_was_said_before_counts(part: Part) -> None:
    own = OwnTurns()
    before = Turn(role=Role.USER, parts=(part,))
    turn = say(own, "Done.", before)
    assert recalled(own, before, turn)[-1] is not None
    assert recalled(own, ASKED, turn)[-1] is None


def test_words_that_the_client_was_not_told_are_not_remembered() -> None:
    """After text, a call that is but a repeat is kept back; and no client sends an empty text."""
    own = OwnTurns()
    turn = say(own, "Let me see.", ASKED, words=WORDS)
    assert recalled(own, ASKED, turn) == [None, None]
    turn = say(own, "", ASKED, words=" ")
    assert recalled(own, ASKED, turn) == [None, None]


def test_reasoning_before_a_text_is_remembered_with_it() -> None:
    own = OwnTurns()
    events: list[GenerationEvent] = [ThinkingProduced(text="hm"), TextProduced(text="Yes.")]
    own.note("hm</think>\n\nYes.\n", TOKENS, events, opening(ASKED))
    own.note("hm</think>\n\nNo. But", TOKENS, [events[0], TextProduced(text="No.")], opening(ASKED))
    for text, known in (("Yes.", True), ("No.", False)):
        turn = Turn(role=Role.ASSISTANT, parts=(ThinkingPart(text="hm"), TextPart(text=text)))
        assert (recalled(own, ASKED, turn)[-1] is not None) == known


# -- answers that were begun ---------------------------------------------------------------------------------------


def test_an_answer_that_the_client_began_is_found_with_its_beginning() -> None:
    own = OwnTurns()
    begun = Turn(role=Role.ASSISTANT, parts=(TextPart(text="The sea"),))
    say(own, " is wide.", ASKED, begun)
    whole = Turn(role=Role.ASSISTANT, parts=(TextPart(text="The sea is wide."),))
    _, found = recalled(own, ASKED, whole)
    assert found is not None
    assert (found.opening.begun, found.opening.space, found.words) == ("The sea", "\n", " is wide.")


def test_an_answer_that_was_begun_with_more_than_a_text_is_not_remembered() -> None:
    begun = Turn(role=Role.ASSISTANT, parts=(ThinkingPart(text="hm"), TextPart(text="The sea")))
    assert opening_of((ASKED, begun), "") is None
    assert opening_of((), "") is not None


def test_reasoning_in_an_answer_that_was_begun_is_not_remembered() -> None:
    own = OwnTurns()
    begun = Turn(role=Role.ASSISTANT, parts=(TextPart(text="Hm: "),))
    events: list[GenerationEvent] = [ThinkingProduced(text="hm"), TextProduced(text="Yes.")]
    own.note("<think>hm</think>Yes.", TOKENS, events, opening(ASKED, begun))
    whole = Turn(role=Role.ASSISTANT, parts=(ThinkingPart(text="hm"), TextPart(text="Hm: Yes.")))
    assert recalled(own, ASKED, whole) == [None, None]


# -- bounds --------------------------------------------------------------------------------------------------------


def test_only_the_latest_turns_are_remembered() -> None:
    own = OwnTurns(max_bytes=10_000)
    for number in range(20):
        own.note(WORDS, TOKENS, told(f"toolu_{number}"), opening(ASKED))
    assert recalled(own, sent_back(call="toolu_0")) == [None]
    assert recalled(own, sent_back(call="toolu_19")) != [None]


def test_turns_in_use_stay() -> None:
    own = OwnTurns(max_bytes=10_000)
    for number in range(20):
        own.note(WORDS, TOKENS, told(f"toolu_{number}"), opening(ASKED))
        assert recalled(own, sent_back(call="toolu_0")) != [None]
