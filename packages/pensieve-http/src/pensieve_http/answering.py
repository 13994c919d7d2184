"""What both doors have in common: how an exchange becomes an answer, whole or as a stream.

Above: `endpoints.messages` and `endpoints.chat`, which know how requests and answers look. Below: `exchange`, `sse`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing

import attrs
from starlette.types import Scope

from pensieve_core import Clock
from pensieve_http.answer import Answer
from pensieve_http.drain import Drain
from pensieve_http.errors import ErrorTranslator
from pensieve_http.exchange import Exchange
from pensieve_http.live_stream import LiveStream
from pensieve_http.settings import HttpSettings
from pensieve_http.signs_of_life import SignsOfLife
from pensieve_http.sse import EventStreamResponse
from pensieve_protocol import Message, MessageAccumulator, StreamEvent, encode_sse

__all__ = ["Answering"]


@attrs.frozen(kw_only=True, eq=False)
class Answering:
    """Makes answers of exchanges."""

    drain: Drain
    clock: Clock
    translator: ErrorTranslator
    settings: HttpSettings

    async def whole(self, exchange: Exchange, answer: Answer, begun: asyncio.Event | None = None) -> Message:
        """Return the complete message; raises what prevents it. `begun` is set once its prompt is computed."""
        message, begun = MessageAccumulator(), begun or asyncio.Event()
        with self.drain.hold():
            async with aclosing(exchange.happenings()) as happenings:
                async for happening in happenings:
                    message.add(*answer.tell(happening, self.clock.monotonic()))
                    if answer.begun:
                        begun.set()
        return message.message

    def stream(
        self, exchange: Exchange, answer: Answer, scope: Scope, *, encode: Callable[[StreamEvent], bytes] = encode_sse
    ) -> EventStreamResponse:
        """Return the response that writes the answer as it comes."""
        return EventStreamResponse(
            exchange=exchange,
            live=self._live(exchange, answer, scope, encode),
            clock=self.clock,
            drain=self.drain,
            write_timeout_s=self.settings.write_timeout_s,
            buffer=self.settings.event_buffer,
        )

    def _live(
        self, exchange: Exchange, answer: Answer, scope: Scope, encode: Callable[[StreamEvent], bytes]
    ) -> LiveStream:
        now = self.clock.monotonic()
        return LiveStream(
            answer=answer,
            signs=SignsOfLife(
                now,
                interval_s=self.settings.ping_interval_s,
                keep_alive_after_s=self.settings.keep_alive_after_s,
            ),
            start_by=now + self.settings.loading_patience_s,
            admission_patience_s=self.settings.admission_patience_s,
            thinking=exchange.request.thinking.enabled and exchange.model.capabilities.thinking,
            translate=lambda error: self.translator.translate(error, scope),
            encode=encode,
        )
