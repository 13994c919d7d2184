"""The upstream over HTTP: three questions, in either dialect. Every error leaves here as a `PensieveError`."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Iterator, Mapping
from typing import Any

import httpx2
import orjson

from pensieve_core import (
    EngineFailedError,
    GenerationEvent,
    GenerationRequest,
    PensieveError,
    PromptTooLongError,
    RequestRefusedError,
)
from pensieve_upstream.dialect import DIALECTS, AnswerReader
from pensieve_upstream.refusals import refusal
from pensieve_upstream.settings import UpstreamSettings

__all__ = ["Upstream"]

_CONNECT_S = 10.0
_END = "[DONE]"
"""Not JSON: the last word of OpenAI's streams."""


class Upstream:
    """A server that generates. One connection pool; closed by `aclose`."""

    def __init__(self, settings: UpstreamSettings) -> None:
        self._settings = settings
        self._dialect = DIALECTS[settings.dialect]
        self._counts = self._dialect.counts
        self._client = httpx2.AsyncClient(
            base_url=settings.url.rstrip("/"),
            headers=self._dialect.headers(settings.key),
            timeout=httpx2.Timeout(settings.silence_s, connect=_CONNECT_S),
            limits=httpx2.Limits(max_connections=None),
            trust_env=False,
        )

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def context_tokens(self) -> int | None:
        """Return how many tokens prompt and answer may have, as `/v1/models` says; None: it does not."""
        found = await self._asked("GET", "/v1/models")
        models = found.get("data") or []
        named = [model for model in models if model.get("id") == self._settings.model]
        for model in named or models[:1]:
            # Pensieve and Anthropic; vLLM; llama-server
            for told in (model.get("max_input_tokens"), model.get("max_model_len"), _meta(model)):
                if isinstance(told, int) and told > 0:
                    return told
        return None

    async def count(self, request: GenerationRequest) -> int:
        """Return how many tokens the upstream counts in the prompt. The way that it knows is remembered."""
        for count in self._counts:
            try:
                answer = await self._asked("POST", count.path, count.body(request, self._settings.model))
            except PromptTooLongError as error:
                return error.prompt_tokens
            except (EngineFailedError, RequestRefusedError):
                if count is self._counts[-1]:
                    raise
                continue
            tokens = count.read(answer)
            if isinstance(tokens, int):
                self._counts = (count,)
                return tokens
        msg = "the upstream counts no tokens"
        raise EngineFailedError(msg)

    async def begin(self, request: GenerationRequest) -> Answer:
        """Send a request; returns once the upstream has taken it. The caller closes the answer."""
        session = {"x-claude-code-session-id": request.origin.session} if request.origin.session else {}
        body = self._dialect.body(request, self._settings.model)
        with _translated(self._settings.url):
            response = await self._client.send(
                self._client.build_request("POST", self._dialect.path, json=body, headers=session), stream=True
            )
        if response.status_code != httpx2.codes.OK:
            with _translated(self._settings.url), contextlib.suppress(httpx2.StreamError):
                await response.aread()
            await response.aclose()
            raise _refusal(response)
        return Answer(response, self._dialect.reader(request))

    async def _asked(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
        with _translated(self._settings.url):
            response = await self._client.request(method, path, json=body)
        if response.status_code != httpx2.codes.OK:
            raise _refusal(response)
        return _json(response.content)


class Answer:
    """One answer on its way."""

    def __init__(self, response: httpx2.Response, reader: AnswerReader) -> None:
        self._response = response
        self._reader = reader

    async def events(self) -> AsyncGenerator[GenerationEvent, None]:
        """Yield its events, the finish last.

        Raises:
            OverloadedError, EngineFailedError: it broke off, by the upstream's word or without one.
        """
        with _translated(str(self._response.url)):
            async for line in self._response.aiter_lines():
                for event in self._fed(line):
                    yield event
                if self._reader.finished:
                    return
        msg = "the upstream hung up in the middle of its answer"
        raise EngineFailedError(msg)

    async def aclose(self) -> None:
        """Hang up, unless it has ended."""
        await self._response.aclose()

    def _fed(self, line: str) -> Iterator[GenerationEvent]:
        """Feed what follows `data:`; all other lines of an event stream say nothing more."""
        if line.startswith("data:"):
            said = line[5:].strip()
            yield from self._reader.feed({"done": True} if said == _END else _json(said))


@contextlib.contextmanager
def _translated(url: str) -> Iterator[None]:
    try:
        yield
    except httpx2.HTTPError as error:
        msg = f"the upstream at {url} failed: {type(error).__name__} {error}".rstrip()
        raise EngineFailedError(msg) from error


def _meta(model: Mapping[str, Any]) -> object:
    meta = model.get("meta")
    return meta.get("n_ctx") if isinstance(meta, dict) else None


def _json(data: bytes | str) -> Mapping[str, Any]:
    try:
        payload = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        msg = "the upstream sent what is no JSON"
        raise EngineFailedError(msg) from error
    return payload if isinstance(payload, dict) else {}


def _refusal(response: httpx2.Response) -> PensieveError:
    return refusal(response.status_code, _message(response), response.headers.get("retry-after", ""))


def _message(response: httpx2.Response) -> str:
    match _json_or_nothing(response):
        case {"error": {"message": str(message)}} | {"message": str(message)}:
            return message
        case _:
            return response.reason_phrase


def _json_or_nothing(response: httpx2.Response) -> Mapping[str, Any]:
    with contextlib.suppress(EngineFailedError):
        return _json(response.content)
    return {}
