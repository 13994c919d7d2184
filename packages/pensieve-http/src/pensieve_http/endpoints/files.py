"""`/v1/files`: upload, list, look at, download and delete.

The bytes of a file pass through: neither an upload nor a download is ever in memory as a whole. Above: the routes.
Below: a `FileStore`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from urllib.parse import quote

import attrs
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import request_response
from starlette.types import Receive, Scope, Send

from pensieve_core import Clock, FileId, FileTooLargeError, StoredFile, UnknownFileError
from pensieve_http.drain import Drain
from pensieve_http.errors import ClientGoneError
from pensieve_http.operation import ANYTHING, FORM, Body, ClientHeaders, Endpoint, Operation
from pensieve_http.pieces import PiecesResponse
from pensieve_http.race import race
from pensieve_http.upload_form import MAX_OVERHEAD_BYTES, UploadForm
from pensieve_inference import FileLimits, FileQuery, FileStore
from pensieve_protocol import (
    ApiError,
    DeletedFile,
    FileListQuery,
    FileMetadata,
    FileMetadataPage,
    FileUpload,
    RequestError,
    api_error,
    check_version,
    dump_json,
    file_metadata,
    file_metadata_page,
    parse_file_list_query,
)

__all__ = ["Files"]


@attrs.frozen(kw_only=True)
class FilePath:
    """Which file."""

    file_id: str


UPLOAD_FILE = Operation(
    name="upload_file",
    summary="Keep a file, to be named in requests by its id",
    headers=ClientHeaders,
    takes=Body(type=FileUpload, media_type=FORM),
    answers={200: (Body(type=FileMetadata),)},
)
LIST_FILES = Operation(
    name="list_files",
    summary="List files, the newest first, page by page",
    query=FileListQuery,
    headers=ClientHeaders,
    answers={200: (Body(type=FileMetadataPage),)},
)
RETRIEVE_FILE = Operation(
    name="retrieve_file",
    summary="Tell what is known of a file",
    path=FilePath,
    headers=ClientHeaders,
    answers={200: (Body(type=FileMetadata),)},
    errors=(404,),
)
DOWNLOAD_FILE = Operation(
    name="download_file",
    summary="Give back the bytes of a file",
    path=FilePath,
    headers=ClientHeaders,
    answers={200: (Body(type=bytes, media_type=ANYTHING),)},
    errors=(404,),
)
DELETE_FILE = Operation(
    name="delete_file",
    summary="Forget a file and its bytes",
    path=FilePath,
    headers=ClientHeaders,
    answers={200: (Body(type=DeletedFile),)},
    errors=(404,),
)


@attrs.frozen(kw_only=True, eq=False)
class Files:
    """All endpoints of files."""

    store: FileStore
    limits: FileLimits
    clock: Clock
    drain: Drain
    stall_timeout_s: float
    """Between two pieces of an upload; the whole may take as long as it needs."""
    write_timeout_s: float

    def endpoints(self) -> Sequence[Endpoint]:
        """Return all of them."""
        of_all, of_one = "/v1/files", "/v1/files/{file_id}"
        upload, page, one, delete = map(request_response, (self.upload, self.page, self.one, self.delete))
        return [
            Endpoint(method="POST", path=of_all, app=upload, operation=UPLOAD_FILE),
            Endpoint(method="GET", path=of_all, app=page, operation=LIST_FILES),
            Endpoint(method="GET", path=of_one, app=one, operation=RETRIEVE_FILE),
            Endpoint(method="DELETE", path=of_one, app=delete, operation=DELETE_FILE),
            Endpoint(method="GET", path=f"{of_one}/content", app=self.content, operation=DOWNLOAD_FILE),
        ]

    async def upload(self, request: Request) -> Response:
        """`POST /v1/files`."""
        check_version(request.headers.get("anthropic-version"))
        self._refuse_early(request.headers)
        form = UploadForm(request.headers.get("content-type", ""))
        with self.drain.hold():
            return _json(file_metadata(await self._take_in(form, request.receive)))

    async def page(self, request: Request) -> Response:
        """`GET /v1/files`."""
        check_version(request.headers.get("anthropic-version"))
        query = parse_file_list_query(request.query_params.multi_items())
        if query.ids:
            found = [await self._visible(FileId(file_id)) for file_id in query.ids]
            return _json(file_metadata_page([file for file in found if file is not None], query, has_more=False))
        after, before = (FileId(cursor) if cursor else None for cursor in (query.after_id, query.before_id))
        page = await self.store.page(FileQuery(after=after, before=before, limit=query.limit))
        return _json(file_metadata_page(page.files, query, has_more=page.has_more))

    async def one(self, request: Request) -> Response:
        """`GET /v1/files/{file_id}`."""
        check_version(request.headers.get("anthropic-version"))
        return _json(file_metadata(await self.store.file(_file_id(request))))

    async def content(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`GET /v1/files/{file_id}/content`, an ASGI application."""
        request = Request(scope)
        check_version(request.headers.get("anthropic-version"))
        file = await self.store.file(_file_id(request))
        response = PiecesResponse(
            pieces=self.store.content(file.id),
            headers=_download_headers(file),
            clock=self.clock,
            write_timeout_s=self.write_timeout_s,
        )
        await response(scope, receive, send)

    async def delete(self, request: Request) -> Response:
        """`DELETE /v1/files/{file_id}`."""
        check_version(request.headers.get("anthropic-version"))
        file_id = _file_id(request)
        await self.store.remove(file_id)
        return _json(DeletedFile(id=file_id))

    def _refuse_early(self, headers: Headers) -> None:
        """Refuse what is bound to be refused before it is sent."""
        encoding = headers.get("content-encoding", "identity").strip().lower()
        if encoding != "identity":
            raise RequestError(api_error(400, f"content-encoding: uploads are taken as they are, got {encoding[:100]}"))
        announced = headers.get("content-length", "")
        most = self.limits.max_file_bytes + MAX_OVERHEAD_BYTES
        if announced.isdecimal() and (len(announced) > len(str(most)) or int(announced) > most):
            raise FileTooLargeError(self.limits.max_file_bytes)

    async def _take_in(self, form: UploadForm, receive: Receive) -> StoredFile:
        overhead, more = 0, True
        async with aclosing(await self.store.upload()) as upload:
            while more:
                body, more = await race(_piece(receive), self._stalled())
                of_the_file = form.feed(body)
                overhead += len(body) - len(of_the_file)
                if overhead > MAX_OVERHEAD_BYTES:
                    raise RequestError(api_error(413, "the form has more in it than its file"))
                if of_the_file:
                    await upload.write(of_the_file)
            return await upload.finish(form.finish())

    async def _stalled(self) -> tuple[bytes, bool]:
        await self.clock.sleep(self.stall_timeout_s)
        message = f"nothing of the upload arrived for {self.stall_timeout_s:g} s"
        raise RequestError(ApiError(status=408, type="timeout_error", message=message))

    async def _visible(self, file_id: FileId) -> StoredFile | None:
        try:
            return await self.store.file(file_id)
        except UnknownFileError:
            return None


async def _piece(receive: Receive) -> tuple[bytes, bool]:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGoneError
    return message.get("body", b""), message.get("more_body", False)


def _file_id(request: Request) -> FileId:
    return FileId(request.path_params["file_id"])


def _download_headers(file: StoredFile) -> dict[str, str]:
    """Return headers by which no browser shows the file as a page of this server."""
    return {
        "content-type": file.media_type,
        "content-length": str(file.size_bytes),
        "content-disposition": f"attachment; filename*=UTF-8''{quote(file.filename, safe='')}",
        "x-content-type-options": "nosniff",
        "cache-control": "private, no-cache",
    }


def _json(body: object) -> Response:
    return Response(dump_json(body), media_type="application/json")
