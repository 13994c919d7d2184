"""`POST /v1/messages`: one answer, streamed or as JSON.

Before the first byte an error has a status; afterwards it is an event. A stream begins as soon as an engine has taken
the request, or when patience runs out (`LiveStream`): a model may take minutes to load, and clients want a sign of
life.
"""

from __future__ import annotations

import asyncio
import functools
from typing import NoReturn

import attrs
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from pensieve_http.answer import Answer, message_id
from pensieve_http.answering import Answering
from pensieve_http.cache_breaks import CacheBreaks
from pensieve_http.endpoints.intake import Accepted, Intake
from pensieve_http.errors import ClientGoneError
from pensieve_http.exchange import Exchange
from pensieve_http.gate import Gate
from pensieve_http.operation import EVENT_STREAM, JSON, Body, ClientHeaders, Operation
from pensieve_http.preparation import Preparation
from pensieve_http.race import client_left, race
from pensieve_inference import EngineProvider
from pensieve_protocol import (
    Message,
    MessagesRequest,
    MessageStream,
    PromptRecords,
    Signatures,
    StreamEvent,
    dump_json,
    parse_messages_request,
)

__all__ = ["CREATE_MESSAGE", "Messages"]

CREATE_MESSAGE = Operation(
    name="create_message",
    summary="Answer a conversation, with `stream` as it is written",
    headers=ClientHeaders,
    takes=Body(type=MessagesRequest),
    answers={200: (Body(type=Message), Body(type=StreamEvent, media_type=EVENT_STREAM))},
    errors=(404,),
)


@attrs.frozen(kw_only=True, eq=False)
class Messages:
    """The endpoint, an ASGI application: it owns the request to its last byte."""

    intake: Intake
    engines: EngineProvider
    gate: Gate
    answering: Answering
    signatures: Signatures
    records: PromptRecords
    """Prompts that later ones are compared with."""
    breaks: CacheBreaks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request.

        Raises:
            RequestError, PensieveError, ClientGoneError: before anything is sent.
        """
        accepted = await self.intake.take(parse_messages_request, scope, receive)
        accepted.record.stream = accepted.wire.stream
        if accepted.wire.stream:
            response = self.answering.stream(self._exchange(accepted), self._answer(accepted), scope)
            await response(scope, receive, send)
        else:
            begun = asyncio.Event()
            message = await race(self.whole(accepted, begun), self._given_up(receive, begun))
            await Response(dump_json(message), media_type=JSON)(scope, receive, send)

    async def whole(self, accepted: Accepted[MessagesRequest], begun: asyncio.Event | None = None) -> Message:
        """Return the answer of an accepted request, whoever asks; raises as the call."""
        return await self.answering.whole(self._exchange(accepted), self._answer(accepted), begun)

    async def _given_up(self, receive: Receive, begun: asyncio.Event) -> NoReturn:
        """Wait until the client has left and nothing is to be computed for it any more.

        A JSON answer cannot be kept alive while its prompt is computed: who runs out of patience asks again, and is to
        find the prompt done. Claude Code falls back to such a request when a stream has failed.

        Raises:
            ClientGoneError: always.
        """
        clock, came = self.answering.clock, self.answering.clock.monotonic()
        await client_left(receive)
        if clock.monotonic() - came >= self.answering.settings.finish_prefill_after_s:
            await begun.wait()
        raise ClientGoneError

    def _exchange(self, accepted: Accepted[MessagesRequest]) -> Exchange:
        return Exchange(
            request=accepted.request,
            model=accepted.model,
            engines=self.engines,
            gate=self.gate,
            preparation=Preparation(
                wire=accepted.wire,
                message_id=message_id(accepted.record.id),
                translate=accepted.translated,
                records=self.records,
                watch=functools.partial(self.breaks.opened, accepted.record),
                strict=self.intake.strict,
            ),
        )

    def _answer(self, accepted: Accepted[MessagesRequest]) -> Answer:
        shown = accepted.wire.shows_thinking
        stream = MessageStream(
            message_id=message_id(accepted.record.id),
            model=accepted.wire.model,
            sign=self.signatures.sign if shown else self.signatures.seal,
            show_thinking=shown,
        )
        compared = accepted.wire.diagnostics is not None and accepted.wire.diagnostics.previous_message_id is not None
        return Answer(stream, accepted.record, diagnosing=compared)
