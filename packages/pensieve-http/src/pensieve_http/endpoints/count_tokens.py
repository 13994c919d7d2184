"""`POST /v1/messages/count_tokens`: the engine's own count, by the path that a request takes."""

from __future__ import annotations

import attrs
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from pensieve_http.drain import Drain
from pensieve_http.endpoints.intake import Accepted, Intake
from pensieve_http.gate import Gate
from pensieve_http.operation import Body, ClientHeaders, Operation
from pensieve_http.preparation import edited
from pensieve_http.race import client_gone, race
from pensieve_inference import EngineProvider
from pensieve_protocol import CountTokensRequest, OriginalTokens, TokenCount, dump_json, parse_count_tokens_request

__all__ = ["COUNT_TOKENS", "CountTokens"]

COUNT_TOKENS = Operation(
    name="count_tokens",
    summary="Count the tokens of a request's prompt, exactly as it would be charged",
    headers=ClientHeaders,
    takes=Body(type=CountTokensRequest),
    answers={200: (Body(type=TokenCount),)},
    errors=(404,),
)


@attrs.frozen(kw_only=True, eq=False)
class CountTokens:
    """The endpoint. It has a gate of its own: counting must not wait for answers to be written."""

    intake: Intake
    engines: EngineProvider
    gate: Gate
    drain: Drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; raises as `Messages`."""
        accepted = await self.intake.take(parse_count_tokens_request, scope, receive)
        count = await race(self._count(accepted), client_gone(receive))
        response = Response(dump_json(count), media_type="application/json")
        await response(scope, receive, send)

    async def _count(self, accepted: Accepted[CountTokensRequest]) -> TokenCount:
        with self.drain.hold():
            async with self.gate.place(accepted.request.origin.priority):
                engine = await self.engines.engine(accepted.model)
                wire = await edited(accepted.wire, engine, accepted.translated)
                tokens = await engine.count_tokens(accepted.translated(wire.request))
        original = tokens if wire.original_tokens is None else wire.original_tokens
        asked = accepted.wire.context_management is not None
        return TokenCount(
            input_tokens=tokens,
            context_management=OriginalTokens(original_input_tokens=original) if asked else None,
        )
