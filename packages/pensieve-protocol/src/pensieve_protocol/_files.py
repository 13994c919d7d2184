"""`/v1/files`: what a client is told of stored files, and how it asks for them. Pure.

The wire is the specification: the official SDK's `types/file_metadata.py`, `file_{list,upload}_params.py`.
A list can be walked in two ways: by an opaque `page` (the SDKs of today), or by `after_id` and `before_id` (those of
2025, and every other list of the API); each answer has what both need.
"""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Iterable, Sequence
from typing import Annotated, Literal

import attrs

from pensieve_core import StoredFile
from pensieve_protocol._constraints import Between, Unencoded
from pensieve_protocol._errors import invalid_request
from pensieve_protocol._models import PageQuery, parse_page_query
from pensieve_protocol._times import rfc3339

__all__ = [
    "DeletedFile",
    "FileListQuery",
    "FileMetadata",
    "FileMetadataPage",
    "FileUpload",
    "file_metadata",
    "file_metadata_page",
    "media_type_of",
    "parse_expiry",
    "parse_file_list_query",
    "parse_filename",
]

_PAGE_PREFIX = "page_"
_MAX_IDS = 100
_SHORTEST_S, _LONGEST_S = 3_600, 7_776_000
"""One hour and ninety days, from the SDK's `file_upload_params.py`."""
_MAX_NAME_LENGTH = 255
_FORBIDDEN = re.compile(r'[<>:"|?*\x00-\x1f\x7f]')
"""https://docs.claude.com/en/api/files-content: "Forbidden: <, >, :, ", |, ?, *, \\, /, or unicode characters 0-31"."""
_MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}")
_UNKNOWN_TYPE = "application/octet-stream"


@attrs.frozen(kw_only=True)
class FileMetadata:
    """One file."""

    id: str
    type: Literal["file"] = "file"
    filename: str
    mime_type: str
    size_bytes: int
    created_at: str
    """RFC 3339, UTC."""
    downloadable: bool
    expires_at: str | None


@attrs.frozen(kw_only=True)
class FileMetadataPage:
    """A page of files, the newest first."""

    data: tuple[FileMetadata, ...]
    has_more: bool
    """Whether there are more in the direction that was asked for."""
    first_id: str | None
    last_id: str | None
    next_page: str | None


@attrs.frozen(kw_only=True)
class DeletedFile:
    """A file that is gone."""

    id: str
    type: Literal["file_deleted"] = "file_deleted"


@attrs.frozen(kw_only=True)
class FileUpload:
    """The form of an upload."""

    file: Annotated[str, Unencoded()]
    """Its name and its type are those of this part of the form."""
    expires_in_seconds: Annotated[int, Between(_SHORTEST_S, _LONGEST_S)] | None = None
    """Seconds from now until its bytes are gone; without it they stay until they are deleted."""


@attrs.frozen(kw_only=True)
class FileListQuery(PageQuery):
    """Which files are asked for: those of `ids` if there are any, otherwise a page."""

    ids: tuple[str, ...] = ()
    """At most 100, and then neither limit nor cursor. Those that are gone are left out."""
    page: str | None = None
    """The `next_page` of an earlier answer."""


def file_metadata(file: StoredFile) -> FileMetadata:
    """Return the wire form of a file."""
    return FileMetadata(
        id=file.id,
        filename=file.filename,
        mime_type=file.media_type,
        size_bytes=file.size_bytes,
        created_at=rfc3339(file.created_at),
        downloadable=file.downloadable,
        expires_at=None if file.expires_at is None else rfc3339(file.expires_at),
    )


def file_metadata_page(files: Sequence[StoredFile], query: FileListQuery, *, has_more: bool) -> FileMetadataPage:
    """Return the answer to `query`; `has_more` is meant in the direction that was asked for."""
    goes_on = has_more or query.before_id is not None
    return FileMetadataPage(
        data=tuple(file_metadata(file) for file in files),
        has_more=has_more,
        first_id=files[0].id if files else None,
        last_id=files[-1].id if files else None,
        next_page=f"{_PAGE_PREFIX}{files[-1].id}" if files and goes_on and not query.ids else None,
    )


def parse_file_list_query(query: Iterable[tuple[str, str]]) -> FileListQuery:
    """Return what a query string, as pairs, asks for; unknown parameters are ignored.

    Raises:
        RequestError: 400; too many ids, ids beside a page, or a page that cannot be.
    """
    pairs = tuple(query)
    ids = dict.fromkeys(value for name, value in pairs if name in ("ids", "ids[]"))
    single = {name: value for name, value in pairs if value or name == "limit"}
    if not ids:
        return _page(single)
    if len(ids) > _MAX_IDS:
        raise invalid_request(f"ids: at most {_MAX_IDS} can be asked for, got {len(ids)}")
    for name in ("page", "limit", "after_id", "before_id"):
        if name in single:
            raise invalid_request(f"ids: cannot be combined with {name}")
    return FileListQuery(ids=tuple(ids))


def _page(query: dict[str, str]) -> FileListQuery:
    cursor = query.get("page")
    if cursor is not None:
        if not cursor.startswith(_PAGE_PREFIX) or "after_id" in query or "before_id" in query:
            msg = "page: expected the next_page of an earlier answer, and no other cursor"
            raise invalid_request(msg)
        query = {**query, "after_id": cursor.removeprefix(_PAGE_PREFIX)}
    page = parse_page_query(query)
    return FileListQuery(after_id=page.after_id, before_id=page.before_id, limit=page.limit, page=cursor)


def parse_filename(sent: str, media_type: str) -> str:
    """Return the last component of the name that a client sent; `unnamed` with an extension if there is none.

    Raises:
        RequestError: 400; it is too long or has characters that names of files cannot have.
    """
    name = re.split(r"[/\\]", sent)[-1].strip()
    if name in ("", ".", ".."):
        return f"unnamed{mimetypes.guess_extension(media_type) or ''}"
    if len(name) > _MAX_NAME_LENGTH or _FORBIDDEN.search(name):
        raise invalid_request(f'file: its name must have 1 to {_MAX_NAME_LENGTH} characters, none of < > : " | ? *')
    return name


def media_type_of(sent: str, filename: str) -> str:
    """Return the media type that a client sent, without parameters; that of the name, where it knows none."""
    stated = sent.partition(";")[0].strip().lower()
    if _MEDIA_TYPE.fullmatch(stated) and stated != _UNKNOWN_TYPE:
        return stated
    return mimetypes.guess_type(filename)[0] or _UNKNOWN_TYPE


def parse_expiry(sent: str | None) -> int | None:
    """Return the seconds of `expires_in_seconds`.

    Raises:
        RequestError: 400; it is no number from 3600 to 7776000.
    """
    if sent is None:
        return None
    digits = sent if sent.isascii() and sent.isdigit() and len(sent) <= len(str(_LONGEST_S)) else "0"
    if not _SHORTEST_S <= int(digits) <= _LONGEST_S:
        raise invalid_request(f"expires_in_seconds: must be from {_SHORTEST_S} to {_LONGEST_S}, got {sent[:20]!r}")
    return int(digits)
