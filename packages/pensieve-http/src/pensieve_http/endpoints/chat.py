"""`POST /v1/chat/completions`: OpenAI's door to the same engine, for programs that know no other.

Thin: a request becomes core's, as at the first door; the answer is made by the same machines, and told in OpenAI's
words by `pensieve_protocol`'s `chat_completion` and `ChatChunks`.
"""

from __future__ import annotations

import attrs
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from pensieve_http.answer import Answer, message_id
from pensieve_http.answering import Answering
from pensieve_http.endpoints.intake import Intake
from pensieve_http.exchange import Exchange
from pensieve_http.gate import Gate
from pensieve_http.operation import EVENT_STREAM, JSON, Body, Operation
from pensieve_http.origin import read_origin
from pensieve_http.race import client_gone, race
from pensieve_http.record import RequestRecord, record_of
from pensieve_inference import EngineProvider
from pensieve_protocol import (
    ChatChunk,
    ChatChunks,
    ChatCompletion,
    ChatRequest,
    MessageStream,
    OpenAIError,
    chat_completion,
    chat_generation_request,
    dump_json,
    parse_chat_request,
)

__all__ = ["CREATE_CHAT_COMPLETION", "ChatCompletions"]

CREATE_CHAT_COMPLETION = Operation(
    name="create_chat_completion",
    summary="Answer a conversation in OpenAI's form, with `stream` as it is written; the last event is `[DONE]`",
    takes=Body(type=ChatRequest),
    answers={200: (Body(type=ChatCompletion), Body(type=ChatChunk | OpenAIError, media_type=EVENT_STREAM))},
    errors=(404,),
    error=OpenAIError,
)


@attrs.frozen(kw_only=True, eq=False)
class ChatCompletions:
    """The endpoint, an ASGI application: it owns the request to its last byte."""

    intake: Intake
    engines: EngineProvider
    gate: Gate
    answering: Answering

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request.

        Raises:
            RequestError, PensieveError, ClientGoneError: before anything is sent.
        """
        record = record_of(scope)
        wire = await self._wire(scope, receive)
        exchange, answer = self._exchange(wire, record), _answer(wire, record)
        created = int(self.answering.clock.time())
        if wire.stream:
            chunks = ChatChunks(created=created, include_usage=wire.stream_options.include_usage)
            response = self.answering.stream(exchange, answer, scope, encode=chunks.encode)
            await response(scope, receive, send)
        else:
            message = await race(self.answering.whole(exchange, answer), client_gone(receive))
            completion = dump_json(chat_completion(message, created=created))
            await Response(completion, media_type=JSON)(scope, receive, send)

    async def _wire(self, scope: Scope, receive: Receive) -> ChatRequest:
        """Read the request, and note in its record what it asks for."""
        record = record_of(scope)
        record.origin = read_origin(Headers(scope=scope))
        wire = parse_chat_request(await self.intake.reader.read(scope, receive))
        self.intake.oddities.note("field", wire.unknown_fields)
        record.requested_model, record.stream, record.unknown_fields = wire.model, wire.stream, wire.unknown_fields
        return wire

    def _exchange(self, wire: ChatRequest, record: RequestRecord) -> Exchange:
        model = self.intake.catalog.resolve(wire.model)
        record.model = model.id
        request = chat_generation_request(
            wire, request_id=record.id, model=model.id, origin=record.origin, room=model.context_tokens
        )
        return Exchange(request=request, model=model, engines=self.engines, gate=self.gate)


def _answer(wire: ChatRequest, record: RequestRecord) -> Answer:
    return Answer(MessageStream(message_id=message_id(record.id), model=wire.model), record)
