"""Errors as a client sees them: status, type, message, and whether to try again.

Knows Anthropic's error envelope and which of core's errors becomes which. Knows no HTTP beyond the status number;
`pensieve_http` writes status and headers. Nothing here logs.

    Exception
    ├── RequestError        what the client sent, or asked for, cannot be served; carries the `ApiError` to answer
    └── IllegalTransition   our own side moved `MessageStream` illegally (`_stream`): a bug, never the client's doing
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

import attrs

from pensieve_core import (
    FileExpiredError,
    FileTooLargeError,
    ModelBrokenError,
    ModelNotFoundError,
    OverloadedError,
    PensieveError,
    QuarantinedError,
    RequestRefusedError,
    StorageFullError,
    UnknownFileError,
)
from pensieve_protocol._json import dump_json

__all__ = [
    "ApiError",
    "ErrorDetail",
    "ErrorEvent",
    "ErrorType",
    "RequestError",
    "api_error",
    "error_body",
    "error_event",
    "invalid_request",
    "to_api_error",
]

ErrorType: TypeAlias = Literal[
    "invalid_request_error",
    "authentication_error",
    "billing_error",
    "permission_error",
    "not_found_error",
    "conflict_error",
    "request_too_large",
    "rate_limit_error",
    "api_error",
    "timeout_error",
    "overloaded_error",
]

ErrorCode: TypeAlias = Literal["file_expired", "storage_quota_exceeded", "thread_unsupported_request"]
"""Of the many in the SDK's `types/shared/error_details.py`, those that can happen here."""

# https://docs.claude.com/en/api/errors; a status that is not listed takes the type of its hundred.
_TYPE_OF_STATUS: Mapping[int, ErrorType] = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}


@attrs.frozen(kw_only=True)
class ApiError:
    """One error on the wire, before or in the stream."""

    status: int
    """Of the HTTP response; inside a stream it is only the reason behind `type`."""
    type: ErrorType
    message: str
    """Written for the user. The model, paths and tokens may be named, secrets never."""
    retry_after_s: int | None = None
    """For the `retry-after` header; None: leave it out."""
    retryable: bool | None = None
    """For the `x-should-retry` header; None: the client's own rule for the status."""
    code: ErrorCode | None = None
    """The cause, by which the SDKs choose a class of their own."""


class RequestError(Exception):
    """The request is answered with `error`."""

    def __init__(self, error: ApiError) -> None:
        super().__init__(error.message)
        self.error = error


@attrs.frozen(kw_only=True)
class ErrorDetail:
    """What went wrong."""

    type: ErrorType
    message: str


@attrs.frozen(kw_only=True)
class ErrorCause:
    """The cause, for programs."""

    error_code: ErrorCode


@attrs.frozen(kw_only=True)
class CodedErrorDetail(ErrorDetail):
    """What went wrong, where the cause has a code of its own."""

    details: ErrorCause


@attrs.frozen(kw_only=True)
class ErrorEvent:
    """The envelope of every error: the body of an error response, and the last event of a stream that failed."""

    type: Literal["error"] = "error"
    error: ErrorDetail
    request_id: str


def api_error(
    status: int, message: str, *, retry_after_s: int | None = None, retryable: bool | None = None
) -> ApiError:
    """Return the error of this HTTP status, with the type that Anthropic documents for it."""
    fallback: ErrorType = "invalid_request_error" if status < 500 else "api_error"  # noqa: PLR2004 - HTTP's own border
    error_type = _TYPE_OF_STATUS.get(status, fallback)
    return ApiError(status=status, type=error_type, message=message, retry_after_s=retry_after_s, retryable=retryable)


def invalid_request(message: str) -> RequestError:
    """Return, for raising, the 400 with this message."""
    return RequestError(api_error(400, message))


def error_event(error: ApiError, request_id: str) -> ErrorEvent:
    """Return the envelope of `error`."""
    return ErrorEvent(error=_detail(error), request_id=request_id)


def _detail(error: ApiError) -> ErrorDetail:
    if error.code is None:
        return ErrorDetail(type=error.type, message=error.message)
    return CodedErrorDetail(type=error.type, message=error.message, details=ErrorCause(error_code=error.code))


def error_body(error: ApiError, request_id: str) -> bytes:
    """Return the envelope of `error` as JSON."""
    return dump_json(error_event(error, request_id))


def to_api_error(exc: PensieveError) -> ApiError:
    """Return what a client is told of an error from below the wire.

    The wordings are core's; Claude Code reads some of them (design 4), so nothing is added here.
    """
    match exc:
        case ModelNotFoundError():
            return api_error(404, exc.message)
        case ModelBrokenError():
            return api_error(500, exc.message, retryable=False)
        case QuarantinedError():
            return api_error(400, exc.message, retryable=False)
        case RequestRefusedError():
            return api_error(400, exc.message)
        case OverloadedError(retry_after_s=seconds):
            return api_error(529, exc.message, retry_after_s=seconds, retryable=True)
        case _:
            return _file_error(exc) or api_error(500, exc.message)


def _file_error(exc: PensieveError) -> ApiError | None:
    match exc:
        case FileExpiredError():
            return attrs.evolve(api_error(404, exc.message), code="file_expired")
        case UnknownFileError():
            return api_error(404, exc.message)
        case FileTooLargeError():
            return api_error(413, exc.message)
        case StorageFullError():  # 400, as the SDK's StorageQuotaExceededError has it
            return attrs.evolve(api_error(400, exc.message), code="storage_quota_exceeded")
        case _:
            return None
