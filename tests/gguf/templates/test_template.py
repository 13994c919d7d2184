"""From requests to prompts, over small templates that have the habits of real ones."""

from __future__ import annotations

import datetime as dt
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pensieve_core import (
    GenerationRequest,
    ImagePart,
    ModelId,
    Part,
    RequestId,
    RequestRefusedError,
    Role,
    TextPart,
    Thinking,
    ThinkingPart,
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
)
from pensieve_gguf.parsers import make_parser
from pensieve_gguf.templates import CHATML, ArgumentsForm, CallsForm, ChatTemplate, SystemForm, ToolsForm

SMOL = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a model<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""As SmolLM2's: ChatML with a default system text, no tools."""

NATIVE = """
{%- if tools %}
    {{- '[system]' }}
    {%- if messages[0].role == 'system' %}{{- messages[0].content }}{% endif %}
    {%- for tool in tools %}
        {{- '\\n' }}{{- tool | tojson }}
    {%- endfor %}
{%- elif messages[0].role == 'system' %}
    {{- '[system]' + messages[0].content }}
{%- endif %}
{%- for message in messages %}
    {%- if message.role == 'system' and loop.first %}
    {%- elif message.role == 'tool' %}
        {{- '[tool]' + message.content }}
    {%- else %}
        {{- '[' + message.role + ']' }}
        {%- if message.content %}{{- message.content }}{% endif %}
        {%- for call in message.tool_calls %}
            {{- '\\n<tool_call>\\n{"name": "' + call.function.name + '", "arguments": ' }}
            {{- ARGUMENTS }}
            {{- '}\\n</tool_call>' }}
        {%- endfor %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '[assistant]' }}{% endif %}"""

OBJECTS = NATIVE.replace("ARGUMENTS", "call.function.arguments | tojson")
"""As Qwen's: tools, calls and results, system turns anywhere."""

TEXTS = NATIVE.replace("ARGUMENTS", "call.function.arguments")
"""Takes the arguments as JSON text."""

STRICT = """
{{- bos_token }}
{%- for message in messages %}
    {%- if message.role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}
    {%- if (message.role == 'user') != (loop.index0 % 2 == 0) %}
        {{ raise_exception('Conversation roles must alternate') }}
    {%- endif %}
    {{- '<turn>' + message.role + '\\n' + message.content | trim + '<end>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<turn>model\\n' }}{% endif %}"""
"""As Gemma's."""

HOISTING = """
{%- set ns = namespace(system='') %}
{%- for message in messages if message.role == 'system' %}{% set ns.system = ns.system + message.content %}{% endfor %}
{{- ns.system }}
{%- for message in messages if message.role != 'system' %}{{ '[' + message.role + ']' + message.content }}{% endfor %}
{%- if add_generation_prompt %}{{- '[assistant]' }}{% endif %}"""
"""As DeepSeek's: all system turns at the top."""

THINKING = """
{%- for message in messages %}
    {{- '[' + message.role + ']' }}
    {%- if message.reasoning_content %}{{- '<think>' + message.reasoning_content + '</think>' }}{% endif %}
    {{- message.content }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '[assistant]' + ('<think>\\n' if enable_thinking else '<think>\\n\\n</think>\\n\\n') }}
{%- endif %}"""

