"""How the answer shall be: reasoning, effort, format; edits to the context, and why the cache missed."""

from __future__ import annotations

from conformance._requirements.record import Requirement

__all__ = ["ANSWERS"]

_ENABLED = "sdk: types/thinking_config_enabled_param.py"
_TABLE = "design: 3 Request fields"
_EFFORT = "sdk: types/output_config_param.py"
_EDITS = "sdk: types/beta/beta_context_management_config_param.py"
_MISS = "sdk: types/cache_miss_reason.py"

ANSWERS = (
    Requirement("thinking:enabled", "The model reasons, within the budget.", source=_ENABLED),
    Requirement("thinking:enabled:minimum", "A budget below 1024 is a 400.", source=_ENABLED),
    Requirement("thinking:enabled:max_tokens", "A budget that is not less than max_tokens is a 400.", source=_ENABLED),
    Requirement(
        "thinking:enabled:enforced",
        "Reasoning ends at its budget, and the answer follows.",
        source=_TABLE,
        held_by="tests/gguf/engine/test_reasoning.py::test_a_model_reasons_for_as_many_tokens_as_it_may",
    ),
    Requirement(
        "thinking:adaptive", "The model reasons as it sees fit.", source="sdk: types/thinking_config_adaptive_param.py"
    ),
    Requirement(
        "thinking:disabled", "The model does not reason.", source="sdk: types/thinking_config_disabled_param.py"
    ),
    Requirement(
        "thinking:between_tools",
        "The model does not reason; notes between tools are optional.",
        source="sdk: types/thinking_config_param.py",
    ),
    Requirement(
        "thinking:display:summarized",
        "Reasoning is shown.",
        source=_ENABLED,
        divergence="As the model wrote it, not summarised.",
    ),
    Requirement("thinking:display:omitted", "Reasoning is not shown, but signed.", source=_ENABLED),
    Requirement(
        "thinking:signature",
        "A block that comes back with its signature is accepted.",
        source="sdk: types/thinking_block.py",
    ),
    Requirement(
        "thinking:signature:own",
        "The signature proves that the block was made here (HMAC).",
        source=_TABLE,
    ),
    Requirement(
        "thinking:signature:foreign", "A signature of another server is accepted: conversations move.", source=_TABLE
    ),
    Requirement(
        "thinking:usage",
        "output_tokens_details says how many tokens were reasoning.",
        source="sdk: types/output_tokens_details.py",
    ),
    Requirement("effort:low", "Adaptive reasoning is off.", source=_EFFORT),
    Requirement("effort:medium", "Accepted.", source=_EFFORT),
    Requirement("effort:high", "Accepted; the default.", source=_EFFORT),
    Requirement("effort:xhigh", "Accepted.", source=_EFFORT),
    Requirement("effort:max", "Accepted.", source=_EFFORT),
    Requirement("effort:unknown", "A level that is to come is accepted.", source="design: 4 What it needs"),
    Requirement("effort:budget", "Each level above low gives reasoning a budget of its own.", source=_TABLE),
    Requirement(
        "format:json_schema",
        "The schema of output_config.format reaches the engine.",
        source="sdk: types/json_output_format_param.py",
    ),
    Requirement(
        "format:json_schema:held", "The answer is JSON of the schema, held by constrained decoding.", source=_TABLE
    ),
    Requirement(
        "format:json_schema:keyword",
        "A keyword that cannot be held is a 400 that names it.",
        source=_TABLE,
        divergence="It is left out, and the log says so; the rest of the schema is held.",
    ),
    Requirement("edits:clear_tool_uses_20250919", "Old tool results are cleared.", source=_EDITS),
    Requirement("edits:clear_thinking_20251015", "Old reasoning is cleared.", source=_EDITS),
    Requirement(
        "edits:compact_20260112",
        "Old turns are summarised by the server.",
        source=_EDITS,
        deferred="a summary costs a local model minutes, and Claude Code compacts by itself",
    ),
    Requirement(
        "edits:applied_edits",
        "The answer says which edits were made, and what they saved.",
        source="sdk: types/beta/beta_context_management_response.py",
    ),
    Requirement("edits:accepted", "A request with edits is served.", source=_EDITS),
    Requirement(
        "diagnostics:accepted", "A request with diagnostics is served.", source="sdk: types/diagnostics_param.py"
    ),
    Requirement("diagnostics:model_changed", "Another model was asked.", source=_MISS),
    Requirement("diagnostics:system_changed", "The system prompt differs.", source=_MISS),
    Requirement("diagnostics:tools_changed", "The tools differ.", source=_MISS),
    Requirement("diagnostics:messages_changed", "An earlier message differs.", source=_MISS),
    Requirement(
        "diagnostics:previous_message_not_found",
        "The earlier answer is not known any more.",
        source=_MISS,
    ),
    Requirement(
        "diagnostics:unavailable",
        "Nothing can be said.",
        source=_MISS,
        held_by="tests/protocol/test_diagnostics.py::test_what_differs_elsewhere_is_not_diagnosed",
    ),
    Requirement(
        "message:fields", "A message has every field that the SDK's type promises.", source="sdk: types/message.py"
    ),
    Requirement("message:id", "Ids begin with msg_, and no two are the same.", source="sdk: types/message.py"),
    Requirement("message:tool-ids", "Ids of calls begin with toolu_.", source="sdk: types/tool_use_block.py"),
    Requirement(
        "message:cut-input", "A call that max_tokens cut off is still a message that can be read.", source="ours"
    ),
)
