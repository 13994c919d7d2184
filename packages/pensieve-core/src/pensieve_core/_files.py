"""A file that a client gave to the server, to be named in later requests. Its bytes are elsewhere."""

from __future__ import annotations

import attrs

from pensieve_core._ids import FileId

__all__ = ["StoredFile"]


@attrs.frozen(kw_only=True)
class StoredFile:
    """What is known of a file that is completely there."""

    id: FileId
    filename: str
    """As the client named it, without folders. Shown, and never a path."""
    media_type: str
    size_bytes: int
    sha256: str
    """Of its bytes, in hexadecimal digits."""
    created_at: int
    """Unix seconds."""
    expires_at: int | None = None
    """Unix seconds; from then on its bytes are gone. None: it stays until it is deleted."""
    downloadable: bool = True
