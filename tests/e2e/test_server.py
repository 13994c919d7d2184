"""`pensieve-server` with the starter model, as a user runs it: latency, reuse of the cache, deaths and endings.

Figures are properties of the tests; conftest shows them at the end.
"""

from __future__ import annotations

import asyncio
import json
import signal
import statistics
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.model, pytest.mark.timeout(600)]

TOOLS = [
    {
        "name": f"tool_{n}",
        "description": f"Tool number {n}. " + "It does what tools of its number do, and nothing else. " * 6,
        "input_schema": {"type": "object", "properties": {"value": {"type": "string"}}, "required": ["value"]},
    }
    for n in range(5)
]
SYSTEM = "You are a careful assistant that answers in one short sentence. " * 20
COUNTING = ("Count.", "1, 2, 3, 4, 5, 6, 7, 8,")
"""A turn that the greedy model continues for thousands of tokens."""
SLACK = 12
"""Tokens that a template may put between two turns and that the prompt before did not end with."""


def ask(*turns: Any, **more: Any) -> dict[str, Any]:
    messages = [{"role": ("user", "assistant")[i % 2], "content": turn} for i, turn in enumerate(turns)]
    return {"model": "claude-opus-5-5", "max_tokens": 16, "messages": messages, "temperature": 0, **more}


def long_text(key: int, words: int) -> str:
    """Return a text that shares no prefix with that of another key; SmolLM2 has about a token for each word."""
    return " ".join(f"{(key * 7919 + i * 104729) % 9973}" if i % 4 == 0 else "and so on" for i in range(words))


def usage(server: Any, body: dict[str, Any]) -> dict[str, int]:
    answer = server.post(body)
    assert answer.status_code == 200, answer.text + server.tail()
    found: dict[str, int] = answer.json()["usage"]
    return found


def total(used: dict[str, int]) -> int:
    return used["input_tokens"] + used["cache_read_input_tokens"] + used["cache_creation_input_tokens"]


def computed(used: dict[str, int]) -> int:
    return used["input_tokens"] + used["cache_creation_input_tokens"]


def count(server: Any, body: dict[str, Any]) -> int:
    kept = {name: value for name, value in body.items() if name in {"model", "messages", "system", "tools"}}
    answer = server.post(kept, "/v1/messages/count_tokens")
    assert answer.status_code == 200, answer.text
    tokens: int = answer.json()["input_tokens"]
    return tokens


@pytest.fixture(scope="module")
def server(start_shared_server: Callable[..., Any], starter_model: Path) -> Any:
    return start_shared_server("--model", str(starter_model), "--ctx", "8192", "--parallel", "4")


@pytest.fixture
def own_server(start_server: Callable[..., Any], starter_model: Path) -> Callable[..., Any]:
    def start(*more: str) -> Any:
        return start_server("--model", str(starter_model), "--ctx", "8192", *more)

    return start


def test_it_answers_in_words(server: Any) -> None:
    answer = server.post(ask("What is the capital of France?"))
    message = answer.json()
    assert answer.status_code == 200, answer.text + server.tail()
    assert message["content"][0]["text"].strip()
    assert message["usage"]["output_tokens"] > 0


class Prefill:
    """A request with a prompt of over 3,000 tokens, running beside the test until the block is left."""

    def __init__(self, client: httpx2.AsyncClient, server: Any, key: int) -> None:
        self.prompt_tokens = 0
        self._admitted = asyncio.Event()
        self._stream = client.stream("POST", f"{server.url}/v1/messages", json=_streamed(ask(long_text(key, 1_200))))

    async def __aenter__(self) -> Prefill:
        self._task = asyncio.create_task(self._read())
        await asyncio.wait_for(self._admitted.wait(), 30)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.wait([self._task], timeout=10)

    @property
    def computing(self) -> bool:
        """Nothing of the answer has come yet."""
        return not self._task.done()

    async def _read(self) -> None:
        async with self._stream as answer:
            async for event in _events(answer):
                if event["type"] == "message_start":
                    self.prompt_tokens = event["message"]["usage"]["input_tokens"]
                    self._admitted.set()
                elif event["type"] == "content_block_delta" and event["delta"].get("text"):
                    return


