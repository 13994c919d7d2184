"""Under which names the server may be addressed.

A page of a stranger can make its own name point to 127.0.0.1 (DNS rebinding) and then counts as same-origin with
us; but its requests still carry that name in `Host`. So a loopback server checks it like any other.
"""

from __future__ import annotations

from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.types import Scope

from pensieve_protocol import ApiError, api_error

__all__ = ["AllowedHosts"]

_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


class AllowedHosts:
    """A check: 403 unless the one `Host` header names loopback or a configured name; ports do not matter."""

    def __init__(self, extra: Iterable[str] = ()) -> None:
        self._names = frozenset(_bracketed(name.lower()) for name in (*_LOOPBACK, *extra))

    def __call__(self, scope: Scope) -> ApiError | None:
        """Return why the request is refused."""
        hosts = Headers(scope=scope).getlist("host")
        if len(hosts) == 1 and _name(hosts[0]) in self._names:
            return None
        shown = ", ".join(hosts)[:200] or "none"
        return api_error(403, f"host: {shown} is not allowed; add the name to allowed_hosts to serve it")


def _bracketed(name: str) -> str:
    """Return an IPv6 address as `Host` has it."""
    return f"[{name}]" if ":" in name and not name.startswith("[") else name


def _name(host: str) -> str:
    """Return `host` (RFC 9110 section 7.2: uri-host [":" port]) without port; "" when it is malformed."""
    name, bracket, rest = host.rpartition("]") if host.startswith("[") else ("", "", host)
    bare, colon, port = rest.partition(":")
    if colon and not (port.isascii() and port.isdigit()):
        return ""
    return (name + bracket + bare).lower()
