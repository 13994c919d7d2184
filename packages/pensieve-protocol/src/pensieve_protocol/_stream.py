"""The machine that turns an engine's events into the events of a Messages stream.

Theory of operation
-------------------
A stream is one message. Between `message_start` and `message_delta` it is a row of blocks, each of one kind, each
opened, written to and closed, one at a time. An engine knows nothing of blocks: it says "text", "thinking", "a tool
call", "its arguments". So the machine's state is which block is open, and a move is one of an engine's words:

* a word that belongs to the open block writes a delta into it;
* another word closes the open block and opens its own;
* the end closes the open block and finishes the message; a failure ends the stream where it stands: an error event
  is the last event, and nothing is closed, for a closed block would look complete.

A block is closed only when the next word shows that it is over. What closing takes depends on the state: a thinking
block ends with its signature; a tool call that was given no arguments gets the fragment `{}`, since a client parses
what it has collected, and an empty string is no JSON. That is why a tool call has two states.

`_MOVES` lists every legal move. A move that is not listed raises `IllegalTransition`: the engine, or the server,
broke its contract, and the client must not be sent a stream that its SDK cannot fold.

Three moves are the server's own: START; PING, which writes nothing anybody keeps; and KEEP_ALIVE, an empty delta
into the open block, because Claude Code counts deltas as signs of life and pings not (design 4). Before any content
`keep_alive` opens the block that will most likely come first; should the model then say something else, the usual
rule closes it, empty and legal. Progress of the prefill is a move without events.

The machine has no clock, makes no ids and does no I/O. Stream and JSON answers come from the same events
(`_accumulator` folds them), so that they cannot differ.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias, assert_never

from pensieve_core import (
    AnswerProgressed,
    FinishReason,
    GenerationFinished,
    PrefillProgressed,
    PromptUsage,
    TextProduced,
    ThinkingProduced,
    ToolCallArguments,
    ToolCallStarted,
)
from pensieve_protocol._context_management import ContextManagementResponse
from pensieve_protocol._diagnostics import Diagnostics
from pensieve_protocol._errors import ApiError, error_event
from pensieve_protocol._events import (
    BlockDelta,
    ContentBlockDelta,
    ContentBlockStart,
    ContentBlockStop,
    InputJsonDelta,
    MessageDelta,
    MessageDeltaEvent,
    MessageStart,
    MessageStop,
    Ping,
    SignatureDelta,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
)
from pensieve_protocol._messages import (
    Message,
    ResponseBlock,
    ResponseServerToolUse,
    ResponseText,
    ResponseThinking,
    ResponseToolReference,
    ResponseToolSearchResult,
    ResponseToolUse,
    ToolSearchError,
    ToolSearchFound,
    final_usage,
    initial_usage,
    stop_reason,
)
from pensieve_protocol._search_turn import Searched, ServerCallStarted, TurnEvent
from pensieve_protocol._searches import wire_call_id
from pensieve_protocol._tool_search import SearchFailed, SearchResult, ToolsFound

__all__ = ["IllegalTransition", "MessageStream", "Signer", "sign_thinking"]

Signer: TypeAlias = Callable[[str], str]
Events: TypeAlias = tuple[StreamEvent, ...]


class IllegalTransition(Exception):  # noqa: N818 - it names a move; the error is ours, not the caller's input
    """A move that `_MOVES` does not list. A bug in an engine or in the server."""

    def __init__(self, state: enum.Enum, word: enum.Enum) -> None:
        super().__init__(f"{word.name} cannot come in state {state.name}")
        self.state = state
        self.word = word


class _State(enum.Enum):
    IDLE = enum.auto()
    """Nothing was sent."""
    STARTED = enum.auto()
    """`message_start` was sent, and no block yet."""
    TEXT = enum.auto()
    THINKING = enum.auto()
    TOOL_CALL = enum.auto()
    """A tool call is open, without arguments so far."""
    TOOL_INPUT = enum.auto()
    """A tool call is open, with arguments."""
    RESULT = enum.auto()
    """What the server's own tool found is open; nothing is ever written into it."""
    FINISHED = enum.auto()
    FAILED = enum.auto()


class _Word(enum.Enum):
    START = enum.auto()
    PING = enum.auto()
    KEEP_ALIVE = enum.auto()
    PROGRESS = enum.auto()
    TEXT = enum.auto()
    THINKING = enum.auto()
    TOOL_CALL = enum.auto()
    TOOL_ARGUMENTS = enum.auto()
    TOOL_SILENCE = enum.auto()
    """An empty fragment of arguments: a sign of life, after which the call still has none."""
    RESULT = enum.auto()
    FINISH = enum.auto()
    FAIL = enum.auto()


