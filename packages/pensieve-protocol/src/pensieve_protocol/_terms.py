"""The terms of a request: what its headers say, what of it is unknown, and what a strict server makes of that. Pure.

Clients are ahead of servers: Claude Code sends new betas every few weeks, and must not be refused for one (design 4).
So what is not known is ignored, and named, for the server to log. Who develops against this server and wants to be told
of every field that does nothing turns on `strict`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, Literal, TypeAlias, get_args

import attrs

from pensieve_core import JsonObject
from pensieve_protocol._validation import Problem

__all__ = [
    "API_VERSIONS",
    "INTERLEAVED_THINKING",
    "ApiVersion",
    "Terms",
    "parse_betas",
    "strict_problems",
    "unknown_betas",
    "unknown_fields",
]

ApiVersion: TypeAlias = Literal["2023-06-01", "2026-10-21"]
API_VERSIONS: Final[tuple[str, ...]] = get_args(ApiVersion)
"""Of the header `anthropic-version`. Both get the same answers, unless the server is strict."""

_WITHOUT_SAMPLING: Final = API_VERSIONS[1]
_SAMPLING: Final = ("temperature", "top_p", "top_k")

INTERLEAVED_THINKING: Final = "interleaved-thinking-2025-05-14"

_KNOWN_BETAS: Final = frozenset({
    "adaptive-thinking-2026-01-28", "advanced-tool-use-2025-11-20", "advisor-tool-2026-03-01", "afk-mode-2026-01-31",
    "cache-diagnosis-2026-04-07", "claude-code-20250219", "code-execution-2025-05-22", "compact-2026-01-12",
    "compact-2026-09-04", "computer-use-2024-10-22", "computer-use-2025-01-24", "computer-use-2025-11-24",
    "context-1m-2025-08-07", "context-management-2025-06-27", "dev-full-thinking-2025-05-14", "effort-2025-11-24",
    "extended-cache-ttl-2025-04-11", "fallback-credit-2026-06-01", "fallback-credit-2026-07-01",
    "fast-mode-2026-02-01", "files-api-2025-04-14", "fine-grained-tool-streaming-2025-05-14",
    "inline-tools-2026-09-15", "interleaved-thinking-2025-05-14", "mcp-client-2025-04-04", "mcp-client-2025-11-20",
    "mcp-client-2026-09-15", "message-batches-2024-09-24", "message-threads-2026-08-12",
    "mid-conversation-output-config-2026-07-01", "mid-conversation-system-2026-04-07",
    "mid-conversation-system-clear-at-2026-08-21", "mid-conversation-tool-changes-2026-07-01",
    "model-context-window-exceeded-2025-08-26", "oauth-2025-04-20", "output-128k-2025-02-19",
    "output-300k-2026-03-24", "pdfs-2024-09-25", "per-turn-control-2026-07-01", "prompt-caching-2024-07-31",
    "prompt-caching-scope-2026-01-05", "redact-thinking-2026-02-12", "server-side-fallback-2026-06-01",
    "server-side-fallback-2026-07-01", "skills-2025-10-02", "structured-outputs-2025-11-13",
    "structured-outputs-2025-12-15", "task-budgets-2026-03-13", "thinking-binding-controls-2026-08-01",
    "thinking-display-updates-2026-08-18", "thinking-token-count-2026-05-13", "token-counting-2024-11-01",
    "token-efficient-tools-2025-02-19", "tool-search-tool-2025-10-19", "user-profiles-2026-03-24",
    "user-profiles-2026-08-18", "user-profiles-2026-09-04", "user-profiles-billing-2026-10-01",
})  # fmt: skip
"""From the SDK's `anthropic_beta_param.py`, as far as they concern messages, and what Claude Code sends beside them."""

_IGNORED_FIELDS: Final = frozenset({
    "billing_policy", "compaction", "fallback_credit_token", "fallbacks", "inference_geo", "service_tier", "speed",
    "user_profile_id", "workspace_id",
})  # fmt: skip
"""Known from the SDK's `message_create_params.py`, and without meaning on a machine of one's own."""

_SHOWN: Final = 80


@attrs.frozen(kw_only=True)
class Terms:
    """What stands around a body."""

    version: str | None = None
    """The header `anthropic-version`."""
    betas: tuple[str, ...] = ()
    """The header `anthropic-beta`."""
    strict: bool = False
    """A setting of the server: refuse what is not known."""


def parse_betas(values: Iterable[str]) -> tuple[str, ...]:
    """Return the names in all headers `anthropic-beta` of a request."""
    return tuple(name for value in values for part in value.split(",") if (name := part.strip()))


def unknown_betas(betas: Iterable[str]) -> tuple[str, ...]:
    """Return those that nobody here has heard of."""
    return tuple(beta for beta in betas if beta not in _KNOWN_BETAS)


def unknown_fields(names: Iterable[str]) -> tuple[str, ...]:
    """Return, sorted, those of `names`, none of which is a field of the request, that the API does not have either."""
    return tuple(sorted(name for name in names if name not in _IGNORED_FIELDS))


def strict_problems(document: JsonObject, unknown: Iterable[str], terms: Terms) -> Iterator[Problem]:
    """Yield what a strict server refuses in a request that is sound otherwise."""
    for beta in unknown_betas(terms.betas):
        yield Problem(("anthropic-beta",), f"{beta[:_SHOWN]!r} is not known, and this server is strict")
    for name in unknown:
        yield Problem((name[:_SHOWN],), "there is no such field, and this server is strict")
    if terms.version == _WITHOUT_SAMPLING:
        for name in _SAMPLING:
            if document.get(name) is not None:
                yield Problem((name,), f"is no field of anthropic-version {terms.version}, and this server is strict")
