"""Asks a server on this machine, over its own HTTP: what it is doing, whether it knows a model, to load one.

Every call is bounded in time, a stream in the time between two pieces. Beyond this module nobody knows of connections.
"""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Iterator
from urllib.parse import urlsplit

import attrs

from pensieve_cli.server_status import Answering, Locked, Nobody, Port, Stranger, read_status

__all__ = ["Reply", "ServerClient"]

_QUICK_S = 5.0


@attrs.frozen(kw_only=True)
class Reply:
    """A whole answer."""

    status: int
    body: bytes

    @property
    def message(self) -> str:
        """What the error envelope says; the status alone where there is none."""
        try:
            return str(json.loads(self.body)["error"]["message"])
        except (ValueError, KeyError, TypeError):
            return f"status {self.status}"

    @property
    def model(self) -> str | None:
        """The model's id in what `/engines/{name}` says of it; None: it is another answer."""
        try:
            return str(json.loads(self.body)["model"])
        except (ValueError, KeyError, TypeError):
            return None


@attrs.frozen(kw_only=True)
class ServerClient:
    """The way to one server."""

    url: str
    """`http://host:port`."""
    key: str | None = attrs.field(default=None, repr=False)

    def port(self) -> Port:
        """Find out who is behind the port."""
        try:
            reply = self.ask("GET", "/status")
        except ConnectionRefusedError:
            return Nobody()
        except (OSError, http.client.HTTPException) as error:
            return Stranger(said=f"{type(error).__name__}: {error}")
        if reply.status == http.client.UNAUTHORIZED:
            return Locked()
        if reply.status != http.client.OK:
            return Stranger(said=f"/status: {reply.status}")
        try:
            return Answering(status=read_status(reply.body))
        except ValueError as error:
            return Stranger(said=str(error))

    def count_tokens(self, model: str, *, bound_s: float) -> Reply:
        """Let `model` count a word; a model that is not loaded is loaded for that.

        Raises:
            OSError, http.client.HTTPException: there is no answer in time.
        """
        body = {"model": model, "messages": [{"role": "user", "content": "Hello"}]}
        return self.ask("POST", "/v1/messages/count_tokens", body, bound_s=bound_s)

    def ask(self, method: str, path: str, body: object = None, *, bound_s: float = _QUICK_S) -> Reply:
        """Send one request; raises as `count_tokens`."""
        with self._asked(method, path, body, bound_s) as response:
            return Reply(status=response.status, body=response.read())

    @contextlib.contextmanager
    def stream(self, path: str, body: object, *, silence_s: float) -> Iterator[http.client.HTTPResponse]:
        """Post `body`, and yield the response while it comes; leaving hangs up. Iterate it for its lines.

        Raises:
            OSError, http.client.HTTPException: nothing comes for `silence_s`.
        """
        with self._asked("POST", path, body, silence_s) as response:
            yield response

    @contextlib.contextmanager
    def _asked(self, method: str, path: str, body: object, bound_s: float) -> Iterator[http.client.HTTPResponse]:
        parts = urlsplit(self.url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=bound_s)
        headers = {"content-type": "application/json", **({"x-api-key": self.key} if self.key else {})}
        try:
            connection.request(method, path, None if body is None else json.dumps(body).encode(), headers)
            with connection.getresponse() as response:
                yield response
        finally:
            connection.close()