_S, _W = _State, _Word

# Words that every state between start and end understands in the same way.
_ALWAYS: Final[Mapping[_Word, _State]] = {
    _W.TEXT: _S.TEXT,
    _W.THINKING: _S.THINKING,
    _W.TOOL_CALL: _S.TOOL_CALL,
    _W.RESULT: _S.RESULT,
    _W.FINISH: _S.FINISHED,
    _W.FAIL: _S.FAILED,
}

_MOVES: Final[Mapping[_State, Mapping[_Word, _State]]] = {
    _S.IDLE: {_W.START: _S.STARTED, _W.FAIL: _S.FAILED},
    _S.STARTED: {**_ALWAYS, _W.PING: _S.STARTED, _W.PROGRESS: _S.STARTED},
    _S.TEXT: {**_ALWAYS, _W.PING: _S.TEXT, _W.PROGRESS: _S.TEXT, _W.KEEP_ALIVE: _S.TEXT},
    _S.THINKING: {**_ALWAYS, _W.PING: _S.THINKING, _W.PROGRESS: _S.THINKING, _W.KEEP_ALIVE: _S.THINKING},
    _S.TOOL_CALL: {
        **_ALWAYS,
        _W.PING: _S.TOOL_CALL,
        _W.PROGRESS: _S.TOOL_CALL,
        _W.KEEP_ALIVE: _S.TOOL_CALL,
        _W.TOOL_SILENCE: _S.TOOL_CALL,
        _W.TOOL_ARGUMENTS: _S.TOOL_INPUT,
    },
    _S.TOOL_INPUT: {
        **_ALWAYS,
        _W.PING: _S.TOOL_INPUT,
        _W.PROGRESS: _S.TOOL_INPUT,
        _W.KEEP_ALIVE: _S.TOOL_INPUT,
        _W.TOOL_SILENCE: _S.TOOL_INPUT,
        _W.TOOL_ARGUMENTS: _S.TOOL_INPUT,
    },
    _S.RESULT: {**_ALWAYS, _W.PING: _S.RESULT, _W.PROGRESS: _S.RESULT},
    _S.FINISHED: {},
    _S.FAILED: {},
}

_SIGN_OF_LIFE: Final[Mapping[_State, BlockDelta]] = {
    _S.TEXT: TextDelta(text=""),
    _S.THINKING: ThinkingDelta(thinking=""),
    _S.TOOL_CALL: InputJsonDelta(partial_json=""),
    _S.TOOL_INPUT: InputJsonDelta(partial_json=""),
}


def sign_thinking(text: str) -> str:
    """Return a deterministic signature of reasoning. It marks the text as unchanged; it proves no origin."""
    return hashlib.sha256(b"pensieve-thinking-1\0" + text.encode()).hexdigest()


