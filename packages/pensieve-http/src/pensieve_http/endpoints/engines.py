"""`/engines`: which models are in memory; load one, unload one. For the command line, and whoever runs the server.

Ids may hold slashes (`org/name`), so all between `/engines/` and the last word is the id, or an alias. Above: the
routes. Below: an `EngineLoader`, which decides who makes room for whom.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import request_response
from starlette.types import Receive, Scope, Send

from pensieve_core import ModelId
from pensieve_http.body import BodyReader
from pensieve_http.drain import Drain
from pensieve_http.operation import JSON, Body, Endpoint, Operation
from pensieve_http.race import client_gone, race
from pensieve_inference import EngineLoader, ModelCatalog
from pensieve_protocol import (
    EngineInfo,
    EngineList,
    LoadEngineRequest,
    dump_json,
    engine_list,
    parse_load_engine_request,
)

__all__ = ["Engines"]

_OVERLOADED = 529


@attrs.frozen(kw_only=True)
class EnginePath:
    """Which model."""

    model: str
    """Its id, or any alias that a request may use."""


LIST_ENGINES = Operation(
    name="list_engines",
    summary="Say which models are in memory, what each takes, and who is pinned",
    answers={200: (Body(type=EngineList),)},
)
SHOW_ENGINE = Operation(
    name="show_engine",
    summary="Say whether a model is in memory, and how much of it is there while it is loaded",
    path=EnginePath,
    answers={200: (Body(type=EngineInfo),)},
    errors=(404,),
)
LOAD_ENGINE = Operation(
    name="load_engine",
    summary="Load a model, and answer when it is ready; `pin` keeps it in memory",
    takes=Body(type=LoadEngineRequest, optional=True),
    path=EnginePath,
    answers={200: (Body(type=EngineInfo),)},
    errors=(404, _OVERLOADED),
)
UNLOAD_ENGINE = Operation(
    name="unload_engine",
    summary="Let a model's running answers end for a bounded time, unload it, and answer when it is gone",
    path=EnginePath,
    answers={200: (Body(type=EngineInfo),)},
    errors=(400, 404),
)


@attrs.frozen(kw_only=True, eq=False)
class Engines:
    """The four endpoints."""

    catalog: ModelCatalog
    loader: EngineLoader
    reader: BodyReader
    drain: Drain

    def endpoints(self) -> Sequence[Endpoint]:
        """Return them."""
        page, one, of_one = request_response(self.page), request_response(self.one), "/engines/{model:path}"
        return [
            Endpoint(method="GET", path="/engines", app=page, operation=LIST_ENGINES),
            Endpoint(method="POST", path=f"{of_one}/load", app=self.load, operation=LOAD_ENGINE),
            Endpoint(method="POST", path=f"{of_one}/unload", app=self.unload, operation=UNLOAD_ENGINE),
            Endpoint(method="GET", path=of_one, app=one, operation=SHOW_ENGINE),  # last: its path takes in the others
        ]

    async def page(self, _request: Request) -> Response:
        """`GET /engines`."""
        return _json(self._listed(model.id for model in self.catalog.models()))

    async def one(self, request: Request) -> Response:
        """`GET /engines/{model}`."""
        return self._info(self.catalog.resolve(request.path_params["model"]).id)

    async def load(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`POST /engines/{model}/load`, an ASGI application. Who leaves while it loads stops nothing."""
        wanted = parse_load_engine_request(await self.reader.read(scope, receive))
        model = self.catalog.resolve(scope["path_params"]["model"])
        with self.drain.hold():
            await race(self.loader.load(model, pin=wanted.pin), client_gone(receive))
        await self._info(model.id)(scope, receive, send)

    async def unload(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`POST /engines/{model}/unload`, an ASGI application."""
        model = self.catalog.resolve(scope["path_params"]["model"])
        await race(self.loader.unload(model.id), client_gone(receive))
        await self._info(model.id)(scope, receive, send)

    def _listed(self, models: Iterable[ModelId]) -> EngineList:
        return engine_list(self.loader.residency(), models)

    def _info(self, model: ModelId) -> Response:
        """Return what is known of `model`, be it one with an adapter, which the catalog knows and does not list."""
        return _json(next(engine for engine in self._listed((model,)).engines if engine.model == model))


def _json(body: object) -> Response:
    return Response(dump_json(body), media_type=JSON)