BASH = Tool(
    name="Bash",
    description="Runs a command.",
    parameters={"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]},
)


def user(*parts: Part | str) -> Turn:
    return turn(Role.USER, *parts)


def assistant(*parts: Part | str) -> Turn:
    return turn(Role.ASSISTANT, *parts)


def system(*parts: Part | str) -> Turn:
    return turn(Role.SYSTEM, *parts)


def turn(role: Role, *parts: Part | str) -> Turn:
    return Turn(role=role, parts=tuple(TextPart(text=part) if isinstance(part, str) else part for part in parts))


def bash(number: int) -> ToolCallPart:
    return ToolCallPart(id=ToolCallId(f"toolu_{number}"), name="Bash", arguments={"command": f"run {number}"})


def result(number: int, *, is_error: bool = False) -> ToolResultPart:
    content = (TextPart(text=f"Output {number}."),)
    return ToolResultPart(call_id=ToolCallId(f"toolu_{number}"), content=content, is_error=is_error)


def make_request(
    *turns: Turn,
    tools: tuple[Tool, ...] = (),
    choice: ToolChoice | None = None,
    thinking: bool = False,
) -> GenerationRequest:
    return GenerationRequest(
        id=RequestId("req_1"),
        model=ModelId("m"),
        turns=turns,
        tools=tools,
        tool_choice=choice or ToolChoice(),
        thinking=Thinking(enabled=thinking),
        max_tokens=10,
    )


def make_template(source: str) -> ChatTemplate:
    return ChatTemplate(
        source, bos_token="<s>", eos_token="</s>", architecture="llama", today=lambda: dt.date(2026, 11, 22)
    )


def render(source: str, request: GenerationRequest) -> str:
    return make_template(source).render(request).text


SESSION = make_request(
    system("You help."),
    user("List the files."),
    assistant("Let me see.", bash(1), bash(2)),
    user(result(1), result(2, is_error=True), "Go on."),
    system("Be brief."),
    assistant(bash(3)),
    user(result(3)),
    tools=(BASH,),
)
SESSION_TEXTS = (
    "You help.",
    "List the files.",
    "Let me see.",
    "Output 1.",
    "Output 2.",
    "Go on.",
    "Be brief.",
    "Output 3.",
)
SESSION_PARTS = (*SESSION_TEXTS[:3], "run 1", "run 2", *SESSION_TEXTS[3:7], "run 3", "Output 3.")


def assert_in_order(text: str, pieces: tuple[str, ...]) -> None:
    position = 0
    for piece in pieces:
        assert piece in text[position:], piece
        position = text.index(piece, position) + len(piece)


# Nothing is lost.


@pytest.mark.parametrize("source", [SMOL, CHATML, OBJECTS, TEXTS, STRICT, HOISTING, THINKING, ""])
def test_every_turn_stands_in_the_prompt_in_order(source: str) -> None:
    text = render(source, SESSION)
    assert_in_order(text, SESSION_PARTS)
    assert BASH.description in text


@pytest.mark.parametrize("source", [SMOL, OBJECTS, TEXTS, STRICT, HOISTING, THINKING])
def test_templates_of_all_habits_are_used(source: str) -> None:
    template = make_template(source)
    assert (template.note, template.source) == ("", source)


def test_qwen_style_is_rendered_as_the_template_says() -> None:
    assert render(OBJECTS, SESSION) == (
        '[system]You help.\n{"type": "function", "function": {"name": "Bash", "description": "Runs a command.", '
        '"parameters": {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]}}}'
        "[user]List the files."
        '[assistant]Let me see.\n<tool_call>\n{"name": "Bash", "arguments": {"command": "run 1"}}\n</tool_call>'
        '\n<tool_call>\n{"name": "Bash", "arguments": {"command": "run 2"}}\n</tool_call>'
        "[tool]Output 1.[tool]Error: Output 2.[user]Go on.[system]Be brief."
        '[assistant]\n<tool_call>\n{"name": "Bash", "arguments": {"command": "run 3"}}\n</tool_call>'
        "[tool]Output 3.[assistant]"
    )


def test_a_template_without_tools_gets_them_as_text() -> None:
    text = render(SMOL, SESSION)
    assert text.startswith("<|im_start|>system\nYou help.\n\n# Tools\n")
    assert '\n<tools>\n{"type": "function", "function": {"name": "Bash"' in text
    assert (
        "<|im_start|>assistant\nLet me see.\n"
        '<tool_call>\n{"name": "Bash", "arguments": {"command": "run 1"}}\n</tool_call>\n'
        '<tool_call>\n{"name": "Bash", "arguments": {"command": "run 2"}}\n</tool_call><|im_end|>\n'
        "<|im_start|>user\n<tool_response>\nOutput 1.\n</tool_response>\n"
        "<tool_response>\nError: Output 2.\n</tool_response>\n\nGo on.<|im_end|>\n"
        "<|im_start|>system\nBe brief.<|im_end|>\n"
    ) in text
    assert text.endswith("</tool_response><|im_end|>\n<|im_start|>assistant\n")


def test_without_a_system_turn_the_tools_make_one() -> None:
    text = render(SMOL, make_request(user("Hi"), tools=(BASH,)))
    assert text.startswith("<|im_start|>system\n# Tools\n")


def test_a_strict_template_sees_two_roles_in_turns() -> None:
    """Gemma raises on system turns and on equal neighbours."""
    request = make_request(
        system("You help."), user("Hi"), system("Note."), assistant("Yes?"), system("Hm."), user("Go")
    )
    assert render(STRICT, request) == (
        "<s><turn>user\nYou help.\n\nHi\n\n<system-reminder>\nNote.\n</system-reminder><end>\n"
        "<turn>assistant\nYes?<end>\n"
        "<turn>user\n<system-reminder>\nHm.\n</system-reminder>\n\nGo<end>\n<turn>model\n"
    )


def test_a_hoisting_template_gets_later_system_turns_as_user_turns() -> None:
    """Design 4: system turns are rendered where they stand, never hoisted."""
    request = make_request(system("You help."), user("Hi"), assistant("Yes?"), system("Note."), user("Go"))
    assert render(HOISTING, request) == (
        "You help.[user]Hi[assistant]Yes?[user]<system-reminder>\nNote.\n</system-reminder>\n\nGo[assistant]"
    )


def test_a_reminder_is_wrapped_once() -> None:
    reminder = "<system-reminder>\nNote.\n</system-reminder>"
    request = make_request(user("Hi"), system(reminder), user("Go"))
    assert render(HOISTING, request) == f"[user]Hi\n\n{reminder}\n\nGo[assistant]"


def test_with_tool_choice_none_the_model_hears_of_no_tools() -> None:
    request = make_request(user("Hi"), tools=(BASH,), choice=ToolChoice(mode=ToolChoiceMode.NONE))
    assert render(OBJECTS, request) == "[user]Hi[assistant]"


FETCH = Tool(
    name="Fetch",
    description="Fetches a page.",
    parameters={"required": ["url"], "properties": {"url": {"type": "string"}}, "type": "object"},
    deferred=True,
)
FETCH_DEFINITION = (
    '{"type": "function", "function": {"name": "Fetch", "description": "Fetches a page.", "parameters": '
    '{"type": "object", "properties": {"url": {"type": "string"}}, "required": ["url"]}}}'
)


def found(*names: str) -> ToolResultPart:
    content = tuple(ToolReferencePart(name=name) for name in names)
    return ToolResultPart(call_id=ToolCallId("toolu_1"), content=content)


@pytest.mark.parametrize("source", [SMOL, OBJECTS, STRICT])
def test_a_deferred_tool_is_described_where_it_was_found(source: str) -> None:
    request = make_request(user("Hi"), assistant(bash(1)), user(found("Fetch"), "Loaded."), tools=(FETCH, BASH))
    text = render(source, request)
    sentence = f"The tool Fetch can be called from now on, like the others:\n<tools>\n{FETCH_DEFINITION}\n</tools>"
    assert text.count("Fetches a page.") == 1
    assert_in_order(text, (BASH.description, "Hi", "run 1", sentence, "Loaded."))


def test_a_reference_to_a_tool_of_the_head_or_to_none_describes_nothing() -> None:
    text = render(OBJECTS, make_request(user("Hi"), assistant(bash(1)), user(found("Bash", "Gone")), tools=(BASH,)))
    assert text.endswith("[tool]The tool Bash is available.\n\nThe tool Gone is available.[assistant]")


def test_a_reference_may_stand_outside_of_results() -> None:
    request = make_request(user("Hi"), system(ToolReferencePart(name="Fetch")), tools=(BASH, FETCH))
    assert_in_order(render(OBJECTS, request), (BASH.description, "[user]Hi", "[system]The tool Fetch can", "<tools>"))


def test_only_deferred_tools_leave_a_head_without_tools() -> None:
    assert render(OBJECTS, make_request(user("Hi"), tools=(FETCH,))) == "[user]Hi[assistant]"
    assert render(SMOL, make_request(system("S"), user("Hi"), tools=(FETCH,))) == render(
        SMOL, make_request(system("S"), user("Hi"))
    )


def test_a_call_to_a_deferred_tool_is_read_back() -> None:
    request = make_request(user("Hi"), user(found("Fetch")), tools=(BASH, FETCH))
    parser = make_parser(OBJECTS, request, opens_thinking=False, new_call_id=lambda: ToolCallId("new"))
    answer = '<tool_call>\n{"name": "Fetch", "arguments": {"url": "x"}}\n</tool_call>'
    events = (*parser.feed(answer), *parser.finish())
    assert [event.name for event in events if isinstance(event, ToolCallStarted)] == ["Fetch"]
    arguments = "".join(event.fragment for event in events if isinstance(event, ToolCallArguments))
    assert json.loads(arguments) == {"url": "x"}


def test_images_are_refused() -> None:
    image = ImagePart(media_type="image/png", data=b"png")
    inside = ToolResultPart(call_id=ToolCallId("x"), content=(image,))
    for part in (image, inside):
        with pytest.raises(RequestRefusedError, match="cannot see images"):
            make_template(OBJECTS).render(make_request(user("Look", part)))


# Forms are found by trial.


@pytest.mark.parametrize(
    ("source", "tools", "system_form"),
    [
        (OBJECTS, ToolsForm.NATIVE, SystemForm.IN_PLACE),
        (TEXTS, ToolsForm.NATIVE, SystemForm.IN_PLACE),
        (SMOL, ToolsForm.HERMES, SystemForm.IN_PLACE),
        (HOISTING, ToolsForm.HERMES, SystemForm.LEADING),
        (STRICT, ToolsForm.HERMES, SystemForm.AS_USER),
    ],
)
def test_the_form_follows_from_what_comes_through(source: str, tools: ToolsForm, system_form: SystemForm) -> None:
    template = make_template(source)
    assert (template.form.tools, template.form.system) == (tools, system_form)
    assert template.renders_tools == (tools is ToolsForm.NATIVE)


def test_arguments_are_given_in_the_type_that_the_template_takes() -> None:
    assert make_template(OBJECTS).form.arguments is ArgumentsForm.OBJECT
    assert make_template(TEXTS).form.arguments is ArgumentsForm.JSON_TEXT
    assert render(OBJECTS, SESSION) == render(TEXTS, SESSION)


def test_a_template_that_prints_none_gets_empty_content() -> None:
    prints_none = OBJECTS.replace(
        "{%- if message.content %}{{- message.content }}{% endif %}", "{{- message.content }}"
    )
    assert make_template(prints_none).form.absent_content == ""
    assert "None" not in render(prints_none, SESSION)


def test_a_template_that_drops_text_beside_calls_gets_it_apart() -> None:
    """Hermes 2 Pro, Llama 3, DeepSeek R1."""
    drops = OBJECTS.replace("{%- if message.content %}", "{%- if not message.tool_calls %}")
    assert make_template(drops).form.calls is CallsForm.APART
    assert_in_order(render(drops, SESSION), SESSION_PARTS)


def test_a_template_with_one_call_per_message_gets_each_with_its_result() -> None:
    """Llama 3.1: "This model only supports single tool-calls at once!"."""
    single = OBJECTS.replace(
        "{%- for call", "{%- if message.tool_calls | length > 1 %}{{ raise_exception('one') }}{% endif %}{%- for call"
    )
    assert make_template(single).form.calls is CallsForm.SINGLE
    assert_in_order(render(single, SESSION), ("Let me see.", "run 1", "Output 1.", "run 2", "Output 2.", "Go on."))
    unanswered = make_request(user("Hi"), assistant(bash(1), bash(2)), user("Go on."), tools=(BASH,))
    assert_in_order(render(single, unanswered), ("run 1", "run 2", "Go on."))


def test_results_that_answer_no_call_or_answer_twice_stay_where_they_are() -> None:
    single = OBJECTS.replace(
        "{%- for call", "{%- if message.tool_calls | length > 1 %}{{ raise_exception('one') }}{% endif %}{%- for call"
    )
    again = ToolResultPart(call_id=ToolCallId("toolu_1"), content=(TextPart(text="Again."),))
    request = make_request(
        user(result(3)), assistant(bash(1), bash(3)), user(result(1), again), user("Go"), tools=(BASH,)
    )
    assert_in_order(render(single, request), ("Output 3.", "run 1", "Output 1.", "run 3", "Again.", "Go"))


def test_both_habits_together() -> None:
    both = OBJECTS.replace(
        "{%- for call", "{%- if message.tool_calls | length > 1 %}{{ raise_exception('one') }}{% endif %}{%- for call"
    ).replace("{%- if message.content %}", "{%- if not message.tool_calls %}")
    assert make_template(both).form.calls is CallsForm.SINGLE_APART
    assert_in_order(render(both, SESSION), ("Let me see.", "run 1", "Output 1.", "run 2", "Output 2.", "Go on."))


def test_where_no_user_may_follow_a_result_the_text_joins_the_result() -> None:
    """Mistral: "Not the same role twice" counts a result as the user's."""
    picky = OBJECTS.replace(
        "{%- for message in messages %}",
        "{%- for message in messages %}{%- if message.role == 'user' and loop.index0 and "
        "messages[loop.index0 - 1].role == 'tool' %}{{ raise_exception('twice') }}{% endif %}",
    )
    template = make_template(picky)
    assert template.form.alternating
    assert "[tool]Error: Output 2.\n\nGo on." in template.render(SESSION).text
    assert_in_order(template.render(SESSION).text, SESSION_PARTS)


def test_calls_that_our_parser_could_not_read_back_are_not_shown() -> None:
    """A model answers in the way it was shown."""
    foreign = OBJECTS.replace("<tool_call>", "<x>").replace('{"name": "', "").replace('", "arguments": ', "(")
    template = make_template(foreign)
    assert (template.note, template.renders_tools) == ("", False)
    assert "<tool_call>" in template.render(SESSION).text


def test_a_template_that_moves_the_tools_along_does_not_get_them() -> None:
    """Mistral Nemo prints them before the last user turn: each question would cost a prefill of them all."""
    moving = OBJECTS.replace(
        "{{- '[' + message.role + ']' }}",
        "{%- if tools and message.role == 'user' and message == (messages | selectattr('role', 'equalto', 'user') | "
        "list | last) %}{{- '[tools]' + tools | tojson }}{% endif %}{{- '[' + message.role + ']' }}",
    ).replace("{{- tool | tojson }}", "")
    template = make_template(moving)
    assert (template.note, template.renders_tools) == ("", False)


# Templates that fail.


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("", "there is none"),
        ("  \n", "there is none"),
        ("{% for %}", "TemplateSyntaxError"),
        ("{{ messages[0].content }}", "loses parts"),
        ("{{ functions.x }}", "loses parts"),
        ("x" * 300_000, "more than 262144 characters"),
    ],
)
def test_chatml_stands_in_for_a_template_that_cannot_be_used(source: str, reason: str) -> None:
    template = make_template(source)
    assert template.source == CHATML
    assert "llama" in template.note
    assert reason in template.note
    prompt = template.render(make_request(user("Hi")))
    assert prompt.text == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    assert prompt.stops == ("<|im_end|>",)


