from __future__ import annotations

from pensieve_core import AgentId, Origin, PromptUsage, RequestId, SessionId
from pensieve_http.record import RequestRecord


def _record() -> RequestRecord:
    return RequestRecord(id=RequestId("req_1"), method="GET", path="/" + "x" * 500, started_at=10.0)


def test_what_is_not_known_is_left_out_and_what_a_client_chose_is_cut() -> None:
    line = _record().line(10.25)
    assert line == {
        "request_id": "req_1",
        "method": "GET",
        "path": "/" + "x" * 199,
        "ending": "answered",
        "disconnected": False,
        "duration_s": 0.25,
    }


def test_names_of_unknown_fields_are_few_and_short() -> None:
    record = _record()
    record.unknown_fields = tuple("y" * 100 for _ in range(100))
    assert record.line(11.0)["unknown_fields"] == ["y" * 50] * 10


def test_sessions_and_agents_are_told_apart_without_being_named() -> None:
    record = _record()
    record.origin = Origin(session=SessionId("s-1"), agent=AgentId("a-1"))
    line = record.line(11.0)
    assert line["session"] != line["agent"]
    assert not {"s-1", "a-1"} & set(map(str, line.values()))


def test_a_request_that_was_admitted_but_not_finished_still_tells_its_prompt() -> None:
    record = _record()
    record.prompt = PromptUsage(prompt_tokens=42)
    assert record.line(11.0)["prompt_tokens"] == 42
