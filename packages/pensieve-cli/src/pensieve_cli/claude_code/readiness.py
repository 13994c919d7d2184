"""From who is behind the port to what the launcher does next. Pure: it is asked again after each look.

    Port                             Step
    Nobody, nothing started yet      Start
    Nobody, started and alive        Wait
    Nobody, started and dead         an error
    Answering, going down            Wait
    Answering, nobody asked for it   Load, once; an error when that fails
    Answering, the model is loading  Wait
    Answering, the model is ready    Go
    Locked, Stranger                 an error

"Started" is what we have started ourselves.
"""

from __future__ import annotations

from typing import TypeAlias, assert_never

import attrs

from pensieve_cli.errors import CommandError
from pensieve_cli.exit_codes import ExitCode
from pensieve_cli.server_status import Answering, Engine, Locked, Nobody, Port, ServerStatus, Stranger

__all__ = ["Go", "Load", "Start", "StartUp", "Step", "Wait"]


@attrs.frozen(kw_only=True)
class Start:
    """Start a server."""


@attrs.frozen(kw_only=True)
class Load:
    """Let the server load a model that nobody has asked for."""

    model: str


@attrs.frozen(kw_only=True)
class Wait:
    """Look again soon."""

    saying: str


@attrs.frozen(kw_only=True)
class Go:
    """All is there."""

    model: str
    context_tokens: int
    pid: int


Step: TypeAlias = Start | Load | Wait | Go


@attrs.define(kw_only=True)
class StartUp:
    """How far we are."""

    url: str
    model: str | None
    """Its id, or a name that the server may know; None: the server's default."""
    started: bool = False
    asked: bool = False
    """The model was asked for."""

    def next(self, port: Port, *, server_ended: bool = False, refusal: str | None = None) -> Step:
        """Return what to do now.

        Args:
            port: Who is behind it.
            server_ended: The server that we started is gone.
            refusal: What came of the `Load`, if it failed.

        Raises:
            CommandError: it leads to nothing.
        """
        match port:
            case Nobody():
                return self._nobody(server_ended=server_ended)
            case Locked():
                raise CommandError(
                    f"the server on {self.url} wants a key: give it with --api-key or --api-key-file", ExitCode.USAGE
                )
            case Stranger():
                raise CommandError(
                    f"{self.url} is taken by something that is not this pensieve-server ({port.said}); "
                    "choose another --port",
                    ExitCode.FAILURE,
                )
            case Answering():
                return self._answering(port.status, refusal)
            case _:
                assert_never(port)

    def known_as(self, model: str) -> None:
        """Look for the model by this id from now on: the server says which it is that was asked for."""
        self.model = model

    def is_ours_alone(self, port: Port, *, pid: int) -> bool:
        """Return whether nobody else has come to the server that we started as process `pid`: then it may be stopped.

        Others give themselves away by answers, and by engines of other models. Where it cannot be seen, it is not.
        """
        match port:
            case Nobody():  # it does not listen yet, or not any more
                return True
            case Locked() | Stranger():
                return False
            case Answering(status=status):
                return status.pid == pid and not status.answered and not self._others(status)
            case _:
                assert_never(port)

    def _others(self, status: ServerStatus) -> list[Engine]:
        ours = self.model or status.default_model
        return [engine for engine in status.engines if engine.model != ours and engine.phase in ("loading", "ready")]

    def _nobody(self, *, server_ended: bool) -> Step:
        if server_ended:
            msg = "the server ended before it listened"
            raise CommandError(msg, ExitCode.FAILURE)
        if self.started:
            return Wait(saying="the server is starting")
        self.started = True
        return Start()

    def _answering(self, status: ServerStatus, refusal: str | None) -> Step:
        if status.draining:
            return Wait(saying="the server of before is shutting down")
        model = self.model or status.default_model
        if model is None:
            raise CommandError(f"the server on {self.url} has no model", ExitCode.NOT_FOUND)
        engine = status.engine(model)
        if engine is None or engine.phase in ("cold", "closed"):
            return self._ask_for(model, refusal)
        return _of_engine(engine, status.pid)

    def _ask_for(self, model: str, refusal: str | None) -> Step:
        if refusal is not None:
            raise CommandError(f"{model} cannot be loaded: {refusal}", ExitCode.FAILURE)
        if self.asked:
            return Wait(saying=f"{model} is loading")
        self.asked = True
        return Load(model=model)


def _of_engine(engine: Engine, pid: int) -> Step:
    if engine.phase == "broken":
        raise CommandError(f"{engine.model} cannot be loaded: {engine.detail}", ExitCode.FAILURE)
    if engine.context_tokens is None:
        return Wait(saying=f"{engine.model} is loading ({engine.progress:.0%})")
    return Go(model=engine.model, context_tokens=engine.context_tokens, pid=pid)