def test_an_unknown_architecture_is_called_so() -> None:
    assert "unknown model" in ChatTemplate("", bos_token="", eos_token="").note


def test_a_template_that_refuses_one_conversation_gets_it_plainer() -> None:
    refuses = OBJECTS.replace(
        "{%- for message in messages %}",
        "{%- for message in messages %}{%- if message.content and 'secret' in message.content and "
        "message.role == 'system' %}{{ raise_exception('no') }}{% endif %}",
    )
    template = make_template(refuses)
    prompt = template.render(make_request(user("Hi"), system("secret"), tools=(BASH,)))
    assert "[user]Hi\n\n<system-reminder>\nsecret\n</system-reminder>[assistant]" in prompt.text
    assert prompt.stops == ()


def test_a_template_that_refuses_it_in_every_form_is_replaced_for_that_request() -> None:
    refuses = OBJECTS.replace(
        "{%- for message in messages %}",
        "{%- for message in messages %}{%- if message.content and 'secret' in message.content %}"
        "{{ raise_exception('no') }}{% endif %}",
    )
    template = make_template(refuses)
    prompt = template.render(make_request(user("secret")))
    assert prompt.text == "<|im_start|>user\nsecret<|im_end|>\n<|im_start|>assistant\n"
    assert prompt.stops == ("<|im_end|>",)
    assert template.render(make_request(user("Hi"))).stops == ()


