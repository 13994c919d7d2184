"""Against a small upstream on loopback that answers as it is told."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import attrs
import pytest
from pensieve_upstream import UpstreamEngine, UpstreamProvider, UpstreamSettings, create_provider

from pensieve_core import (
    EngineFailedError,
    EnginePhase,
    FinishReason,
    GenerationFinished,
    GenerationRequest,
    ModelBrokenError,
    ModelId,
    ModelNotFoundError,
    Origin,
    OverloadedError,
    PromptTooLongError,
    RequestId,
    RequestRefusedError,
    Role,
    SessionId,
    TextPart,
    Turn,
)
from pensieve_inference import EngineProvider, ModelCatalog, SystemClock
from pensieve_inference.testing.contract import check_transcript

PATIENCE_S = 20.0
MODELS = {"data": [{"id": "other", "max_model_len": 9}, {"id": "there", "max_input_tokens": 100}]}
STREAMS = {"/v1/messages", "/v1/chat/completions"}
BEGUN = b'data: {"type":"message_start","message":{"usage":{"input_tokens":4}}}\n\n'
ENDED = b'data: {"type":"message_delta","delta":{"stop_reason":"end_turn"}}\n\ndata: {"type":"message_stop"}\n\n'


@attrs.define
class Upstream:
    """Answers each path with a status and a body; a stream stays open unless it `hangs_up`."""

    answers: dict[str, tuple[int, bytes]] = attrs.field(factory=dict)
    headers: str = ""
    hangs_up: bool = True
    heard: list[str] = attrs.field(factory=list)
    left: asyncio.Event = attrs.field(factory=asyncio.Event)
    """Set once a client has hung up on an open stream."""

    answering: set[asyncio.Future[None]] = attrs.field(factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.answering.add(answered)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await self._answer(reader, writer)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        answered.set_result(None)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next((int(line[15:]) for line in head.lower().split("\r\n") if line.startswith("content-length:")), 0)
        self.heard.append(head + (await reader.readexactly(length)).decode())
        status, body = self.answers[head.split()[1]]
        writer.write(f"HTTP/1.1 {status} X\r\nconnection: close\r\n{self.headers}\r\n".encode() + body)
        await writer.drain()
        if not self.hangs_up and head.split()[1] in STREAMS and b"data:" in body:
            await reader.read()
            self.left.set()


@contextlib.asynccontextmanager
async def provided(upstream: Upstream, **knobs: Any) -> AsyncIterator[UpstreamProvider]:
    server = await asyncio.start_server(upstream.serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with asyncio.timeout(PATIENCE_S), server:
        provider = create_provider(UpstreamSettings(url=url, model="there", **knobs), SystemClock())
        try:
            yield provider
        finally:
            await provider.aclose()
            await asyncio.gather(*upstream.answering)


@contextlib.asynccontextmanager
async def opened(upstream: Upstream, **knobs: Any) -> AsyncIterator[UpstreamEngine]:
    async with provided(upstream, **knobs) as provider:
        yield await provider.engine(provider.models()[0])


def telling(messages: tuple[int, bytes] = (200, BEGUN + ENDED), *, tokens: int = 4, **more: Any) -> Upstream:
    answers = {
        "/v1/models": (200, json.dumps(MODELS).encode()),
        "/v1/messages/count_tokens": (200, json.dumps({"input_tokens": tokens}).encode()),
        "/v1/messages": messages,
    }
    return Upstream(answers, **more)


def request(*, max_tokens: int = 8) -> GenerationRequest:
    return GenerationRequest(
        id=RequestId("req_1"),
        model=ModelId("there"),
        turns=(Turn(role=Role.USER, parts=(TextPart(text="Hi"),)),),
        max_tokens=max_tokens,
        origin=Origin(session=SessionId("one")),
    )


async def test_a_request_is_answered_and_its_session_and_key_are_told() -> None:
    upstream = telling()
    async with opened(upstream, key="secret") as engine:
        assert engine.description.context_tokens == 100
        async with contextlib.aclosing(await engine.generate(request())) as generation:
            events = [event async for event in generation]
    check_transcript(events)
    assert generation.prompt.prompt_tokens == 4
    asked = upstream.heard[-1]
    assert "x-api-key: secret" in asked
    assert "x-claude-code-session-id: one" in asked
    assert '"model":"there"' in asked


def refusal(message: str) -> bytes:
    return json.dumps({"type": "error", "error": {"type": "x", "message": message}}).encode()


@pytest.mark.parametrize(
    ("status", "body", "error", "words"),
    [
        (400, refusal("bad tool"), RequestRefusedError, "the upstream refuses: bad tool"),
        (400, refusal("prompt is too long: 7 tokens > 5 maximum"), PromptTooLongError, "7 tokens > 5 maximum"),
        (529, refusal("full"), OverloadedError, "the upstream is busy: full"),
        (401, refusal("who?"), EngineFailedError, "answered 401: who?"),
        (500, b"<html>", EngineFailedError, "answered 500: X"),
        (500, b"[]", EngineFailedError, "answered 500: X"),
    ],
)
async def test_a_refusal_means_here_what_it_means_there(
    status: int, body: bytes, error: type[Exception], words: str
) -> None:
    async with opened(telling((status, body))) as engine:
        with pytest.raises(error, match=words):
            await engine.generate(request())


@pytest.mark.parametrize(("header", "seconds"), [("retry-after: 9\r\n", 9), ("retry-after: 999\r\n", 60), ("", 5)])
async def test_how_long_to_wait_is_told(header: str, seconds: int) -> None:
    async with opened(telling((529, refusal("full")), headers=header)) as engine:
        with pytest.raises(OverloadedError) as caught:
            await engine.generate(request())
    assert caught.value.retry_after_s == seconds


@pytest.mark.parametrize(
    ("stream", "words"),
    [
        (BEGUN, "hung up in the middle"),
        (BEGUN + b"data: {\n\n", "what is no JSON"),
        (BEGUN + b'data: {"type":"error","error":{"message":"it broke"}}\n\n', "it broke"),
    ],
)
async def test_a_stream_that_breaks_is_a_failed_engine(stream: bytes, words: str) -> None:
    async with opened(telling((200, stream))) as engine:
        generation = await engine.generate(request())
        with pytest.raises(EngineFailedError, match=words):
            [event async for event in generation]
        assert [event async for event in generation] == []
        await generation.aclose()


async def test_a_prompt_that_is_too_long_is_not_sent() -> None:
    upstream = telling(tokens=101)
    async with opened(upstream) as engine:
        with pytest.raises(PromptTooLongError, match="101 tokens > 100 maximum"):
            await engine.generate(request())
    assert not any(heard.startswith("POST /v1/messages ") for heard in upstream.heard)


@pytest.mark.parametrize("leave", ["cancel", "aclose"])
async def test_who_leaves_hangs_up_on_the_upstream(leave: str) -> None:
    upstream = telling((200, BEGUN), hangs_up=False)
    async with opened(upstream, max_running=1) as engine:
        generation = await engine.generate(request())
        with pytest.raises(OverloadedError, match="as many requests"):
            await engine.generate(request())
        await generation.aclose() if leave == "aclose" else generation.cancel()
        await upstream.left.wait()
        assert [event async for event in generation] == []
        await generation.aclose()
        await (await engine.generate(request())).aclose()


async def test_closing_ends_what_runs() -> None:
    async with provided(telling((200, BEGUN), hangs_up=False)) as provider:
        engine = await provider.engine(provider.models()[0])
        generation = await engine.generate(request())
        await provider.aclose()
        with pytest.raises(OverloadedError, match="closing"):
            await anext(generation)
        assert provider.statuses()[0].phase is EnginePhase.CLOSED


async def test_an_answer_that_was_done_when_the_engine_closed_is_still_read() -> None:
    async with opened(telling()) as engine:
        generation = await engine.generate(request())
        await generation.stopped()
        await engine.aclose()
        assert isinstance([event async for event in generation][-1], GenerationFinished)


@pytest.mark.parametrize(
    ("asked", "sent", "reason"), [(96, 96, FinishReason.MAX_TOKENS), (32_000, 96, FinishReason.CONTEXT_FULL)]
)
async def test_no_more_is_asked_for_than_the_context_holds(asked: int, sent: int, reason: FinishReason) -> None:
    """vLLM refuses what could become longer; Claude Code asks for 32,000 tokens whatever the model."""
    upstream = telling((200, BEGUN + ENDED.replace(b"end_turn", b"max_tokens")))
    async with opened(upstream) as engine, contextlib.aclosing(await engine.generate(request(max_tokens=asked))) as one:
        *_, finish = [event async for event in one]
    assert f'"max_tokens":{sent}' in upstream.heard[-1]
    assert isinstance(finish, GenerationFinished)
    assert finish.reason is reason


# -- OpenAI's dialect ----------------------------------------------------------------------------------------------

CHAT = "/v1/chat/completions"
CHUNK = b'data: {"choices":[{"index":0,"delta":{"content":"Hello"},"finish_reason":null}]}\n\n'
LAST = (
    b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
    b'data: {"choices":[],"usage":{"prompt_tokens":4,"completion_tokens":1}}\n\ndata: [DONE]\n\n'
)


def chatting(stream: bytes = CHUNK + LAST, *, hangs_up: bool = True, **counts: Any) -> Upstream:
    """Return an upstream that knows the ways to count in `counts`, by their paths' last words."""
    paths = {"tokenize": "/tokenize", "input_tokens": f"{CHAT}/input_tokens"}
    answers = dict.fromkeys(paths.values(), (404, b"{}"))
    answers |= {paths[name]: (200, json.dumps(answer).encode()) for name, answer in counts.items()}
    answers |= {"/v1/models": (200, json.dumps(MODELS).encode()), CHAT: (200, stream)}
    return Upstream(answers, hangs_up=hangs_up)


