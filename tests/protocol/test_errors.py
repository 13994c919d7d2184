"""Errors as clients see them; the SDK's exception classes are the judge of status and type."""

from __future__ import annotations

import json

import anthropic
import httpx2
import pytest
from anthropic.types.file_expired_error import FileExpiredError as FileExpired
from anthropic.types.storage_quota_exceeded_error import StorageQuotaExceededError as StorageQuotaExceeded

from pensieve_core import (
    EngineFailedError,
    FileExpiredError,
    FileId,
    FileTooLargeError,
    ModelBrokenError,
    ModelId,
    ModelNotFoundError,
    OverloadedError,
    PensieveError,
    PromptTooLongError,
    QuarantinedError,
    RequestRefusedError,
    StorageFullError,
    UnknownFileError,
)
from pensieve_protocol import ApiError, api_error, error_body, to_api_error

MODEL = ModelId("qwen")


@pytest.mark.parametrize(
    ("exc", "expected"),
    [
        (
            ModelNotFoundError("gpt", ["qwen"]),
            ApiError(status=404, type="not_found_error", message="model: gpt (available: qwen)"),
        ),
        (
            ModelBrokenError(MODEL, "bad magic"),
            ApiError(status=500, type="api_error", message="model qwen cannot be served: bad magic", retryable=False),
        ),
        (
            PromptTooLongError(40000, 32768),
            ApiError(
                status=400,
                type="invalid_request_error",
                message="prompt is too long: 40000 tokens > 32768 maximum",
            ),
        ),
        (
            RequestRefusedError("no images here"),
            ApiError(status=400, type="invalid_request_error", message="no images here"),
        ),
        (
            QuarantinedError(3),
            ApiError(
                status=400,
                type="invalid_request_error",
                message="this request ended the engine 3 times and is refused from now on",
                retryable=False,
            ),
        ),
        (
            OverloadedError("the queue is full", retry_after_s=7),
            ApiError(status=529, type="overloaded_error", message="the queue is full", retry_after_s=7, retryable=True),
        ),
        (EngineFailedError("it died"), ApiError(status=500, type="api_error", message="it died")),
        (PensieveError("of a kind to come"), ApiError(status=500, type="api_error", message="of a kind to come")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_error_of_the_core_has_its_form_on_the_wire(exc: PensieveError, expected: ApiError) -> None:
    assert to_api_error(exc) == expected


@pytest.mark.parametrize(
    ("status", "error_type"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (402, "billing_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (405, "invalid_request_error"),
        (409, "conflict_error"),
        (413, "request_too_large"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (502, "api_error"),
        (504, "timeout_error"),
        (529, "overloaded_error"),
    ],
)
def test_each_status_has_its_type(status: int, error_type: str) -> None:
    assert api_error(status, "m").type == error_type


def test_the_envelope_is_what_the_sdk_reads() -> None:
    raw = error_body(api_error(404, "model: x"), "req_1")
    assert json.loads(raw) == {
        "type": "error",
        "error": {"type": "not_found_error", "message": "model: x"},
        "request_id": "req_1",
    }
    response = httpx2.Response(404, content=raw, request=httpx2.Request("POST", "http://127.0.0.1/v1/messages"))
    with anthropic.Anthropic(api_key="k", base_url="http://127.0.0.1:1") as client:
        error = client._make_status_error_from_response(response)
    assert isinstance(error, anthropic.NotFoundError)
    assert error.type == "not_found_error"


@pytest.mark.parametrize(
    ("exc", "status", "cls", "code"),
    [
        (UnknownFileError(FileId("file_1")), 404, anthropic.NotFoundError, None),
        (FileExpiredError(FileId("file_1")), 404, FileExpired, "file_expired"),
        (FileTooLargeError(9), 413, anthropic.RequestTooLargeError, None),
        (StorageFullError("full"), 400, StorageQuotaExceeded, "storage_quota_exceeded"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_errors_of_files_become_the_sdks_own_classes(
    exc: PensieveError, status: int, cls: type[anthropic.APIStatusError], code: str | None
) -> None:
    body = error_body(to_api_error(exc), "req_1")
    response = httpx2.Response(status, content=body, request=httpx2.Request("GET", "http://127.0.0.1/v1/files/x"))
    with anthropic.Anthropic(api_key="k", base_url="http://127.0.0.1:1") as client:
        error = client._make_status_error_from_response(response)
    assert to_api_error(exc).status == status
    assert type(error) is cls
    assert (error.error_code, error.api_message) == (code, exc.message)
