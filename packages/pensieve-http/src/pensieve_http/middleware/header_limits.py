"""How many headers, and how long: Hypercorn limits neither when they arrive in one packet."""

from __future__ import annotations

import attrs
from starlette.types import Scope

from pensieve_protocol import ApiError, api_error

__all__ = ["HeaderLimits"]


@attrs.frozen(kw_only=True)
class HeaderLimits:
    """A check: 431 for a head with too many headers, or too many bytes of them."""

    max_count: int
    max_bytes: int

    def __call__(self, scope: Scope) -> ApiError | None:
        """Return why the request is refused."""
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        if len(headers) > self.max_count:
            return api_error(431, f"the request has {len(headers)} headers, more than {self.max_count}")
        size = sum(len(name) + len(value) for name, value in headers)
        if size > self.max_bytes:
            return api_error(431, f"the request's headers have {size} bytes, more than {self.max_bytes}")
        return None
