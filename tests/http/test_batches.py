"""`/v1/messages/batches`, over HTTP, a scripted engine and a clock that the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import orjson
import pytest

from pensieve_core import EngineFailedError, OverloadedError
from pensieve_http import HttpSettings
from pensieve_http.testing import World, build_world
from pensieve_inference.testing import Raise, Wait, say

MessagesBody = Callable[..., dict[str, Any]]
BATCHES = "/v1/messages/batches"
HELLO = say("Hello from the batch.")
BOUND_S = 20.0


@pytest.fixture
def requests(body: MessagesBody) -> Callable[..., dict[str, Any]]:
    """Return a builder of a batch of so many requests; keyword arguments are fields of each."""

    def build(count: int = 1, **fields: Any) -> dict[str, Any]:
        return {"requests": [{"custom_id": f"r-{number}", "params": body(**fields)} for number in range(count)]}

    return build


Requests = Callable[..., dict[str, Any]]


@asynccontextmanager
async def running(world: World) -> AsyncIterator[None]:
    """Run the world's batches meanwhile."""
    task = asyncio.create_task(world.batches.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait((task,))


async def create(world: World, batch: dict[str, Any]) -> str:
    reply = await world.client.post(BATCHES, batch)
    assert reply.status == 200, reply.body
    batch_id: str = reply.json()["id"]
    return batch_id


async def get(world: World, batch_id: str) -> Any:
    reply = await world.client.get(f"{BATCHES}/{batch_id}")
    assert reply.status == 200, reply.body
    return reply.json()


async def until(world: World, batch_id: str, holds: Callable[[Any], bool]) -> Any:
    """Ask again and again, as a client does; each question takes a turn of the database."""
    async with asyncio.timeout(BOUND_S):
        while not holds(batch := await get(world, batch_id)):
            pass
    return batch


async def in_time(world: World, batch_id: str, holds: Callable[[Any], bool]) -> Any:
    """Ask once in ten seconds of the world's clock, which is as often as the store is looked at."""
    async with asyncio.timeout(BOUND_S):
        while not holds(batch := await get(world, batch_id)):
            await world.clock.advance(10)
    return batch


async def ended(world: World, batch_id: str) -> Any:
    return await until(world, batch_id, lambda batch: batch["processing_status"] == "ended")


async def results(world: World, batch_id: str) -> list[Any]:
    reply = await world.client.get(f"{BATCHES}/{batch_id}/results")
    assert (reply.status, reply.headers["content-type"]) == (200, "application/x-jsonl")
    return [orjson.loads(line) for line in reply.body.splitlines()]


async def requested(world: World, count: int) -> None:
    """Wait until so many requests have reached the engine."""
    async with asyncio.timeout(BOUND_S):
        while len(world.engine.requests) < count:
            await world.client.get(BATCHES)


async def test_a_batch_is_answered_and_its_results_can_be_read(requests: Requests) -> None:
    """The SDK's `message_batch.py`, `message_batch_individual_response.py`."""
    world = build_world(HELLO)
    made = (await world.client.post(BATCHES, requests(3))).json()
    assert made == {
        "id": made["id"],
        "type": "message_batch",
        "processing_status": "in_progress",
        "request_counts": {"processing": 3, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0},
        "created_at": "1970-01-01T00:16:40Z",
        "expires_at": "1970-01-02T00:16:40Z",
        "ended_at": None,
        "cancel_initiated_at": None,
        "archived_at": None,
        "results_url": None,
    }
    async with running(world):
        done = await ended(world, made["id"])
    assert done["request_counts"] == {"processing": 0, "succeeded": 3, "errored": 0, "canceled": 0, "expired": 0}
    assert done["ended_at"] == "1970-01-01T00:16:40Z"
    assert done["results_url"] == f"http://localhost{BATCHES}/{made['id']}/results"
    lines = await results(world, made["id"])
    assert [line["custom_id"] for line in lines] == ["r-0", "r-1", "r-2"]
    for line in lines:
        assert line["result"]["type"] == "succeeded"
        assert line["result"]["message"]["content"] == [{"type": "text", "text": "Hello from the batch."}]
        assert line["result"]["message"]["model"] == "claude-x"


async def test_its_requests_have_the_lowest_priority_and_a_line_in_the_log_each(requests: Requests) -> None:
    world = build_world(HELLO)
    batch_id = await create(world, requests(2))
    async with running(world):
        await ended(world, batch_id)
    assert {request.origin.priority.name for request in world.engine.requests} == {"BATCH"}
    lines = [entry for entry in world.log if entry["event"] == "batch_request_finished"]
    assert [(line["method"], line["path"]) for line in lines] == [("BATCH", f"{BATCHES}/{batch_id}")] * 2
    assert all(line["generated_tokens"] > 0 for line in lines)


async def test_no_more_requests_are_run_at_a_time_than_there_are_places(requests: Requests) -> None:
    world = build_world([Wait(10), *HELLO], settings=HttpSettings(batch_places=2))
    batch_id = await create(world, requests(5))
    async with running(world):
        for count in (2, 4, 5):
            await requested(world, count)
            assert len(world.engine.requests) == count
            await world.clock.advance(10)
        await ended(world, batch_id)


async def test_what_is_wrong_with_a_request_is_its_own_result(requests: Requests, body: MessagesBody) -> None:
    """ "Validation of the params object is performed asynchronously" (Anthropic's guide to batches)."""
    world = build_world(HELLO, [Raise(EngineFailedError("it died"))])
    bad = {"custom_id": "bad", "params": {"model": "claude-x"}}
    unknown = {"custom_id": "unknown", "params": body(model="nobody")}
    fails = {"custom_id": "fails", "params": body()}
    batch_id = await create(world, {"requests": [requests()["requests"][0], bad, unknown, fails]})
    async with running(world):
        done = await ended(world, batch_id)
    assert done["request_counts"] == {"processing": 0, "succeeded": 1, "errored": 3, "canceled": 0, "expired": 0}
    errors = [line["result"] for line in await results(world, batch_id)][1:]
    assert {error["type"] for error in errors} == {"errored"}
    assert [error["error"]["error"]["type"] for error in errors] == [
        "invalid_request_error",
        "not_found_error",
        "api_error",
    ]
    assert "messages: field required" in errors[0]["error"]["error"]["message"]
    assert all(error["error"]["request_id"].startswith("req_") for error in errors)


async def test_stream_means_nothing_in_a_batch(requests: Requests) -> None:
    world = build_world(HELLO)
    batch_id = await create(world, requests(stream=True))
    async with running(world):
        await ended(world, batch_id)
    assert (await results(world, batch_id))[0]["result"]["type"] == "succeeded"


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({}, "requests: field required"),
        ({"requests": []}, "requests: must not be empty"),
        ({"requests": [{"custom_id": "a"}]}, "requests.0.params: field required"),
        ({"requests": [{"custom_id": "a b", "params": {}}]}, "requests.0.custom_id: must match"),
        ({"requests": [{"custom_id": "a" * 65, "params": {}}]}, "requests.0.custom_id: must match"),
        ({"requests": [{"custom_id": "", "params": {}}]}, "requests.0.custom_id: must match"),
        ({"requests": [{"custom_id": "a", "params": []}]}, "requests.0.params: expected an object"),
        (
            {"requests": [{"custom_id": "a", "params": {}}, {"custom_id": "a", "params": {}}]},
            "requests.1.custom_id: must be unique, got 'a' again",
        ),
    ],
)
async def test_a_batch_that_is_none_is_a_400(batch: dict[str, Any], message: str) -> None:
    reply = await build_world().client.post(BATCHES, batch)
    assert reply.status == 400
    assert message in reply.json()["error"]["message"]


