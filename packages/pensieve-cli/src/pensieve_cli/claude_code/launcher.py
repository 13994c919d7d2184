"""`pensieve-server claude`: a server when there is none, then Claude Code in the place of this process.

Shell around `readiness` (what to do next) and `launch` (how to start it). In the place of this process, so that
signals, job control and exit codes are Claude Code's own. The server is left running for the next session: it holds
the model, and what was computed; an hour after its last request it stops by itself.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.client import NOT_FOUND, OK, HTTPException
from pathlib import Path
from typing import TextIO, TypeAlias, assert_never
from urllib.parse import quote

import attrs

from pensieve_cli.access_keys import key_to_send
from pensieve_cli.claude_code.background import BackgroundServer, start_server, was_started_with
from pensieve_cli.claude_code.launch import Target, plan_launch, shell_lines
from pensieve_cli.claude_code.readiness import Go, Load, Start, StartUp, Wait
from pensieve_cli.command_line import StartClaudeCode
from pensieve_cli.errors import CommandError
from pensieve_cli.exit_codes import ExitCode
from pensieve_cli.listener import client_url
from pensieve_cli.server_client import ServerClient
from pensieve_cli.settings import ModelSettings
from pensieve_cli.waiting_line import WaitingLine
from pensieve_core import ModelNotFoundError

__all__ = ["Execute", "find_claude", "run"]

_LOOK_EVERY_S = 0.1
_LOAD_BOUND_S = 3_600.0
_IDLE_EXIT_S = 3_600
"""For the server that we start. What was computed is on the disk by then: the next start is one of seconds."""

Execute: TypeAlias = Callable[[str, tuple[str, ...], Mapping[str, str]], object]
"""As `os.execve`."""


def run(
    command: StartClaudeCode,
    *,
    output: TextIO | None = None,
    errors: TextIO | None = None,
    execute: Execute = os.execve,
) -> ExitCode:
    """Become Claude Code, or (`--print-env`) print what it would have been given.

    Raises:
        CommandError: there is no Claude Code that runs, no server can be had, or the model does not suit.
    """
    claude = find_claude(os.environ)
    if claude is None and not command.print_env:
        raise CommandError(_INSTALL, ExitCode.NOT_FOUND)
    told = errors or sys.stderr
    arrival = _arrival(command, told)
    try:
        target = _target(arrival)
        launch = plan_launch(target, command.arguments, status_line=_status_line(), lean=command.lean)
    except CommandError:
        arrival.stop_own_server()  # else it would answer the next try, with the settings that failed
        raise
    for note in launch.notes:
        told.write(f"pensieve-server: {note}\n")
    if command.print_env or claude is None:
        (output or sys.stdout).write("".join(f"{line}\n" for line in shell_lines(launch)))
        return ExitCode.OK
    told.flush()
    try:
        execute(claude, (claude, *launch.arguments), {**os.environ, **launch.environment})
    except OSError as error:
        raise CommandError(_CANNOT_RUN.format(claude, error.strerror), ExitCode.FAILURE) from error
    return ExitCode.OK


_CANNOT_RUN = "{} is there and cannot be run ({}). Install it anew with: npm install -g @anthropic-ai/claude-code"
_INSTALL = (
    "Claude Code was not found. Install it with: npm install -g @anthropic-ai/claude-code "
    "(Node.js 18 or newer), then open a new terminal, or put `claude` on the PATH"
)


def find_claude(environment: Mapping[str, str]) -> str | None:
    """Return the path of Claude Code: on the PATH, or where its own installers put it."""
    found = shutil.which("claude", path=environment.get("PATH"))
    if found is not None:
        return found
    home = Path(environment.get("HOME", "~")).expanduser()
    places = (home / ".local" / "bin" / "claude", home / ".claude" / "local" / "claude")
    return next((str(place) for place in places if os.access(place, os.X_OK)), None)


def _status_line() -> str:
    """Return the status line's command; isolated (-I), for it must not read what lies in the user's folder."""
    return shlex.join([sys.executable, "-I", "-m", "pensieve_cli", "statusline"])


def _arrival(command: StartClaudeCode, told: TextIO) -> _Arrival:
    listen = command.settings.listen
    if listen.port == 0:
        msg = "--port 0: Claude Code must know the port; choose one"
        raise CommandError(msg, ExitCode.USAGE)
    client = ServerClient(url=client_url(listen), key=key_to_send(command.settings.access))
    start_up = StartUp(url=client.url, model=_model_id(command.settings.model))
    return _Arrival(client=client, command=command, start_up=start_up, line=WaitingLine(told))


def _target(arrival: _Arrival) -> Target:
    """Return where Claude Code is to go, when a model is ready there."""
    client = arrival.client
    ready = arrival.wait()
    no_proxy = os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or ""
    return Target(
        url=client.url,
        token=client.key,
        model=ready.model,
        context_tokens=ready.context_tokens,
        no_proxy=no_proxy,
        memory=os.environ.get("CLAUDE_CODE_DISABLE_AUTO_MEMORY") == "0",
    )


def _model_id(settings: ModelSettings) -> str | None:
    """Return the id of the model that is asked for; a name that is unknown here may be known to the server.

    Raises:
        SeveralModelsError: it is a reference to more than one.
    """
    if settings.model is None:
        return None
    from pensieve_cli.composition import build_catalog  # noqa: PLC0415 - late: half a second
    from pensieve_registry import SeveralModelsError  # noqa: PLC0415 - as that

    try:
        return build_catalog(settings).models()[0].id
    except SeveralModelsError:
        raise
    except ModelNotFoundError:
        return settings.model


@attrs.define(kw_only=True)
class _Arrival:
    """The way from a port to a ready model."""

    client: ServerClient
    command: StartClaudeCode
    start_up: StartUp
    line: WaitingLine
    server: BackgroundServer | None = None
    refusal: str | None = None
    """Why the model could not be loaded; written by the thread that asks for it."""

    def wait(self) -> Go:
        """Look until a model is ready, however long that takes: large ones load for minutes.

        Raises:
            CommandError: it leads to nothing.
        """
        try:
            while True:
                port = self.client.port()
                step = self.start_up.next(port, server_ended=self._server_ended(), refusal=self.refusal)
                if isinstance(step, Go):
                    self._tell_of_server(step)
                    return step
                self._take(step)
        except CommandError as error:
            raise self._with_last_words(error) from error
        finally:
            self.line.clear()

    def _take(self, step: Start | Load | Wait) -> None:
        match step:
            case Start():
                self.line.show("starting a server")
                self.server = start_server(self._server_arguments(), self.command.settings.listen.port)
            case Load(model=model):
                self._load(model)
            case Wait(saying=saying):
                self.line.show(saying)
                time.sleep(_LOOK_EVERY_S)
            case _:
                assert_never(step)

    def _server_arguments(self) -> tuple[str, ...]:
        """Return what it is started with: it does not hold a model's memory for ever, unless the user says so."""
        given = self.command.server_arguments
        if self.command.settings.listen.idle_exit_seconds is not None:
            return given
        return (*given, "--idle-exit-seconds", str(_IDLE_EXIT_S))

    def _load(self, name: str) -> None:
        """Let the server load the model, which it may know by another name than by its id."""
        model = name
        with suppress(OSError, HTTPException):
            reply = self.client.ask("GET", f"/engines/{quote(name)}")
            if reply.status == NOT_FOUND:
                said = f"the server that runs on {self.client.url} says: {reply.message}"
                raise CommandError(f"{said}; stop it, or choose another --port", ExitCode.NOT_FOUND)
            model = reply.model or name
        self.start_up.known_as(model)
        threading.Thread(target=self._ask_for, args=(model,), daemon=True).start()

    def _ask_for(self, model: str) -> None:
        with suppress(OSError, HTTPException):  # how it goes on is seen at `/status`
            reply = self.client.count_tokens(model, bound_s=_LOAD_BOUND_S)
            if reply.status != OK:
                self.refusal = reply.message

    def _server_ended(self) -> bool:
        return self.server is not None and self.server.ended()

    def stop_own_server(self) -> None:
        """Stop the server, if it is ours and was started just now; but not if others have come to it meanwhile."""
        if self.server is None or self.server.ended():
            return
        if self.start_up.is_ours_alone(self.client.port(), pid=self.server.pid):
            self.server.stop()
        else:
            self.line.say(f"the server on {self.client.url} goes on, for others may use it; log: {self.server.log}")

    def _tell_of_server(self, ready: Go) -> None:
        if self.server is not None:
            self.line.say(
                f"a server runs on {self.client.url} and stays while it is used (--idle-exit-seconds); "
                f"kill {ready.pid} stops it; log: {self.server.log}"
            )
        elif not was_started_with(ready.pid, self.command.server_arguments):
            self.line.say(
                "the server that runs already keeps the settings that it was started with; for others, "
                f"kill {ready.pid} and try again"
            )

    def _with_last_words(self, error: CommandError) -> CommandError:
        if not self._server_ended() or self.server is None:
            return error
        return CommandError(f"{error.message}\n{self.server.last_words()}", error.exit_code)