async def _events(answer: httpx2.Response) -> AsyncIterator[dict[str, Any]]:
    async for line in answer.aiter_lines():
        if line.startswith("data: "):
            yield json.loads(line[6:])


def _streamed(body: dict[str, Any]) -> dict[str, Any]:
    return {**body, "stream": True}


async def first_byte_s(client: httpx2.AsyncClient, server: Any, text: str) -> float:
    """Return the seconds from sending a request to its `message_start`; then hang up."""
    began = time.perf_counter()
    async with client.stream("POST", f"{server.url}/v1/messages", json=_streamed(ask(text))) as answer:
        first = await anext(_events(answer))
    assert first["type"] == "message_start"
    return time.perf_counter() - began


async def test_the_first_byte_does_not_wait_for_a_long_prefill(
    server: Any, record_property: Callable[[str, object], None]
) -> None:
    took = []
    async with httpx2.AsyncClient(timeout=60) as client:
        await first_byte_s(client, server, "warm up")
        for key in range(20):
            async with Prefill(client, server, key) as prefill:
                took.append(await first_byte_s(client, server, f"Hello number {key}."))
                assert prefill.computing
            assert prefill.prompt_tokens > 3_000
    record_property("figure", f"median {statistics.median(took) * 1e3:.0f} ms, max {max(took) * 1e3:.0f} ms")
    assert statistics.median(took) < 0.5, "a step of the prefill; `make bench` has the 100 ms"


async def test_a_short_request_is_answered_while_a_long_prompt_is_still_being_computed(server: Any) -> None:
    # continuous batching: a prefill goes in chunks beside the others
    async with httpx2.AsyncClient(timeout=60) as client, Prefill(client, server, 1_000) as prefill:
        answered = await client.post(f"{server.url}/v1/messages", json=ask("Hello.", max_tokens=2))
        assert answered.status_code == 200
        assert prefill.computing


def test_turn_two_of_a_tool_conversation_computes_only_what_is_new(
    server: Any, record_property: Callable[[str, object], None]
) -> None:
    first = ask("Call tool_1 with red.", system=SYSTEM, tools=TOOLS)
    call = {"type": "tool_use", "id": "toolu_1", "name": "tool_1", "input": {"value": "red"}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "It is red now."}
    second = ask("Call tool_1 with red.", [call], [result], system=SYSTEM, tools=TOOLS)
    before, after = usage(server, first), usage(server, second)
    record_property(
        "figure", f"turn one: {total(before)} tokens; turn two: {total(after)}, of which {computed(after)} computed"
    )
    assert total(before) > 500
    assert computed(after) <= total(after) - total(before) + SLACK


def test_the_models_own_words_are_not_computed_again(
    server: Any, record_property: Callable[[str, object], None]
) -> None:
    said = server.post(ask("Name three colours.", system=SYSTEM, max_tokens=64)).json()
    text = said["content"][0]["text"]
    after = usage(server, ask("Name three colours.", text, "And three animals.", system=SYSTEM))
    question = count(server, ask("And three animals."))
    record_property(
        "figure", f"{total(after)} tokens, of which {computed(after)} computed; the new question alone is {question}"
    )
    assert computed(after) <= question + SLACK


def test_a_second_conversation_with_the_same_system_and_tools_computes_only_its_own_part(
    server: Any, record_property: Callable[[str, object], None]
) -> None:
    shared = {"system": "Another system text. " + SYSTEM, "tools": TOOLS}
    usage(server, ask("Which is the first conversation?", **shared))
    own = ask("Here begins something quite different: tell me of the sea.", **shared)
    used = usage(server, own)
    alone = count(server, ask("Here begins something quite different: tell me of the sea."))
    record_property("figure", f"{total(used)} tokens, of which {computed(used)} computed; the turn alone is {alone}")
    assert computed(used) <= alone + SLACK