async def test_a_batch_that_is_too_large_is_a_413(requests: Requests) -> None:
    world = build_world(settings=HttpSettings(max_batch_bytes=1_000))
    assert (await world.client.post(BATCHES, requests(20))).status == 413


async def test_batches_beyond_the_quota_are_refused_with_what_to_do(requests: Requests) -> None:
    limits = attrs.evolve(HttpSettings().batch_limits, max_total_bytes=1_000)
    world = build_world(HELLO, settings=HttpSettings(batch_limits=limits))
    await create(world, requests(8))
    reply = await world.client.post(BATCHES, requests(8))
    assert reply.status == 400
    assert reply.json()["error"]["details"] == {"error_code": "storage_quota_exceeded"}
    assert "delete batches" in reply.json()["error"]["message"]


async def test_a_cancelled_batch_keeps_what_was_answered(requests: Requests) -> None:
    world = build_world(HELLO, [Wait(1_000), *HELLO], settings=HttpSettings(batch_places=1))
    batch_id = await create(world, requests(4))
    async with running(world):
        await requested(world, 2)
        canceling = await world.client.request("POST", f"{BATCHES}/{batch_id}/cancel", headers={"content-type": ""})
        assert canceling.status == 200
        assert canceling.json()["cancel_initiated_at"] == "1970-01-01T00:16:40Z"
        done = await ended(world, batch_id)
    assert done["request_counts"] == {"processing": 0, "succeeded": 1, "errored": 0, "canceled": 3, "expired": 0}
    assert [line["result"]["type"] for line in await results(world, batch_id)] == ["succeeded"] + ["canceled"] * 3
    assert not world.engine.running
    again = await world.client.post(f"{BATCHES}/{batch_id}/cancel", {})
    assert (again.status, "has ended" in again.json()["error"]["message"]) == (409, True)


