"""`GET /v1/models`: the models and aliases, in Anthropic's form and in OpenAI's. Pure.

The wire is the specification: the official SDK's `types/model_info.py`, `model_capabilities.py`, `pagination.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import attrs

from pensieve_core import EngineDescription, ModelDescriptor
from pensieve_protocol._constraints import Between
from pensieve_protocol._engines import LocalModel
from pensieve_protocol._errors import invalid_request
from pensieve_protocol._json import RARE
from pensieve_protocol._times import rfc3339

__all__ = [
    "ModelInfo",
    "ModelPage",
    "OpenAIModel",
    "OpenAIModelList",
    "PageQuery",
    "model_info",
    "openai_model",
    "paginate",
    "parse_page_query",
]

_DEFAULT_LIMIT, _MAX_LIMIT = 20, 1000
"""From the SDK's `model_list_params.py`."""


@attrs.frozen(kw_only=True)
class Support:
    """Whether something works."""

    supported: bool = False


@attrs.frozen(kw_only=True)
class ContextManagementSupport:
    """Which edits are made to a conversation."""

    supported: bool = True
    clear_thinking_20251015: Support = Support(supported=True)
    clear_tool_uses_20250919: Support = Support(supported=True)
    compact_20260112: Support = Support()


@attrs.frozen(kw_only=True)
class EffortSupport:
    """Which effort levels change the answer: all, if the model reasons; otherwise they are merely accepted."""

    supported: bool
    low: Support
    medium: Support
    high: Support
    xhigh: Support
    max: Support


@attrs.frozen(kw_only=True)
class ServerToolsSupport:
    """Which tools the server runs itself: none."""

    supported: bool = False
    code_execution: Support = Support()
    web_search: Support = Support()


@attrs.frozen(kw_only=True)
class ThinkingTypes:
    """Which `thinking.type` is accepted. The two that switch reasoning off always are."""

    adaptive: Support
    enabled: Support
    disabled: Support = Support(supported=True)
    between_tools: Support = Support(supported=True)


@attrs.frozen(kw_only=True)
class ThinkingSupport:
    """Whether the model reasons."""

    supported: bool
    types: ThinkingTypes


@attrs.frozen(kw_only=True)
class CapabilitySupport:
    """What can be asked of the model here. Every key is always present, as the SDK promises."""

    batch: Support
    citations: Support = Support()
    code_execution: Support = Support()
    context_management: ContextManagementSupport = ContextManagementSupport()
    effort: EffortSupport
    image_input: Support
    pdf_input: Support = Support()
    server_tools: ServerToolsSupport = ServerToolsSupport()
    structured_outputs: Support = Support()
    thinking: ThinkingSupport


@attrs.frozen(kw_only=True)
class ModelInfo:
    """One model, or one alias of it."""

    type: Literal["model"] = "model"
    id: str
    display_name: str
    created_at: str
    """RFC 3339, UTC."""
    max_input_tokens: int
    """The fitted context once the model is loaded; what it was trained for before."""
    max_tokens: int
    """The same: prompt and answer share the context, and a larger request is served with what is left."""
    capabilities: CapabilitySupport
    lifecycle: Literal["active"] = "active"
    line: None = None
    deprecated_at: None = None
    retires_at: None = None
    pensieve: LocalModel | None = attrs.field(default=None, metadata=RARE)
    """Ours, beside Anthropic's fields: whether the model is in memory."""


@attrs.frozen(kw_only=True)
class ModelPage:
    """A page of models."""

    data: tuple[ModelInfo, ...]
    has_more: bool
    """Whether there are more in the direction that was asked for."""
    first_id: str | None
    last_id: str | None


@attrs.frozen(kw_only=True)
class PageQuery:
    """Which page: after or before an id, or from the start."""

    after_id: str | None = None
    before_id: str | None = None
    """Not together with `after_id`."""
    limit: Annotated[int, Between(1, _MAX_LIMIT)] = _DEFAULT_LIMIT


@attrs.frozen(kw_only=True)
class OpenAIModel:
    """One model as OpenAI lists it."""

    id: str
    object: Literal["model"] = "model"
    created: int
    """Unix seconds."""
    owned_by: str = "pensieve"
    pensieve: LocalModel | None = attrs.field(default=None, metadata=RARE)
    """As in Anthropic's form."""


