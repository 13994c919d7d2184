"""Puts the application together.

A request passes, from the outside in:

    RequestLog      id, record, log line            ErrorBoundary   exceptions become envelopes
    UnreadBody      refusals that arrive            ApiKeys         401
    HeaderLimits    431                             require_json    400
    AllowedHosts    403                             Draining        529 while going down
    Origins         403, CORS                       routes

Everything is passed in and nothing is global, so that a process may hold several of these.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Awaitable, Callable, Sequence

import attrs
import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp
from structlog.typing import FilteringBoundLogger

from pensieve_core import Clock, RequestId
from pensieve_http.activity import Activity
from pensieve_http.answering import Answering
from pensieve_http.batches.answerer import BatchAnswerer
from pensieve_http.batches.runner import BatchRunner, Claim
from pensieve_http.body import BodyReader
from pensieve_http.documents import Documents, pdf_process
from pensieve_http.drain import Drain
from pensieve_http.endpoints.batches import Batches
from pensieve_http.endpoints.chat import CREATE_CHAT_COMPLETION, ChatCompletions
from pensieve_http.endpoints.count_tokens import COUNT_TOKENS, CountTokens
from pensieve_http.endpoints.description import Description
from pensieve_http.endpoints.engines import Engines
from pensieve_http.endpoints.files import Files
from pensieve_http.endpoints.health import Health
from pensieve_http.endpoints.intake import Intake
from pensieve_http.endpoints.messages import CREATE_MESSAGE, Messages
from pensieve_http.endpoints.models import Models
from pensieve_http.endpoints.status import Status
from pensieve_http.errors import ErrorTranslator, error_response
from pensieve_http.gate import Gate
from pensieve_http.metrics import Metrics, Present
from pensieve_http.middleware.api_keys import ApiKeys
from pensieve_http.middleware.content_type import require_json
from pensieve_http.middleware.draining import Draining
from pensieve_http.middleware.error_boundary import ErrorBoundary
from pensieve_http.middleware.guard import Guard
from pensieve_http.middleware.header_limits import HeaderLimits
from pensieve_http.middleware.hosts import AllowedHosts
from pensieve_http.middleware.origins import Origins
from pensieve_http.middleware.request_log import RequestLog
from pensieve_http.middleware.unread_body import UnreadBody
from pensieve_http.named_files import NamedFiles
from pensieve_http.oddities import Oddities
from pensieve_http.operation import Endpoint
from pensieve_http.routing import routes
from pensieve_http.settings import HttpSettings
from pensieve_http.storage import Storage
from pensieve_inference import EngineProvider, ModelCatalog, loader_of
from pensieve_protocol import PromptRecords, Signatures

__all__ = ["create_app", "create_batch_runner", "new_request_id"]


def new_request_id() -> RequestId:
    """Return a fresh `req_…` of 96 random bits."""
    return RequestId(f"req_{secrets.token_hex(12)}")


def create_app(
    *,
    catalog: ModelCatalog,
    engines: EngineProvider,
    settings: HttpSettings,
    clock: Clock,
    drain: Drain | None = None,
    storage: Storage | None = None,
    log: FilteringBoundLogger | None = None,
    new_id: Callable[[], RequestId] = new_request_id,
) -> ASGIApp:
    """Return the ASGI application.

    Args:
        catalog: Which models there are.
        engines: Who runs them; closed by its owner, not by the application.
        settings: Limits, keys, names, intervals.
        clock: For every wait and every measurement.
        drain: To be begun by its owner when the server goes down.
        storage: Keeps files and batches; closed by its owner. None: there are no such endpoints.
        log: Where the request lines go; structlog's configured logger by default.
        new_id: Makes request ids; to be unique.
    """
    parts = _Parts(
        catalog=catalog,
        engines=engines,
        settings=settings,
        clock=clock,
        drain=drain or Drain(clock),
        storage=storage,
        log=log or structlog.get_logger("pensieve_http"),
        new_id=new_id,
    )
    app = Starlette(
        routes=routes(_endpoints(parts)),
        middleware=_middleware(parts),
        exception_handlers={HTTPException: _routing_failed(parts.translator)},
    )
    app.router.redirect_slashes = False
    return app


def create_batch_runner(
    *,
    catalog: ModelCatalog,
    engines: EngineProvider,
    settings: HttpSettings,
    clock: Clock,
    drain: Drain,
    storage: Storage,
    claim: Claim,
    log: FilteringBoundLogger | None = None,
) -> BatchRunner:
    """Return who runs the batches of `storage`, through a gate of its own; the arguments as of `create_app`.

    `claim` says whether this server may: no two run the same batches.
    """
    log = log or structlog.get_logger("pensieve_http")
    parts = _Parts(
        catalog=catalog,
        engines=engines,
        settings=settings,
        clock=clock,
        drain=drain,
        storage=storage,
        log=log,
        new_id=new_request_id,
    )
    places = settings.batch_places
    answerer = BatchAnswerer(
        messages=_messages(parts, Gate(places=places, queue=0)),
        translator=parts.translator,
        clock=clock,
        log=log,
        new_id=parts.new_id,
        strict=settings.strict,
    )
    return BatchRunner(storage.batches, answerer, claim=claim, clock=clock, drain=drain, log=log, places=places)


@attrs.frozen(kw_only=True)
class _Parts:
    catalog: ModelCatalog
    engines: EngineProvider
    settings: HttpSettings
    clock: Clock
    drain: Drain
    storage: Storage | None
    log: FilteringBoundLogger
    new_id: Callable[[], RequestId]
    activity: Activity = attrs.field(factory=Activity)
    documents: Documents = attrs.field(init=False)
    signatures: Signatures = attrs.field(init=False)
    oddities: Oddities = attrs.field(init=False)
    metrics: Metrics = attrs.field(init=False)

    @documents.default
    def _documents(self) -> Documents:
        seconds = self.settings.document_timeout_s
        pdfs = pdf_process(max_pages=self.settings.max_pdf_pages, max_cpu_s=math.ceil(seconds))
        return Documents(pdfs, self.clock, timeout_s=seconds)

    @signatures.default
    def _signatures(self) -> Signatures:
        return Signatures(self.settings.signing_key)

    @oddities.default
    def _oddities(self) -> Oddities:
        return Oddities(self.log)

    @metrics.default
    def _metrics(self) -> Metrics:
        return Metrics(version=self.settings.version)

    @property
    def translator(self) -> ErrorTranslator:
        return ErrorTranslator(self.log)

    @property
    def intake(self) -> Intake:
        kept = None if self.storage is None else self.storage.files
        return Intake(
            catalog=self.catalog,
            reader=self.reader(self.settings.max_body_bytes),
            files=NamedFiles(files=kept, max_bytes=self.settings.max_body_bytes),
            documents=self.documents,
            signatures=self.signatures,
            oddities=self.oddities,
            strict=self.settings.strict,
        )

    @property
    def answering(self) -> Answering:
        return Answering(drain=self.drain, clock=self.clock, translator=self.translator, settings=self.settings)

    def reader(self, max_bytes: int) -> BodyReader:
        return BodyReader(clock=self.clock, max_bytes=max_bytes, timeout_s=self.settings.body_timeout_s)

    def gate(self) -> Gate:
        return Gate(places=self.settings.max_concurrent, queue=self.settings.max_queued)


def _middleware(parts: _Parts) -> list[Middleware]:
    settings = parts.settings
    limits = HeaderLimits(max_count=settings.max_header_count, max_bytes=settings.max_header_bytes)
    return [
        Middleware(
            RequestLog,
            new_id=parts.new_id,
            clock=parts.clock,
            log=parts.log,
            metrics=parts.metrics,
            activity=parts.activity,
        ),
        Middleware(UnreadBody, clock=parts.clock, linger_s=settings.linger_s),
        Middleware(Guard, check=limits),
        Middleware(Guard, check=AllowedHosts(settings.allowed_hosts)),
        Middleware(Origins, allowed=settings.allowed_origins),
        Middleware(ErrorBoundary, translator=parts.translator),
        Middleware(Guard, check=ApiKeys(settings.api_keys)),
        Middleware(Guard, check=require_json),
        Middleware(Draining, drain=parts.drain),
    ]


def _endpoints(parts: _Parts) -> list[Endpoint]:
    described = [*_api_endpoints(parts), *_own_endpoints(parts)]
    return [*described, Description(others=described, version=parts.settings.version).endpoint()]


def _api_endpoints(parts: _Parts) -> list[Endpoint]:
    models = Models(
        catalog=parts.catalog,
        engines=parts.engines,
        loader=loader_of(parts.engines),
        reads_pdfs=parts.documents.reads_pdfs,
        runs_batches=parts.storage is not None,
    )
    gate = parts.gate()
    parts.metrics.observe(Present(gate=gate, drain=parts.drain, engines=parts.engines))
    messages = _messages(parts, gate)
    chat = ChatCompletions(intake=parts.intake, engines=parts.engines, gate=gate, answering=parts.answering)
    count = CountTokens(intake=parts.intake, engines=parts.engines, gate=parts.gate(), drain=parts.drain)
    return [
        Endpoint(method="POST", path="/v1/messages", app=messages, operation=CREATE_MESSAGE),
        Endpoint(method="POST", path="/v1/messages/count_tokens", app=count, operation=COUNT_TOKENS),
        Endpoint(method="POST", path="/v1/chat/completions", app=chat, operation=CREATE_CHAT_COMPLETION),
        *models.endpoints(),
        *([] if parts.storage is None else _storage_endpoints(parts, parts.storage)),
    ]


def _messages(parts: _Parts, gate: Gate) -> Messages:
    return Messages(
        intake=parts.intake,
        engines=parts.engines,
        gate=gate,
        answering=parts.answering,
        signatures=parts.signatures,
        records=PromptRecords(),
        breaks=parts.activity.breaks,
    )


def _storage_endpoints(parts: _Parts, storage: Storage) -> Sequence[Endpoint]:
    settings = parts.settings
    files = Files(
        store=storage.files,
        limits=settings.file_limits,
        clock=parts.clock,
        drain=parts.drain,
        stall_timeout_s=settings.body_timeout_s,
        write_timeout_s=settings.write_timeout_s,
    )
    batches = Batches(
        store=storage.batches,
        reader=parts.reader(settings.max_batch_bytes),
        clock=parts.clock,
        write_timeout_s=settings.write_timeout_s,
    )
    return [*files.endpoints(), *batches.endpoints()]


def _own_endpoints(parts: _Parts) -> list[Endpoint]:
    health = Health(
        catalog=parts.catalog,
        engines=parts.engines,
        drain=parts.drain,
        metrics=parts.metrics,
        version=parts.settings.version,
    )
    status = Status(
        health=health,
        engines=parts.engines,
        activity=parts.activity,
        clock=parts.clock,
        version=parts.settings.version,
    )
    engines = Engines(
        catalog=parts.catalog,
        loader=loader_of(parts.engines),
        reader=parts.reader(parts.settings.max_body_bytes),
        drain=parts.drain,
    )
    return [*health.endpoints(), *status.endpoints(), *engines.endpoints()]


def _routing_failed(translator: ErrorTranslator) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def answer(request: Request, error: Exception) -> Response:
        headers = getattr(error, "headers", None)  # a 405 says which methods it allows
        return error_response(translator.translate(error, request.scope), request.scope, headers=headers)

    return answer