def test_a_request_without_turns_is_rendered() -> None:
    assert render(SMOL, make_request()) == "<|im_start|>assistant\n"
    assert render(OBJECTS, make_request()).endswith("assistant\n")


# Continuing an answer.


@pytest.mark.parametrize("source", [SMOL, OBJECTS, STRICT, HOISTING, THINKING])
def test_a_last_assistant_turn_is_continued(source: str) -> None:
    prompt = make_template(source).render(make_request(user("Name a colour."), assistant("My favourite is ")))
    assert prompt.text.endswith("My favourite is ")
    assert prompt.continues_assistant
    assert_in_order(prompt.text, ("Name a colour.", "My favourite is "))


def test_the_end_of_the_turn_before_a_continued_one_stays() -> None:
    text = render(SMOL, make_request(system("S"), user("Q"), assistant("A")))
    assert text == "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\nA"


def test_two_assistant_turns_are_continued_as_one() -> None:
    assert render(SMOL, make_request(system("S"), assistant("A"), assistant("B"))).endswith("assistant\nA\n\nB")


def test_an_answer_that_ends_with_a_call_is_not_continued() -> None:
    prompt = make_template(OBJECTS).render(make_request(user("Hi"), assistant("Yes", bash(1))))
    assert prompt.text.endswith("</tool_call>[assistant]")
    assert not prompt.continues_assistant


