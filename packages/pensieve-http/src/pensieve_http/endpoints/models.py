"""`GET /v1/models` and `/v1/models/{id}`: Anthropic's form, or OpenAI's for clients that send no `anthropic-version`.

Ids may hold slashes (`org/name`), so the rest of the path is the id. Aliases are listed beside the models: Claude
Code's picker keeps only names that contain `claude` or `anthropic`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import attrs
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import request_response

from pensieve_core import ModelDescriptor, ModelNotFoundError
from pensieve_http.operation import Body, ClientHeaders, Endpoint, Operation
from pensieve_inference import EngineLoader, EngineProvider, ModelCatalog
from pensieve_protocol import (
    LocalModel,
    ModelInfo,
    ModelPage,
    OpenAIModel,
    OpenAIModelList,
    PageQuery,
    check_version,
    dump_json,
    local_model,
    model_info,
    openai_model,
    paginate,
    parse_page_query,
)

__all__ = ["Models"]


@attrs.frozen(kw_only=True)
class ModelPath:
    """Which model."""

    model_id: str
    """Its id, or any alias that a request may use."""


LIST_MODELS = Operation(
    name="list_models",
    summary="List models and aliases, page by page; in OpenAI's form, and all at once, without `anthropic-version`",
    query=PageQuery,
    headers=ClientHeaders,
    answers={200: (Body(type=ModelPage | OpenAIModelList),)},
)
RETRIEVE_MODEL = Operation(
    name="retrieve_model",
    summary="Describe one model; in OpenAI's form without `anthropic-version`",
    path=ModelPath,
    headers=ClientHeaders,
    answers={200: (Body(type=ModelInfo | OpenAIModel),)},
    errors=(404,),
)


@attrs.frozen(kw_only=True, eq=False)
class Models:
    """Both endpoints. Nothing is loaded to answer them."""

    catalog: ModelCatalog
    engines: EngineProvider
    loader: EngineLoader
    """Of `engines`."""
    reads_pdfs: bool
    runs_batches: bool

    def endpoints(self) -> Sequence[Endpoint]:
        """Return both."""
        one = request_response(self.one)
        return [
            Endpoint(method="GET", path="/v1/models", app=request_response(self.page), operation=LIST_MODELS),
            Endpoint(method="GET", path="/v1/models/{model_id:path}", app=one, operation=RETRIEVE_MODEL),
        ]

    async def page(self, request: Request) -> Response:
        """`GET /v1/models`."""
        version = request.headers.get("anthropic-version")
        check_version(version)
        query = parse_page_query(request.query_params)
        if version is None:
            return _json(OpenAIModelList(data=tuple(self._openai(name, model) for name, model in self._named())))
        infos = [self._info(name, model) for name, model in self._named()]
        return _json(paginate(infos, query))

    async def one(self, request: Request) -> Response:
        """`GET /v1/models/{id}`, by id or by any alias that a request may use."""
        name, version = request.path_params["model_id"], request.headers.get("anthropic-version")
        check_version(version)
        model = self.catalog.resolve(name)
        return _json(self._openai(name, model) if version is None else self._info(name, model))

    def _named(self) -> Iterator[tuple[str, ModelDescriptor]]:
        """Yield every listed name with its model: the models first, then the aliases, be it of one with an adapter."""
        models = {model.id: model for model in self.catalog.models()}
        yield from models.items()
        for alias in self.catalog.aliases():
            if alias not in models:
                yield from self._meant(alias)

    def _meant(self, alias: str) -> Iterator[tuple[str, ModelDescriptor]]:
        with contextlib.suppress(ModelNotFoundError):  # it leads nowhere any more
            yield alias, self.catalog.resolve(alias)

    def _info(self, name: str, model: ModelDescriptor) -> ModelInfo:
        return model_info(
            model,
            self.engines.loaded(model.id),
            id=name,
            reads_pdfs=self.reads_pdfs,
            runs_batches=self.runs_batches,
            local=self._local(model),
        )

    def _openai(self, name: str, model: ModelDescriptor) -> OpenAIModel:
        return openai_model(model, id=name, local=self._local(model))

    def _local(self, model: ModelDescriptor) -> LocalModel:
        return local_model(self.loader.residency(), model.id)


def _json(body: object) -> Response:
    return Response(dump_json(body), media_type="application/json")
