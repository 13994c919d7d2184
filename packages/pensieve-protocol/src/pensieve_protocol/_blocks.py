"""The content blocks that a request may hold.

The wire is the specification: the official SDK's `types/*_block_param.py`. Fields that change nothing here
(citations, caller…) are left out, and so ignored when they are sent. What is known but not served is declared with
`Refuses`, and gets its own sentence.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import attrs

from pensieve_core import JsonObject
from pensieve_protocol._constraints import Length, Matches, MediaSize, Refuses

__all__ = [
    "Base64ImageSource",
    "CacheControl",
    "ContentBlock",
    "ContentSource",
    "DocumentBlock",
    "DocumentSource",
    "FileSource",
    "ImageBlock",
    "OpaqueBlock",
    "PdfSource",
    "RedactedThinkingBlock",
    "ResultBlock",
    "SearchResultBlock",
    "TextBlock",
    "TextSource",
    "ThinkingBlock",
    "ToolReferenceBlock",
    "ToolResultBlock",
    "ToolUseBlock",
]


MAX_MEDIA_BYTES = 32 * 2**20
"""No less than a whole request may have (Anthropic: 32 MB)."""

_NOT_SERVED = Refuses({
    # Pensieve works offline, and fetching what a client names invites request forgery.
    "url": "url sources are not fetched by this server; send the data itself",
})  # fmt: skip


@attrs.frozen(kw_only=True)
class CacheControl:
    """The prompt up to here is expected to come again."""

    type: Literal["ephemeral"]
    ttl: str = "5m"
    """Carried; a local cache keeps what it can."""


@attrs.frozen(kw_only=True)
class TextBlock:
    """Text. Empty text is tolerated: Claude Code sends some."""

    type: Literal["text"]
    text: str
    cache_control: CacheControl | None = None


@attrs.frozen(kw_only=True)
class Base64ImageSource:
    """An image in the request itself."""

    type: Literal["base64"]
    media_type: Literal["image/jpeg", "image/png", "image/gif", "image/webp"]
    data: Annotated[bytes, MediaSize("image", MAX_MEDIA_BYTES)]
    """Decoded from base64, and no further."""
    place: str = attrs.field(default="", eq=False, metadata={"wire": False})
    """Where `data` stands in the request; filled by the parser, for whoever finds later that it is no image."""


@attrs.frozen(kw_only=True)
class FileSource:
    """A file that was uploaded before; its bytes are put in its place before the request is translated."""

    type: Literal["file"]
    file_id: Annotated[str, Length(256)]


@attrs.frozen(kw_only=True)
class ImageBlock:
    """An image."""

    type: Literal["image"]
    source: Annotated[Base64ImageSource | FileSource, _NOT_SERVED]
    cache_control: CacheControl | None = None


@attrs.frozen(kw_only=True)
class TextSource:
    """A document that is plain text."""

    type: Literal["text"]
    data: str


@attrs.frozen(kw_only=True)
class ContentSource:
    """A document made of blocks."""

    type: Literal["content"]
    content: str | tuple[TextBlock | ImageBlock, ...]


@attrs.frozen(kw_only=True)
class PdfSource:
    """A PDF in the request itself: its text is extracted elsewhere (`_sources`)."""

    type: Literal["base64"]
    media_type: Literal["application/pdf"]
    data: Annotated[bytes, MediaSize("PDF", MAX_MEDIA_BYTES)]
    """Decoded from base64, and no further."""


DocumentSource: TypeAlias = TextSource | ContentSource | PdfSource | FileSource
"""What a document may be made of."""


@attrs.frozen(kw_only=True)
class DocumentBlock:
    """A document, with what the client says about it."""

    type: Literal["document"]
    source: Annotated[DocumentSource, _NOT_SERVED]
    title: str = ""
    context: str = ""
    cache_control: CacheControl | None = None


@attrs.frozen(kw_only=True)
class SearchResultBlock:
    """One hit of a search that the client ran."""

    type: Literal["search_result"]
    source: str
    title: str
    content: tuple[TextBlock, ...]
    cache_control: CacheControl | None = None


@attrs.frozen(kw_only=True)
class ThinkingBlock:
    """Reasoning that came out of an earlier answer, from here or from elsewhere."""

    type: Literal["thinking"]
    thinking: str
    signature: str = ""


@attrs.frozen(kw_only=True)
class RedactedThinkingBlock:
    """Reasoning that only Anthropic can read."""

    type: Literal["redacted_thinking"]
    data: str = ""


@attrs.frozen(kw_only=True)
class ToolUseBlock:
    """A tool call of an earlier answer."""

    type: Literal["tool_use"]
    id: str
    name: str
    input: JsonObject
    cache_control: CacheControl | None = None


@attrs.frozen(kw_only=True)
class ToolReferenceBlock:
    """A tool that a search found."""

    type: Literal["tool_reference"]
    tool_name: str
    cache_control: CacheControl | None = None


_OPAQUE_TYPES = (
    "server_tool_use", "mcp_tool_use", "compaction", "fallback", "tool_addition", "tool_removal", "mcp_tool_listing",
    "browser_state",
)  # fmt: skip
_OpaqueType: TypeAlias = Annotated[str, Matches(f"{'|'.join(_OPAQUE_TYPES)}|.*_tool_result")]


@attrs.frozen(kw_only=True)
class OpaqueBlock:
    """Something that only Anthropic's servers produce, sent back in a conversation that began there.

    Rendered as text or skipped (`_render`), never refused: refusing would end the conversation.
    """

    type: _OpaqueType
    raw: JsonObject = attrs.field(metadata={"whole": True})
    """The whole block."""
    cache_control: CacheControl | None = None

    @property
    def added_tool(self) -> str | None:
        """The deferred tool that a `tool_addition` makes available (beta mid-conversation-tool-changes-2026-07-01)."""
        match self.raw:
            case {"type": "tool_addition", "tool": {"type": "tool_reference", "name": str(name)}}:
                return name
            case _:
                return None

    @classmethod
    def accepts(cls, tag: str) -> bool:
        """Return whether a block of this `type` is taken: the known ones, and every server tool's result."""
        return tag in _OPAQUE_TYPES or tag.endswith("_tool_result")


ResultBlock: TypeAlias = TextBlock | ImageBlock | DocumentBlock | SearchResultBlock | ToolReferenceBlock | OpaqueBlock
"""What a tool result may hold."""


@attrs.frozen(kw_only=True)
class ToolResultBlock:
    """What came of a tool call. Content may be missing: many tools say nothing."""

    type: Literal["tool_result"]
    tool_use_id: str
    content: str | tuple[ResultBlock, ...] = ()
    is_error: bool = False
    cache_control: CacheControl | None = None


ContentBlock: TypeAlias = Annotated[
    TextBlock
    | ImageBlock
    | DocumentBlock
    | SearchResultBlock
    | ThinkingBlock
    | RedactedThinkingBlock
    | ToolUseBlock
    | ToolResultBlock
    | ToolReferenceBlock
    | OpaqueBlock,
    Refuses({"container_upload": "container_upload blocks need a code execution container, and there is none here"}),
]
"""What a message may hold."""