@pytest.mark.parametrize("last", [assistant(), assistant("")])
def test_an_empty_last_answer_is_begun_anew(last: Turn) -> None:
    prompt = make_template(SMOL).render(make_request(system("S"), user("Q"), last))
    assert not prompt.continues_assistant
    assert prompt.text.endswith("Q<|im_end|>\n<|im_start|>assistant\n")


def test_text_after_calls_is_a_message_of_its_own() -> None:
    text = render(OBJECTS, make_request(user("Hi"), assistant(bash(1), "Then"), tools=(BASH,)))
    assert text.endswith("</tool_call>[assistant]Then")


def test_a_template_that_drops_the_last_answer_is_replaced_for_that_request() -> None:
    drops = "{% if messages[-1].role == 'assistant' %}x{% else %}" + THINKING + "{% endif %}"
    prompt = make_template(drops).render(make_request(user("Q"), assistant("A")))
    assert prompt.text == "<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\nA"


# Reasoning.


@pytest.mark.parametrize("thinking", [True, False])
def test_the_template_is_told_whether_to_think(*, thinking: bool) -> None:
    prompt = make_template(THINKING).render(make_request(user("Q"), thinking=thinking))
    assert prompt.opens_thinking == thinking
    assert prompt.text.endswith("<think>\n" if thinking else "</think>\n\n")


