from __future__ import annotations

import json
from typing import Any

from scenarios.interactive import Served, judge, served, table


def line(path: str = "/v1/messages", **more: Any) -> str:
    return json.dumps({"event": "request_finished", "path": path, "ending": "answered", **more})


def answered(prompt: int = 24_000, cached: int = 0, ending: str = "answered") -> Served:
    return Served(ending=ending, prompt=prompt, cached=cached, first_token_s=1.25)


def test_only_requests_for_answers_are_read_off_the_log() -> None:
    log = [
        "Pensieve 0.1.0 listens",
        line("/status"),
        json.dumps({"event": "server_listening", "path": "/v1/messages"}),
        line("/v1/messages?beta=true", prompt_tokens=24_000, cached_tokens=9, ttft_s=1.25),
        line("/v1/messages/count_tokens", prompt_tokens=5),
    ]
    assert served(log) == (answered(cached=9),)


def test_a_request_that_was_given_up_has_no_figures() -> None:
    given_up = line(ending="disconnected", prompt_tokens=24_000, cached_tokens=None, ttft_s=None)
    assert served([given_up]) == (Served(ending="disconnected", prompt=24_000, cached=0, first_token_s=0.0),)


def test_a_second_request_or_one_that_was_given_up_is_a_retry() -> None:
    def asks_once(*first: Served) -> bool:
        return judge("all", first, [answered(cached=23_900)])[0].holds

    assert asks_once(answered())
    assert not asks_once(answered(), answered())
    assert not asks_once(answered(ending="disconnected"))


def test_the_second_session_may_compute_a_tenth() -> None:
    assert judge("all", [answered()], [answered(cached=21_600)])[1].holds
    claim = judge("all", [answered()], [answered(cached=21_500)])[1]
    assert not claim.holds
    assert claim.measured == "10.4%"


def test_the_table_names_the_sessions() -> None:
    rows = table({"all": ([answered()], [answered(cached=23_000)])}).rows
    assert rows == (
        ("all", "first", "answered", "24,000", "0", "24,000", "1.2"),
        ("all", "second", "answered", "24,000", "23,000", "1,000", "1.2"),
    )
