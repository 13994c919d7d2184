"""What goes out at OpenAI's door: answers, chunks of a stream, errors. Pure.

Nothing is decided here. An answer is made as at the first door, by `MessageStream`, and then told in OpenAI's words: a
whole `Message` by `chat_completion`, a stream event by event by `ChatChunks`. The wire is the specification: the
official SDK's `types/chat/chat_completion.py`, `chat_completion_chunk.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias, assert_never

import attrs

from pensieve_protocol._errors import ApiError, ErrorEvent
from pensieve_protocol._events import (
    BlockDelta,
    ContentBlockDelta,
    ContentBlockStart,
    ContentBlockStop,
    InputJsonDelta,
    MessageDeltaEvent,
    MessageStart,
    MessageStop,
    Ping,
    SignatureDelta,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
)
from pensieve_protocol._json import RARE, dump_json
from pensieve_protocol._messages import (
    Message,
    MessageUsage,
    ResponseText,
    ResponseThinking,
    ResponseToolUse,
    StopReason,
)

__all__ = ["ChatChunk", "ChatChunks", "ChatCompletion", "OpenAIError", "chat_completion", "openai_error_body"]

ChatFinishReason: TypeAlias = Literal["stop", "length", "tool_calls", "content_filter"]

_FINISH_REASONS: Mapping[StopReason, ChatFinishReason] = {
    "end_turn": "stop",
    "max_tokens": "length",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "pause_turn": "stop",
    "refusal": "content_filter",
    "model_context_window_exceeded": "length",
}


_CODES: tuple[tuple[int, str, str], ...] = (
    (400, "prompt is too long: ", "context_length_exceeded"),
    (401, "", "invalid_api_key"),
    (404, "model: ", "model_not_found"),
)


@attrs.frozen(kw_only=True)
class OpenAIErrorDetail:
    """What went wrong."""

    message: str
    type: str
    """The same words as in Anthropic's form."""
    param: None = None
    code: str | None = None


@attrs.frozen(kw_only=True)
class OpenAIError:
    """The envelope of every error at this door."""

    error: OpenAIErrorDetail


@attrs.frozen(kw_only=True)
class ChatFunctionFragment:
    """A called function, or more of its arguments."""

    name: str | None = attrs.field(default=None, metadata=RARE)
    arguments: str


@attrs.frozen(kw_only=True)
class ChatAnsweredCall:
    """A tool call of the answer."""

    id: str
    type: Literal["function"] = "function"
    function: ChatFunctionFragment


@attrs.frozen(kw_only=True)
class ChatCallDelta:
    """A tool call begins, or goes on."""

    index: int
    """Its place among the tool calls."""
    id: str | None = attrs.field(default=None, metadata=RARE)
    type: Literal["function"] | None = attrs.field(default=None, metadata=RARE)
    function: ChatFunctionFragment


@attrs.frozen(kw_only=True)
class ChatDelta:
    """What is new."""

    role: Literal["assistant"] | None = attrs.field(default=None, metadata=RARE)
    content: str | None = attrs.field(default=None, metadata=RARE)
    reasoning_content: str | None = attrs.field(default=None, metadata=RARE)
    """Not OpenAI's own, but what other servers of models that reason call it."""
    tool_calls: tuple[ChatCallDelta, ...] | None = attrs.field(default=None, metadata=RARE)


@attrs.frozen(kw_only=True)
class ChatPromptDetails:
    """How the prompt's tokens divide."""

    cached_tokens: int


@attrs.frozen(kw_only=True)
class ChatCompletionDetails:
    """How the answer's tokens divide."""

    reasoning_tokens: int


@attrs.frozen(kw_only=True)
class ChatUsage:
    """Tokens."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: ChatPromptDetails
    completion_tokens_details: ChatCompletionDetails


@attrs.frozen(kw_only=True)
class ChatChunkChoice:
    """The answer, and what is new of it."""

    index: int = 0
    delta: ChatDelta
    logprobs: None = None
    finish_reason: ChatFinishReason | None = None


@attrs.frozen(kw_only=True)
class ChatChunk:
    """One event of a stream. The one with the usage has no choices."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    """Unix seconds."""
    model: str
    choices: tuple[ChatChunkChoice, ...] = ()
    usage: ChatUsage | None = attrs.field(default=None, metadata=RARE)


@attrs.frozen(kw_only=True)
class ChatAnswer:
    """The answer itself."""

    role: Literal["assistant"] = "assistant"
    content: str | None
    """None when there are tool calls alone."""
    refusal: None = None
    reasoning_content: str | None = attrs.field(default=None, metadata=RARE)
    tool_calls: tuple[ChatAnsweredCall, ...] | None = attrs.field(default=None, metadata=RARE)


@attrs.frozen(kw_only=True)
class ChatChoice:
    """The answer, and why it ended."""

    index: int = 0
    message: ChatAnswer
    logprobs: None = None
    finish_reason: ChatFinishReason


@attrs.frozen(kw_only=True)
class ChatCompletion:
    """A whole answer."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    """Unix seconds."""
    model: str
    """As the client named it."""
    choices: tuple[ChatChoice, ...]
    usage: ChatUsage


def openai_error_body(error: ApiError) -> bytes:
    """Return the envelope of `error` as JSON."""
    return dump_json(OpenAIError(error=OpenAIErrorDetail(message=error.message, type=error.type, code=_code(error))))


def _code(error: ApiError) -> str | None:
    """Return the cause, where programs look for it: told by core's wordings, which others rely on, too (design 4)."""
    found = (code for status, words, code in _CODES if error.status == status and error.message.startswith(words))
    return next(found, error.code)


