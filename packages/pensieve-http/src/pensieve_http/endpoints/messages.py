"""`POST /v1/messages`: one answer, streamed or as JSON.

Before the first byte an error has a status; afterwards it is an event. A stream begins as soon as an engine has taken
the request, or when patience runs out (`LiveStream`): a model may take minutes to load, and clients want a sign of
life.
"""

from __future__ import annotations

from contextlib import aclosing

import attrs
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from pensieve_core import Clock
from pensieve_http.answer import Answer, message_id
from pensieve_http.drain import Drain
from pensieve_http.endpoints.intake import Accepted, Intake
from pensieve_http.errors import ErrorTranslator
from pensieve_http.exchange import Exchange
from pensieve_http.gate import Gate
from pensieve_http.live_stream import LiveStream
from pensieve_http.operation import EVENT_STREAM, Body, ClientHeaders, Operation
from pensieve_http.preparation import Preparation
from pensieve_http.race import client_gone, race
from pensieve_http.settings import HttpSettings
from pensieve_http.signs_of_life import SignsOfLife
from pensieve_http.sse import EventStreamResponse
from pensieve_inference import EngineProvider
from pensieve_protocol import (
    Message,
    MessageAccumulator,
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
    drain: Drain
    clock: Clock
    translator: ErrorTranslator
    signatures: Signatures
    records: PromptRecords
    """Prompts that later ones are compared with."""
    settings: HttpSettings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request.

        Raises:
            RequestError, PensieveError, ClientGoneError: before anything is sent.
        """
        accepted = await self.intake.take(parse_messages_request, scope, receive)
        accepted.record.stream = accepted.wire.stream
        if accepted.wire.stream:
            await self._stream(accepted, scope)(scope, receive, send)
        else:
            message = await race(self.whole(accepted), client_gone(receive))
            response = Response(dump_json(message), media_type="application/json")
            await response(scope, receive, send)

    async def whole(self, accepted: Accepted[MessagesRequest]) -> Message:
        """Return the answer of an accepted request, whoever asks; raises as the call."""
        answer, message = self._answer(accepted), MessageAccumulator()
        with self.drain.hold():
            async with aclosing(self._exchange(accepted).happenings()) as happenings:
                async for happening in happenings:
                    message.add(*answer.tell(happening, self.clock.monotonic()))
        return message.message

    def _stream(self, accepted: Accepted[MessagesRequest], scope: Scope) -> EventStreamResponse:
        return EventStreamResponse(
            exchange=self._exchange(accepted),
            live=self._live(accepted, scope),
            clock=self.clock,
            drain=self.drain,
            write_timeout_s=self.settings.write_timeout_s,
            buffer=self.settings.event_buffer,
        )

    def _live(self, accepted: Accepted[MessagesRequest], scope: Scope) -> LiveStream:
        now = self.clock.monotonic()
        return LiveStream(
            answer=self._answer(accepted),
            signs=SignsOfLife(
                now,
                interval_s=self.settings.ping_interval_s,
                keep_alive_after_s=self.settings.keep_alive_after_s,
            ),
            start_by=now + self.settings.loading_patience_s,
            admission_patience_s=self.settings.admission_patience_s,
            thinking=accepted.request.thinking.enabled and accepted.model.capabilities.thinking,
            translate=lambda error: self.translator.translate(error, scope),
        )

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
