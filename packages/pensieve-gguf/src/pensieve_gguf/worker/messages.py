"""What supervisor and worker say to each other. Values, and their JSON.

`key` numbers one request within one worker. Order on the wire is order of sending, both ways.
"""

from __future__ import annotations

import base64
from typing import Any, Literal, TypeAlias

import attrs
import cattrs
import orjson
from cattrs.preconf.orjson import make_converter

from pensieve_core import (
    EngineDescription,
    EngineFailedError,
    GenerationEvent,
    GenerationRequest,
    JsonObject,
    ModelDescriptor,
    OverloadedError,
    PensieveError,
    PromptTooLongError,
    PromptUsage,
    RequestRefusedError,
)
from pensieve_gguf.footprint import Footprint
from pensieve_gguf.settings import GgufSettings, KvType

__all__ = [
    "Admitted",
    "Alive",
    "Cancel",
    "Count",
    "Counted",
    "Event",
    "Failed",
    "Farewell",
    "FromWorker",
    "Generate",
    "Load",
    "LoadFailed",
    "Loaded",
    "Loading",
    "Logged",
    "MessageError",
    "ToWorker",
    "counted",
    "decode_from_worker",
    "decode_to_worker",
    "encode",
    "failure",
]


class MessageError(Exception):
    """The peer said what is no message."""


@attrs.frozen(kw_only=True)
class Load:
    """Load this model; the first message, and sent once."""

    kind: Literal["load"] = "load"
    model: ModelDescriptor
    settings: GgufSettings


@attrs.frozen(kw_only=True)
class Generate:
    """Answered by `Admitted` and `Event`s, or by `Failed`."""

    kind: Literal["generate"] = "generate"
    key: int
    request: GenerationRequest


@attrs.frozen(kw_only=True)
class Count:
    """Answered by `Counted` or `Failed`."""

    kind: Literal["count"] = "count"
    key: int
    request: GenerationRequest


@attrs.frozen(kw_only=True)
class Cancel:
    """Drop the request; nothing more is said about it, save what is on its way."""

    kind: Literal["cancel"] = "cancel"
    key: int


@attrs.frozen(kw_only=True)
class Farewell:
    """The socket ends next: end, but save for so long at most what is not saved yet."""

    kind: Literal["farewell"] = "farewell"
    save_s: float


@attrs.frozen(kw_only=True)
class Loading:
    """The model is being loaded."""

    kind: Literal["loading"] = "loading"
    progress: float
    """0 to 1."""


@attrs.frozen(kw_only=True)
class Loaded:
    """The engine is ready."""

    kind: Literal["loaded"] = "loaded"
    description: EngineDescription
    kv_type: KvType
    gpu_bytes: int = 0
    """What was free on all GPUs together before it was loaded."""


@attrs.frozen(kw_only=True)
class LoadFailed:
    """The model cannot be loaded; the worker ends."""

    kind: Literal["load_failed"] = "load_failed"
    reason: str
    needs: Footprint | None = None
    """What it would have taken, if only memory was short."""


@attrs.frozen(kw_only=True)
class Admitted:
    """The request fits, and waits for its turn."""

    kind: Literal["admitted"] = "admitted"
    key: int
    prompt: PromptUsage


@attrs.frozen(kw_only=True)
class Event:
    """The next event of a generation."""

    kind: Literal["event"] = "event"
    key: int
    event: GenerationEvent


@attrs.frozen(kw_only=True)
class Counted:
    """The prompt's size."""

    kind: Literal["counted"] = "counted"
    key: int
    tokens: int


@attrs.frozen(kw_only=True)
class Failed:
    """The end of a request: a `PensieveError`, flattened."""

    kind: Literal["failed"] = "failed"
    key: int
    error: Literal["prompt_too_long", "refused", "overloaded", "engine_failed"]
    message: str
    numbers: tuple[int, ...] = ()

    def exception(self) -> PensieveError:
        """Return the error as the engine raised it."""
        match self.error:
            case "prompt_too_long":
                return PromptTooLongError(*self.numbers)
            case "refused":
                return RequestRefusedError(self.message)
            case "overloaded":
                return OverloadedError(self.message, *self.numbers)
            case _:
                return EngineFailedError(self.message)


@attrs.frozen(kw_only=True)
class Alive:
    """A sign of life, every second."""

    kind: Literal["alive"] = "alive"
    decodes: int
    decoding_for_s: float
    """How long the running decode has taken so far; 0 between decodes."""


@attrs.frozen(kw_only=True)
class Logged:
    """What the worker would write to its log, had it one."""

    kind: Literal["logged"] = "logged"
    level: str
    event: str
    fields: dict[str, str] = attrs.field(factory=dict)


ToWorker: TypeAlias = Load | Generate | Count | Cancel | Farewell
FromWorker: TypeAlias = Loading | Loaded | LoadFailed | Admitted | Event | Counted | Failed | Alive | Logged


def failure(key: int, error: PensieveError) -> Failed:
    """Flatten `error`."""
    match error:
        case PromptTooLongError(prompt_tokens=tokens, maximum=maximum):
            return Failed(key=key, error="prompt_too_long", message=error.message, numbers=(tokens, maximum))
        case RequestRefusedError():
            return Failed(key=key, error="refused", message=error.message)
        case OverloadedError(retry_after_s=seconds):
            return Failed(key=key, error="overloaded", message=error.message, numbers=(seconds,))
        case _:
            return Failed(key=key, error="engine_failed", message=error.message)


def counted(answer: FromWorker | None) -> int:
    """Return what `Count` was answered with; raise what it failed with."""
    match answer:
        case Counted(tokens=tokens):
            return tokens
        case Failed():
            raise answer.exception()
        case _:
            raise EngineFailedError(f"the worker answered {answer} when asked to count")


def _make_converter() -> cattrs.Converter:
    converter = make_converter()
    # JSON is JSON already; the recursive alias would only be walked in vain.
    converter.register_structure_hook_func(lambda kind: kind == JsonObject, lambda value, _: value)
    converter.register_unstructure_hook_func(lambda kind: kind == JsonObject, dict)
    # Of an image, 40 times as fast as the base 85 that cattrs would write.
    converter.register_unstructure_hook(bytes, lambda value: base64.b64encode(value).decode())
    converter.register_structure_hook(bytes, lambda value, _: base64.b64decode(value, validate=True))
    return converter


_converter = _make_converter()


def encode(message: ToWorker | FromWorker) -> bytes:
    """Return the message as JSON."""
    return orjson.dumps(_converter.unstructure(message))


def decode_to_worker(payload: bytes) -> ToWorker:
    """Return the message that a supervisor sent.

    Raises:
        MessageError: it is none.
    """
    message: ToWorker = _decode(payload, ToWorker)
    return message


def decode_from_worker(payload: bytes) -> FromWorker:
    """Return the message that a worker sent.

    Raises:
        MessageError: it is none.
    """
    message: FromWorker = _decode(payload, FromWorker)
    return message


def _decode(payload: bytes, kind: Any) -> Any:  # noqa: ANN401 - a union is no type, to mypy
    try:
        return _converter.structure(orjson.loads(payload), kind)
    except (cattrs.BaseValidationError, LookupError, TypeError, ValueError) as error:
        raise MessageError(f"{payload[:80]!r} is no message: {error!r}") from error
