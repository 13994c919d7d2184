"""Ours: what the probes find out about a template."""

from __future__ import annotations

import datetime as dt

import pytest

from pensieve_gguf.templates import ChatTemplate, ToolsForm

TOOLS = "{% for tool in tools %}{{ tool | tojson }}{% endfor %}"
CALLS = "{% for call in message.tool_calls %}<tool_call>{{ call.function | tojson }}</tool_call>{% endfor %}"
SAID = "|{{ message.role }}: {{ message.content or '' }}"

INDEPENDENT = f"{TOOLS}{{% for message in messages %}}{SAID}{CALLS}\n{{% endfor %}}"
"""Prints each message by itself."""
NAMED = INDEPENDENT.replace("message.role }}", "message.name or message.role }}")
"""Prints the name of the tool that a result is of."""
COUNTING = (
    f"{TOOLS}{{% set ns = namespace(n=0) %}}{{% for message in messages %}}"
    f"{{% if message.tool_calls %}}{{% set ns.n = ns.n + 1 %}}{{% endif %}}{{{{ ns.n }}}} {SAID}{CALLS}\n{{% endfor %}}"
)
"""Counts the calls."""
STRICT = INDEPENDENT.replace(
    "{% for message in messages %}",
    "{% for message in messages %}"
    "{% if message.role == 'tool' and not loop.previtem.tool_calls %}{{ raise_exception('no call') }}{% endif %}",
)
"""Refuses a result without a call right before it."""


def make_template(source: str) -> ChatTemplate:
    return ChatTemplate(source, bos_token="<s>", eos_token="</s>", today=lambda: dt.date(2026, 11, 22))


def test_words_stand_for_calls_where_each_message_is_printed_by_itself() -> None:
    template = make_template(INDEPENDENT)
    assert template.form.tools is ToolsForm.NATIVE
    assert template.takes_calls_as_words


@pytest.mark.parametrize("source", [NAMED, COUNTING, STRICT], ids=["named", "counting", "strict"])
def test_they_do_not_where_results_depend_on_calls(source: str) -> None:
    """Ours. Gemma 4's template prints no result without its call, and that of Kimi K2 counts calls."""
    template = make_template(source)
    assert template.form.tools is ToolsForm.NATIVE
    assert not template.takes_calls_as_words


def test_calls_that_we_spell_out_are_words() -> None:
    assert make_template("").takes_calls_as_words
