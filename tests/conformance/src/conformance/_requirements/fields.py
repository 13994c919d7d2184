"""The fields of a request, by their names on the wire."""

from __future__ import annotations

from conformance._requirements.record import Requirement

__all__ = ["FIELDS"]

_PARAMS = "sdk: types/message_create_params.py"
_BETA = "sdk: types/beta/message_create_params.py"
_TABLE = "design: 3 Request fields"
_IGNORED = "Accepted, and ignored: it is about Anthropic's own service."

FIELDS = (
    Requirement("field:model", "An alias or id names the model; the answer echoes what was asked.", source=_PARAMS),
    Requirement("field:model:unknown", "An unknown name is a 404 that lists the known ones.", source=_TABLE),
    Requirement(
        "field:model:claude", "Every `claude-*` name means the default model.", source="design: 4 What it needs"
    ),
    Requirement("field:max_tokens", "At most so many tokens are generated.", source=_PARAMS),
    Requirement("field:max_tokens:zero", "0 warms the cache: no content, and stop reason max_tokens.", source=_PARAMS),
    Requirement(
        "field:max_tokens:required", "Without max_tokens, or with a negative one, a request is a 400.", source=_PARAMS
    ),
    Requirement("field:messages", "Turns of user and assistant reach the model in their order.", source=_PARAMS),
    Requirement("field:messages:string", "A string is short for one text block.", source="sdk: types/message_param.py"),
    Requirement("field:messages:neighbours", "Neighbours of one role are one turn.", source=_PARAMS),
    Requirement("field:messages:prefill", "A last turn of the assistant is continued.", source=_PARAMS),
    Requirement("field:messages:system", "System turns may stand anywhere, and stay there.", source=_BETA),
    Requirement(
        "field:messages:clear_at", "A system turn with clear_at next_user_message is gone after it.", source=_BETA
    ),
    Requirement("field:messages:empty", "An empty list of messages is a 400.", source=_PARAMS),
    Requirement("field:messages:limit", "More than 100,000 messages are a 400.", source=_PARAMS),
    Requirement(
        "field:messages:misplaced", "A block in a turn that cannot have it is a 400 that says so.", source=_TABLE
    ),
    Requirement("field:system", "A string or text blocks before all turns.", source=_PARAMS),
    Requirement(
        "field:system:billing",
        "Claude Code's billing block never reaches the model.",
        source="observed: Claude Code 2.1.197",
    ),
    Requirement("field:stream", "`stream` decides between events and one JSON answer.", source=_PARAMS),
    Requirement("field:stop_sequences", "Generation ends at the first of them, which is not shown.", source=_PARAMS),
    Requirement("field:stop_sequences:across-tokens", "Also where it spans several tokens.", source=_TABLE),
    Requirement("field:temperature", "Honoured from 0 (greedy) to 1; more counts as 1.", source=_TABLE),
    Requirement("field:top_p", "Honoured from 0 to 1; out of it a 400.", source=_TABLE),
    Requirement("field:top_k", "Honoured.", source=_TABLE),
    Requirement("field:tools", "The model may call what is listed.", source=_PARAMS),
    Requirement("field:tool_choice", "How free it is in calling.", source=_PARAMS),
    Requirement("field:thinking", "Whether and how long it reasons.", source=_PARAMS),
    Requirement("field:output_config", "Effort and format of the answer.", source=_PARAMS),
    Requirement("field:output_format", "The older place of output_config.format.", source=_TABLE),
    Requirement(
        "field:context_management",
        "Its edits are made before the model sees the prompt.",
        source=_BETA,
    ),
    Requirement("field:diagnostics", "The answer says why the cache missed.", source=_PARAMS),
    Requirement("field:cache_control", "At the top level it marks the last block that can be marked.", source=_PARAMS),
    Requirement(
        "field:metadata", "user_id makes requests of one user share fairly, and is never logged.", source=_PARAMS
    ),
    Requirement("field:service_tier", "Ignored.", source=_PARAMS, divergence=_IGNORED),
    Requirement("field:speed", "Ignored.", source=_PARAMS, divergence=_IGNORED),
    Requirement("field:inference_geo", "Ignored.", source=_PARAMS, divergence=_IGNORED),
    Requirement("field:user_profile_id", "A header for partners of Anthropic.", source=_PARAMS, divergence=_IGNORED),
    Requirement("field:workspace_id", "A header that chooses a workspace.", source=_PARAMS, divergence=_IGNORED),
    Requirement("field:billing_policy", "Who pays.", source=_BETA, divergence=_IGNORED),
    Requirement("field:fallback_credit_token", "A credit after a refusal.", source=_BETA, divergence=_IGNORED),
    Requirement(
        "field:fallbacks",
        "Other models are tried when classifiers decline.",
        source=_BETA,
        divergence="Accepted, and ignored: nothing declines here.",
    ),
    Requirement(
        "field:compaction",
        "The server summarises a long conversation.",
        source=_BETA,
        divergence="Accepted, and ignored: Claude Code compacts by itself when the prompt is too long.",
    ),
    Requirement(
        "field:thread",
        "A conversation that the server remembers is continued.",
        source=_BETA,
        divergence="Refused as `thread_unsupported_request`, upon which the SDKs' tool runners send the whole.",
    ),
    Requirement("field:betas", "The header `anthropic-beta`; see version:beta.", source=_BETA),
    Requirement("field:container", "There are no containers: a 400 that says so.", source=_TABLE),
    Requirement(
        "field:mcp_servers", "This server connects to none: a 400 that says so; an empty list is fine.", source=_TABLE
    ),
    Requirement("field:unknown", "An unknown field is ignored, and named in the log once.", source=_TABLE),
    Requirement("field:null", "null in an optional field means that it was left out.", source=_PARAMS),
    Requirement("field:types", 'JSON is taken at its word: "5" is no number, 1 is no boolean.', source="ours"),
)
