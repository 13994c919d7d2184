"""The errors' wordings are read by people and by Claude Code; their data by the layers above."""

import pytest

from pensieve_core import (
    AnswerTooLongError,
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

_TOO_MUCH = (
    "input length and `max_tokens` exceed context limit: 24000 + 32000 > 32768, "
    "decrease input length or `max_tokens` and try again"
)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ModelNotFoundError("gpt", ["a", "b"]), "model: gpt (available: a, b)"),
        (ModelNotFoundError("gpt", []), "model: gpt (no model is installed)"),
        (ModelBrokenError(ModelId("a"), "the file is cut off"), "model a cannot be served: the file is cut off"),
        (PromptTooLongError(101, 100), "prompt is too long: 101 tokens > 100 maximum"),
        (
            AnswerTooLongError(24_000, 32_000, 32_768),
            _TOO_MUCH,
        ),
        (QuarantinedError(2), "this request ended the engine 2 times and is refused from now on"),
        (RequestRefusedError("no images here"), "no images here"),
        (OverloadedError("the queue is full"), "the queue is full"),
        (EngineFailedError("the engine died"), "the engine died"),
        (UnknownFileError(FileId("file_1")), "no file has the id file_1; list them with GET /v1/files"),
        (FileExpiredError(FileId("file_1")), "the file file_1 has expired; upload it again"),
        (FileTooLargeError(10), "the file exceeds 10 bytes; send a smaller one, or several"),
        (StorageFullError("it is full"), "it is full; delete files that are no longer needed, and try again"),
    ],
)
def test_the_message_is_what_a_user_reads(error: PensieveError, message: str) -> None:
    assert error.message == str(error) == message
    assert isinstance(error, PensieveError)


def test_errors_carry_their_data() -> None:
    not_found = ModelNotFoundError("gpt", ["a"])
    assert (not_found.name, not_found.known) == ("gpt", ("a",))
    broken = ModelBrokenError(ModelId("a"), "why")
    assert (broken.model, broken.reason) == ("a", "why")
    too_long = PromptTooLongError(101, 100)
    assert (too_long.prompt_tokens, too_long.maximum) == (101, 100)
    answer = AnswerTooLongError(3, 2, 4)
    assert (answer.prompt_tokens, answer.max_tokens, answer.maximum) == (3, 2, 4)
    assert QuarantinedError(2).deaths == 2
    assert FileExpiredError(FileId("file_1")).file_id == "file_1"
    assert FileTooLargeError(10).max_bytes == 10


def test_what_can_never_succeed_is_one_branch_of_the_tree() -> None:
    assert issubclass(PromptTooLongError, RequestRefusedError)
    assert issubclass(AnswerTooLongError, RequestRefusedError)
    assert issubclass(QuarantinedError, RequestRefusedError)
    assert not issubclass(OverloadedError, RequestRefusedError)


def test_an_overloaded_server_asks_for_a_patience_that_claude_code_has() -> None:
    """Design 5: Claude Code gives up when `retry-after` is above 60 s."""
    assert OverloadedError("busy").retry_after_s <= 60
    assert OverloadedError("busy", retry_after_s=30).retry_after_s == 30