async def test_a_cancelled_batch_is_canceling_until_somebody_runs_batches(requests: Requests) -> None:
    world = build_world(HELLO)
    batch_id = await create(world, requests())
    for _ in range(2):
        reply = await world.client.post(f"{BATCHES}/{batch_id}/cancel", {})
        assert (reply.status, reply.json()["processing_status"]) == (200, "canceling")
    async with running(world):
        assert (await ended(world, batch_id))["request_counts"]["canceled"] == 1
    assert world.engine.requests == []


async def test_a_batch_expires_after_a_day(requests: Requests) -> None:
    world = build_world(HELLO, [Wait(100_000), *HELLO], settings=HttpSettings(batch_places=1))
    batch_id = await create(world, requests(3))
    async with running(world):
        await requested(world, 2)
        await world.clock.advance(24 * 3_600 - 1)
        assert (await get(world, batch_id))["processing_status"] == "in_progress"
        done = await in_time(world, batch_id, lambda batch: batch["processing_status"] == "ended")
    assert done["request_counts"] == {"processing": 0, "succeeded": 1, "errored": 0, "canceled": 0, "expired": 2}
    assert [line["result"] for line in await results(world, batch_id)][1:] == [{"type": "expired"}] * 2


async def test_an_overloaded_engine_is_asked_again_when_it_said(requests: Requests) -> None:
    world = build_world([Raise(OverloadedError("full", retry_after_s=7))], HELLO)
    batch_id = await create(world, requests())
    async with running(world):
        await requested(world, 1)
        await world.clock.advance(6.9)
        await get(world, batch_id)
        assert len(world.engine.requests) == 1
        await world.clock.advance(0.2)
        assert (await ended(world, batch_id))["request_counts"]["succeeded"] == 1


async def test_a_server_that_goes_down_lets_its_requests_end_and_loses_none(requests: Requests) -> None:
    world = build_world([Wait(5), *HELLO], settings=HttpSettings(batch_places=1))
    batch_id = await create(world, requests(2))
    async with running(world):
        await requested(world, 1)
        world.drain.begin(30)
        assert world.drain.in_flight == 1
        await world.clock.advance(5)
        async with asyncio.timeout(BOUND_S):
            await world.drain.wait_idle()
    batch = await world.storage.batches.batch(batch_id)
    assert {state.name: count for state, count in batch.counts.items()} == {"SUCCEEDED": 1, "PENDING": 1}
    assert len(world.engine.requests) == 1


