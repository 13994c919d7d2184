"""Where the upstream is. A plugin has no flags of its own, so these come from the environment."""

from __future__ import annotations

import os

import attrs

from pensieve_upstream.dialect import DIALECTS

__all__ = ["UpstreamSettings"]


def _variable(name: str, default: str) -> str:
    return attrs.field(factory=lambda: os.environ.get(f"PENSIEVE_UPSTREAM_{name}", default))


@attrs.frozen(kw_only=True)
class UpstreamSettings:
    """How to reach the upstream. `context_tokens` and `max_running` are `--ctx` and `--parallel` of the server."""

    url: str = _variable("URL", "http://127.0.0.1:8080")
    """`PENSIEVE_UPSTREAM_URL`; what stands before `/v1`."""
    dialect: str = attrs.field(
        factory=lambda: os.environ.get("PENSIEVE_UPSTREAM_DIALECT", "anthropic"),
        validator=attrs.validators.in_(DIALECTS),
    )
    """`PENSIEVE_UPSTREAM_DIALECT`: `anthropic` or `openai`."""
    model: str = _variable("MODEL", "default")
    """`PENSIEVE_UPSTREAM_MODEL`: the upstream's name of the model."""
    key: str = attrs.field(factory=lambda: os.environ.get("PENSIEVE_UPSTREAM_KEY", ""), repr=False)
    """`PENSIEVE_UPSTREAM_KEY`; empty: none is sent."""
    context_tokens: int | None = None
    """None: what the upstream says."""
    max_running: int = 8
    """Requests that are sent at the same time; further ones are refused as overloaded."""
    silence_s: float = 600.0
    """An upstream that sends nothing for so long is given up; pings count as life."""