def asked_paths(upstream: Upstream) -> list[str]:
    return [heard.split()[1] for heard in upstream.heard if heard.startswith("POST")]


async def test_in_openais_words_a_request_is_answered_and_its_session_and_key_are_told() -> None:
    upstream = chatting(tokenize={"count": 4})
    async with opened(upstream, dialect="openai", key="secret") as engine:
        async with contextlib.aclosing(await engine.generate(request())) as generation:
            events = [event async for event in generation]
        await engine.count_tokens(request())
    check_transcript(events)
    assert generation.prompt.prompt_tokens == 4
    assert asked_paths(upstream) == ["/tokenize", CHAT, "/tokenize"]
    assert "authorization: Bearer secret" in upstream.heard[-1]
    assert "x-claude-code-session-id: one" in upstream.heard[-2]


@pytest.mark.parametrize(
    ("counts", "tokens"),
    [({"tokenize": {"count": 4}}, 4), ({"tokenize": {"tokens": []}, "input_tokens": {"input_tokens": 5}}, 5), ({}, 6)],
)
async def test_the_way_to_count_that_the_upstream_knows_is_found_and_kept(counts: Any, tokens: int) -> None:
    upstream = chatting(json.dumps({"usage": {"prompt_tokens": 6}}).encode(), **counts)
    async with opened(upstream, dialect="openai") as engine:
        assert await engine.count_tokens(request()) == tokens
        tried = len(upstream.heard)
        assert await engine.count_tokens(request()) == tokens
    assert len(upstream.heard) == tried + 1


