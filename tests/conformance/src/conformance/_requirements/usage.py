"""What a request is said to have cost, and what the cache keeps."""

from __future__ import annotations

from conformance._requirements.record import Requirement

__all__ = ["USAGE"]

_USAGE = "sdk: types/usage.py"

USAGE = (
    Requirement(
        "usage:sum",
        "input_tokens, cache_read and cache_creation add up to the prompt: what count_tokens says, and what the engine "
        "processed.",
        source=_USAGE,
    ),
    Requirement("usage:read", "What comes again is read from the cache.", source=_USAGE),
    Requirement("usage:creation", "What is new before the last mark was written for later requests.", source=_USAGE),
    Requirement("usage:unmarked", "Without a mark nothing is said to be written.", source=_USAGE),
    Requirement(
        "usage:cumulative",
        "message_delta brings the whole usage, the input included.",
        source="sdk: types/message_delta_usage.py",
    ),
    Requirement("usage:output", "output_tokens are what was generated.", source=_USAGE),
    Requirement(
        "usage:cache_creation",
        "The written tokens by lifetime, 5 minutes and an hour.",
        source="sdk: types/cache_creation.py",
        deferred="a local cache keeps what it can; a lifetime would be an invention",
    ),
    Requirement(
        "cache:ttl",
        "5m and 1h are accepted.",
        source="sdk: types/cache_control_ephemeral_param.py",
        divergence="Accepted, and ignored: a local cache keeps what it can.",
    ),
    Requirement("cache:text", "A mark changes nothing in the prompt.", source="design: 4 Prefix-stable rendering"),
)
