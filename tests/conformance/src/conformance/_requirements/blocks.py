"""What a message may hold."""

from __future__ import annotations

from conformance._requirements.record import NOT_BUILT, Requirement

__all__ = ["BLOCKS"]

_TABLE = "design: 3 Request fields"
_UNION = "sdk: types/content_block_param.py"
_BETA = "sdk: types/beta/beta_content_block_param.py"
_RESULT = "sdk: types/tool_result_block_param.py"
_AS_TEXT = "Reaches the model as text: no GGUF model knows such a block."

BLOCKS = (
    Requirement("block:text", "Text reaches the model as it is.", source="sdk: types/text_block_param.py"),
    Requirement("block:text:empty", "Empty text is tolerated.", source="observed: Claude Code sends some"),
    Requirement("block:image", "A base64 image reaches the engine decoded.", source="sdk: types/image_block_param.py"),
    Requirement(
        "block:image:text-model",
        "A model that cannot see refuses an image with a 400.",
        source="ours",
        held_by="tests/gguf/templates/test_template.py::test_images_are_refused",
    ),
    Requirement(
        "block:image:seen",
        "With a projector an image is computed once, and counted as it is charged; another one is told apart.",
        source=_TABLE,
        held_by="tests/e2e/test_images.py::test_an_image_is_counted_as_it_is_charged_and_computed_once",
    ),
    Requirement(
        "block:image:broken",
        "What is broken, or too large before it is decoded, is a 400 with its place.",
        source="observed: the words by which Claude Code 2.1.330 goes on without it",
        held_by="tests/e2e/test_images.py::test_what_is_no_image_is_a_400_with_its_place_and_the_server_goes_on",
    ),
    Requirement(
        "block:image:shown-by-a-tool",
        "A model that cannot see is told that a tool's result held an image.",
        source="ours",
        held_by="tests/e2e/test_images.py::test_a_model_without_a_projector_says_what_to_do_and_survives_what_tools_show",
    ),
    Requirement("block:image:url", "A url is refused with a 400 that says why, unless enabled.", source=_TABLE),
    Requirement(
        "block:image:url-enabled",
        "Where enabled, a url is fetched, guarded against forgery.",
        source=_TABLE,
        deferred=NOT_BUILT,
    ),
    Requirement("block:image:file", "A file of the Files API serves as an image.", source=_TABLE),
    Requirement("block:image:not-base64", "Data that is no base64 is a 400.", source="ours"),
    Requirement(
        "block:document",
        "A document reaches the model with title and context.",
        source="sdk: types/document_block_param.py",
    ),
    Requirement(
        "block:document:content",
        "A document made of blocks keeps its text and images.",
        source="sdk: types/content_block_source_param.py",
    ),
    Requirement(
        "block:document:pdf",
        "The text of a PDF reaches the model.",
        source="sdk: types/base64_pdf_source_param.py",
    ),
    Requirement(
        "block:document:file",
        "A file of the Files API serves as a document.",
        source="sdk: types/file_document_source_param.py",
    ),
    Requirement("block:document:url", "A url is refused with a 400 that says why, unless enabled.", source=_TABLE),
    Requirement(
        "block:document:citations",
        "With citations enabled the answer cites.",
        source="sdk: types/citations_config_param.py",
        divergence="Accepted, and the answer has no citations: no GGUF model is trained for them, and the models' "
        "capabilities say so.",
    ),
    Requirement(
        "block:search_result",
        "Source, title and text reach the model.",
        source="sdk: types/search_result_block_param.py",
    ),
    Requirement(
        "block:thinking", "Earlier reasoning comes back to the model.", source="sdk: types/thinking_block_param.py"
    ),
    Requirement(
        "block:redacted_thinking",
        "What only Anthropic can read is left out.",
        source="sdk: types/redacted_thinking_block_param.py",
    ),
    Requirement(
        "block:tool_use", "A call reaches the model with its input.", source="sdk: types/tool_use_block_param.py"
    ),
    Requirement("block:tool_result", "A string is the result of the call that it names.", source=_RESULT),
    Requirement("block:tool_result:blocks", "Text, images, documents and search results in a result.", source=_RESULT),
    Requirement("block:tool_result:is_error", "A failure is marked.", source=_RESULT),
    Requirement("block:tool_result:missing", "A result may be empty.", source=_RESULT),
    Requirement(
        "block:tool_result:tool_reference",
        "A reference makes a deferred tool known.",
        source="sdk: types/tool_reference_block_param.py",
    ),
    Requirement("block:server_tool_use", "Accepted in a history.", source=_UNION, divergence=_AS_TEXT),
    Requirement(
        "block:*_tool_result",
        "Every server tool's result is accepted in a history.",
        source=_UNION,
        divergence=_AS_TEXT,
    ),
    Requirement("block:mcp_tool_use", "Accepted in a history.", source=_BETA, divergence=_AS_TEXT),
    Requirement("block:compaction", "Its summary reaches the model.", source=_BETA),
    Requirement("block:tool_addition", "It makes a deferred tool known.", source=_BETA),
    Requirement(
        "block:tool_removal",
        "Accepted; nothing of it is shown.",
        source=_BETA,
        divergence="The tool can still be called: removing it would move the prefix.",
    ),
    Requirement("block:mcp_tool_listing", "Accepted; nothing of it is shown.", source=_BETA),
    Requirement("block:fallback", "Accepted; nothing of it is shown.", source=_BETA),
    Requirement("block:container_upload", "A 400 that says that there is no container.", source=_TABLE),
    Requirement("block:unknown", "An unknown type is a 400 that names the known ones.", source="ours"),
    Requirement(
        "block:cache_control",
        "Every block but reasoning can be marked.",
        source="sdk: types/cache_control_ephemeral_param.py",
    ),
    Requirement(
        "block:cut-history",
        "A result without its call, and a call without its result, are accepted.",
        source="observed: Claude Code compacts",
    ),
)
