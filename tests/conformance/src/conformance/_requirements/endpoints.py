"""Which paths there are, which versions of the API, and who may come in."""

from __future__ import annotations

from conformance._requirements.record import Requirement

__all__ = ["ENDPOINTS"]

_TABLE = "design: 3 Endpoints"
_VERSIONS = "design: 3 Two API versions"
_MODELS = "sdk: resources/models.py"
_MODEL = "sdk: types/model_info.py"

ENDPOINTS = (
    Requirement("endpoint:messages", "POST /v1/messages answers a Message.", source="sdk: types/message.py"),
    Requirement(
        "endpoint:messages:beta-query",
        "The path decides; `?beta=true` changes nothing.",
        source="sdk: resources/beta/messages/messages.py",
    ),
    Requirement(
        "endpoint:messages:method", "Another method than POST is a 405 that says which is allowed.", source="ours"
    ),
    Requirement(
        "endpoint:count_tokens",
        "POST /v1/messages/count_tokens answers the prompt's size, and nothing else.",
        source="sdk: types/message_tokens_count.py",
    ),
    Requirement(
        "endpoint:count_tokens:exact",
        "The count is what the same request is charged for: the sum of the three input figures.",
        source=_TABLE,
    ),
    Requirement(
        "endpoint:count_tokens:no-max_tokens",
        "max_tokens is not needed for counting.",
        source="sdk: types/message_count_tokens_params.py",
    ),
    Requirement("endpoint:models:list", "GET /v1/models answers a page of models and aliases.", source=_MODELS),
    Requirement(
        "endpoint:models:pages",
        "after_id, before_id and limit choose the page; has_more, first_id and last_id lead on.",
        source="sdk: pagination.py",
    ),
    Requirement(
        "endpoint:models:bad-page",
        "A limit out of 1 to 1000, a cursor that names nothing, and both cursors at once are a 400.",
        source="sdk: types/model_list_params.py",
    ),
    Requirement(
        "endpoint:models:retrieve",
        "GET /v1/models/{id} answers one model, by id or by any usable name.",
        source=_MODELS,
    ),
    Requirement("endpoint:models:unknown", "An unknown model is a 404 not_found_error.", source=_MODELS),
    Requirement("endpoint:models:fields", "Every field that the SDK's ModelInfo promises is there.", source=_MODEL),
    Requirement(
        "endpoint:models:fitted",
        "max_input_tokens and max_tokens are the fitted context, not what the model was trained for.",
        source=_TABLE,
    ),
    Requirement(
        "endpoint:models:capabilities",
        "Every known capability is named, and what is said to be supported is.",
        source="sdk: types/model_capabilities.py",
    ),
    Requirement(
        "endpoint:models:openai",
        "Without `anthropic-version` the list and a model are in OpenAI's form.",
        source=_TABLE,
    ),
    Requirement(
        "endpoint:models:picker",
        "Names that contain `claude` are listed, for Claude Code's picker.",
        source="design: 4 What it needs",
    ),
    Requirement(
        "endpoint:root",
        "HEAD / is answered with 200: Claude Code knocks there first.",
        source="observed: Claude Code 2.1.197",
    ),
    Requirement("endpoint:healthz", "GET /healthz says that the process is alive.", source=_TABLE),
    Requirement("endpoint:readyz", "GET /readyz says 200 when a request would be answered.", source=_TABLE),
    Requirement("endpoint:readyz:reason", "GET /readyz says 503 and why, while it would not.", source=_TABLE),
    Requirement("endpoint:version", "GET /version names the server's version and the API's.", source=_TABLE),
    Requirement("endpoint:metrics", "GET /metrics answers in Prometheus' text form.", source=_TABLE),
    Requirement("endpoint:openapi", "GET /openapi.json describes the API.", source=_TABLE),
    Requirement(
        "endpoint:chat",
        "POST /v1/chat/completions answers in OpenAI's form, its errors, too.",
        source="ours",
    ),
    Requirement("endpoint:unknown", "Anything else under /v1 is a 404 not_found_error.", source=_TABLE),
    Requirement("version:2023-06-01", "`anthropic-version: 2023-06-01` is served.", source=_VERSIONS),
    Requirement("version:2026-10-21", "`anthropic-version: 2026-10-21` is served.", source="sdk: _client.py"),
    Requirement("version:missing", "A request without `anthropic-version` is served.", source=_VERSIONS),
    Requirement("version:unknown", "An unknown version is a 400 that names the known ones.", source=_VERSIONS),
    Requirement(
        "version:sampling-is-gone",
        "2026-10-21 has no temperature, top_p and top_k.",
        source="sdk: types/message_create_params.py",
        divergence="Sampling fields are honoured on both versions: whoever runs a model at home wants them.",
    ),
    Requirement(
        "version:strict",
        "With `strict` set, sampling fields on 2026-10-21, unknown fields and unknown betas are refused.",
        source=_VERSIONS,
    ),
    Requirement(
        "version:beta",
        "Known and unknown names in `anthropic-beta` never make a request fail.",
        source="design: 4 What it needs",
    ),
    Requirement("access:open", "A server without keys takes any key, and none.", source="ours"),
    Requirement("access:x-api-key", "A key is taken from `x-api-key`.", source="sdk: _client.py"),
    Requirement("access:bearer", "A key is taken from `Authorization: Bearer`.", source="sdk: _client.py"),
    Requirement("access:probes", "The probes need no key.", source="ours"),
)