def test_reasoning_is_passed_on_to_templates_that_print_it() -> None:
    request = make_request(user("Q"), assistant(ThinkingPart(text="Hm."), "A"), user("R"))
    assert "[assistant]<think>Hm.</think>A[user]R" in render(THINKING, request)
    assert "Hm." not in render(OBJECTS, request)


def test_a_continued_answer_may_be_within_reasoning() -> None:
    template = make_template(THINKING)
    assert template.render(make_request(user("Q"), assistant("<think>Hm"))).opens_thinking
    assert not template.render(make_request(user("Q"), assistant("<think>Hm</think>A"))).opens_thinking
    assert not template.render(make_request(user("<think>"), assistant("A"))).opens_thinking


# Stable prefixes.

words = st.text(alphabet=st.characters(codec="utf-8", categories=["L", "N", "P", "Zs"]), min_size=1, max_size=12)


@st.composite
def sessions(draw: st.DrawFn) -> tuple[Turn, ...]:
    """Turns as agents produce them: a question, or results, then a reminder at times, then an answer."""
    turns = [system(draw(words))] if draw(st.booleans()) else []
    turns.append(user(draw(words)))
    for number in range(draw(st.integers(0, 4))):
        if draw(st.booleans()):
            turns += [assistant(draw(words), bash(number)), user(result(number))]
        else:
            turns += [assistant(draw(words)), user(draw(words))]
        if draw(st.booleans()):
            turns.append(system(draw(words)))
    return tuple(turns)


