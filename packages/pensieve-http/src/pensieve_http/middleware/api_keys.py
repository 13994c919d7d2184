"""Who may use the API.

Keys are compared as sha256 digests: of equal length, on bytes (`hmac.compare_digest` refuses non-ASCII strings), and
against every accepted key, so that the time tells nothing.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Sequence

from starlette.types import Scope

from pensieve_http.record import record_of
from pensieve_http.settings import ApiKey
from pensieve_protocol import ApiError, api_error

__all__ = ["OPEN_PATHS", "ApiKeys"]

OPEN_PATHS = frozenset({"/", "/healthz", "/readyz", "/version", "/openapi.json"})
"""Probes and banners; they tell nothing of what was asked or answered."""

_BEARER = b"bearer "


class ApiKeys:
    """A check: 401 unless the request carries an accepted key, or needs none. Notes the key's name."""

    def __init__(self, keys: Sequence[ApiKey]) -> None:
        self._keys = tuple(keys)

    def __call__(self, scope: Scope) -> ApiError | None:
        """Return why the request is refused."""
        if not self._keys or scope["path"] in OPEN_PATHS:
            return None
        presented = list(_presented(scope))
        if not presented:
            return api_error(401, "a key is required: send it as x-api-key or as Authorization: Bearer")
        names = [name for key in presented for name in self._matching(key)]
        if not names:
            return api_error(401, "invalid key in x-api-key or Authorization")
        record_of(scope).key_name = names[0]
        return None

    def _matching(self, presented: bytes) -> list[str]:
        digest = hashlib.sha256(presented).digest()
        return [key.name for key in self._keys if hmac.compare_digest(digest, key.digest)]


def _presented(scope: Scope) -> Iterator[bytes]:
    """Yield what may be a key. Clients send both headers at times, one of them with a placeholder."""
    for name, value in scope["headers"]:
        if name == b"x-api-key":
            yield value
        elif name == b"authorization" and value[: len(_BEARER)].lower() == _BEARER:
            yield value[len(_BEARER) :].strip()
