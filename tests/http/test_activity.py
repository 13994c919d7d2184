"""What runs and what ran: the machine, and the endpoint that shows it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pensieve_core import (
    AnswerProgressed,
    FinishReason,
    GenerationFinished,
    ModelId,
    Origin,
    PrefillProgressed,
    PromptUsage,
    RequestId,
    SessionId,
    Timings,
    Usage,
)
from pensieve_http import HttpSettings
from pensieve_http.activity import Activity, Totals
from pensieve_http.record import RequestRecord
from pensieve_http.settings import ApiKey
from pensieve_http.testing import build_world
from pensieve_inference.testing import Wait, say

Body = Callable[..., dict[str, Any]]

_USAGE = Usage(prompt_tokens=1_000, cached_tokens=900, generated_tokens=41)
_TIMINGS = Timings(prefill_s=2.0, decode_s=4.0, prefilled_tokens=100)


def _record(number: int = 1, **facts: Any) -> RequestRecord:
    known = {"started_at": 0.0, "model": ModelId("m"), "stream": True, **facts}
    return RequestRecord(id=RequestId(f"req_{number}"), method="POST", path="/v1/messages", **known)


def _progressed(processed: int) -> PrefillProgressed:
    return PrefillProgressed(processed_tokens=processed, total_tokens=1_000)


def _finished(usage: Usage = _USAGE, timings: Timings = _TIMINGS) -> GenerationFinished:
    return GenerationFinished(reason=FinishReason.END_OF_TURN, usage=usage, timings=timings)


def test_a_request_waits_is_prefilled_and_decodes() -> None:
    activity, record = Activity(), _record()
    activity.began(record)
    assert activity.running(1.0)[0].phase == "waiting"
    record.prompt = PromptUsage(prompt_tokens=1_000)
    assert activity.running(1.0)[0].phase == "prefill"
    record.note_progress(_progressed(600), 2.0)
    record.note_progress(_progressed(800), 4.0)
    told = activity.running(5.0)[0]
    assert (told.processed_tokens, told.prompt_tokens, told.prefill_tokens_per_s, told.age_s) == (800, 1_000, 100.0, 5)
    record.ttft_s = 4.5
    assert activity.running(5.0)[0].phase == "decode"


def test_an_answer_that_is_being_written_tells_its_tokens_and_its_speed() -> None:
    activity, record = Activity(), _record()
    activity.began(record)
    record.prompt = PromptUsage(prompt_tokens=1_000)
    record.note_answer(AnswerProgressed(generated_tokens=8), 2.0)
    told = activity.running(2.0)[0]
    assert (told.phase, told.generated_tokens, told.decode_tokens_per_s) == ("decode", 8, None)
    record.note_answer(AnswerProgressed(generated_tokens=58), 4.0)
    told = activity.running(4.0)[0]
    assert (told.generated_tokens, told.decode_tokens_per_s) == (58, 25.0)


def test_an_answer_that_was_taken_back_has_no_speed_below_zero() -> None:
    record = _record()
    for tokens, at in ((40, 1.0), (8, 2.0)):
        record.note_answer(AnswerProgressed(generated_tokens=tokens), at)
    assert record.answer is not None
    assert record.answer.tokens_per_s is None


def test_a_speed_is_told_after_the_second_chunk_and_not_before() -> None:
    activity, record = Activity(), _record()
    activity.began(record)
    record.note_progress(_progressed(512), 2.0)
    assert activity.running(3.0)[0].prefill_tokens_per_s is None


def test_what_no_model_answers_is_not_shown() -> None:
    activity = Activity()
    activity.began(_record(1, model=None))
    activity.began(_record(2, stream=None))  # only counted
    assert activity.running(1.0) == ()


def test_an_answer_tells_what_it_cost_and_how_fast_it_was() -> None:
    activity, record = Activity(), _record(origin=Origin(session=SessionId("s")), finished=_finished())
    activity.began(record)
    activity.ended(record, 10.0)
    told = activity.answered(12.5)[0]
    assert (told.prompt_tokens, told.cached_tokens, told.generated_tokens) == (1_000, 900, 41)
    assert (told.prefill_tokens_per_s, told.decode_tokens_per_s, told.ended_s_ago) == (50.0, 10.0, 2.5)
    assert told.session == record.line(12.5)["session"]
    assert activity.running(12.5) == ()
    assert activity.totals == Totals(answers=1, prompt_tokens=1_000, cached_tokens=900, generated_tokens=41)


def test_what_was_too_short_to_measure_has_no_speed() -> None:
    activity, record = Activity(), _record(finished=_finished(Usage(prompt_tokens=1, generated_tokens=1), Timings()))
    activity.ended(record, 1.0)
    told = activity.answered(1.0)[0]
    assert (told.prefill_tokens_per_s, told.decode_tokens_per_s) == (None, None)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.booleans()), max_size=100))
def test_whatever_begins_and_ends_running_and_answered_stay_true(moves: list[tuple[int, bool, bool]]) -> None:
    activity, open_now, answers = Activity(), set(), 0
    for number, ends, answered in moves:
        record = _record(number, finished=_finished() if answered else None)
        if ends:
            activity.ended(record, 1.0)
            open_now.discard(record.id)
            answers += answered
        else:
            activity.began(record)
            open_now.add(record.id)
    assert {told.request_id for told in activity.running(1.0)} == open_now
    assert len(activity.answered(1.0)) == min(answers, 32)
    assert activity.totals.answers == answers


async def test_status_shows_an_answer_that_is_being_written(body: Body) -> None:
    written = AnswerProgressed(generated_tokens=16)
    world = build_world([_progressed(500), *say("one two"), written, *say(" three"), Wait(100_000)])
    async with world.client.open("POST", "/v1/messages", json=body(stream=True)) as connection:
        while "three" not in str((await connection.event()).data):
            pass
        report = (await world.client.get("/status")).json()
    running = [(told["phase"], told["processed_tokens"], told["generated_tokens"]) for told in report["running"]]
    assert running == [("decode", 500, 16)]


async def test_status_shows_the_engine_and_the_last_answer(body: Body) -> None:
    world = build_world(say("one two"), settings=HttpSettings(version="1.2.3"))
    await world.client.post("/v1/messages", json=body())
    report = (await world.client.get("/status")).json()
    assert (report["version"], report["default_model"], report["ready"]) == ("1.2.3", "scripted", True)
    assert report["engines"][0]["context_tokens"] == world.engine.description.context_tokens
    assert report["answered"][0]["generated_tokens"] == 2
    assert report["running"] == []


async def test_status_needs_a_key_where_keys_are_needed() -> None:
    # Unlike the probes it tells of requests.
    world = build_world(settings=HttpSettings(api_keys=(ApiKey.from_plain("k"),)))
    assert (await world.client.get("/status")).status == 401
    assert (await world.client.get("/status", headers={"x-api-key": "k"})).status == 200


async def test_status_lines_do_not_fill_the_log() -> None:
    world = build_world()
    await world.client.get("/status")
    assert [line["log_level"] for line in world.lines()] == ["debug"]