@pytest.mark.parametrize("source", [SMOL, CHATML, OBJECTS, TEXTS, STRICT])
@given(turns=sessions())
def test_a_growing_conversation_keeps_its_bytes(source: str, turns: tuple[Turn, ...]) -> None:
    """Design 4: rendered history is byte-stable from turn to turn."""
    template = TEMPLATES[source]
    whole = template.render(make_request(*turns, tools=(BASH,))).text
    for position, later in enumerate(turns):
        if later.role is Role.ASSISTANT:
            asked = template.render(make_request(*turns[:position], tools=(BASH,))).text
            generation_prompt = {STRICT: "<turn>model\n", OBJECTS: "[assistant]", TEXTS: "[assistant]"}.get(
                source, "<|im_start|>assistant\n"
            )
            assert whole.startswith(asked.removesuffix(generation_prompt))


@pytest.mark.parametrize("source", [SMOL, CHATML, OBJECTS, TEXTS, STRICT])
@given(turns=sessions())
def test_finding_a_tool_keeps_the_bytes_before_it(source: str, turns: tuple[Turn, ...]) -> None:
    """Seen with Claude Code 2.1.330: what was found stands among `tools` in alphabetical place from then on."""
    template = TEMPLATES[source]
    ask = ToolCallPart(id=ToolCallId("toolu_1"), name="Search", arguments={"query": "fetch"})
    fetch = ToolCallPart(id=ToolCallId("toolu_2"), name="Fetch", arguments={"url": "x"})
    search = Tool(name="Search", description="Finds tools.", parameters={"type": "object"})
    history = (*turns, assistant("Let me see.", ask), user(found("Fetch"), "Tool loaded."))
    before = template.render(make_request(*history[:-1], tools=(BASH, search))).text
    after = template.render(make_request(*history, tools=(BASH, FETCH, search))).text
    later = template.render(make_request(*history, assistant(fetch), user(result(2)), tools=(BASH, FETCH, search))).text
    generation_prompt = {STRICT: "<turn>model\n", OBJECTS: "[assistant]", TEXTS: "[assistant]"}.get(
        source, "<|im_start|>assistant\n"
    )
    assert after.startswith(before.removesuffix(generation_prompt))
    assert later.startswith(after.removesuffix(generation_prompt))
    assert FETCH_DEFINITION in after.removeprefix(before.removesuffix(generation_prompt))


