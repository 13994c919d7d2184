"""`/metrics`: the names and units that a dashboard relies on."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from pensieve_core import FinishReason, GenerationFinished, TextProduced, Timings, Usage
from pensieve_http import HttpSettings
from pensieve_http.settings import ApiKey
from pensieve_http.testing import World, build_world

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def scrape(world: World, headers: dict[str, str] | None = None) -> Samples:
    reply = await world.client.get("/metrics", headers=headers)
    assert reply.status == 200
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = text_string_to_metric_families(reply.body.decode())
    samples = [sample for family in families for sample in family.samples]
    return {(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples}


def labels(**values: str) -> frozenset[tuple[str, str]]:
    return frozenset(values.items())


def _answered() -> World:
    usage = Usage(prompt_tokens=10, cached_tokens=4, generated_tokens=3)
    finished = GenerationFinished(reason=FinishReason.END_OF_TURN, usage=usage, timings=Timings(queue_s=2.0))
    return build_world([TextProduced(text="Hello"), finished], settings=HttpSettings(version="1.2"))


BODY = {"model": "claude-x", "max_tokens": 5, "messages": [{"role": "user", "content": "Hi"}]}


async def test_tokens_are_counted_by_what_was_done_with_them() -> None:
    world = _answered()
    for _ in range(2):
        await world.client.post("/v1/messages", BODY)
    samples = await scrape(world)
    counted = {
        work: samples["pensieve_tokens_total", labels(model="scripted", work=work)]
        for work in ("prefilled", "reused", "decoded")
    }
    assert counted == {"prefilled": 12, "reused": 8, "decoded": 6}


async def test_requests_are_counted_by_endpoint_status_and_ending() -> None:
    world = _answered()
    await world.client.post("/v1/messages", {**BODY, "stream": True})
    await world.client.post("/v1/messages", {})
    await world.client.get("/v1/nowhere/secret-path")
    samples = await scrape(world)
    ok = labels(endpoint="/v1/messages", method="POST", status="200", ending="answered")
    bad = labels(endpoint="/v1/messages", method="POST", status="400", ending="answered")
    none = labels(endpoint="none", method="none", status="404", ending="answered")
    assert [samples["pensieve_requests_total", of] for of in (ok, bad, none)] == [1, 1, 1]
    assert not any("secret" in value for _, of in samples for _, value in of)


async def test_times_are_histograms_in_seconds() -> None:
    world = _answered()
    await world.client.post("/v1/messages", BODY)
    samples = await scrape(world)
    of = labels(endpoint="/v1/messages")
    for name in ("time_to_first_byte", "time_to_first_token", "request_duration", "engine_queue"):
        assert samples[f"pensieve_{name}_seconds_count", of] == 1
    assert samples["pensieve_engine_queue_seconds_sum", of] == 2.0


async def test_the_present_is_looked_up_at_each_scrape() -> None:
    world = _answered()
    samples = await scrape(world)
    assert samples["pensieve_requests_running", labels()] == 0
    assert samples["pensieve_requests_waiting", labels()] == 0
    assert samples["pensieve_requests_in_flight", labels()] == 0
    assert samples["pensieve_engine", labels(model="scripted", phase="ready")] == 1
    assert samples["pensieve_engine", labels(model="scripted", phase="broken")] == 0
    assert samples["pensieve_build_info", labels(version="1.2")] == 1


async def test_a_request_at_work_is_seen() -> None:
    world = build_world()
    with world.drain.request():
        assert (await scrape(world))["pensieve_requests_in_flight", labels()] == 1


async def test_a_guarded_server_tells_its_metrics_to_who_has_a_key() -> None:
    world = build_world(settings=HttpSettings(api_keys=(ApiKey.from_plain("k"),)))
    assert (await world.client.get("/metrics")).status == 401
    assert await scrape(world, {"authorization": "Bearer k"})


async def test_two_applications_count_apart() -> None:
    first, second = _answered(), _answered()
    await first.client.post("/v1/messages", BODY)
    assert ("pensieve_tokens_total", labels(model="scripted", work="decoded")) not in await scrape(second)
