"""What can go wrong below the wire, as a client has to tell it apart.

    PensieveError
    ├── ModelNotFoundError      nobody knows this name
    ├── ModelBrokenError        the file is bad, or its engine dies again and again
    ├── RequestRefusedError     this request can never succeed here
    │   ├── PromptTooLongError  … because its prompt exceeds the context
    │   ├── AnswerTooLongError  … because its prompt and all that it asks for do (said where a server is strict)
    │   └── QuarantinedError    … because it killed engines before
    ├── OverloadedError         later it could succeed
    ├── UnknownFileError        no stored file has this id
    │   └── FileExpiredError    … any more
    ├── FileTooLargeError       one file exceeds what a file may have
    ├── StorageFullError        all files together would exceed their quota, or the disk
    └── EngineFailedError       the engine died or gave up under this request

`OverloadedError` covers closing down too: to a client both mean "come back later".
"""

from __future__ import annotations

from collections.abc import Sequence

from pensieve_core._ids import FileId, ModelId

__all__ = [
    "AnswerTooLongError",
    "EngineFailedError",
    "FileExpiredError",
    "FileTooLargeError",
    "ModelBrokenError",
    "ModelNotFoundError",
    "OverloadedError",
    "PensieveError",
    "PromptTooLongError",
    "QuarantinedError",
    "RequestRefusedError",
    "StorageFullError",
    "UnknownFileError",
]


class PensieveError(Exception):
    """The root. The message is written for the user and safe to show."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class ModelNotFoundError(PensieveError):
    """Nobody knows this name. `known` are the names that would have worked."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        choices = f"available: {', '.join(known)}" if known else "no model is installed"
        super().__init__(f"model: {name} ({choices})")
        self.name = name
        self.known = tuple(known)


class ModelBrokenError(PensieveError):
    """The model cannot be served, and trying again will not help."""

    def __init__(self, model: ModelId, reason: str) -> None:
        super().__init__(f"model {model} cannot be served: {reason}")
        self.model = model
        self.reason = reason


class RequestRefusedError(PensieveError):
    """This request can never succeed on this engine."""


class PromptTooLongError(RequestRefusedError):
    """The prompt exceeds the context; Claude Code reads this wording (design 4) and compacts."""

    def __init__(self, prompt_tokens: int, maximum: int) -> None:
        super().__init__(f"prompt is too long: {prompt_tokens} tokens > {maximum} maximum")
        self.prompt_tokens = prompt_tokens
        self.maximum = maximum


class AnswerTooLongError(RequestRefusedError):
    """Prompt and `max_tokens` exceed the context; Claude Code reads this wording, too, and asks for less (design 4)."""

    def __init__(self, prompt_tokens: int, max_tokens: int, maximum: int) -> None:
        super().__init__(
            f"input length and `max_tokens` exceed context limit: {prompt_tokens} + {max_tokens} > {maximum}, "
            "decrease input length or `max_tokens` and try again"
        )
        self.prompt_tokens = prompt_tokens
        self.max_tokens = max_tokens
        self.maximum = maximum


class QuarantinedError(RequestRefusedError):
    """The same request killed engines before; it is not given another one."""

    def __init__(self, deaths: int) -> None:
        super().__init__(f"this request ended the engine {deaths} times and is refused from now on")
        self.deaths = deaths


class OverloadedError(PensieveError):
    """No room now. `retry_after_s`: seconds; Claude Code gives up above 60."""

    def __init__(self, message: str, retry_after_s: int = 5) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class EngineFailedError(PensieveError):
    """The engine died, hung or answered nonsense while it worked on this request."""


class UnknownFileError(PensieveError):
    """No stored file has this id: it never had one, or it was deleted."""

    def __init__(self, file_id: FileId, message: str | None = None) -> None:
        super().__init__(message or f"no file has the id {file_id[:100]}; list them with GET /v1/files")
        self.file_id = file_id


class FileExpiredError(UnknownFileError):
    """Its time is over, and its bytes are gone."""

    def __init__(self, file_id: FileId) -> None:
        super().__init__(file_id, f"the file {file_id[:100]} has expired; upload it again")


class FileTooLargeError(PensieveError):
    """A file exceeds `max_bytes`: what one file may have, or what can be made of it here."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(f"the file exceeds {max_bytes} bytes; send a smaller one, or several")
        self.max_bytes = max_bytes


class StorageFullError(PensieveError):
    """There is no room for more. `what` says what is full, `things` what can be deleted to make room."""

    def __init__(self, what: str, *, things: str = "files") -> None:
        super().__init__(f"{what}; delete {things} that are no longer needed, and try again")
