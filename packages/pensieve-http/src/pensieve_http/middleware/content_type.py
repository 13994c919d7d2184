"""Only JSON is taken: a form or a text/plain POST is what another site's page can send without asking first."""

from __future__ import annotations

from email.message import Message

from starlette.datastructures import Headers
from starlette.types import Scope

from pensieve_protocol import ApiError, api_error

__all__ = ["require_json"]


def require_json(scope: Scope) -> ApiError | None:
    """Check that a POST says `content-type: application/json`, in UTF-8."""
    if scope["method"] != "POST":
        return None
    stated = Headers(scope=scope).get("content-type", "")
    parsed = Message()
    parsed["content-type"] = stated
    if not stated or parsed.get_content_type() != "application/json":
        return api_error(400, f"content-type: expected application/json, got {stated[:100] or 'none'}")
    charset = parsed.get_content_charset("utf-8")
    if charset not in ("utf-8", "utf8", "us-ascii"):
        return api_error(400, f"content-type: charset {charset} is not supported, JSON is UTF-8")
    return None