def chat_completion(message: Message, *, created: int) -> ChatCompletion:
    """Return a complete `message` in OpenAI's form, made at `created` (Unix seconds)."""
    assert message.stop_reason is not None  # noqa: S101 - complete, says the caller
    text = "".join(block.text for block in message.content if isinstance(block, ResponseText))
    reasoning = "".join(block.thinking for block in message.content if isinstance(block, ResponseThinking))
    calls = tuple(_answered_call(block) for block in message.content if isinstance(block, ResponseToolUse))
    answer = ChatAnswer(
        content=text if text or not calls else None, reasoning_content=reasoning or None, tool_calls=calls or None
    )
    choice = ChatChoice(message=answer, finish_reason=_FINISH_REASONS[message.stop_reason])
    return ChatCompletion(
        id=_chat_id(message.id), created=created, model=message.model, choices=(choice,), usage=_usage(message.usage)
    )


class ChatChunks:
    """Tells a message's events as chunks: one machine for one stream.

    Args:
        created: Unix seconds.
        include_usage: Whether the client asked for the chunk with the usage.
    """

    def __init__(self, *, created: int, include_usage: bool) -> None:
        self._created = created
        self._include_usage = include_usage
        self._id = self._model = ""
        self._calls = -1
        """Index of the tool call that is open; -1 before the first."""

    def encode(self, event: StreamEvent) -> bytes:
        """Return what is written for `event`; nothing where OpenAI has no word for it."""
        match event:
            case MessageStart(message=message):
                self._id, self._model = _chat_id(message.id), message.model
                return self._delta(ChatDelta(role="assistant", content=""))
            case ContentBlockStart(content_block=ResponseToolUse() as block):
                return self._call(block)
            case ContentBlockDelta(delta=delta):
                return self._more(delta)
            case MessageDeltaEvent():
                return self._end(event)
            case _:
                return _unchunked(event)

    def _call(self, block: ResponseToolUse) -> bytes:
        self._calls += 1
        function = ChatFunctionFragment(name=block.name, arguments="")
        call = ChatCallDelta(index=self._calls, id=block.id, type="function", function=function)
        return self._delta(ChatDelta(tool_calls=(call,)))

    def _more(self, delta: BlockDelta) -> bytes:
        match delta:
            case TextDelta(text=text):
                return self._delta(ChatDelta(content=text))
            case ThinkingDelta(thinking=text):
                return self._delta(ChatDelta(reasoning_content=text))
            case InputJsonDelta(partial_json=fragment):
                call = ChatCallDelta(index=self._calls, function=ChatFunctionFragment(arguments=fragment))
                return self._delta(ChatDelta(tool_calls=(call,)))
            case SignatureDelta():
                return b""
            case _:
                assert_never(delta)

    def _end(self, event: MessageDeltaEvent) -> bytes:
        reason = _FINISH_REASONS[event.delta.stop_reason]
        last = self._chunk(ChatChunkChoice(delta=ChatDelta(), finish_reason=reason))
        if not self._include_usage:
            return _data(last)
        return _data(last) + _data(attrs.evolve(self._chunk(), usage=_usage(event.usage)))

    def _delta(self, delta: ChatDelta) -> bytes:
        return _data(self._chunk(ChatChunkChoice(delta=delta)))

    def _chunk(self, *choices: ChatChunkChoice) -> ChatChunk:
        return ChatChunk(id=self._id, created=self._created, model=self._model, choices=choices)


def _unchunked(event: Ping | ErrorEvent | MessageStop | ContentBlockStart | ContentBlockStop) -> bytes:
    match event:
        case Ping():
            return b": ping\n\n"
        case ErrorEvent(error=detail):
            return _data(OpenAIError(error=OpenAIErrorDetail(message=detail.message, type=detail.type)))
        case MessageStop():
            return b"data: [DONE]\n\n"
        case ContentBlockStart() | ContentBlockStop():
            return b""
        case _:
            assert_never(event)


def _data(event: ChatChunk | OpenAIError) -> bytes:
    return b"data: %b\n\n" % dump_json(event)


def _chat_id(message_id: str) -> str:
    return f"chatcmpl-{message_id.removeprefix('msg_')}"


def _answered_call(block: ResponseToolUse) -> ChatAnsweredCall:
    function = ChatFunctionFragment(name=block.name, arguments=dump_json(block.input).decode())
    return ChatAnsweredCall(id=block.id, function=function)


def _usage(usage: MessageUsage) -> ChatUsage:
    prompt = usage.input_tokens + usage.cache_creation_input_tokens + usage.cache_read_input_tokens
    details = usage.output_tokens_details
    return ChatUsage(
        prompt_tokens=prompt,
        completion_tokens=usage.output_tokens,
        total_tokens=prompt + usage.output_tokens,
        prompt_tokens_details=ChatPromptDetails(cached_tokens=usage.cache_read_input_tokens),
        completion_tokens_details=ChatCompletionDetails(
            reasoning_tokens=0 if details is None else details.thinking_tokens
        ),
    )
