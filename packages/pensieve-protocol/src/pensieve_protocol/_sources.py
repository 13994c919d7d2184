"""Sources of documents whose text is not in the request as such, and the request with their text in its place. Pure.

Extracting text takes a library and time, which this package has neither of:

    request ── pending_sources ──> what is to be read ── (whoever can read it) ── with_sources ──> request

Above: `pensieve_http.documents` reads. What is pending when a request is translated becomes a note to the model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias, TypeVar

import attrs

from pensieve_protocol._blocks import ContentBlock, DocumentBlock, DocumentSource, PdfSource, ToolResultBlock
from pensieve_protocol._errors import RequestError, invalid_request
from pensieve_protocol._requests import CountTokensRequest, InputMessage
from pensieve_protocol._validation import Path, Problem

__all__ = ["PendingSource", "pending_sources", "with_sources"]

_Request = TypeVar("_Request", bound=CountTokensRequest)
_Block = TypeVar("_Block", bound=ContentBlock)
_Rewrite: TypeAlias = Callable[[DocumentSource, Path], DocumentSource]


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

    def note(source: DocumentSource, path: Path) -> DocumentSource:
        if isinstance(source, PdfSource):
            found.append(PendingSource(source, path))
        return source

    for index, message in enumerate(request.messages):
        _message(message, ("messages", index), note)
    return tuple(found)


def with_sources(request: _Request, read: Mapping[Path, DocumentSource]) -> _Request:
    """Return `request` with what was read at these paths in place of what stood there."""
    if not read:
        return request

    def replace(source: DocumentSource, path: Path) -> DocumentSource:
        return read.get(path, source)

    messages = (_message(message, ("messages", index), replace) for index, message in enumerate(request.messages))
    return attrs.evolve(request, messages=tuple(messages))


def _message(message: InputMessage, path: Path, rewrite: _Rewrite) -> InputMessage:
    if isinstance(message.content, str):
        return message
    return attrs.evolve(message, content=_blocks(message.content, (*path, "content"), rewrite))


def _blocks(blocks: tuple[_Block, ...], path: Path, rewrite: _Rewrite) -> tuple[_Block, ...]:
    return tuple(_block(block, (*path, index), rewrite) for index, block in enumerate(blocks))


def _block(block: _Block, path: Path, rewrite: _Rewrite) -> _Block:
    match block:
        case DocumentBlock(source=source):
            return attrs.evolve(block, source=rewrite(source, (*path, "source")))
        case ToolResultBlock(content=tuple(content)):
            return attrs.evolve(block, content=_blocks(content, (*path, "content"), rewrite))
        case _:
            return block
