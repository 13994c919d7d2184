"""Prompts that should have gone on where the same session's last one ended, and did not: where, and why.

Compared is what the engine was asked, by digests (`pensieve_protocol.PromptRecords`); at which token the two part is
told by the engine, which remembers both (`PromptUsage.differs_at`). A machine. Above: `endpoints.messages` tells it
of prompts, `activity` of answers.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Literal, TypeAlias

import attrs

from pensieve_core import GenerationRequest, Priority, PromptUsage
from pensieve_http.record import RequestRecord
from pensieve_protocol import PromptRecords

__all__ = ["BreakCause", "CacheBreak", "CacheBreaks"]

_KEPT = 8
_THREADS = 200
"""Sessions and subagents that are remembered."""
_SLACK = 64
"""Tokens that may be missing: how a template ends a prompt is not how it goes on."""

BreakCause: TypeAlias = Literal[
    "model_changed",
    "system_changed",
    "tools_changed",
    "messages_changed",
    "settings_changed",
    "rendered_anew",
    "not_kept",
]
"""settings_changed: thinking, effort or tool choice. rendered_anew: all that was asked is the same, but the chat
template wrote it otherwise. not_kept: nothing differs, but the beginning was gone."""


@attrs.frozen(kw_only=True)
class CacheBreak:
    """One prompt, of which less was cached than the session's last one had."""

    session: str | None
    agent: str | None
    cause: BreakCause
    first_differing_token: int | None
    """Counted from 0. None: none differs, it was not kept."""
    cached_tokens: int
    prompt_tokens: int
    previous_prompt_tokens: int


@attrs.frozen(kw_only=True)
class _Opened:
    cause: BreakCause
    previous_tokens: int
    differs_at: int | None


class CacheBreaks:
    """Compares each prompt with the one before of the same session or subagent. Background requests are none's."""

    def __init__(self) -> None:
        self._records = PromptRecords()
        self._tokens: OrderedDict[str, int] = OrderedDict()
        self._open: dict[str, _Opened] = {}
        self._breaks: deque[CacheBreak] = deque(maxlen=_KEPT)

    def opened(self, record: RequestRecord, request: GenerationRequest, prompt: PromptUsage) -> None:
        """An engine has taken `request`."""
        thread = _thread(record)
        if thread is None:
            return
        before = self._tokens.pop(thread, None)
        if before is not None:
            cause = self._cause(thread, request)
            self._open[record.id] = _Opened(cause=cause, previous_tokens=before, differs_at=prompt.differs_at)
        self._records.note(thread, request, prompt.prompt_tokens)
        self._tokens[thread] = prompt.prompt_tokens
        if len(self._tokens) > _THREADS:
            self._tokens.popitem(last=False)

    def ended(self, record: RequestRecord) -> None:
        """Its request is over; a break is noted in the record, too, for the log."""
        opened = self._open.pop(record.id, None)
        if opened is None or record.finished is None:
            return
        usage = record.finished.usage
        if usage.cached_tokens >= opened.previous_tokens - _SLACK:
            return
        cause, differs_at = _explained(opened, usage.cached_tokens)
        record.cache_break, record.first_differing_token = cause, differs_at
        found = CacheBreak(
            session=record.session_hash,
            agent=record.agent_hash,
            cause=cause,
            first_differing_token=differs_at,
            cached_tokens=usage.cached_tokens,
            prompt_tokens=usage.prompt_tokens,
            previous_prompt_tokens=opened.previous_tokens,
        )
        self._breaks.appendleft(found)

    def last(self) -> tuple[CacheBreak, ...]:
        """Return the last ones, the newest first."""
        return tuple(self._breaks)

    def _cause(self, thread: str, request: GenerationRequest) -> BreakCause:
        """Return what differs; not_kept when nothing does."""
        comparing = self._records.compare(thread, request)
        try:
            next(comparing)
        except StopIteration as done:
            reason = None if done.value is None else done.value.cache_miss_reason
            return _named(None if reason is None else reason.type)
        comparing.close()
        return "messages_changed"  # only then are tokens to be counted


def _explained(opened: _Opened, cached_tokens: int) -> tuple[BreakCause, int | None]:
    """Return the cause, and the first differing token; where an engine does not tell it, what was cached is a guess."""
    if opened.cause != "not_kept":
        return opened.cause, cached_tokens if opened.differs_at is None else opened.differs_at
    if opened.differs_at is None or opened.differs_at >= opened.previous_tokens - _SLACK:
        return "not_kept", None
    return "rendered_anew", opened.differs_at


def _named(reason: str | None) -> BreakCause:
    match reason:
        case "model_changed" | "system_changed" | "tools_changed" | "messages_changed":
            return reason
        case None:
            return "not_kept"
        case _:
            return "settings_changed"


def _thread(record: RequestRecord) -> str | None:
    origin = record.origin
    if origin.session is None or origin.priority >= Priority.BACKGROUND:
        return None
    return f"{origin.session} {origin.agent or ''}"