TEMPLATES = {source: make_template(source) for source in (SMOL, CHATML, OBJECTS, TEXTS, STRICT)}


@given(turns=sessions())
def test_equal_requests_render_equal_bytes(turns: tuple[Turn, ...]) -> None:
    request = make_request(*turns, tools=(BASH,))
    assert make_template(OBJECTS).render(request) == TEMPLATES[OBJECTS].render(request)


def test_the_order_of_keys_does_not_matter() -> None:
    forth = {"type": "object", "properties": {"a": {"type": "string"}, "b": {}}, "required": ["b"]}
    back = json.loads(json.dumps(forth, sort_keys=True))
    prompts = {
        render(
            OBJECTS,
            make_request(
                user("Q"),
                assistant(ToolCallPart(id=ToolCallId("x"), name="T", arguments=arguments)),
                tools=(Tool(name="T", parameters=schema),),
            ),
        )
        for schema, arguments in ((forth, {"a": "1", "b": 2}), (back, {"b": 2, "a": "1"}))
    }
    assert len(prompts) == 1


def test_the_date_is_the_given_day_and_has_no_time() -> None:
    dated = "{{ strftime_now('%d %b %Y %H:%M') }}" + THINKING
    assert render(dated, make_request(user("Q"))).startswith("Nov 2026 00:00[user]Q")


# Cache marks.


def marked(text: str) -> TextPart:
    return TextPart(text=text, cache_mark=True)


def test_marks_lie_at_the_ends_of_the_marked_parts() -> None:
    request = make_request(
        system("Be", marked("kind.")), user("One."), assistant("Two."), user("Three.", marked("Four."))
    )
    prompt = make_template(SMOL).render(request)
    assert [prompt.text[:mark].rsplit("\n", 1)[-1] for mark in prompt.marks] == ["kind.", "Four."]


def test_marks_leave_no_trace_in_the_text() -> None:
    with_mark = make_request(system(marked("S ")), user(marked(" Q\n")))
    without = make_request(system("S "), user(" Q\n"))
    assert render(STRICT, with_mark) == render(STRICT, without)


def test_a_mark_in_the_head_covers_the_tools() -> None:
    """Tools come before the system text in the client's order of things, whatever the template does."""
    prompt = make_template(OBJECTS).render(make_request(system(marked("S")), user("Q"), tools=(BASH,)))
    assert [prompt.text[mark:] for mark in prompt.marks] == ["[user]Q[assistant]"]


def test_a_mark_on_a_tool_lies_behind_the_tools() -> None:
    tool = Tool(name="T", parameters={}, cache_mark=True)
    prompt = make_template(OBJECTS).render(make_request(user("Q"), tools=(tool, BASH)))
    assert [prompt.text[mark:] for mark in prompt.marks] == ["[user]Q[assistant]"]


def test_marks_on_calls_and_results_are_found() -> None:
    call = ToolCallPart(id=ToolCallId("x"), name="Bash", arguments={"command": "ls"}, cache_mark=True)
    answer = ToolResultPart(call_id=ToolCallId("x"), content=(TextPart(text="Out."),), cache_mark=True)
    thought = ThinkingPart(text="Hm.")
    request = make_request(user("Q"), assistant(thought, call), user(answer), tools=(BASH,))
    prompt = make_template(OBJECTS).render(request)
    assert [prompt.text[:mark][-5:] for mark in prompt.marks] == ['"ls"}', "]Out."]


def test_marks_on_references_are_found() -> None:
    reference = ToolReferencePart(name="Fetch", cache_mark=True)
    prompt = make_template(OBJECTS).render(make_request(user("Q", reference, "R"), tools=(BASH, FETCH)))
    assert [prompt.text[mark:] for mark in prompt.marks] == ["\n\nR[assistant]"]


def test_a_mark_on_nothing_is_left_out() -> None:
    assert make_template(SMOL).render(make_request(user(marked(""), "Q"))).marks == ()
