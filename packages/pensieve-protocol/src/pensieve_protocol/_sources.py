"""Sources of documents and images: where they stand in a request, and the request with others in their place. Pure.

Extracting text takes a library and time, which this package has neither of:

    request ── pending_sources ──> what is to be read ── (whoever can read it) ── with_sources ──> request

Files that were uploaded go the same way before that, by `pending_files`: what is in them may be a PDF.

Above: `pensieve_http.documents` and `pensieve_http.named_files` read. What is pending when a request is translated
becomes a note to the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol, TypeAlias, TypeVar

import attrs

from pensieve_core import PensieveError, StoredFile
from pensieve_protocol._blocks import (
    Base64ImageSource,
    ContentBlock,
    ContentSource,
    DocumentBlock,
    DocumentSource,
    FileSource,
    ImageBlock,
    PdfSource,
    TextSource,
    ToolResultBlock,
)
from pensieve_protocol._errors import RequestError, invalid_request, to_api_error
from pensieve_protocol._requests import CountTokensRequest, InputMessage
from pensieve_protocol._validation import Path, Problem

__all__ = [
    "PendingFile",
    "PendingSource",
    "ReadSource",
    "pending_files",
    "pending_sources",
    "with_places",
    "with_sources",
]

_Request = TypeVar("_Request", bound=CountTokensRequest)
_Block = TypeVar("_Block", bound=ContentBlock)
_Source: TypeAlias = DocumentSource | Base64ImageSource
ReadSource: TypeAlias = Base64ImageSource | PdfSource | TextSource
"""What a file can be in a request."""

_IMAGES: Mapping[str, Literal["image/jpeg", "image/png", "image/gif", "image/webp"]] = {
    "image/jpeg": "image/jpeg",
    "image/png": "image/png",
    "image/gif": "image/gif",
    "image/webp": "image/webp",
}
_PDF: Literal["application/pdf"] = "application/pdf"
_TEXTS = frozenset(
    {"application/json", "application/xml", "application/yaml", "application/x-yaml", "application/toml"}
)
"""Text, besides `text/*`."""


class _Rewrite(Protocol):
    """Returns what shall stand at `path` in place of `source`; the same kind of source where the block wants it."""

    def __call__(self, source: _Source, path: Path, /, *, is_image: bool) -> Any:  # noqa: ANN401 - see above
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


@attrs.frozen
class PendingFile:
    """A file that a request names, to be read before it can be answered."""

    source: FileSource
    path: Path
    """Where it stands in the request."""
    is_image: bool
    """It has to be an image; otherwise a document."""

    def placed(self, error: PensieveError) -> RequestError:
        """Return, for raising, `error` as a client is told of it, with the place in the request."""
        told = to_api_error(error)
        return RequestError(attrs.evolve(told, message=str(Problem((*self.path, "file_id"), told.message))))

    def check(self, file: StoredFile) -> None:
        """Raise `RequestError` (400) when a file of this type cannot be what it is to be."""
        if self.is_image and file.media_type not in _IMAGES:
            raise self.refusal(f"the file is {file.media_type}, and an image must be one of {', '.join(_IMAGES)}")
        if not self.is_image and file.media_type != _PDF and not _is_text(file.media_type):
            raise self.refusal(f"the file is {file.media_type}, and a document must be {_PDF} or text")

    def read(self, file: StoredFile, data: bytes) -> ReadSource:
        """Return what stands in the place of a file that was checked, made of its bytes; raise as `check`."""
        if self.is_image:
            place = ".".join(map(str, self.path))
            return Base64ImageSource(type="base64", media_type=_IMAGES[file.media_type], data=data, place=place)
        if file.media_type == _PDF:
            return PdfSource(type="base64", media_type=_PDF, data=data)
        try:
            return TextSource(type="text", data=data.decode())
        except UnicodeDecodeError:
            raise self.refusal(f"the file is {file.media_type}, and not UTF-8") from None

    def refusal(self, reason: str) -> RequestError:
        """Return, for raising, the 400 that says why it cannot serve."""
        return invalid_request(str(Problem((*self.path, "file_id"), reason)))


def _is_text(media_type: str) -> bool:
    return media_type.startswith("text/") or media_type in _TEXTS


def pending_files(request: CountTokensRequest) -> tuple[PendingFile, ...]:
    """Return all files that `request` names, in their order; those within documents and tool results, too."""
    found: list[PendingFile] = []

    def note(source: _Source, path: Path, *, is_image: bool) -> _Source:
        if isinstance(source, FileSource):
            found.append(PendingFile(source, path, is_image))
        return source

    _rewritten(request, note)
    return tuple(found)


def pending_sources(request: CountTokensRequest) -> tuple[PendingSource, ...]:
    """Return all that are to be read, in their order; those within tool results, too."""
    found: list[PendingSource] = []

    def note(source: _Source, path: Path, *, is_image: bool) -> _Source:  # noqa: ARG001 - the source tells
        if isinstance(source, PdfSource):
            found.append(PendingSource(source, path))
        return source

    _rewritten(request, note)
    return tuple(found)


def with_sources(request: _Request, read: Mapping[Path, ReadSource]) -> _Request:
    """Return `request` with what was read at these paths in place of what stood there."""

    def replace(source: _Source, path: Path, *, is_image: bool) -> _Source:  # noqa: ARG001 - the place tells
        return read.get(path, source)

    return _rewritten(request, replace) if read else request


def with_places(request: _Request) -> _Request:
    """Return `request` with images that know where they stand in it."""

    def place(source: _Source, path: Path, *, is_image: bool) -> _Source:  # noqa: ARG001 - the source tells
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
            is_image = isinstance(block, ImageBlock)
            return attrs.evolve(block, source=rewrite(source, (*path, "source"), is_image=is_image))
        case ToolResultBlock(content=tuple(content)):
            return attrs.evolve(block, content=_blocks(content, (*path, "content"), rewrite))
        case _:
            return block