@pytest.mark.parametrize(
    "message",
    [
        "prompt is too long: 200 tokens > 100 maximum",  # Pensieve
        "This model's maximum context length is 100 tokens. However, your request has 200 input tokens.",  # vLLM
        "request (200 tokens) exceeds the available context size (100 tokens), try increasing it",  # llama-server
    ],
)
async def test_too_long_a_prompt_is_counted_by_the_refusal(message: str) -> None:
    upstream = chatting()
    upstream.answers[CHAT] = (400, refusal(message))
    async with opened(upstream, dialect="openai") as engine:
        assert await engine.count_tokens(request()) == 200
        with pytest.raises(PromptTooLongError, match="200 tokens > 100 maximum"):
            await engine.generate(request())


async def test_too_long_an_answer_is_no_prompt_that_is_too_long() -> None:
    """vLLM's words for it name the prompt, too."""
    words = "'max_tokens' is too large: 900. This model's maximum context length is 100 tokens and your request has 10"
    upstream = chatting(tokenize={"count": 10})
    upstream.answers[CHAT] = (400, refusal(words))
    async with opened(upstream, dialect="openai") as engine:
        with pytest.raises(RequestRefusedError, match="too large: 900") as refused:
            await engine.generate(request())
    assert not isinstance(refused.value, PromptTooLongError)


async def test_an_upstream_that_knows_no_way_to_count_is_told() -> None:
    upstream = chatting(b"{}")
    async with opened(upstream, dialect="openai") as engine:
        with pytest.raises(EngineFailedError, match="counts no tokens"):
            await engine.count_tokens(request())
        upstream.answers[CHAT] = (500, b"{}")
        with pytest.raises(EngineFailedError, match="answered 500"):
            await engine.count_tokens(request())