def test_counting_and_charging_agree(server: Any) -> None:
    body = ask("How long is this?", system=SYSTEM, tools=TOOLS)
    assert count(server, body) == total(usage(server, body))


def test_a_worker_killed_before_the_first_token_is_noticed_by_nobody(own_server: Callable[..., Any]) -> None:
    server = own_server()
    with server.stream(ask(long_text(5, 1_200), max_tokens=4)) as events:
        assert next(events)["type"] == "message_start"
        kill_workers(server)
        kinds = [event["type"] for event in events]
    assert "error" not in kinds, server.tail()
    assert kinds[-1] == "message_stop"


def test_a_worker_killed_mid_stream_ends_that_stream_with_an_error_and_no_other(
    own_server: Callable[..., Any], record_property: Callable[[str, object], None]
) -> None:
    server = own_server()
    with server.stream(ask(*COUNTING, max_tokens=4_000)) as events:
        read_to_first_text(events)
        kill_workers(server)
        rest = list(events)
    assert rest[-1]["type"] == "error", rest[-3:]
    assert rest[-1]["error"]["type"] == "api_error"
    assert "message_stop" not in [event["type"] for event in rest]
    began = time.monotonic()
    assert server.post(ask("Are you there?")).status_code == 200
    record_property("figure", f"the next request was answered {time.monotonic() - began:.1f} s after the death")


def test_a_running_answer_ends_well_after_a_signal_to_stop(own_server: Callable[..., Any]) -> None:
    server = own_server("--drain-seconds", "30")
    with server.stream(ask(*COUNTING, max_tokens=200)) as events:
        read_to_first_text(events)
        server.process.send_signal(signal.SIGTERM)
        kinds = [event["type"] for event in events]
    assert kinds[-1] == "message_stop"
    assert server.process.wait(30) == 0, server.tail()


def test_an_answer_that_takes_too_long_after_a_signal_ends_with_an_error(own_server: Callable[..., Any]) -> None:
    server = own_server("--drain-seconds", "0.5")
    with server.stream(ask(*COUNTING, max_tokens=6_000)) as events:
        read_to_first_text(events)
        workers = server.workers()
        server.process.send_signal(signal.SIGTERM)
        rest = list(events)
    assert rest[-1]["type"] == "error", rest[-3:]
    assert rest[-1]["error"]["type"] == "overloaded_error"
    assert server.process.wait(30) == 0, server.tail()
    assert not [worker for worker in workers if worker.is_running()]


def test_clients_that_leave_free_their_places(own_server: Callable[..., Any]) -> None:
    server = own_server("--parallel", "2")
    for _ in range(6):
        with server.stream(ask(*COUNTING, max_tokens=6_000)) as events:
            read_to_first_text(events)
    began = time.monotonic()
    assert server.post(ask("Are you free?", max_tokens=4)).status_code == 200
    assert time.monotonic() - began < 30, "6,000 tokens take longer"


def test_a_broken_request_is_told_where_it_is_broken(server: Any) -> None:
    answer = server.post(ask([{"type": "text"}]))
    assert answer.status_code == 400
    assert "messages.0.content.0.text" in answer.json()["error"]["message"]
    assert answer.headers["request-id"] == json.loads(answer.text)["request_id"]


def read_to_first_text(events: Iterator[dict[str, Any]]) -> None:
    for event in events:
        if event["type"] == "content_block_delta" and event["delta"].get("text"):
            return
    pytest.fail("no text came")


def kill_workers(server: Any) -> None:
    workers = server.workers()
    assert workers, "the engine runs inside the server"
    for worker in workers:
        worker.kill()
