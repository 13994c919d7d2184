"""Sources of documents and images: where they stand in a request, and the request with others in their place. Pure.

Extracting text takes a library and time, which this package has neither of:

    request ── pending_sources ──> what is to be read ── (whoever can read it) ── with_sources ──> request

Above: `pensieve_http.documents` reads. What is pending when a request is translated becomes a note to the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias, TypeVar

import attrs

from pensieve_protocol._blocks import (
    Base64ImageSource,
    ContentBlock,
    ContentSource,
    DocumentBlock,
    DocumentSource,
    ImageBlock,
    PdfSource,
    ToolResultBlock,
)
from pensieve_protocol._errors import RequestError, invalid_request
from pensieve_protocol._requests import CountTokensRequest, InputMessage
from pensieve_protocol._validation import Path, Problem

__all__ = ["PendingSource", "pending_sources", "with_places", "with_sources"]

_Request = TypeVar("_Request", bound=CountTokensRequest)
_Block = TypeVar("_Block", bound=ContentBlock)
_Source: TypeAlias = DocumentSource | Base64ImageSource


class _Rewrite(Protocol):
    """Returns what shall stand at `path` in place of `source`; the same kind of source where the block wants it."""

    def __call__(self, source: _Source, path: Path, /) -> Any:  # noqa: ANN401 - see above
        ...


@attrs.frozen
class PendingSource:
    """A source that is to be read before its request can be answered."""

    source: PdfSource
    path: Path
    """Where it stands in the request."""

    def refusal(self, reason: str) -> RequestError:
        """Return, for raising, the 400 that says why its data cannot be read."""
        return invalid_request(str(Problem((*self.path, "data"), reason)))


def pending_sources(request: CountTokensRequest) -> tuple[PendingSource, ...]:
    """Return all that are to be read, in their order; those within tool results, too."""
    found: list[PendingSource] = []

    def note(source: _Source, path: Path) -> _Source:
        if isinstance(source, PdfSource):
            found.append(PendingSource(source, path))
        return source

    _rewritten(request, note)
    return tuple(found)


def with_sources(request: _Request, read: Mapping[Path, DocumentSource]) -> _Request:
    """Return `request` with what was read at these paths in place of what stood there."""
    return _rewritten(request, lambda source, path: read.get(path, source)) if read else request


def with_places(request: _Request) -> _Request:
    """Return `request` with images that know where they stand in it."""

    def place(source: _Source, path: Path) -> _Source:
        if not isinstance(source, Base64ImageSource):
            return source
        return attrs.evolve(source, place=".".join(map(str, (*path, "data"))))

    return _rewritten(request, place)


def _rewritten(request: _Request, rewrite: _Rewrite) -> _Request:
    messages = (_message(message, ("messages", index), rewrite) for index, message in enumerate(request.messages))
    return attrs.evolve(request, messages=tuple(messages))


def _message(message: InputMessage, path: Path, rewrite: _Rewrite) -> InputMessage:
    if isinstance(message.content, str):
        return message
    return attrs.evolve(message, content=_blocks(message.content, (*path, "content"), rewrite))


def _blocks(blocks: tuple[_Block, ...], path: Path, rewrite: _Rewrite) -> tuple[_Block, ...]:
    return tuple(_block(block, (*path, index), rewrite) for index, block in enumerate(blocks))


def _block(block: _Block, path: Path, rewrite: _Rewrite) -> _Block:
    match block:
        case DocumentBlock(source=ContentSource(content=tuple(content)) as source):
            within = _blocks(content, (*path, "source", "content"), rewrite)
            return attrs.evolve(block, source=attrs.evolve(source, content=within))
        case DocumentBlock(source=source) | ImageBlock(source=source):
            return attrs.evolve(block, source=rewrite(source, (*path, "source")))
        case ToolResultBlock(content=tuple(content)):
            return attrs.evolve(block, content=_blocks(content, (*path, "content"), rewrite))
        case _:
            return block
