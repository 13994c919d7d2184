"""What goes wrong, and how a client is told."""

from __future__ import annotations

from conformance._requirements.record import Requirement

__all__ = ["ERRORS"]

_TYPES = "sdk: types/shared/error_type.py"
_ERRORS = "design: 3 Errors"
_CODE = "design: 4 What it needs"

_NOT_OURS = "nothing here bills, limits rates or keeps memories: there is no occasion for it"

ERRORS = (
    Requirement(
        "error:envelope",
        "Every error is `{type: error, error: {type, message}, request_id}`.",
        source="sdk: types/shared/error_response.py",
    ),
    Requirement(
        "error:request-id", "Every response has a `request-id`; an error repeats it in its body.", source=_ERRORS
    ),
    Requirement("error:path", "The message of a 400 names the JSON path and what is wrong there.", source=_ERRORS),
    Requirement("error:paths", "Several faults are named at once, the first three in full.", source="ours"),
    Requirement("error:invalid_request_error", "A request that is malformed is a 400.", source=_TYPES),
    Requirement("error:authentication_error", "A missing or wrong key is a 401.", source=_TYPES),
    Requirement("error:permission_error", "A foreign Host or Origin is a 403.", source=_TYPES),
    Requirement("error:not_found_error", "An unknown model or path is a 404.", source=_TYPES),
    Requirement(
        "error:conflict_error",
        "What contradicts the state of a batch or file is a 409.",
        source=_TYPES,
    ),
    Requirement(
        "error:request_too_large",
        "A body above the limit is a 413; the API names its type request_too_large.",
        source="docs: https://docs.claude.com/en/api/errors",
    ),
    Requirement("error:rate_limit_error", "Too many requests in a time are a 429.", source=_TYPES, deferred=_NOT_OURS),
    Requirement("error:billing_error", "A problem with payment is a 402.", source=_TYPES, deferred=_NOT_OURS),
    Requirement("error:api_error", "A failure of the server is a 500, without its inner details.", source=_TYPES),
    Requirement(
        "error:timeout_error",
        "A request that takes too long is a 504.",
        source=_TYPES,
        deferred="a local model may think as long as it likes; a slow body is a 408 of the type invalid_request_error",
    ),
    Requirement("error:overloaded_error", "A full queue is a 529 with `retry-after`, of 60 s at most.", source=_TYPES),
    Requirement(
        "error:memory_precondition_failed_error",
        "A write to a memory store that has changed.",
        source=_TYPES,
        deferred=_NOT_OURS,
    ),
    Requirement("error:memory_path_conflict_error", "Two memories at one path.", source=_TYPES, deferred=_NOT_OURS),
    Requirement(
        "error:should-retry", "`x-should-retry` says whether trying again helps.", source="sdk: _base_client.py"
    ),
    Requirement(
        "error:after-first-byte", "After the first byte an error is an `error` event, and the last one.", source=_ERRORS
    ),
    Requirement(
        "error:sdk-class", "The SDK raises the class that belongs to the status.", source="sdk: _exceptions.py"
    ),
    Requirement("error:json", "A body that is no JSON, or not UTF-8, or repeats a name, is a 400.", source="ours"),
    Requirement("error:content-type", "Another content type than application/json is a 400.", source="ours"),
    Requirement(
        "error:prompt-too-long",
        "`prompt is too long: N tokens > M maximum`, word for word: Claude Code compacts on it.",
        source=_CODE,
    ),
    Requirement(
        "error:max-tokens-too-large",
        "A prompt that fits is served however large max_tokens is; it gets what is left.",
        source=_CODE,
        divergence="Anthropic answers 400 when prompt and max_tokens exceed the window together; here the answer is "
        "shorter, and ends with model_context_window_exceeded.",
    ),
    Requirement(
        "error:max-tokens-too-large:strict",
        "With `strict` set, what may not fit is refused, in the words upon which Claude Code asks for less.",
        source=_CODE,
    ),
    Requirement(
        "error:body-size-early",
        "A body that is announced as too large is refused before it is sent whole.",
        source="ours",
    ),
    Requirement(
        "error:unfinished", "A failure of the engine in a JSON answer is an error, never half an answer.", source="ours"
    ),
)