async def test_what_a_deadline_interrupts_stays_pending(requests: Requests) -> None:
    world = build_world([Wait(100), *HELLO])
    batch_id = await create(world, requests(1))
    async with running(world):
        await requested(world, 1)
        world.drain.begin(30)
        await world.clock.advance(30)
        async with asyncio.timeout(BOUND_S):
            await world.drain.wait_idle()
    batch = await world.storage.batches.batch(batch_id)
    assert [state.name for state in batch.counts] == ["PENDING"]


async def test_batches_are_listed_newest_first_page_by_page(requests: Requests) -> None:
    world = build_world()
    oldest, middle, newest = [await create(world, requests()) for _ in range(3)]
    first = (await world.client.get(f"{BATCHES}?limit=2")).json()
    assert [batch["id"] for batch in first["data"]] == [newest, middle]
    assert (first["has_more"], first["first_id"], first["last_id"]) == (True, newest, middle)
    second = (await world.client.get(f"{BATCHES}?limit=2&after_id={middle}")).json()
    assert ([batch["id"] for batch in second["data"]], second["has_more"]) == ([oldest], False)
    back = (await world.client.get(f"{BATCHES}?limit=1&before_id={oldest}")).json()
    assert ([batch["id"] for batch in back["data"]], back["has_more"]) == ([middle], True)
    none = (await build_world().client.get(BATCHES)).json()
    assert none == {"data": [], "has_more": False, "first_id": None, "last_id": None}


async def test_a_batch_is_deleted_when_it_has_ended_and_not_before(requests: Requests) -> None:
    """ "To delete an in-progress batch, you must first cancel it" (the SDK's `batches.py`)."""
    world = build_world(HELLO)
    batch_id = await create(world, requests())
    early = await world.client.request("DELETE", f"{BATCHES}/{batch_id}")
    assert (early.status, "cancel it first" in early.json()["error"]["message"]) == (409, True)
    async with running(world):
        await ended(world, batch_id)
    deleted = await world.client.request("DELETE", f"{BATCHES}/{batch_id}")
    assert deleted.json() == {"id": batch_id, "type": "message_batch_deleted"}
    for method, path in (("GET", ""), ("GET", "/results"), ("POST", "/cancel"), ("DELETE", "")):
        gone = await world.client.request(method, f"{BATCHES}/{batch_id}{path}")
        assert (gone.status, gone.json()["error"]["type"]) == (404, "not_found_error")


async def test_results_cannot_be_read_before_the_end(requests: Requests) -> None:
    world = build_world(HELLO)
    reply = await world.client.get(f"{BATCHES}/{await create(world, requests())}/results")
    assert (reply.status, "in_progress" in reply.json()["error"]["message"]) == (409, True)


async def test_results_are_kept_for_29_days(requests: Requests) -> None:
    world = build_world(HELLO)
    batch_id = await create(world, requests())
    async with running(world):
        await ended(world, batch_id)
        await world.clock.advance(29 * 24 * 3_600)
        archived = await in_time(world, batch_id, lambda batch: batch["archived_at"] is not None)
    assert archived["results_url"] is None
    assert archived["request_counts"]["succeeded"] == 1
    reply = await world.client.get(f"{BATCHES}/{batch_id}/results")
    assert (reply.status, "are gone since" in reply.json()["error"]["message"]) == (404, True)


async def test_the_version_of_a_batch_is_that_of_its_requests(requests: Requests) -> None:
    world = build_world(HELLO, settings=HttpSettings(strict=True))
    new = {"anthropic-version": "2026-10-21", "anthropic-beta": "files-api-2025-04-14"}
    made = await world.client.post(BATCHES, requests(temperature=0.5), headers=new)
    async with running(world):
        await ended(world, made.json()["id"])
    (line,) = await results(world, made.json()["id"])
    assert "temperature: is no field of anthropic-version 2026-10-21" in line["result"]["error"]["error"]["message"]
    refused = await world.client.post(BATCHES, requests(), headers={"anthropic-version": "1999-01-01"})
    assert refused.status == 400


async def test_models_say_whether_there_are_batches() -> None:
    version = {"anthropic-version": "2023-06-01"}
    (model,) = (await build_world().client.get("/v1/models?limit=1", headers=version)).json()["data"]
    assert model["capabilities"]["batch"] == {"supported": True}
