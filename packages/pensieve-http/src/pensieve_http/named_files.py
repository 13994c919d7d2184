"""Puts the bytes of files that a request names into their places, before its documents are read."""

from __future__ import annotations

from typing import TypeVar

import attrs

from pensieve_core import FileId, PensieveError
from pensieve_inference import FileReader
from pensieve_protocol import CountTokensRequest, PendingFile, ReadSource, pending_files, with_sources

__all__ = ["NamedFiles"]

_Wire = TypeVar("_Wire", bound=CountTokensRequest)


@attrs.frozen(kw_only=True, eq=False)
class NamedFiles:
    """Reads the files of requests; each is read once, however often it is named."""

    files: FileReader | None
    """None: this server keeps none."""
    max_bytes: int
    """Of all files of one request together."""

    async def read(self, wire: _Wire) -> _Wire:
        """Return `wire` with the bytes of its files in their places.

        Raises:
            RequestError: 404, 413 or 400; a file is gone, too large, or not what it is to be. Names the place.
        """
        known: dict[str, bytes] = {}
        return with_sources(wire, {pending.path: await self._source(pending, known) for pending in pending_files(wire)})

    async def _source(self, pending: PendingFile, known: dict[str, bytes]) -> ReadSource:
        if self.files is None:
            msg = "this server keeps no files; send the data itself"
            raise pending.refusal(msg)
        file_id = FileId(pending.source.file_id)
        room = self.max_bytes - sum(map(len, known.values()))
        try:
            file = await self.files.file(file_id)
            pending.check(file)
            if file_id not in known:
                known[file_id] = await self.files.read(file_id, max_bytes=room)
        except PensieveError as error:
            raise pending.placed(error) from None
        return pending.read(file, known[file_id])
