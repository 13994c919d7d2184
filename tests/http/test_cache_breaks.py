from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pensieve_core import (
    Effort,
    FinishReason,
    GenerationFinished,
    GenerationRequest,
    ModelId,
    Origin,
    Priority,
    PromptUsage,
    RequestId,
    Role,
    SessionId,
    TextPart,
    Thinking,
    Tool,
    Turn,
    Usage,
)
from pensieve_http.cache_breaks import CacheBreaks
from pensieve_http.record import RequestRecord
from pensieve_http.testing import build_world

Body = Callable[..., dict[str, Any]]

_SESSION = Origin(session=SessionId("s"))


def _turn(text: str, role: Role = Role.USER) -> Turn:
    return Turn(role=role, parts=(TextPart(text=text),))


def _request(*turns: Turn, **more: Any) -> GenerationRequest:
    facts = {"model": ModelId("m"), "max_tokens": 1, **more}
    return GenerationRequest(id=RequestId("r"), turns=turns or (_turn("one"),), **facts)


class _Session:
    """Prompts of one session, as the server meets them."""

    def __init__(self, origin: Origin = _SESSION) -> None:
        self.breaks = CacheBreaks()
        self._origin = origin
        self._count = 0

    def ask(
        self,
        request: GenerationRequest,
        *,
        prompt: int,
        cached: int,
        finished: bool = True,
        differs_at: int | None = None,
    ) -> RequestRecord:
        self._count += 1
        record = RequestRecord(id=RequestId(f"req_{self._count}"), method="POST", path="/", started_at=0.0)
        record.origin = self._origin
        self.breaks.opened(record, request, PromptUsage(prompt_tokens=prompt, differs_at=differs_at))
        if finished:
            usage = Usage(prompt_tokens=prompt, cached_tokens=cached)
            record.finished = GenerationFinished(reason=FinishReason.END_OF_TURN, usage=usage)
        self.breaks.ended(record)
        return record


_TOOL = Tool(name="Bash", description="", parameters={})


@pytest.mark.parametrize(
    ("then", "cause"),
    [
        (_request(_turn("be long", Role.SYSTEM), _turn("one")), "system_changed"),
        (_request(_turn("be brief", Role.SYSTEM), _turn("one"), tools=(_TOOL,)), "tools_changed"),
        (_request(_turn("be brief", Role.SYSTEM), _turn("another")), "messages_changed"),
        (_request(_turn("be brief", Role.SYSTEM), _turn("one"), model=ModelId("n")), "model_changed"),
        (
            _request(_turn("be brief", Role.SYSTEM), _turn("one"), thinking=Thinking(enabled=True, effort=Effort.LOW)),
            "settings_changed",
        ),
    ],
)
def test_a_break_names_the_first_differing_token_and_its_cause(then: GenerationRequest, cause: str) -> None:
    session = _Session()
    session.ask(_request(_turn("be brief", Role.SYSTEM), _turn("one")), prompt=1_000, cached=0)
    record = session.ask(then, prompt=1_200, cached=100, differs_at=400)
    found = session.breaks.last()[0]
    assert (found.cause, found.first_differing_token, found.cached_tokens) == (cause, 400, 100)
    assert (found.previous_prompt_tokens, found.prompt_tokens) == (1_000, 1_200)
    assert record.line(1.0)["cache_break"] == cause
    assert record.line(1.0)["first_differing_token"] == 400


def test_of_an_engine_that_does_not_tell_what_was_cached_is_taken() -> None:
    session = _Session()
    session.ask(_request(_turn("one")), prompt=1_000, cached=0)
    session.ask(_request(_turn("another")), prompt=1_000, cached=300)
    assert session.breaks.last()[0].first_differing_token == 300


@pytest.mark.parametrize("differs_at", [None, 990])
def test_where_nothing_differs_but_the_end_of_the_prompt_it_was_not_kept(differs_at: int | None) -> None:
    session = _Session()
    session.ask(_request(_turn("one")), prompt=1_000, cached=0)
    record = session.ask(_request(_turn("one"), _turn("two")), prompt=1_200, cached=400, differs_at=differs_at)
    found = session.breaks.last()[0]
    assert (found.cause, found.first_differing_token, found.cached_tokens) == ("not_kept", None, 400)
    assert "first_differing_token" not in record.line(1.0)


def test_where_the_same_request_has_other_tokens_the_template_wrote_it_otherwise() -> None:
    session = _Session()
    session.ask(_request(_turn("one")), prompt=1_000, cached=0)
    session.ask(_request(_turn("one"), _turn("two")), prompt=1_200, cached=300, differs_at=300)
    found = session.breaks.last()[0]
    assert (found.cause, found.first_differing_token) == ("rendered_anew", 300)


def test_a_prompt_that_goes_on_is_no_break_though_the_end_of_a_prompt_is_rendered_anew() -> None:
    session = _Session()
    session.ask(_request(), prompt=1_000, cached=0)
    session.ask(_request(_turn("one"), _turn("two")), prompt=1_200, cached=980)
    assert session.breaks.last() == ()


def test_an_answer_that_nobody_finished_is_no_break() -> None:
    session = _Session()
    session.ask(_request(), prompt=1_000, cached=0)
    session.ask(_request(), prompt=1_000, cached=0, finished=False)
    assert session.breaks.last() == ()


@pytest.mark.parametrize("origin", [Origin(), Origin(session=SessionId("s"), priority=Priority.BACKGROUND)])
def test_titles_and_strangers_are_not_compared(origin: Origin) -> None:
    session = _Session(origin)
    session.ask(_request(), prompt=1_000, cached=0)
    session.ask(_request(_turn("another")), prompt=1_000, cached=0)
    assert session.breaks.last() == ()


@given(
    asked=st.lists(st.tuples(st.integers(0, 300), st.integers(0, 2_000), st.booleans()), max_size=60),
)
def test_what_is_remembered_is_bounded_and_a_break_is_always_short_of_the_prompt_before(
    asked: list[tuple[int, int, bool]],
) -> None:
    session = _Session()
    for number, tokens, finished in asked:
        session._origin = Origin(session=SessionId(f"s{number}"))
        session.ask(_request(), prompt=tokens, cached=tokens // 2, finished=finished)
    assert len(session.breaks.last()) <= 8
    assert all(found.cached_tokens < found.previous_prompt_tokens for found in session.breaks.last())


def test_the_oldest_session_is_forgotten() -> None:
    session = _Session()
    for number in range(201):
        session._origin = Origin(session=SessionId(f"s{number}"))
        session.ask(_request(), prompt=1_000, cached=0)
    session._origin = Origin(session=SessionId("s0"))
    session.ask(_request(_turn("another")), prompt=1_000, cached=0)
    assert session.breaks.last() == ()


async def test_status_tells_of_a_break(body: Body) -> None:
    world = build_world()
    headers = {"x-claude-code-session-id": "s-1"}
    await world.client.post("/v1/messages", json=body(system="word " * 200), headers=headers)
    await world.client.post("/v1/messages", json=body(system="other " * 200), headers=headers)
    report = (await world.client.get("/status")).json()
    assert report["cache_breaks"][0]["cause"] == "system_changed"
    assert "cache_break" in world.lines()[-2] or "cache_break" in world.lines()[-1]
