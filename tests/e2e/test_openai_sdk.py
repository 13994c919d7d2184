"""OpenAI's official SDK against the real server on a real socket, through OpenAI's door."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

Parts = dict[str, dict[str, Any]]
HELLO = "Hello from the script."


def play(command: list[str]) -> Parts:
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    played: Parts = json.loads(done.stdout)
    return played


@pytest.fixture(scope="module")
def parts(
    start_shared_server: Callable[..., Any],
    scripted_server_settings: Callable[..., Any],
    sdk_client: Callable[[str], list[str]],
) -> Parts:
    arguments, variables = scripted_server_settings("sdk_parts")
    unguarded = start_shared_server(*arguments, **variables)
    guarded = start_shared_server(*arguments, **variables, PENSIEVE_API_KEY="right")
    return play([*sdk_client("openai"), unguarded.url, guarded.url])


def test_a_completion_is_created(parts: Parts) -> None:
    created = parts["create"]
    assert (created["text"], created["finish_reason"], created["object"]) == (HELLO, "stop", "chat.completion")
    assert created["model"] == "claude-opus-5-5"
    assert created["adds_up"]
    assert created["total_tokens"] > 0


def test_a_stream_is_read_to_its_usage(parts: Parts) -> None:
    streamed = parts["stream"]
    assert (streamed["text"], streamed["finish_reason"]) == (HELLO, "stop")
    assert streamed["usage"] == parts["create"]["total_tokens"]


def test_the_sdks_own_accumulation_sees_text_and_a_tool_call(parts: Parts) -> None:
    told = parts["stream_helper"]
    assert told == {"text": "Let me look.", "name": "get_weather", "arguments": {"city": "Paris"}}


def test_a_tool_loop_runs_to_its_end(parts: Parts) -> None:
    loop = parts["tool_loop"]
    assert (loop["finish_reason"], loop["arguments"]) == ("tool_calls", {"city": "Paris"})
    assert loop["told"] == "It has 18 degrees."


def test_a_response_format_is_taken(parts: Parts) -> None:
    assert parts["structured"]["finish_reason"] == "stop"


def test_models_are_listed_and_retrieved(parts: Parts) -> None:
    assert parts["models"] == {"object": "model", "same": True}


def test_the_right_key_opens_the_door(parts: Parts) -> None:
    assert parts["with_key"]["text"] == HELLO


def test_an_overloaded_server_is_asked_again_by_the_sdk(parts: Parts) -> None:
    assert parts["retried"]["text"] == HELLO


@pytest.mark.parametrize(
    ("part", "status", "code", "kind"),
    [
        ("bad_request", 400, None, "BadRequestError"),
        ("too_long", 400, "context_length_exceeded", "BadRequestError"),
        ("unauthenticated", 401, "invalid_api_key", "AuthenticationError"),
        ("unknown_model", 404, "model_not_found", "NotFoundError"),
        ("engine_failed", 500, None, "InternalServerError"),
        ("overloaded", 529, None, "InternalServerError"),
    ],
)
def test_each_error_arrives_as_its_class(parts: Parts, part: str, status: int, code: str | None, kind: str) -> None:
    failed = parts[part]
    assert (failed["status"], failed["code"], failed["class"]) == (status, code, kind)
    assert failed["message"]
    assert failed["request_id"] is True


def test_an_engine_that_dies_half_way_ends_the_stream_with_an_error(parts: Parts) -> None:
    assert parts["broken_stream"] == {"text": "Hello from", "message": "the engine died"}


@pytest.mark.model
def test_the_starter_model_can_be_used(
    sdk_client: Callable[[str], list[str]], start_shared_server: Callable[..., Any], starter_model: Path
) -> None:
    played = play([*sdk_client("openai"), start_shared_server("--model", str(starter_model), "--ctx", "4096").url])
    assert played["create"]["text"].strip()
    assert played["stream"]["text"].strip()
    assert isinstance(json.loads(played["structured"]["text"]), dict)  # held by constrained decoding
