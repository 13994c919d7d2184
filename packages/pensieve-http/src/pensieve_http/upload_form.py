"""A form with one file in it, read in pieces: `multipart/form-data` goes in, the file's bytes come out.

A machine: it keeps no more than one piece, the fields beside the file, and their headers, all of them bounded. RFC 7578
has the grammar, python-multipart parses it. Above: `endpoints.files`.
"""

from __future__ import annotations

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from pensieve_inference import NewFile
from pensieve_protocol import RequestError, api_error, media_type_of, parse_expiry, parse_filename

__all__ = ["MAX_OVERHEAD_BYTES", "UploadForm"]

_MAX_PARTS = 16
_MAX_FIELD_BYTES = 4_096
_MAX_HEADERS = 8
_MAX_HEADER_BYTES = 4_096
MAX_OVERHEAD_BYTES = 64 << 10
"""What a form may have besides its file."""


class UploadForm:
    """Feed it the body; it returns the bytes of the part named `file` as they come.

    Args:
        content_type: Of the request.

    Raises:
        RequestError: 400, here and in `feed` and `finish`, when it is no such form.
    """

    def __init__(self, content_type: str) -> None:
        kind, options = parse_options_header(content_type.encode("latin-1"))
        boundary = options.get(b"boundary")
        if kind != b"multipart/form-data" or not boundary:
            raise _malformed(f"content-type: expected multipart/form-data with a boundary, got {content_type[:100]}")
        self._parser = _parser(boundary, self)
        self._out: list[bytes] = []
        self._parts = 0
        self._fields: dict[str, bytearray] = {}
        self._header_name = bytearray()
        self._header_value = bytearray()
        self._headers: dict[str, bytes] = {}
        self._file_headers: dict[str, bytes] | None = None
        self._field: bytearray | None = None
        """Where the part at hand goes; None: it is the file."""
        self._ended = False

    def feed(self, piece: bytes) -> bytes:
        """Take the next piece of the body; return what of the file is in it."""
        try:
            self._parser.write(piece)
        except FormParserError as error:
            raise _malformed(f"the form is malformed: {error}") from error
        out = b"".join(self._out)
        self._out.clear()
        return out

    def finish(self) -> NewFile:
        """Return what was said of the file. To be called at the body's end."""
        if not self._ended:
            msg = "the form ends before its last boundary"
            raise _malformed(msg)
        if self._file_headers is None:
            msg = "file: field required"
            raise _malformed(msg)
        return self._new_file(self._file_headers)

    def _new_file(self, headers: dict[str, bytes]) -> NewFile:
        sent = _unescaped(_option(headers, b"filename") or "")
        media_type = media_type_of(headers.get("content-type", b"").decode("latin-1"), sent)
        expiry = self._fields.get("expires_in_seconds")
        return NewFile(
            filename=parse_filename(sent, media_type),
            media_type=media_type,
            expires_in_s=parse_expiry(None if expiry is None else expiry.decode("utf-8", "replace")),
        )

    # What python-multipart calls while it parses.

    def on_part_begin(self) -> None:
        """A part begins."""
        self._parts += 1
        if self._parts > _MAX_PARTS:
            raise _malformed(f"the form has more than {_MAX_PARTS} parts")
        self._headers = {}

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        """Take a piece of a header's name."""
        self._header_name += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        """Take a piece of a header's value."""
        self._header_value += data[start:end]

    def on_header_end(self) -> None:
        """A header is complete."""
        self._headers[self._header_name.decode("latin-1").lower()] = bytes(self._header_value)
        self._header_name.clear()
        self._header_value.clear()

    def on_headers_finished(self) -> None:
        """All headers of a part are known: is it the file, or a field beside it?"""
        name = _option(self._headers, b"name")
        if name != "file":
            self._field = self._fields[name or ""] = bytearray()
            return
        if self._file_headers is not None:
            msg = "file: only one can be uploaded at a time"
            raise _malformed(msg)
        self._field, self._file_headers = None, self._headers

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        """Take a piece of a part."""
        if self._field is None:
            self._out.append(bytes(data[start:end]))
            return
        self._field += data[start:end]
        if len(self._field) > _MAX_FIELD_BYTES:
            raise _malformed(f"a field of the form exceeds {_MAX_FIELD_BYTES} bytes")

    def on_end(self) -> None:
        """The last boundary has come."""
        self._ended = True


def _parser(boundary: bytes, form: UploadForm) -> MultipartParser:
    return MultipartParser(
        boundary,
        {
            "on_part_begin": form.on_part_begin,
            "on_header_field": form.on_header_field,
            "on_header_value": form.on_header_value,
            "on_header_end": form.on_header_end,
            "on_headers_finished": form.on_headers_finished,
            "on_part_data": form.on_part_data,
            "on_end": form.on_end,
        },
        max_header_count=_MAX_HEADERS,
        max_header_size=_MAX_HEADER_BYTES,
    )


def _option(headers: dict[str, bytes], name: bytes) -> str | None:
    _, options = parse_options_header(headers.get("content-disposition", b""))
    value = options.get(name)
    return None if value is None else value.decode("utf-8", "replace")


def _unescaped(name: str) -> str:
    """Undo the HTML standard's escaping of names in forms: these three characters, and no others."""
    return name.replace("%22", '"').replace("%0D", "\r").replace("%0A", "\n")


def _malformed(message: str) -> RequestError:
    return RequestError(api_error(400, message))