async def test_who_leaves_hangs_up_on_a_chat_too() -> None:
    upstream = chatting(CHUNK, hangs_up=False, tokenize={"count": 4})
    async with opened(upstream, dialect="openai") as engine:
        generation = await engine.generate(request())
        generation.cancel()
        await upstream.left.wait()
        await generation.aclose()


async def test_a_chat_that_ends_without_its_last_word_is_a_failed_engine() -> None:
    async with opened(chatting(CHUNK, tokenize={"count": 4}), dialect="openai") as engine:
        generation = await engine.generate(request())
        with pytest.raises(EngineFailedError, match="hung up in the middle"):
            [event async for event in generation]
        await generation.aclose()


def test_a_dialect_that_nobody_speaks_is_refused() -> None:
    with pytest.raises(ValueError, match="anthropic"):
        UpstreamSettings(dialect="latin")


# -- the provider --------------------------------------------------------------------------------------------------


async def test_it_is_a_provider_and_the_catalog_of_its_one_model() -> None:
    async with provided(telling()) as provider:
        assert isinstance(provider, EngineProvider)
        assert isinstance(provider, ModelCatalog)
        (model,) = provider.models()
        assert provider.resolve("there") == provider.resolve("claude-opus-4-8") == model
        assert provider.aliases() == {}
        with pytest.raises(ModelNotFoundError, match="available: there"):
            provider.resolve("nobody")
        assert provider.statuses() == ()
        assert provider.loaded(model.id) is None


def without(answers: dict[str, tuple[int, bytes]]) -> Callable[[], Upstream]:
    def changed() -> Upstream:
        upstream = telling()
        upstream.answers |= answers
        return upstream

    return changed


@pytest.mark.parametrize(
    ("models", "context"),
    [
        ([{"id": "there", "max_model_len": 7}], 7),  # vLLM
        ([{"id": "a-file.gguf", "meta": {"n_ctx": 6}}], 6),  # llama-server, whatever its model is called
    ],
)
async def test_each_kind_of_upstream_says_its_context_in_its_own_way(models: list[Any], context: int) -> None:
    upstream = without({"/v1/models": (200, json.dumps({"data": models}).encode())})()
    async with opened(upstream) as engine:
        assert engine.description.context_tokens == context


@pytest.mark.parametrize(
    ("answer", "words"),
    [((200, b'{"data": [{"id": "there"}]}'), "give it by --ctx"), ((401, refusal("who?")), "answered 401: who?")],
)
async def test_an_upstream_that_cannot_be_used_is_a_broken_model(answer: tuple[int, bytes], words: str) -> None:
    async with provided(without({"/v1/models": answer})()) as provider:
        with pytest.raises(ModelBrokenError, match=words):
            await provider.engine(provider.models()[0])
        assert provider.statuses()[0].phase is EnginePhase.BROKEN


async def test_an_upstream_that_is_not_there_is_a_broken_model_until_it_is() -> None:
    async with provided(telling()) as provider:
        absent = attrs.evolve(provider._settings, url="http://127.0.0.1:9")
        provider._settings, present = absent, provider._settings
        with pytest.raises(ModelBrokenError, match="failed"):
            await provider.engine(provider.models()[0])
        provider._settings = present
        assert (await provider.engine(provider.models()[0])).description.context_tokens == 100


async def test_an_upstream_that_counts_nothing_is_told() -> None:
    async with opened(without({"/v1/messages/count_tokens": (200, b"{}")})()) as engine:
        with pytest.raises(EngineFailedError, match="counts no tokens"):
            await engine.count_tokens(request())


async def test_settings_come_from_the_environment_and_the_key_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"URL": "http://127.0.0.1:1", "MODEL": "m", "KEY": "secret", "DIALECT": "openai"}.items():
        monkeypatch.setenv(f"PENSIEVE_UPSTREAM_{name}", value)
    settings = UpstreamSettings(context_tokens=5)
    assert (settings.url, settings.model, settings.key) == ("http://127.0.0.1:1", "m", "secret")
    assert settings.dialect == "openai"
    assert "secret" not in repr(settings)
    async with asyncio.timeout(PATIENCE_S):
        provider = create_provider(settings, SystemClock())
        engine = await provider.engine(provider.models()[0])
        assert engine.description.context_tokens == 5  # nobody was asked
        await provider.aclose()
