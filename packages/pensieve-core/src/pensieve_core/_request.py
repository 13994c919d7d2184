"""What an engine is asked to do."""

from __future__ import annotations

import enum

import attrs

from pensieve_core._conversation import JsonObject, Tool, ToolChoice, Turn
from pensieve_core._ids import AgentId, ModelId, RequestId, SessionId

__all__ = ["Effort", "GenerationRequest", "Origin", "Priority", "Sampling", "Thinking"]


class Priority(enum.IntEnum):
    """Who goes first when not all can; lower is sooner."""

    MAIN = 0
    AGENT = 1
    """A subagent: somebody waits for it, but through the turn that began it."""
    BACKGROUND = 2
    """Nobody watches it: titles, suggestions, requests that only warm the cache."""
    BATCH = 3
    """Nobody waits for it: requests of batches."""


@attrs.frozen(kw_only=True)
class Origin:
    """Whose request this is: for fairness, sharing of prompts, and eviction."""

    session: SessionId | None = None
    agent: AgentId | None = None
    parent: AgentId | None = None
    priority: Priority = Priority.MAIN


@attrs.frozen(kw_only=True)
class Sampling:
    """How tokens are drawn. None means the model's own default."""

    temperature: float | None = None
    """0 is greedy."""
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None


class Effort(enum.StrEnum):
    """How hard the client wants the model to try."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    XHIGH = "xhigh"
    MAX = "max"


@attrs.frozen(kw_only=True)
class Thinking:
    """Whether the model may reason before it answers, and for how long."""

    enabled: bool = False
    budget_tokens: int | None = None
    """The marks around it included. None: as long as it likes. 0: reasoning that begins all the same ends at once."""
    effort: Effort | None = None
    """For templates that have levels of their own; None: theirs."""


@attrs.frozen(kw_only=True)
class GenerationRequest:
    """One request to an engine, complete in itself."""

    id: RequestId
    model: ModelId
    turns: tuple[Turn, ...]
    """A last turn of the assistant is continued, not answered."""
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice = attrs.field(factory=ToolChoice)
    sampling: Sampling = Sampling()
    thinking: Thinking = Thinking()
    max_tokens: int
    """At most so many tokens are generated; 0 only computes the prompt into the cache."""
    stop_sequences: tuple[str, ...] = ()
    output_schema: JsonObject | None = None
    """JSON schema that the answer's text must satisfy."""
    origin: Origin = Origin()
