"""Every class of error, as status, envelope and headers; on both kinds of answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pensieve_core import (
    EngineDescription,
    EngineFailedError,
    EngineStatus,
    GenerationRequest,
    ModelBrokenError,
    ModelDescriptor,
    ModelId,
    OverloadedError,
    PensieveError,
    QuarantinedError,
    RequestRefusedError,
)
from pensieve_http import HttpSettings
from pensieve_http.testing import Reply, build_world
from pensieve_inference import Generation, InferenceEngine
from pensieve_inference.testing import InMemoryCatalog, ScriptedEngine, ScriptedProvider, make_descriptor

Body = Callable[..., dict[str, Any]]


class RefusingEngine:
    """Raises the same error for every request."""

    def __init__(self, error: Exception) -> None:
        self._error = error
        self.description: EngineDescription = ScriptedEngine().description

    async def generate(self, request: GenerationRequest) -> Generation:
        raise self._error

    async def count_tokens(self, request: GenerationRequest) -> int:
        raise self._error

    async def aclose(self) -> None:
        pass


class RefusingProvider:
    """Provides an engine that refuses."""

    def __init__(self, error: Exception) -> None:
        self._engine = RefusingEngine(error)

    async def engine(self, model: ModelDescriptor) -> InferenceEngine:
        return self._engine

    def loaded(self, model: ModelId) -> EngineDescription | None:
        return None

    def statuses(self) -> tuple[EngineStatus, ...]:
        return ()

    async def aclose(self) -> None:
        pass


def _assert_envelope(reply: Reply, status: int, error_type: str, message: str) -> None:
    assert reply.status == status
    assert reply.headers["content-type"] == "application/json"
    assert reply.json() == {
        "type": "error",
        "error": {"type": error_type, "message": message},
        "request_id": reply.headers["request-id"],
    }


_FROM_ENGINES = [
    (ModelBrokenError(ModelId("m"), "bad magic"), 500, "api_error", None, "false"),
    (QuarantinedError(2), 400, "invalid_request_error", None, "false"),
    (RequestRefusedError("images need a projector"), 400, "invalid_request_error", None, None),
    (OverloadedError("the queue is full", 7), 529, "overloaded_error", "7", "true"),
    (OverloadedError("closing", 0), 529, "overloaded_error", "0", "true"),
    (EngineFailedError("the engine died"), 500, "api_error", None, None),
]


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(("error", "status", "error_type", "retry_after", "should_retry"), _FROM_ENGINES)
async def test_an_engines_refusal_is_a_status_before_any_byte(
    body: Body,
    *,
    path: str,
    stream: bool,
    error: PensieveError,
    status: int,
    error_type: str,
    retry_after: str | None,
    should_retry: str | None,
) -> None:
    world = build_world(provider=lambda _: RefusingProvider(error))
    reply = await world.client.post(path, body(stream=stream))
    _assert_envelope(reply, status, error_type, error.message)
    assert reply.headers.get("retry-after") == retry_after
    assert reply.headers.get("x-should-retry") == should_retry
    assert world.lines()[0]["error_type"] == error_type


async def test_a_prompt_that_is_too_long_is_said_in_the_words_that_claude_code_reads(body: Body) -> None:
    # Design 4: "prompt is too long: N tokens > M maximum" makes it compact.
    world = build_world(model=make_descriptor(context_tokens=3))
    for stream in (True, False):
        reply = await world.client.post(
            "/v1/messages", body(stream=stream, messages=[{"role": "user", "content": "one two three four"}])
        )
        _assert_envelope(reply, 400, "invalid_request_error", "prompt is too long: 4 tokens > 3 maximum")


@pytest.mark.parametrize("stream", [True, False])
async def test_a_strict_server_refuses_what_may_not_fit_in_the_words_upon_which_claude_code_asks_for_less(
    body: Body, *, stream: bool
) -> None:
    # Design 4: it asks again at once, with max_tokens = limit - input - 1000.
    for strict in (True, False):
        world = build_world(settings=HttpSettings(strict=strict), model=make_descriptor(context_tokens=100))
        reply = await world.client.post("/v1/messages", body(stream=stream, max_tokens=99))
        if strict:
            told = "input length and `max_tokens` exceed context limit: 2 + 99 > 100, decrease input length or "
            _assert_envelope(reply, 400, "invalid_request_error", told + "`max_tokens` and try again")
        else:
            assert reply.status == 200, "it gets what is left"
        assert not world.engine.running


async def test_a_strict_server_answers_what_fits(body: Body) -> None:
    world = build_world(settings=HttpSettings(strict=True), model=make_descriptor(context_tokens=100))
    assert (await world.client.post("/v1/messages", body(max_tokens=98))).status == 200


async def test_a_provider_that_cannot_load_is_a_status(body: Body) -> None:
    error = ModelBrokenError(ModelId("scripted"), "no memory")
    world = build_world(provider=lambda engine: ScriptedProvider(engine, error=error))
    _assert_envelope(await world.client.post("/v1/messages", body()), 500, "api_error", error.message)


async def test_an_unknown_model_is_a_404_that_names_the_known_ones(body: Body) -> None:
    world = build_world(catalog=InMemoryCatalog(make_descriptor("one"), make_descriptor("two")))
    reply = await world.client.post("/v1/messages", body(model="three"))
    _assert_envelope(reply, 404, "not_found_error", "model: three (available: one, two)")


@pytest.mark.parametrize("stream", [True, False])
async def test_an_unforeseen_exception_is_a_500_without_internals_and_a_traceback_in_the_log(
    body: Body, *, stream: bool
) -> None:
    crash = ZeroDivisionError("/secret/path")
    world = build_world(provider=lambda _: RefusingProvider(crash))
    reply = await world.client.post("/v1/messages", body(stream=stream))
    _assert_envelope(reply, 500, "api_error", "an unexpected error occurred; the server's log has the details")
    assert world.log[0] == {
        "event": "request_crashed",
        "log_level": "error",
        "request_id": "req_0001",
        "exc_info": crash,
    }
    assert (await world.client.get("/healthz")).status == 200


@pytest.mark.parametrize(
    "target", ["/v1/nothing", "/v1/", "/v1", "/v1/messages/", "/v1/messages/batches/", "/v1/files/", "/other", "//"]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_anything_else_is_a_404_in_the_envelope(method: str, target: str) -> None:
    reply = await build_world().client.request(method, target)
    _assert_envelope(reply, 404, "not_found_error", f"no such endpoint: {method} {target}")


@pytest.mark.parametrize(
    ("method", "target", "allowed"),
    [
        ("GET", "/v1/messages", {"POST"}),
        ("DELETE", "/v1/messages/count_tokens", {"POST"}),
        ("POST", "/v1/models", {"GET", "HEAD"}),
        ("PUT", "/v1/models/scripted", {"GET", "HEAD"}),
        ("POST", "/healthz", {"GET", "HEAD"}),
    ],
)
async def test_a_wrong_method_is_a_405_in_the_envelope_that_says_which_are_right(
    method: str, target: str, allowed: set[str]
) -> None:
    reply = await build_world().client.request(method, target)
    message = f"method not allowed for this endpoint: {method} {target}"
    _assert_envelope(reply, 405, "invalid_request_error", message)
    assert set(reply.headers["allow"].split(", ")) == allowed


async def test_an_exception_after_the_first_byte_is_logged_and_breaks_the_response_off(body: Body) -> None:
    # Only a failing `send` gets here: streams tell their own errors.
    world = build_world()
    sent = []

    async def failing_send(message: Any) -> None:
        sent.append(message["type"])
        if message["type"] == "http.response.body":
            raise ConnectionResetError

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    await world.app(world.client._scope("GET", "/v1/models", {}), receive, failing_send)
    assert sent == ["http.response.start", "http.response.body"]
    assert [entry["event"] for entry in world.log] == ["request_crashed", "request_finished"]
