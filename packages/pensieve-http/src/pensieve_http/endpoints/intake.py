"""From an HTTP request to a request for an engine: read, check, resolve, translate. What both POSTs begin with.

Documents are read before the translation, which is pure.
"""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

import attrs
from starlette.datastructures import Headers
from starlette.types import Receive, Scope

from pensieve_core import GenerationRequest, ModelDescriptor
from pensieve_http.body import BodyReader
from pensieve_http.documents import Documents
from pensieve_http.named_files import NamedFiles
from pensieve_http.oddities import Oddities
from pensieve_http.origin import read_origin
from pensieve_http.record import RequestRecord, record_of
from pensieve_inference import ModelCatalog
from pensieve_protocol import (
    CountTokensRequest,
    Signatures,
    Terms,
    parse_betas,
    to_generation_request,
    unknown_betas,
)

__all__ = ["Accepted", "Intake", "Parser"]

_Wire = TypeVar("_Wire", bound=CountTokensRequest)
_Wire_co = TypeVar("_Wire_co", bound=CountTokensRequest, covariant=True)


class Parser(Protocol[_Wire_co]):
    """`parse_messages_request` or its sibling."""

    def __call__(self, body: bytes, terms: Terms) -> _Wire_co:
        """Return the request; raise `RequestError`."""
        ...


@attrs.frozen(kw_only=True)
class Accepted(Generic[_Wire]):
    """A request that can be handed to an engine."""

    wire: _Wire
    model: ModelDescriptor
    request: GenerationRequest
    record: RequestRecord

    def translated(self, wire: CountTokensRequest) -> GenerationRequest:
        """Return what an engine would be asked if `wire`, an edited form of the request, were to be served."""
        return to_generation_request(wire, request_id=self.record.id, model=self.model.id, origin=self.record.origin)


@attrs.frozen(kw_only=True)
class Intake:
    """Takes requests in; notes in their records what they ask for."""

    catalog: ModelCatalog
    reader: BodyReader
    files: NamedFiles
    documents: Documents
    signatures: Signatures
    """Recall reasoning that this installation signed."""
    oddities: Oddities
    strict: bool
    """Refuse what is not known."""

    async def take(self, parse: Parser[_Wire], scope: Scope, receive: Receive) -> Accepted[_Wire]:
        """Return the request in `scope`.

        Raises:
            RequestError: it is malformed, too large, too slow, or asks for what we cannot do.
            ModelNotFoundError: nobody knows its model.
            ClientGoneError: its sender left.
        """
        headers, record = Headers(scope=scope), record_of(scope)
        record.origin = read_origin(headers)
        body = await self.reader.read(scope, receive)
        betas = parse_betas(headers.getlist("anthropic-beta"))
        terms = Terms(version=headers.get("anthropic-version"), betas=betas, strict=self.strict)
        return await self.accept(parse, body, terms, record)

    async def accept(self, parse: Parser[_Wire], body: bytes, terms: Terms, record: RequestRecord) -> Accepted[_Wire]:
        """Return the request in `body`, sent under these `terms` by `record.origin`; raises as `take`."""
        wire = self._parsed(parse, body, terms)
        record.requested_model, record.unknown_fields = wire.model, wire.unknown_fields
        wire, record.foreign_thinking = self.signatures.recall_all(wire)
        model = self.catalog.resolve(wire.model)
        record.model = model.id
        wire = await self.files.read(wire)
        wire = await self.documents.read(wire)
        request = to_generation_request(wire, request_id=record.id, model=model.id, origin=record.origin)
        record.origin = request.origin  # now with its priority
        return Accepted(wire=wire, model=model, request=request, record=record)

    def _parsed(self, parse: Parser[_Wire], body: bytes, terms: Terms) -> _Wire:
        wire = parse(body, terms)
        self.oddities.note("field", wire.unknown_fields)
        self.oddities.note("beta", unknown_betas(terms.betas))
        return wire
