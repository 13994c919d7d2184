"""Requests as Claude Code sends them, held against the parser and the translation.

`samples/new-*` were recorded from 2.1.330, `samples/old-*` from 2.1.197: all of the structure, with the long texts cut
and the ids blanked.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pensieve_core import GenerationRequest, ModelId, Origin, RequestId, Role, TextPart
from pensieve_protocol import (
    RequestError,
    Terms,
    parse_count_tokens_request,
    parse_messages_request,
    to_generation_request,
)

SAMPLES = {path.stem: json.loads(path.read_text()) for path in Path(__file__).with_name("samples").glob("*.json")}
COUNTS = sorted(name for name, sample in SAMPLES.items() if "/count_tokens" in sample["path"])
REFUSED = ["new-web-search"]
MESSAGES = sorted(
    name for name, sample in SAMPLES.items() if sample["method"] == "POST" and name not in {*COUNTS, *REFUSED}
)


def translate(name: str) -> GenerationRequest:
    sample = SAMPLES[name]
    parse = parse_count_tokens_request if name in COUNTS else parse_messages_request
    request = parse(json.dumps(sample["body"]).encode(), Terms(version=sample["headers"].get("anthropic-version")))
    return to_generation_request(request, request_id=RequestId("req_sample"), model=ModelId("any"), origin=Origin())


def texts(request: GenerationRequest) -> list[str]:
    return [part.text for turn in request.turns for part in turn.parts if isinstance(part, TextPart)]


def sent_tools(name: str) -> list[dict[str, Any]]:
    tools: list[dict[str, Any]] = SAMPLES[name]["body"].get("tools", [])
    return tools


@pytest.mark.parametrize("name", [*MESSAGES, *COUNTS])
def test_every_recorded_request_is_understood(name: str) -> None:
    assert translate(name).turns


@pytest.mark.parametrize("name", MESSAGES)
def test_the_billing_block_reaches_no_prompt(name: str) -> None:
    # it differs from conversation to conversation, and would break every shared prefix
    assert not [text for text in texts(translate(name)) if "x-anthropic-billing-header" in text]


def opens_a_session(name: str) -> bool:
    """Whether the second message tells of the folder; in these shortened samples the other lists cannot be known."""
    return "'# Environment\\n" in repr(SAMPLES[name]["body"]["messages"][1:2])


@pytest.mark.parametrize("name", MESSAGES)
def test_system_turns_stay_where_they_stand_save_for_what_opens_a_session(name: str) -> None:
    sent = [message["role"] for message in SAMPLES[name]["body"]["messages"] if message["content"]]
    turns = [str(turn.role) for turn in translate(name).turns if turn.parts != (TextPart(text=""),)]
    expected = ["user", *sent[2:]] if opens_a_session(name) else sent
    assert turns[-len(expected) :] == expected


@pytest.mark.parametrize("name", [name for name in MESSAGES if opens_a_session(name)])
def test_what_opens_a_session_is_read_before_the_users_words(name: str) -> None:
    first = next(turn for turn in translate(name).turns if turn.role is Role.USER)
    assert isinstance(first.parts[0], TextPart)
    assert first.parts[0].text.startswith("<system-reminder>\n# Environment\n")


def test_a_system_turn_without_content_leaves_no_trace() -> None:
    # 2.1.330 sends one to carry `output_config` (beta per-turn-control-2026-07-01)
    assert [turn.role for turn in translate("new-bare-first").turns] == [Role.SYSTEM, Role.USER]


DEFERRED = [name for name in MESSAGES if any(tool.get("defer_loading") for tool in sent_tools(name))]


@pytest.mark.parametrize("name", DEFERRED)
def test_a_tool_whose_loading_is_deferred_is_shown_only_once_it_is_referred_to(name: str) -> None:
    referred = json.dumps(SAMPLES[name]["body"]["messages"])
    shown = {tool["name"] for tool in sent_tools(name) if not tool.get("defer_loading")}
    loaded = {tool["name"] for tool in sent_tools(name)} - shown
    loaded = {tool for tool in loaded if f'"tool_name": "{tool}"' in referred}
    assert {tool.name for tool in translate(name).tools} == shown | loaded


def test_the_title_call_asks_for_an_object_and_may_wait() -> None:
    title = translate("new-title")
    assert title.output_schema is not None
    assert title.origin.priority > translate("new-print-first").origin.priority


def test_an_interactive_session_goes_on_after_its_opening() -> None:
    roles = [turn.role for turn in translate("new-interactive-second-turn").turns]
    assert roles[-3:] == [Role.USER, Role.ASSISTANT, Role.USER]


@pytest.mark.parametrize("name", REFUSED)
def test_a_search_that_only_anthropic_can_run_is_refused_by_name(name: str) -> None:
    with pytest.raises(RequestError) as refused:
        translate(name)
    assert refused.value.error.status == 400
    assert "web_search" in refused.value.error.message