class MessageStream:
    """One answer on the wire, from `start` to the end; the theory is in the module's docstring.

    Every method returns the events to send, in order, and raises `IllegalTransition` when it is called out of turn.

    Args:
        message_id: `msg_…`, unique; made by the caller.
        model: The name that the client asked for.
        sign: Makes the signature of a thinking block from its whole text.
        show_thinking: False for `display: omitted`: a block of reasoning is its signature alone.
    """

    def __init__(
        self, *, message_id: str, model: str, sign: Signer = sign_thinking, show_thinking: bool = True
    ) -> None:
        self._message_id = message_id
        self._model = model
        self._sign = sign
        self._show_thinking = show_thinking
        self._state = _S.IDLE
        self._index = -1
        """Of the open block; -1 before the first."""
        self._reasoning: list[str] = []
        """Of the open thinking block, for its signature."""
        self.context_management: ContextManagementResponse | None = None
        """Which edits were made; set by the caller before the end."""

    @property
    def finished(self) -> bool:
        """Whether the last event has been returned: `message_stop` or `error`."""
        return not _MOVES[self._state]

    def start(self, prompt: PromptUsage, diagnostics: Diagnostics | None = None) -> Events:
        """Begin the message, right after admission."""
        self._move(_W.START)
        message = Message(id=self._message_id, model=self._model, usage=initial_usage(prompt), diagnostics=diagnostics)
        return (MessageStart(message=message),)

    def ping(self) -> Events:
        """Show that the connection lives."""
        self._move(_W.PING)
        return (Ping(),)

    def keep_alive(self, *, thinking: bool) -> Events:
        """Send an empty delta; before any content, into a block opened for it: thinking when the model may think."""
        if self._state in (_S.STARTED, _S.RESULT):
            return self._reason("") if thinking else self._say("")
        self._move(_W.KEEP_ALIVE)
        return (self._delta(_SIGN_OF_LIFE[self._state]),)

    def feed(self, event: TurnEvent) -> Events:
        """Take the next event of the engine, or of the server's own tools."""
        match event:
            case PrefillProgressed() | AnswerProgressed():
                self._move(_W.PROGRESS)
                return ()
            case TextProduced(text=text):
                return self._say(text)
            case ThinkingProduced(text=text):
                return self._reason(text)
            case ToolCallStarted() | ServerCallStarted() | Searched():
                return self._enter(_W.RESULT if isinstance(event, Searched) else _W.TOOL_CALL, _opening(event))
            case ToolCallArguments(fragment=fragment):
                return self._give(fragment)
            case GenerationFinished():
                return self._finish(event)
            case _:
                assert_never(event)

    def fail(self, error: ApiError, request_id: str) -> Events:
        """End the stream with `error`; no event follows."""
        self._move(_W.FAIL)
        return (error_event(error, request_id),)

    def _say(self, text: str) -> Events:
        opening = self._enter(_W.TEXT, ResponseText())
        return (*opening, self._delta(TextDelta(text=text)))

    def _reason(self, text: str) -> Events:
        opening = self._enter(_W.THINKING, ResponseThinking())
        self._reasoning.append(text)
        return (*opening, self._delta(ThinkingDelta(thinking=text))) if self._show_thinking else opening

    def _give(self, fragment: str) -> Events:
        self._move(_W.TOOL_ARGUMENTS if fragment else _W.TOOL_SILENCE)
        return (self._delta(InputJsonDelta(partial_json=fragment)),)

    def _finish(self, event: GenerationFinished) -> Events:
        answer = self._empty_answer(event)
        before = self._move(_W.FINISH)
        delta = MessageDelta(stop_reason=stop_reason(event.reason), stop_sequence=event.stop_sequence)
        end = MessageDeltaEvent(delta=delta, usage=final_usage(event.usage), context_management=self.context_management)
        return (*answer, *self._closing(before), end, MessageStop())

    def _empty_answer(self, event: GenerationFinished) -> Events:
        """Give an answer without content one empty text block, for clients that read `content[0]`.

        A request that only warms the cache (max_tokens 0) has an empty `content`, as the API answers it.
        """
        warmed = event.reason is FinishReason.MAX_TOKENS and event.usage.generated_tokens == 0
        return () if warmed or self._state is not _S.STARTED else self._enter(_W.TEXT, ResponseText())

    def _enter(self, word: _Word, block: ResponseBlock) -> Events:
        """Make the move; close the open block and open `block`, unless the open one goes on."""
        before = self._move(word)
        if before is self._state and word not in (_W.TOOL_CALL, _W.RESULT):
            return ()
        closing = self._closing(before)
        self._index += 1
        return (*closing, ContentBlockStart(index=self._index, content_block=block))

    def _closing(self, state: _State) -> Events:
        """Return what ends the block that was open in `state`, if one was."""
        stop = ContentBlockStop(index=self._index)
        match state:
            case _S.THINKING:
                text = "".join(self._reasoning)
                self._reasoning.clear()
                return (self._delta(SignatureDelta(signature=self._sign(text))), stop)
            case _S.TOOL_CALL:
                return (self._delta(InputJsonDelta(partial_json="{}")), stop)
            case _S.TEXT | _S.TOOL_INPUT | _S.RESULT:
                return (stop,)
            case _:
                return ()

    def _delta(self, delta: BlockDelta) -> StreamEvent:
        return ContentBlockDelta(index=self._index, delta=delta)

    def _move(self, word: _Word) -> _State:
        """Go where the table says; return the state that was left."""
        before = self._state
        after = _MOVES[before].get(word)
        if after is None:
            raise IllegalTransition(before, word)
        self._state = after
        return before


def _opening(event: ToolCallStarted | ServerCallStarted | Searched) -> ResponseBlock:
    """Return the block that begins with a call, or with what the server found."""
    match event:
        case ToolCallStarted(id=call_id, name=name):
            return ResponseToolUse(id=call_id, name=name)
        case ServerCallStarted(id=call_id, name=name):
            return ResponseServerToolUse(id=wire_call_id(call_id), name=name)
        case Searched(call_id=call_id, result=result):
            return ResponseToolSearchResult(tool_use_id=wire_call_id(call_id), content=_found(result))
        case _:
            assert_never(event)


def _found(result: SearchResult) -> ToolSearchFound | ToolSearchError:
    match result:
        case ToolsFound(names=names):
            return ToolSearchFound(tool_references=tuple(ResponseToolReference(tool_name=name) for name in names))
        case SearchFailed(message=message):
            return ToolSearchError(error_message=message)
        case _:
            assert_never(result)
