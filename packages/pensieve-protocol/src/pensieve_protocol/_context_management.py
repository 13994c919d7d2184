"""`context_management`: the edits that a client asks for, and what it is told of those that were made.

The wire is the specification: the official SDK's `types/beta/beta_clear_tool_uses_20250919_edit_param.py`,
`beta_clear_thinking_20251015_edit_param.py` and their responses. Defaults are those of Anthropic's documentation
(https://platform.claude.com/docs/en/build-with-claude/context-editing). The edits are made in `_context_editing`.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import attrs

from pensieve_protocol._constraints import AtLeast

__all__ = [
    "AppliedEdit",
    "ClearThinking",
    "ClearToolUses",
    "ClearedThinking",
    "ClearedToolUses",
    "ContextEdit",
    "ContextManagement",
    "ContextManagementResponse",
    "KeptThinking",
    "KeptToolUses",
    "LeastTokens",
    "OtherEdit",
    "Trigger",
]


@attrs.frozen(kw_only=True)
class Trigger:
    """Edit once there is more than so much: tokens of the prompt, or uses of tools in it."""

    type: Literal["input_tokens", "tool_uses"]
    value: Annotated[int, AtLeast(0)]


@attrs.frozen(kw_only=True)
class KeptToolUses:
    """Leave so many of the latest uses of tools as they are."""

    type: Literal["tool_uses"] = "tool_uses"
    value: Annotated[int, AtLeast(0)]


@attrs.frozen(kw_only=True)
class LeastTokens:
    """Edit only if so many tokens are saved: less is not worth a prefix."""

    type: Literal["input_tokens"] = "input_tokens"
    value: Annotated[int, AtLeast(0)]


@attrs.frozen(kw_only=True)
class ClearToolUses:
    """Take the results of older calls out of the prompt."""

    type: Literal["clear_tool_uses_20250919"]
    trigger: Trigger = Trigger(type="input_tokens", value=100_000)
    keep: KeptToolUses = KeptToolUses(value=3)
    clear_at_least: LeastTokens | None = None
    exclude_tools: tuple[str, ...] = ()
    clear_tool_inputs: bool | tuple[str, ...] = False
    """Take the inputs, too: of all tools, or of these."""

    def clears_input(self, tool: str) -> bool:
        """Return whether the input of a call of `tool` goes with its result."""
        return self.clear_tool_inputs if isinstance(self.clear_tool_inputs, bool) else tool in self.clear_tool_inputs


@attrs.frozen(kw_only=True)
class KeptThinking:
    """Leave the reasoning of so many of the latest turns that have any; or of all."""

    type: Literal["thinking_turns", "all"]
    value: Annotated[int, AtLeast(1)] = 1


@attrs.frozen(kw_only=True)
class ClearThinking:
    """Take the reasoning of older turns out of the prompt."""

    type: Literal["clear_thinking_20251015"]
    keep: str | KeptThinking = KeptThinking(type="thinking_turns")
    """The text `all` is an object of that type, too; any other text means the same."""

    @property
    def kept_turns(self) -> int | None:
        """How many turns keep their reasoning; None: all."""
        return self.keep.value if isinstance(self.keep, KeptThinking) and self.keep.type == "thinking_turns" else None


@attrs.frozen(kw_only=True)
class OtherEdit:
    """An edit that is not made here (`compact_20260112`, and what is to come): accepted, never applied."""

    type: str

    @classmethod
    def accepts(cls, tag: str) -> bool:
        """Return whether an edit of this `type` is taken: all are."""
        return bool(tag)


ContextEdit: TypeAlias = ClearToolUses | ClearThinking | OtherEdit


@attrs.frozen(kw_only=True)
class ContextManagement:
    """Edits to make to the conversation, in this order."""

    edits: tuple[ContextEdit, ...] = ()


@attrs.frozen(kw_only=True)
class ClearedToolUses:
    """Results were taken out."""

    type: Literal["clear_tool_uses_20250919"] = "clear_tool_uses_20250919"
    cleared_tool_uses: int
    cleared_input_tokens: int


@attrs.frozen(kw_only=True)
class ClearedThinking:
    """Reasoning was taken out."""

    type: Literal["clear_thinking_20251015"] = "clear_thinking_20251015"
    cleared_thinking_turns: int
    cleared_input_tokens: int


AppliedEdit: TypeAlias = ClearedToolUses | ClearedThinking


@attrs.frozen(kw_only=True)
class ContextManagementResponse:
    """What was done, in the order in which it was asked for."""

    applied_edits: tuple[AppliedEdit, ...] = ()
