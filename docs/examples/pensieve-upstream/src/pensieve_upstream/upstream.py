"""The upstream over HTTP: three questions, and what its refusals mean. Every error leaves here as a `PensieveError`."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncGenerator, Iterator, Mapping
from typing import Any

import httpx2
import orjson

from pensieve_core import (
    EngineFailedError,
    GenerationRequest,
    OverloadedError,
    PensieveError,
    PromptTooLongError,
    RequestRefusedError,
)
from pensieve_upstream.settings import UpstreamSettings
from pensieve_upstream.wire import count_body, messages_body

__all__ = ["Upstream"]

_VERSION = {"anthropic-version": "2023-06-01"}
_TOO_LONG = re.compile(r"prompt is too long: (\d+) tokens > (\d+) maximum")
_CONNECT_S = 10.0
_LONGEST_WAIT_S = 60
_REFUSALS = frozenset({400, 413, 422})
_BUSY = frozenset({429, 503, 529})


class Upstream:
    """A server that speaks the Messages API. One connection pool; closed by `aclose`."""

    def __init__(self, settings: UpstreamSettings) -> None:
        keys = {"x-api-key": settings.key} if settings.key else {}
        self._settings = settings
        self._client = httpx2.AsyncClient(
            base_url=settings.url.rstrip("/"),
            headers={**_VERSION, **keys},
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
        """Return how many tokens the upstream counts in the prompt."""
        body = count_body(request, self._settings.model)
        counted = (await self._asked("POST", "/v1/messages/count_tokens", body)).get("input_tokens")
        if not isinstance(counted, int):
            msg = "the upstream counts no tokens"
            raise EngineFailedError(msg)
        return counted

    async def begin(self, request: GenerationRequest) -> httpx2.Response:
        """Send a request; returns once the upstream has taken it. The caller closes the response."""
        session = {"x-claude-code-session-id": request.origin.session} if request.origin.session else {}
        body = messages_body(request, self._settings.model)
        with _translated(self._settings.url):
            response = await self._client.send(
                self._client.build_request("POST", "/v1/messages", json=body, headers=session), stream=True
            )
        if response.status_code != httpx2.codes.OK:
            with _translated(self._settings.url), contextlib.suppress(httpx2.StreamError):
                await response.aread()
            await response.aclose()
            raise _refusal(response)
        return response

    async def payloads(self, response: httpx2.Response) -> AsyncGenerator[Mapping[str, Any], None]:
        """Yield the payloads of a stream."""
        with _translated(self._settings.url):
            async for line in response.aiter_lines():
                if line.startswith("data:"):
                    yield _json(line[5:])

    async def _asked(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
        with _translated(self._settings.url):
            response = await self._client.request(method, path, json=body)
        if response.status_code != httpx2.codes.OK:
            raise _refusal(response)
        return _json(response.content)


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
    """Return what a status other than 200 means to whoever asked us."""
    message, code = _message(response), response.status_code
    too_long = _TOO_LONG.search(message)
    if too_long:
        return PromptTooLongError(int(too_long[1]), int(too_long[2]))
    if code in _REFUSALS:
        return RequestRefusedError(f"the upstream refuses: {message}")
    if code in _BUSY:
        return OverloadedError(f"the upstream is busy: {message}", _retry_after(response))
    return EngineFailedError(f"the upstream answered {code}: {message}")


def _message(response: httpx2.Response) -> str:
    match _json_or_nothing(response):
        case {"error": {"message": str(message)}}:
            return message
        case _:
            return response.reason_phrase


def _json_or_nothing(response: httpx2.Response) -> Mapping[str, Any]:
    with contextlib.suppress(EngineFailedError):
        return _json(response.content)
    return {}


def _retry_after(response: httpx2.Response) -> int:
    told = response.headers.get("retry-after", "")
    return min(int(told), _LONGEST_WAIT_S) if told.isdecimal() else 5
