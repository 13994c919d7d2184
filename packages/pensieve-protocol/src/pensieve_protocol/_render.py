"""Blocks that no chat template knows, put into words.

A template has text, images, reasoning and tool calls. Documents, search results and what only Anthropic's servers
produce become text here; always the same text for the same block, for a changed history loses its cache.
"""

from __future__ import annotations

from typing import assert_never

from pensieve_core import ImagePart, ResultPart, TextPart
from pensieve_protocol._blocks import (
    ContentSource,
    DocumentBlock,
    DocumentSource,
    FileSource,
    ImageBlock,
    OpaqueBlock,
    PdfSource,
    SearchResultBlock,
    TextBlock,
    TextSource,
)
from pensieve_protocol._json import dump_json

__all__ = ["document_parts", "image_part", "opaque_text", "search_result_text", "text_part"]

_FILE = "[This file could not be read: this server keeps no files.]"
_PDF = "[This PDF could not be read: its text cannot be extracted on this server.]"

# Directives to Anthropic's server about tools and models: nothing that was said.
_SILENT = frozenset({"fallback", "tool_addition", "tool_removal", "mcp_tool_listing"})


def text_part(block: TextBlock) -> TextPart:
    """Return the text, with its mark."""
    return TextPart(text=block.text, cache_mark=block.cache_control is not None)


def image_part(block: ImageBlock) -> ImagePart | TextPart:
    """Return the image, decoded from base64 but otherwise as it came; a note for a file that nobody has read."""
    source = block.source
    if isinstance(source, FileSource):
        return TextPart(text=_FILE, cache_mark=block.cache_control is not None)
    return ImagePart(
        media_type=source.media_type, data=source.data, place=source.place, cache_mark=block.cache_control is not None
    )


def document_parts(block: DocumentBlock) -> tuple[ResultPart, ...]:
    """Return the document between tags, its title and context first; images stay images."""
    head = ["<document>"]
    if block.title:
        head.append(f"<title>{block.title}</title>")
    if block.context:
        head.append(f"<context>{block.context}</context>")
    opening = TextPart(text="\n".join([*head, ""]))
    return (opening, *_source_parts(block.source), TextPart(text="\n</document>"))


def _source_parts(source: DocumentSource) -> tuple[ResultPart, ...]:
    match source:
        case TextSource(data=text):
            return (TextPart(text=text),)
        case ContentSource(content=content):
            return _content_parts(content)
        case PdfSource():
            return (TextPart(text=_PDF),)
        case FileSource():
            return (TextPart(text=_FILE),)
        case _:
            assert_never(source)


def _content_parts(content: str | tuple[TextBlock | ImageBlock, ...]) -> tuple[ResultPart, ...]:
    if isinstance(content, str):
        return (TextPart(text=content),)
    return tuple(text_part(block) if isinstance(block, TextBlock) else image_part(block) for block in content)


def search_result_text(block: SearchResultBlock) -> str:
    """Return source, title and texts between tags."""
    body = "\n".join(item.text for item in block.content)
    return f"<search_result>\n<source>{block.source}</source>\n<title>{block.title}</title>\n{body}\n</search_result>"


def opaque_text(block: OpaqueBlock) -> str:
    """Return the block's JSON between tags named by its type; a compaction's summary; nothing for directives."""
    if block.type in _SILENT:
        return ""
    if block.type == "compaction":
        summary = block.raw.get("content")
        return summary if isinstance(summary, str) else ""
    shown = {name: value for name, value in block.raw.items() if name not in ("type", "cache_control")}
    return f"<{block.type}>\n{dump_json(shown).decode()}\n</{block.type}>"
