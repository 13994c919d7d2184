"""Happenings into wire events; the facts of the log line are noted on the way.

A machine, and a thin one: `pensieve_protocol.MessageStream` knows the order of events. Both kinds of answer go
through here, so that JSON is the stream, folded.
"""

from __future__ import annotations

from pensieve_core import (
    AnswerProgressed,
    GenerationFinished,
    PrefillProgressed,
    PromptUsage,
    TextProduced,
    ThinkingProduced,
    ToolCallStarted,
)
from pensieve_http.exchange import EngineFound, Happening, Opened
from pensieve_http.preparation import Prepared
from pensieve_http.record import RequestRecord
from pensieve_protocol import ApiError, Diagnostics, MessageDeltaEvent, MessageStream, ServerCallStarted, StreamEvent

__all__ = ["Answer", "message_id"]

_NOT_KNOWN_YET = PromptUsage(prompt_tokens=0)


def message_id(request_id: str) -> str:
    """Return the `msg_…` that goes with a `req_…`: one can be found from the other."""
    return f"msg_{request_id.removeprefix('req_')}"


class Answer:
    """Tells one request's happenings as wire events.

    Args:
        stream:
            The wire's state machine, unstarted.
        record:
            Where prompt, first token and finish are noted.
        diagnosing:
            The client asked what its prompt has in common with an earlier one.
    """

    def __init__(self, stream: MessageStream, record: RequestRecord, *, diagnosing: bool = False) -> None:
        self.stream = stream
        self._record = record
        self._diagnostics = Diagnostics() if diagnosing else None
        self.started = False

    @property
    def begun(self) -> bool:
        """The prompt is computed, and the engine says what it thinks."""
        return self._record.ttft_s is not None or self._record.answer is not None

    def start_early(self) -> tuple[StreamEvent, ...]:
        """Start before the prompt's size is known.

        Its usage says 0: an estimate could not be told from a count, and `message_delta` brings the truth, which
        the SDKs take over.
        """
        return self._start(_NOT_KNOWN_YET)

    def tell(self, happening: Happening, now: float) -> tuple[StreamEvent, ...]:
        """Return what the client is sent for `happening`, at `now` on the monotonic clock."""
        match happening:
            case EngineFound():
                return ()
            case Prepared():
                self.stream.context_management = happening.context_management
                self._diagnostics = happening.diagnostics
                return ()
            case Opened(prompt=prompt):
                self._record.prompt = prompt
                return () if self.started else self._start(prompt)
            case PrefillProgressed():
                self._record.note_progress(happening, now)
            case AnswerProgressed():
                self._record.note_answer(happening, now)
            case TextProduced() | ThinkingProduced() | ToolCallStarted() | ServerCallStarted():
                self._note_first_token(now)
            case GenerationFinished():
                return self._finish(happening)
            case _:
                pass
        return self.stream.feed(happening)

    def fail(self, error: ApiError) -> tuple[StreamEvent, ...]:
        """Return the end of an answer that fails after its start."""
        self._record.error_type = error.type
        return self.stream.fail(error, self._record.id)

    def _start(self, prompt: PromptUsage) -> tuple[StreamEvent, ...]:
        self.started = True
        return self.stream.start(prompt, self._diagnostics)

    def _finish(self, finished: GenerationFinished) -> tuple[StreamEvent, ...]:
        events = self.stream.feed(finished)
        self._record.finished = finished
        self._record.stop_reason = next(e.delta.stop_reason for e in events if isinstance(e, MessageDeltaEvent))
        return events

    def _note_first_token(self, now: float) -> None:
        if self._record.ttft_s is None:
            self._record.ttft_s = now - self._record.started_at
