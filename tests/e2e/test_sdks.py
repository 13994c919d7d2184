"""The official SDKs against the real server on a real socket: each plays all parts, and all must tell the same story.

Python 1.17 sends `anthropic-version: 2023-06-01`; Python 2.x and TypeScript 1.x send 2026-10-21.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

Parts = dict[str, dict[str, Any]]
SDKS = ["python-1", "python-2", "typescript"]
HELLO = "Hello from the script."


@pytest.fixture(scope="module")
def urls(start_shared_server: Callable[..., Any], scripted_server_settings: Callable[..., Any]) -> list[str]:
    arguments, variables = scripted_server_settings("sdk_parts")
    unguarded = start_shared_server(*arguments, **variables)
    guarded = start_shared_server(*arguments, **variables, PENSIEVE_API_KEY="right")
    return [unguarded.url, guarded.url]


@pytest.fixture(scope="module", params=SDKS)
def parts(request: pytest.FixtureRequest, sdk_client: Callable[[str], list[str]], urls: list[str]) -> Parts:
    return play([*sdk_client(request.param), *urls])


def play(command: list[str]) -> Parts:
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    played: Parts = json.loads(done.stdout)
    return played


def test_a_message_is_created(parts: Parts) -> None:
    created = parts["create"]
    assert (created["text"], created["stop_reason"], created["type"]) == (HELLO, "end_turn", "message")
    assert created["model"] == "claude-opus-5-5"  # the name that was asked for, whatever model it means here
    assert created["output_tokens"] > 0
    assert created["request_id"]


def test_a_stream_begins_and_ends_as_it_should(parts: Parts) -> None:
    assert parts["stream_events"] == {"first": "message_start", "last": "message_stop", "text": HELLO}


def test_the_sdks_own_accumulation_sees_thinking_with_a_signature_and_text(parts: Parts) -> None:
    told = parts["stream_helper"]
    assert told["blocks"] == ["thinking", "text"]
    assert told["text"] == told["pieces"] == HELLO
    assert told["signed"]


def test_a_tool_loop_runs_to_its_end(parts: Parts) -> None:
    loop = parts["tool_loop"]
    assert loop["asked"]["stop_reason"] == "tool_use"
    assert (loop["name"], loop["input"]) == ("get_weather", {"city": "Paris"})
    assert loop["told"]["text"] == "It has 18 degrees."


def test_an_answer_is_parsed_into_the_type_that_the_sdk_made_the_schema_of(parts: Parts) -> None:
    parsed = parts["parsed"]
    assert parsed["outputs"] == [{"city": "Rome", "sunny": True}] * 2  # whole, and streamed
    assert parsed["stop_reasons"] == ["end_turn"] * 2
    for asked in parsed["asked"]:
        assert asked["schema"]["properties"].keys() == {"city", "sunny"}
        assert asked["schema"]["properties"]["city"]["enum"] == ["Paris", "Rome"]
        assert asked["schema"]["required"] == ["city", "sunny"]
        assert asked["schema"]["additionalProperties"] is False  # the SDKs close what they are given


@pytest.mark.parametrize("part", ["tool_runner", "streaming_tool_runner"])
def test_the_sdks_tool_runner_calls_until_the_model_has_all_it_asked_for(parts: Parts, part: str) -> None:
    ran = parts[part]
    assert ran["stop_reasons"] == ["tool_use", "tool_use", "end_turn"]
    assert ran["calls"] == [{"city": "Paris"}, {"city": "Rome"}]
    assert ran["told"]["text"] == "They have 18 degrees and 25 degrees."
    assert list(ran["asked"]["tools"]) == ["get_weather"]
    assert ran["asked"]["tools"]["get_weather"]["properties"]["city"]["type"] == "string"
    assert ran["asked"]["tools"]["get_weather"]["required"] == ["city"]


def test_a_prompt_is_counted_as_it_is_charged(parts: Parts) -> None:
    assert parts["count"]["counted"] == parts["count"]["charged"] > 0


def test_models_are_listed_page_by_page_and_retrieved(parts: Parts) -> None:
    assert parts["models"]["type"] == "model"
    assert parts["models"]["same"]
    assert parts["models"]["paged"] == parts["models"]["whole"]
    assert parts["models"]["pages"] == [1] * len(parts["models"]["whole"])
    assert len(parts["models"]["whole"]) > 1  # else there would be nothing to page through


def test_a_name_for_claude_codes_picker_is_listed(parts: Parts) -> None:
    # its picker keeps names with "claude" or "anthropic" in them (design 4, "What it needs" 5)
    assert parts["models"]["picked"]


def test_files_are_uploaded_listed_downloaded_and_deleted(parts: Parts) -> None:
    files = parts["files"]
    assert (files["filename"], files["mime_type"], files["size_bytes"]) == ("one.txt", "text/plain", 3_000)
    assert files["newest_first"]
    assert files["by_id"] == ["one.txt", "two.txt"]
    assert files["same"]
    assert files["deleted"] == ["file_deleted"] * 3
    assert files["expires_in_s"] == 3_600
    assert (files["gone"]["class"], files["gone"]["status"]) == ("NotFoundError", 404)


def test_a_batch_is_made_awaited_read_and_deleted(parts: Parts) -> None:
    batches = parts["batches"]
    assert batches["made"] == ["message_batch", "in_progress", 3]
    assert batches["hours"] == 24
    assert batches["done"] == ["ended", 1, 2]
    assert batches["types"] == ["succeeded", "errored", "errored"]
    assert batches["answer"]["text"] == HELLO
    assert batches["errors"] == ["api_error", "invalid_request_error"]
    assert batches["newest_first"]
    assert batches["canceled"] in (200, 409)  # 409: it had ended before
    assert batches["deleted"] == ["message_batch_deleted"] * 2
    assert (batches["gone"]["class"], batches["gone"]["status"]) == ("NotFoundError", 404)


def test_the_right_key_opens_the_door(parts: Parts) -> None:
    assert parts["with_key"]["text"] == HELLO


def test_an_overloaded_server_is_asked_again_by_the_sdk_when_it_says_so(parts: Parts) -> None:
    # turned away twice with `retry-after: 1`; of their own the SDKs would wait 1.5 s at most
    assert parts["retried"]["text"] == HELLO
    assert parts["retried"]["waited_s"] >= 2


@pytest.mark.parametrize(
    ("part", "status", "kind", "classes"),
    [
        ("bad_request", 400, "invalid_request_error", {"BadRequestError"}),
        ("too_long", 400, "invalid_request_error", {"BadRequestError"}),
        ("unauthenticated", 401, "authentication_error", {"AuthenticationError"}),
        ("forbidden", 403, "permission_error", {"PermissionDeniedError"}),
        ("unknown_model", 404, "not_found_error", {"NotFoundError"}),
        ("unknown_model_info", 404, "not_found_error", {"NotFoundError"}),
        ("too_large", 413, "request_too_large", {"RequestTooLargeError", "ContentTooLargeError"}),
        ("engine_failed", 500, "api_error", {"InternalServerError"}),
        ("overloaded", 529, "overloaded_error", {"OverloadedError", "InternalServerError"}),
    ],
)
def test_each_error_arrives_as_its_class(parts: Parts, part: str, status: int, kind: str, classes: set[str]) -> None:
    failed = parts[part]
    assert (failed["status"], failed["type"]) == (status, kind)
    assert failed["class"] in classes
    assert failed["message"]
    assert failed["request_id"]


def test_the_wording_that_claude_code_compacts_on_survives_the_way(parts: Parts) -> None:
    assert parts["too_long"]["message"].startswith("prompt is too long: 40")
    assert parts["too_long"]["message"].endswith(" tokens > 32768 maximum")


def test_an_engine_that_dies_half_way_ends_the_stream_with_an_error(parts: Parts) -> None:
    broken = parts["broken_stream"]
    assert (broken["began"], broken["ended"]) == (True, False)
    assert broken["type"] == "api_error"


@pytest.fixture(scope="module")
def starter_url(start_shared_server: Callable[..., Any], starter_model: Path) -> str:
    url: str = start_shared_server("--model", str(starter_model), "--ctx", "4096").url
    return url


@pytest.mark.model
@pytest.mark.parametrize("sdk", SDKS)
def test_the_starter_model_can_be_used_with_every_sdk(
    sdk: str, sdk_client: Callable[[str], list[str]], starter_url: str
) -> None:
    played = play([*sdk_client(sdk), starter_url])
    assert played["create"]["text"].strip()
    assert played["stream_events"]["last"] == "message_stop"
    assert played["stream_events"]["text"].strip()
    assert played["count"]["counted"] == played["count"]["charged"] > 0
    assert played["models"]["same"]
    for output in played["parsed"]["outputs"]:
        assert output["city"] in ("Paris", "Rome")
        assert isinstance(output["sunny"], bool)
    assert len(played["parsed"]["outputs"]) == 2
    assert played["bad_request"]["status"] == 400
