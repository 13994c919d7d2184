"""Tools: the client's own, those that Anthropic has typed, and how free the model is in calling them."""

from __future__ import annotations

from conformance._requirements.record import NOT_BUILT, Requirement

__all__ = ["TOOLS"]

_TOOL = "sdk: types/tool_param.py"
_TABLE = "design: 3 Request fields"
_BETA = "sdk: types/beta/beta_tool_union_param.py"
_UNION = "sdk: types/tool_union_param.py"
_CHOICE = "sdk: types/tool_choice_param.py"

TOOLS = (
    Requirement("tool:custom", "Name, description and schema reach the model.", source=_TOOL),
    Requirement("tool:custom:type", "`type` may be left out, be null, or be `custom`.", source=_TOOL),
    Requirement("tool:custom:name", "A name is 1 to 128 of a-z, A-Z, 0-9, _ and -, and unique.", source=_TOOL),
    Requirement(
        "tool:custom:input_schema", "The input's schema is an object schema; another one is a 400.", source=_TOOL
    ),
    Requirement("tool:custom:input_examples", "Examples reach the model.", source=_TOOL),
    Requirement("tool:custom:strict", "A strict tool's input keeps to its schema.", source=_TOOL),
    Requirement(
        "tool:custom:strict:keyword",
        "A keyword that cannot be held is a 400 that names it.",
        source=_TABLE,
        deferred=NOT_BUILT,
    ),
    Requirement(
        "tool:custom:defer_loading",
        "A deferred tool is unknown to the model until something refers to it.",
        source=_TOOL,
    ),
    Requirement(
        "tool:custom:eager_input_streaming",
        "Fragments of the input come as they are generated, or only checked.",
        source=_TOOL,
        divergence="Accepted, and ignored: fragments always come as they are generated, and are valid JSON together.",
    ),
    Requirement("tool:custom:allowed_callers", "Accepted; only the model itself calls.", source=_TOOL),
    Requirement("tool:custom:cache_control", "A tool can be marked.", source=_TOOL),
    Requirement("tool:bash", "bash_* stands for its schema.", source="sdk: types/tool_bash_20250124_param.py"),
    Requirement(
        "tool:text_editor",
        "text_editor_* stands for its schema.",
        source="sdk: types/tool_text_editor_20250728_param.py",
    ),
    Requirement("tool:memory", "memory_* stands for its schema.", source="sdk: types/memory_tool_20250818_param.py"),
    Requirement("tool:computer", "computer_* is a 400 that names it.", source=_TABLE),
    Requirement("tool:browser", "browser_* is a 400 that names it.", source=_TABLE),
    Requirement("tool:web_search", "web_search_* is a 400 that names it.", source=_TABLE),
    Requirement("tool:web_fetch", "web_fetch_* is a 400 that names it.", source=_TABLE),
    Requirement("tool:code_execution", "code_execution_* is a 400 that names it.", source=_TABLE),
    Requirement("tool:advisor", "advisor_* is a 400 that names it.", source=_BETA),
    Requirement("tool:mcp_toolset", "mcp_toolset is a 400 that names it.", source=_BETA),
    Requirement(
        "tool:web_search:local",
        "With a local executor configured, web_search and its kin run.",
        source=_TABLE,
        deferred=NOT_BUILT,
    ),
    Requirement(
        "tool:tool_search_tool_bm25",
        "The server searches the deferred tools by words.",
        source=_UNION,
    ),
    Requirement("tool:tool_search_tool_regex", "The server searches them by a pattern.", source=_UNION),
    Requirement("tool:tool_search:accepted", "A request with a search tool is served.", source=_UNION),
    Requirement("tool:unknown", "An unknown type of tool is a 400 that names the known ones.", source="ours"),
    Requirement("tool_choice:auto", "The model may call.", source=_CHOICE),
    Requirement("tool_choice:any", "The model must call one of the tools.", source=_CHOICE),
    Requirement("tool_choice:any:held", "… and does, held by constrained decoding.", source=_TABLE),
    Requirement("tool_choice:tool", "The model must call this tool.", source=_CHOICE),
    Requirement("tool_choice:tool:held", "… and does, held by constrained decoding.", source=_TABLE),
    Requirement("tool_choice:tool:unknown", "A tool that is not listed, or still deferred, is a 400.", source=_TABLE),
    Requirement("tool_choice:none", "The model may not call.", source=_CHOICE),
    Requirement(
        "tool_choice:disable_parallel_tool_use", "At most one call.", source="sdk: types/tool_choice_auto_param.py"
    ),
    Requirement("tool_choice:without-tools", "`any` without tools is a 400.", source="ours"),
    Requirement(
        "tool:loop",
        "A call goes out, its result comes back, and the answer goes on.",
        source="sdk: types/tool_use_block.py",
    ),
    Requirement("tool:interleaved", "Text and several calls may stand in one answer.", source="sdk: types/message.py"),
)