@attrs.frozen(kw_only=True)
class OpenAIModelList:
    """All models as OpenAI lists them: without pages."""

    object: Literal["list"] = "list"
    data: tuple[OpenAIModel, ...]


def model_info(
    descriptor: ModelDescriptor,
    description: EngineDescription | None = None,
    *,
    id: str | None = None,  # noqa: A002 - the wire's name
    reads_pdfs: bool = False,
    runs_batches: bool = False,
    local: LocalModel | None = None,
) -> ModelInfo:
    """Return the wire form of a model, under its own id or under the alias `id`.

    Args:
        descriptor: What the file says.
        description: What was fitted, when the model is loaded.
        id: An alias to list it by.
        reads_pdfs: Whether the text of PDFs is extracted before the model sees a request.
        runs_batches: Whether there are batches.
        local: Whether it is in memory.
    """
    context = descriptor.context_tokens if description is None else description.context_tokens
    return ModelInfo(
        id=id or descriptor.id,
        display_name=descriptor.display_name,
        created_at=rfc3339(descriptor.created_at),
        max_input_tokens=context,
        max_tokens=context,
        capabilities=_capabilities(
            descriptor if description is None else description.model,
            pdfs=Support(supported=reads_pdfs),
            batches=Support(supported=runs_batches),
        ),
        pensieve=local,
    )


def openai_model(
    descriptor: ModelDescriptor,
    *,
    id: str | None = None,  # noqa: A002 - the wire's name
    local: LocalModel | None = None,
) -> OpenAIModel:
    """Return OpenAI's form of a model; `id` and `local` as in `model_info`."""
    return OpenAIModel(id=id or descriptor.id, created=descriptor.created_at, pensieve=local)


def parse_page_query(query: Mapping[str, str]) -> PageQuery:
    """Return the page that a query string asks for; unknown parameters are ignored.

    Raises:
        RequestError: 400; `limit` is not a number from 1 to 1000, or both cursors are given.
    """
    after_id, before_id = query.get("after_id"), query.get("before_id")
    if after_id and before_id:
        msg = "before_id: cannot be combined with after_id"
        raise invalid_request(msg)
    return PageQuery(after_id=after_id, before_id=before_id, limit=_limit(query.get("limit")))


def paginate(models: Sequence[ModelInfo], query: PageQuery) -> ModelPage:
    """Return one page of `models`.

    Raises:
        RequestError: 400; a cursor names no model.
    """
    if query.before_id:
        end = _position(models, "before_id", query.before_id)
        start = max(0, end - query.limit)
        return _page(models[start:end], has_more=start > 0)
    start = _position(models, "after_id", query.after_id) + 1 if query.after_id else 0
    end = start + query.limit
    return _page(models[start:end], has_more=end < len(models))


def _page(data: Sequence[ModelInfo], *, has_more: bool) -> ModelPage:
    first, last = (data[0].id, data[-1].id) if data else (None, None)
    return ModelPage(data=tuple(data), has_more=has_more, first_id=first, last_id=last)


def _position(models: Sequence[ModelInfo], name: str, cursor: str) -> int:
    for index, model in enumerate(models):
        if model.id == cursor:
            return index
    raise invalid_request(f"{name}: no model is named {cursor!r}")


def _limit(text: str | None) -> int:
    if text is None:
        return _DEFAULT_LIMIT
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(_MAX_LIMIT)) and 1 <= int(text) <= _MAX_LIMIT):
        raise invalid_request(f"limit: must be from 1 to {_MAX_LIMIT}, got {text[:20]!r}")
    return int(text)


def _capabilities(descriptor: ModelDescriptor, *, pdfs: Support, batches: Support) -> CapabilitySupport:
    thinks = Support(supported=descriptor.capabilities.thinking)
    return CapabilitySupport(
        batch=batches,
        effort=EffortSupport(
            supported=thinks.supported, low=thinks, medium=thinks, high=thinks, xhigh=thinks, max=thinks
        ),
        image_input=Support(supported=descriptor.capabilities.images),
        pdf_input=pdfs,
        thinking=ThinkingSupport(supported=thinks.supported, types=ThinkingTypes(adaptive=thinks, enabled=thinks)),
    )
