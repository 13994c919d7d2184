"""Keeping secrets out of the logs: the one structlog processor that every record passes.

Two nets. By name: what stands under a key that names a secret is masked when it is text; numbers stay, for
`output_tokens` and `seconds_per_token` count something. By shape: what looks like a key is masked wherever it
stands, in messages and tracebacks, too. Whoever logs must still not log secrets: these are nets, not a licence.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, MutableMapping
from typing import Any

__all__ = ["MASK", "redact"]

MASK = "********"

_SECRET_NAME = re.compile(
    r"(?:^|[_-])(?:api[_-]?keys?|authorization|token|secret|password|passwd|cookie|credentials?)$",
    re.IGNORECASE,
)
_SECRET_SHAPE = re.compile(
    r"\bsk-[\w-]{4,}"  # Anthropic's, OpenAI's, and what people make up after them
    r"|\bhf_\w{16,}"  # Hugging Face
    r"|(?<=\bBearer )\S+"
    r"|(?<=\bBasic )\S{8,}"
    r"|(?<=\bx-api-key: )\S+",
    re.IGNORECASE,
)
_DEEPEST = 8


def redact(_logger: object, _method: str, record: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Return `record` with its secrets masked (a structlog processor)."""
    return {key: _redacted(key, value, 0) for key, value in record.items()}


def _redacted(key: object, value: object, depth: int) -> object:
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    if isinstance(value, str):
        named = isinstance(key, str) and _SECRET_NAME.search(key)
        return MASK if named else _SECRET_SHAPE.sub(MASK, value)
    if depth >= _DEEPEST:
        return "…"
    if isinstance(value, Mapping):
        return {inner: _redacted(inner, item, depth + 1) for inner, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_redacted(key, item, depth + 1) for item in value]
    return value
