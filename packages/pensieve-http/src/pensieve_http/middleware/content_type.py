"""Only JSON is taken: a form or a text/plain POST is what another site's page can send without asking first.

Files come in forms; a batch is cancelled, a model loaded or unloaded without a body; there `Origins` alone keeps other
sites' pages out.
"""

from __future__ import annotations

from email.message import Message

from starlette.datastructures import Headers
from starlette.types import Scope

from pensieve_protocol import ApiError, api_error

__all__ = ["require_json"]

_FORMS = "/v1/files"
_WITHOUT_BODY = ("/cancel", "/load", "/unload")


def require_json(scope: Scope) -> ApiError | None:
    """Check that a POST says `content-type: application/json`, in UTF-8."""
    stated = Headers(scope=scope).get("content-type", "")
    if scope["method"] != "POST" or (not stated and scope["path"].endswith(_WITHOUT_BODY)):
        return None
    parsed = Message()
    parsed["content-type"] = stated
    wanted = "multipart/form-data" if scope["path"] == _FORMS else "application/json"
    if not stated or parsed.get_content_type() != wanted:
        return api_error(400, f"content-type: expected {wanted}, got {stated[:100] or 'none'}")
    charset = parsed.get_content_charset("utf-8")
    if charset not in ("utf-8", "utf8", "us-ascii"):
        return api_error(400, f"content-type: charset {charset} is not supported, JSON is UTF-8")
    return None
