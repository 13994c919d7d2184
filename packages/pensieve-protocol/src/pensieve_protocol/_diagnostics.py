"""Why a prompt does not go on where an earlier one ended: `diagnostics.previous_message_id` to `cache_miss_reason`.

Compared is what the engine is asked, not what the client sent: what never reaches the model (the billing block, cache
marks) cannot make it miss a prefix. Of earlier prompts only digests are kept, for those who asked for diagnostics, and
not for ever. Pure; whoever drives it counts tokens for it.

The wire is the specification: the official SDK's `types/beta/beta_diagnostics.py` and the reasons beside it.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Generator, Iterable, Iterator
from typing import Final, Literal, TypeAlias

import attrs

from pensieve_core import GenerationRequest, JsonValue, Part, Role, ToolChoiceMode, Turn

__all__ = ["CacheMiss", "CacheMissReason", "Diagnostics", "PromptRecords", "Undiagnosed"]

_KEPT: Final = 1_000
"""Prompts that are remembered, of some 16 bytes a block: Claude Code's longest sessions have a few hundred turns."""


_Change: TypeAlias = Literal["model_changed", "system_changed", "tools_changed", "messages_changed"]


@attrs.frozen(kw_only=True)
class CacheMiss:
    """The first difference to the earlier prompt, in the order model, system, tools, messages."""

    type: _Change
    cache_missed_input_tokens: int
    """Of the earlier prompt, those behind the first difference."""


@attrs.frozen(kw_only=True)
class Undiagnosed:
    """There is nothing to compare with, or what differs is none of the four (thinking, tool choice)."""

    type: Literal["previous_message_not_found", "unavailable"]


CacheMissReason: TypeAlias = CacheMiss | Undiagnosed


@attrs.frozen(kw_only=True)
class Diagnostics:
    """Stands in the answer when there is something to tell."""

    cache_miss_reason: CacheMissReason | None = None
    """Null when the answer began before it was known."""


@attrs.frozen(kw_only=True)
class _Fingerprint:
    """A prompt in digests."""

    model: str
    system: bytes
    tools: bytes
    other: bytes
    messages: tuple[bytes, ...]
    """One for each part of each turn after the system text: neighbours of one role are one to the model."""
    tokens: int = 0


class PromptRecords:
    """Remembers prompts by the id of their answer. The oldest is forgotten."""

    def __init__(self) -> None:
        self._records: OrderedDict[str, _Fingerprint] = OrderedDict()

    def note(self, message_id: str, request: GenerationRequest, prompt_tokens: int) -> None:
        """Remember the prompt of `request`, which has so many tokens."""
        self._records[message_id] = attrs.evolve(_fingerprint(request), tokens=prompt_tokens)
        if len(self._records) > _KEPT:
            self._records.popitem(last=False)

    def compare(
        self, previous_message_id: str, request: GenerationRequest
    ) -> Generator[GenerationRequest, int, Diagnostics | None]:
        """Yield requests whose prompts are to be counted, if need be; return what is to be told, if anything."""
        before, now = self._records.get(previous_message_id), _fingerprint(request)
        if before is None:
            return Diagnostics(cache_miss_reason=Undiagnosed(type="previous_message_not_found"))
        changed = _changed(before, now)
        if changed is not None:
            return _missed(changed, before.tokens)
        if before.other != now.other:
            return Diagnostics(cache_miss_reason=Undiagnosed(type="unavailable"))
        common = _common(before.messages, now.messages)
        if common == len(before.messages):
            return None
        kept = (yield _beginning(request, common)) if common else 0
        return _missed("messages_changed", max(0, before.tokens - kept))


def _changed(before: _Fingerprint, now: _Fingerprint) -> _Change | None:
    """Return what of the head is another."""
    heads: tuple[tuple[_Change, object, object], ...] = (
        ("model_changed", before.model, now.model),
        ("system_changed", before.system, now.system),
        ("tools_changed", before.tools, now.tools),
    )
    return next((change for change, one, other in heads if one != other), None)


def _missed(what: _Change, tokens: int) -> Diagnostics:
    return Diagnostics(cache_miss_reason=CacheMiss(type=what, cache_missed_input_tokens=tokens))


def _fingerprint(request: GenerationRequest) -> _Fingerprint:
    system, messages = _divided(request.turns)
    tools = [(tool.name, tool.description, tool.parameters) for tool in request.tools if not tool.deferred]
    other = (request.thinking.enabled, request.thinking.effort, request.tool_choice.mode is ToolChoiceMode.NONE)
    return _Fingerprint(
        model=request.model,
        system=_digest([_said(part) for turn in system for part in turn.parts]),
        tools=_digest(tools),
        other=_digest(other),
        messages=tuple(_digest((turn.role, _said(part))) for turn in messages for part in turn.parts),
    )


def _divided(turns: tuple[Turn, ...]) -> tuple[tuple[Turn, ...], tuple[Turn, ...]]:
    """Return the system text at the beginning, and the rest."""
    leading = next((i for i, turn in enumerate(turns) if turn.role is not Role.SYSTEM), len(turns))
    return turns[:leading], turns[leading:]


def _said(part: Part) -> Part:
    return part if part.type == "thinking" else attrs.evolve(part, cache_mark=False)


def _digest(value: JsonValue) -> bytes:
    return hashlib.blake2b(repr(value).encode("utf-8", "replace"), digest_size=16).digest()


def _common(before: Iterable[bytes], now: Iterable[bytes]) -> int:
    count = 0
    for one, other in zip(before, now, strict=False):
        if one != other:
            break
        count += 1
    return count


def _beginning(request: GenerationRequest, parts: int) -> GenerationRequest:
    """Return `request` with the first so many parts of its messages."""
    system, messages = _divided(request.turns)
    return attrs.evolve(request, turns=(*system, *_first_parts(messages, parts)))


def _first_parts(turns: tuple[Turn, ...], parts: int) -> Iterator[Turn]:
    for turn in turns:
        if parts > 0:
            yield attrs.evolve(turn, parts=turn.parts[:parts])
        parts -= len(turn.parts)
