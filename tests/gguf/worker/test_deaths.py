"""Ours: design 5, "The worker dies: then"."""

from __future__ import annotations

import pytest

from pensieve_core import GenerationRequest, ModelId, QuarantinedError, RequestId, Role, TextPart, Turn
from pensieve_gguf.worker.deaths import Deaths


def request(text: str, request_id: str = "req_1") -> GenerationRequest:
    return GenerationRequest(
        id=RequestId(request_id),
        model=ModelId("m"),
        turns=(Turn(role=Role.USER, parts=(TextPart(text=text),)),),
        max_tokens=1,
    )


def test_nobody_is_suspected_at_first() -> None:
    Deaths().check(request("hello"))


def test_who_was_there_once_may_try_again() -> None:
    deaths = Deaths()
    deaths.blame(request("killer"), 101)
    deaths.check(request("killer"))


def test_who_was_there_twice_is_refused_and_nobody_else_is() -> None:
    deaths = Deaths()
    deaths.blame(request("killer"), 101)
    deaths.blame(request("killer"), 102)
    with pytest.raises(QuarantinedError, match="2 times"):
        deaths.check(request("killer"))
    deaths.check(request("another"))


def test_a_request_that_is_sent_again_is_known_by_what_it_says() -> None:
    """Clients retry with a fresh id."""
    deaths = Deaths()
    deaths.blame(request("killer", "req_1"), 101)
    deaths.blame(request("killer", "req_2"), 102)
    with pytest.raises(QuarantinedError):
        deaths.check(request("killer", "req_3"))


def test_equal_requests_at_the_same_death_are_blamed_once() -> None:
    """Claude Code counts the tokens of what it is about to send."""
    deaths = Deaths()
    deaths.blame(request("bystander", "req_1"), 101)
    deaths.blame(request("bystander", "req_2"), 101)
    deaths.check(request("bystander"))


def test_who_was_there_is_suspect_until_it_is_served() -> None:
    deaths = Deaths()
    assert not deaths.suspects(request("bystander"))
    deaths.blame(request("bystander"), 101)
    assert deaths.suspects(request("bystander"))
    assert not deaths.suspects(request("another"))
    deaths.praise(request("bystander"))
    assert not deaths.suspects(request("bystander"))


def test_who_was_served_is_innocent() -> None:
    deaths = Deaths()
    deaths.blame(request("bystander"), 101)
    deaths.praise(request("bystander"))
    deaths.blame(request("bystander"), 102)
    deaths.check(request("bystander"))


def test_praise_without_any_blame_is_free() -> None:
    deaths = Deaths()
    deaths.praise(request("anyone"))
    deaths.check(request("anyone"))


def test_only_so_many_suspects_are_remembered() -> None:
    deaths = Deaths()
    for number in range(300):
        deaths.blame(request(f"suspect {number}"), 101)
        deaths.blame(request(f"suspect {number}"), 102)
    deaths.check(request("suspect 0"))
    with pytest.raises(QuarantinedError):
        deaths.check(request("suspect 299"))


def test_each_death_in_a_row_is_waited_for_twice_as_long_and_the_fifth_is_the_last() -> None:
    deaths = Deaths()
    waits = []
    while not deaths.too_many:
        waits.append(deaths.back_off_s)
        deaths.note("ended by signal 6")
    assert waits == [0.0, 0.2, 0.4, 0.8, 1.6]
    assert deaths.last_words == "ended by signal 6"


def test_an_engine_that_served_something_in_between_is_not_given_up() -> None:
    deaths = Deaths()
    for _ in range(20):
        deaths.note("ended by signal 9")
        deaths.praise(request("anyone"))
    assert not deaths.too_many
    assert deaths.back_off_s == 0.0


def test_a_worker_that_dies_before_it_has_answered_anybody_has_served_nothing() -> None:
    """Whatever its predecessor did; and one that is not dead yet is not judged."""
    deaths = Deaths()
    judged = [deaths.served_nothing]
    for answers in (0, 1, 0):
        for _ in range(answers):
            deaths.praise(request("hello"))
        deaths.note("ended by signal 6")
        judged.append(deaths.served_nothing)
    assert judged == [False, True, False, True]
