"""Asks a running server about its engines, and to load or unload one: `/engines`, over its own HTTP.

Every refusal becomes a `CommandError` with an exit code for scripts and a word on what to do.
"""

from __future__ import annotations

import http.client
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import quote

import attrs

from pensieve_cli.access_keys import key_to_send
from pensieve_cli.errors import CommandError
from pensieve_cli.exit_codes import ExitCode
from pensieve_cli.listener import client_url
from pensieve_cli.missing_model import how_to_fetch
from pensieve_cli.model_commands.engine_report import read_engine, read_table
from pensieve_cli.server_client import Reply, ServerClient
from pensieve_cli.settings import Settings
from pensieve_core import EngineResidency, Residency

__all__ = ["EngineClient"]

_Read = TypeVar("_Read")
_QUICK_S = 5.0
_LOAD_BOUND_S = 3_600.0
_EXIT_CODES = {401: ExitCode.USAGE, 404: ExitCode.NOT_FOUND}


@attrs.frozen(kw_only=True)
class EngineClient:
    """The way to the engines of one server. All methods raise `CommandError` when it refuses, or is none."""

    client: ServerClient

    @classmethod
    def of(cls, settings: Settings) -> EngineClient:
        """Return the way to the server that listens where `settings` say.

        Raises:
            CommandError: they do not say where.
        """
        if settings.listen.port == 0:
            msg = "--port 0: say on which port the server listens"
            raise CommandError(msg, ExitCode.USAGE)
        return cls(client=ServerClient(url=client_url(settings.listen), key=key_to_send(settings.access)))

    @property
    def url(self) -> str:
        """Where the server is."""
        return self.client.url

    def table(self) -> Residency:
        """Return all engines."""
        return self._read(read_table, self._ask("GET", "/engines", bound_s=_QUICK_S))

    def engine(self, model: str) -> EngineResidency:
        """Return the engine of `model`, loaded or not."""
        return self._read(read_engine, self._ask("GET", _path(model), bound_s=_QUICK_S))

    def load(self, model: str, *, pin: bool) -> EngineResidency:
        """Let the server load `model`, and wait until it is there."""
        body = {"pin": True} if pin else {}
        reply = self._ask("POST", f"{_path(model)}/load", body, bound_s=_LOAD_BOUND_S, wanted=model)
        return self._read(read_engine, reply)

    def unload(self, model: str) -> EngineResidency:
        """Let the server unload `model`, and wait until its running answers have ended."""
        return self._read(read_engine, self._ask("POST", f"{_path(model)}/unload", {}, bound_s=_LOAD_BOUND_S))

    def _ask(self, method: str, path: str, body: object = None, *, bound_s: float, wanted: str = "") -> bytes:
        """Return the body of the answer. `wanted`: a model that may have to be fetched first."""
        try:
            reply = self.client.ask(method, path, body, bound_s=bound_s)
        except ConnectionRefusedError as error:
            msg = f"no server answers on {self.url}; start one with pensieve-server, or say where it is: --host, --port"
            raise CommandError(msg, ExitCode.NO_SERVER) from error
        except (OSError, http.client.HTTPException) as error:
            said = f"{type(error).__name__}: {error}"
            raise CommandError(
                f"{self.url} does not answer as a server of ours ({said})", ExitCode.NO_SERVER
            ) from error
        if _is_unknown(reply):
            raise self._no_server(f"{method} {path}: {reply.message}")
        if reply.status != http.client.OK:
            raise CommandError(self._refusal(reply, wanted), _EXIT_CODES.get(reply.status, ExitCode.FAILURE))
        return reply.body

    def _refusal(self, reply: Reply, wanted: str) -> str:
        if reply.status == http.client.UNAUTHORIZED:
            return f"the server on {self.url} wants a key: give it with --api-key or --api-key-file"
        advice = how_to_fetch(wanted) if reply.status == http.client.NOT_FOUND else ""
        return f"the server on {self.url} says: {reply.message}{advice}"

    def _read(self, read: Callable[[bytes], _Read], body: bytes) -> _Read:
        try:
            return read(body)
        except ValueError as error:
            raise self._no_server(str(error)) from error

    def _no_server(self, said: str) -> CommandError:
        return CommandError(
            f"{self.url} is no server of ours, or of another version ({said}); --port says where ours is",
            ExitCode.NO_SERVER,
        )


def _is_unknown(reply: Reply) -> bool:
    """Return whether the endpoint is what is not known there: of a model, the message begins as core words it."""
    is_missing = reply.status == http.client.NOT_FOUND and not reply.message.startswith("model: ")
    return is_missing or reply.status in {http.client.METHOD_NOT_ALLOWED, http.client.NOT_IMPLEMENTED}


def _path(model: str) -> str:
    return f"/engines/{quote(model)}"
