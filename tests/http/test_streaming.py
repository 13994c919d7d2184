"""Streams in time: the first byte, signs of life, slow and leaving clients, failures on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from pensieve_core import (
    EngineDescription,
    EngineFailedError,
    EnginePhase,
    EngineStatus,
    ModelBrokenError,
    ModelCapabilities,
    ModelDescriptor,
    ModelId,
    PensieveError,
    PrefillProgressed,
    TextProduced,
    ToolCallArguments,
)
from pensieve_http import HttpSettings
from pensieve_http.testing import Connection, build_world
from pensieve_inference import InferenceEngine
from pensieve_inference.testing import Raise, ScriptedEngine, Wait, make_descriptor, say

Body = Callable[..., dict[str, Any]]

_LONG = Wait(100_000)


class LoadingProvider:
    """Provides its engine when the test says so, or the error that the test gives it."""

    def __init__(self) -> None:
        self._loaded = asyncio.Event()
        self._error: PensieveError | None = None
        self.waiting = 0

    def __call__(self, engine: ScriptedEngine) -> LoadingProvider:
        self._engine = engine
        return self

    def finish(self, error: PensieveError | None = None) -> None:
        self._error = error
        self._loaded.set()

    async def engine(self, model: ModelDescriptor) -> InferenceEngine:
        self.waiting += 1
        try:
            await self._loaded.wait()
        finally:
            self.waiting -= 1
        if self._error is not None:
            raise self._error
        return self._engine

    def loaded(self, model: ModelId) -> EngineDescription | None:
        return None

    def statuses(self) -> tuple[EngineStatus, ...]:
        return (EngineStatus(model=self._engine.description.model.id, phase=EnginePhase.LOADING, progress=0.5),)

    async def aclose(self) -> None:
        pass


async def _names(connection: Connection, count: int) -> list[str]:
    return [(await connection.event()).name for _ in range(count)]


async def test_message_start_leaves_at_admission_before_anything_is_computed(body: Body) -> None:
    world = build_world([_LONG, *say("late")])
    async with world.client.open("POST", "/v1/messages", json=body(stream=True)) as connection:
        start = await connection.event()
        assert start.name == "message_start"
        assert start.data["message"]["usage"]["input_tokens"] == 2
        assert world.clock.monotonic() == 1_000.0
        assert connection.silent


async def test_a_long_prefill_is_bridged_by_pings_and_then_by_empty_deltas(body: Body) -> None:
    # Design 4: Claude Code 2.1.197 leaves after 300 s of pings, and waits through empty deltas.
    world = build_world([Wait(400), *say("done")])
    async with world.client.open("POST", "/v1/messages", json=body(stream=True)) as connection:
        await connection.event()
        for _ in range(40):
            await world.clock.advance(10)
        events = [event async for event in connection.events()]
    names = [event.name for event in events]
    assert names[:2] == ["ping", "ping"]
    assert names[2:4] == ["content_block_start", "content_block_delta"]
    assert names.count("ping") == 2
    empty = [event.data["delta"] for event in events if event.name == "content_block_delta"][:-1]
    assert len(empty) >= 36
    assert set(map(str, empty)) == {str({"type": "text_delta", "text": ""})}
    assert names[-3:] == ["content_block_stop", "message_delta", "message_stop"]


async def test_the_kept_alive_block_is_thinking_when_request_and_model_think(body: Body) -> None:
    model = attrs.evolve(make_descriptor(), capabilities=ModelCapabilities(thinking=True))
    world = build_world([_LONG], model=model, settings=HttpSettings(keep_alive_after_s=10))
    request = body(stream=True, thinking={"type": "adaptive"})
    async with world.client.open("POST", "/v1/messages", json=request) as connection:
        await connection.event()
        await world.clock.advance(10)
        opened = await connection.event()
        assert opened.data["content_block"]["type"] == "thinking"


@pytest.mark.parametrize(
    ("thinking", "thinks"), [({"type": "adaptive"}, False), ({"type": "disabled"}, True)], ids=["model", "request"]
)
async def test_the_kept_alive_block_is_text_when_request_or_model_does_not_think(
    body: Body, *, thinking: dict[str, str], thinks: bool
) -> None:
    model = attrs.evolve(make_descriptor(), capabilities=ModelCapabilities(thinking=thinks))
    world = build_world([_LONG], model=model, settings=HttpSettings(keep_alive_after_s=10))
    async with world.client.open("POST", "/v1/messages", json=body(stream=True, thinking=thinking)) as connection:
        await connection.event()
        await world.clock.advance(10)
        opened = await connection.event()
        assert opened.data["content_block"]["type"] == "text"


async def test_a_stream_that_keeps_talking_gets_no_signs_of_life(body: Body) -> None:
    world = build_world([TextProduced(text="a"), Wait(9), TextProduced(text="b"), Wait(9), TextProduced(text="c")])
    async with world.client.open("POST", "/v1/messages", json=body(stream=True)) as connection:
        await world.clock.advance(9)
        await world.clock.advance(9)
        names = [event.name async for event in connection.events()]
    assert "ping" not in names
    assert names.count("content_block_delta") == 3


async def test_events_that_are_ready_together_leave_in_one_piece(body: Body) -> None:
    world = build_world([Wait(1), *say("one two three")])
    async with world.client.open("POST", "/v1/messages", json=body(stream=True)) as connection:
        assert (await connection.piece()).count(b"event: ") == 1
        await world.clock.advance(1)
        assert (await connection.piece()).count(b"event: ") == 7


async def test_while_the_model_loads_the_stream_starts_after_a_second_and_pings(body: Body) -> None:
    loading = LoadingProvider()
    world = build_world(say("Hello"), provider=loading)
    async with world.client.open("POST", "/v1/messages", json=body(stream=True)) as connection:
        await world.clock.advance(0.9)
        assert connection.silent
        await world.clock.advance(0.2)
        start = await connection.event()
        assert (start.name, start.data["message"]["usage"]["input_tokens"]) == ("message_start", 0)
        await world.clock.advance(10)
        assert await _names(connection, 1) == ["ping"]
        loading.finish()
        *_, delta, stop = [event async for event in connection.events()]
    assert delta.data["usage"]["input_tokens"] == 2
    assert stop.name == "message_stop"


async def test_a_model_that_turns_out_broken_in_time_is_a_status(body: Body) -> None:
    loading = LoadingProvider()
    world = build_world(provider=loading)
    async with world.client.open("POST", "/v1/messages", json=body(stream=True)) as connection:
        await world.clock.advance(0.5)
        loading.finish(ModelBrokenError(ModelId("scripted"), "bad magic"))
        reply = await connection.reply()
    assert reply.status == 500
    assert reply.headers["x-should-retry"] == "false"


async def test_a_model_that_turns_out_broken_late_is_an_error_event(body: Body) -> None:
    loading = LoadingProvider()
    world = build_world(provider=loading)
    async with world.client.open("POST", "/v1/messages", json=body(stream=True)) as connection:
        await world.clock.advance(2)
        loading.finish(ModelBrokenError(ModelId("scripted"), "bad magic"))
        start, error = [event async for event in connection.events()]
    assert (start.name, error.name) == ("message_start", "error")
    assert error.data == {
        "type": "error",
        "error": {"type": "api_error", "message": "model scripted cannot be served: bad magic"},
        "request_id": "req_0001",
    }
    assert world.lines()[0]["error_type"] == "api_error"


async def test_an_engine_that_dies_in_the_middle_ends_the_stream_with_an_error_event(body: Body) -> None:
    world = build_world([TextProduced(text="half"), Raise(EngineFailedError("the engine died"))])
    reply = await world.client.post("/v1/messages", body(stream=True))
    assert reply.status == 200
    *_, last = reply.events()
    assert (last.name, last.data["error"]["message"]) == ("error", "the engine died")
    assert not world.engine.running


async def test_an_engine_that_ends_without_finishing_is_an_error_and_no_end_of_turn(body: Body) -> None:
    world = build_world([TextProduced(text="half"), _LONG])
    async with world.client.open("POST", "/v1/messages", json=body(stream=True)) as connection:
        await _names(connection, 3)
        (generation,) = world.engine.running
        generation.cancel()
        error = await connection.event()
    assert error.data["error"]["message"] == "the engine stopped without finishing its answer"


async def test_an_engine_that_breaks_its_contract_is_logged_and_told_without_details(body: Body) -> None:
    world = build_world([TextProduced(text="half"), ToolCallArguments(fragment="{}")])
    reply = await world.client.post("/v1/messages", body(stream=True))
    *_, last = reply.events()
    assert last.data["error"]["message"] == "an unexpected error occurred; the server's log has the details"
    crash, _line = world.log
    assert (crash["event"], crash["request_id"]) == ("request_crashed", "req_0001")
    assert not world.engine.running


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_takes_its_generation_along_at_once(body: Body, *, stream: bool) -> None:
    world = build_world([TextProduced(text="half"), _LONG])
    async with world.client.open("POST", "/v1/messages", json=body(stream=stream)) as connection:
        await world.clock.advance(0)
        assert world.engine.running
        connection.disconnect()
        await connection.served()
        assert not world.engine.running
    (line,) = world.lines()
    assert (line["ending"], line["disconnected"]) == ("disconnected", True)
    assert line["prompt_tokens"] == 2
    assert world.clock.sleeping == 0, "no timer is left behind"


async def test_who_ran_out_of_patience_with_a_json_answer_finds_its_prompt_computed(body: Body) -> None:
    # Design 4: a request without stream cannot be kept alive; its retry is to find the prefill done.
    halfway = PrefillProgressed(processed_tokens=1, total_tokens=2)
    world = build_world([halfway, Wait(400), TextProduced(text="half"), _LONG])
    async with world.client.open("POST", "/v1/messages", json=body()) as connection:
        await world.clock.advance(300)
        connection.disconnect()
        await world.clock.advance(99)
        assert world.engine.running, "the rest of the prompt is computed"
        await world.clock.advance(2)
        await connection.served()
        assert not world.engine.running, "and nothing more"
    (line,) = world.lines()
    assert line["ending"] == "disconnected"


async def test_who_leaves_soon_has_changed_his_mind(body: Body) -> None:
    world = build_world([Wait(400), TextProduced(text="half"), _LONG])
    async with world.client.open("POST", "/v1/messages", json=body()) as connection:
        await world.clock.advance(59)
        connection.disconnect()
        await connection.served()
        assert not world.engine.running


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_while_the_model_loads_stops_waiting_for_it(body: Body, *, stream: bool) -> None:
    loading = LoadingProvider()
    world = build_world(provider=loading)
    async with world.client.open("POST", "/v1/messages", json=body(stream=stream)) as connection:
        await world.clock.advance(0.1)
        assert loading.waiting == 1
        connection.disconnect()
        await connection.served()
        assert loading.waiting == 0


async def test_a_reader_that_takes_nothing_is_cut_and_its_generation_ended(body: Body) -> None:
    endless = [step for _ in range(1_000) for step in (TextProduced(text="x"), Wait(1))]
    world = build_world(endless, window=3)
    async with world.client.open("POST", "/v1/messages", json=body(stream=True)) as connection:
        await world.clock.advance(59)
        assert world.engine.running
        for _ in range(15):  # the cut may come one ping interval late
            await world.clock.advance(1)
        await connection.served()
        assert not world.engine.running
    (line,) = world.lines()
    assert (line["ending"], line["disconnected"]) == ("slow_reader", True)


async def test_a_slow_reader_that_reads_in_time_is_not_cut(body: Body) -> None:
    endless = [step for _ in range(1_000) for step in (TextProduced(text="x"), Wait(1))]
    world = build_world(endless, window=3)
    async with world.client.open("POST", "/v1/messages", json=body(stream=True)) as connection:
        for _ in range(10):
            await world.clock.advance(50)
            await connection.piece()
        assert world.engine.running


async def test_a_reader_that_lags_holds_its_generation_up_instead_of_filling_memory(body: Body) -> None:
    world = build_world(say(" ".join(["word"] * 10_000)), settings=HttpSettings(event_buffer=16), window=2)
    async with world.client.open("POST", "/v1/messages", json=body(stream=True)) as connection:
        await connection.piece()
        for _ in range(100):
            await asyncio.sleep(0)
        (generation,) = world.engine.running
        assert generation._words < 100


async def test_a_server_that_is_stopped_in_the_middle_says_so_in_the_log(body: Body) -> None:
    world = build_world([_LONG])

    async def stop_in_the_middle() -> None:
        async with world.client.open("POST", "/v1/messages", json=body(stream=True)) as connection:
            await connection.event()
            connection._serving.cancel()

    with pytest.raises(asyncio.CancelledError):
        await stop_in_the_middle()
    assert not world.engine.running
    assert (world.lines()[0]["ending"], world.lines()[0]["disconnected"]) == ("cancelled", False)


async def test_the_places_at_work_and_in_the_queue_are_bounded_and_a_leaver_makes_room(body: Body) -> None:
    world = build_world([_LONG], settings=HttpSettings(max_concurrent=1, max_queued=1))
    send = body(stream=True)
    async with (
        world.client.open("POST", "/v1/messages", json=send) as first,
        world.client.open("POST", "/v1/messages", json=send) as second,
    ):
        await first.event()
        await world.clock.advance(1)
        assert (await second.event()).name == "message_start", "those who wait get their first byte, too"
        refused = await world.client.post("/v1/messages", send)
        assert refused.status == 529
        assert refused.json()["error"]["type"] == "overloaded_error"
        assert int(refused.headers["retry-after"]) <= 60
        assert refused.headers["x-should-retry"] == "true"
        assert len(world.engine.requests) == 1
        first.disconnect()
        await first.served()
        await world.clock.advance(0)
        assert len(world.engine.requests) == 2


async def test_counting_tokens_does_not_wait_for_answers(body: Body) -> None:
    world = build_world([_LONG], settings=HttpSettings(max_concurrent=1, max_queued=0))
    async with world.client.open("POST", "/v1/messages", json=body(stream=True)) as connection:
        await connection.event()
        reply = await world.client.post("/v1/messages/count_tokens", body())
        assert reply.status == 200
