"""`pensieve-server run`: a chat in the terminal, or one answer to what is said on the command line and piped in.

A server that runs is asked; where there is none, an engine of our own is loaded. Ctrl-C ends an answer, not the chat.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from http.client import OK
from typing import TextIO
from urllib.parse import quote

import attrs

from pensieve_cli.access_keys import key_to_send
from pensieve_cli.composition import build_engines
from pensieve_cli.errors import CommandError
from pensieve_cli.exit_codes import ExitCode
from pensieve_cli.listener import client_url
from pensieve_cli.logs import configure_logs
from pensieve_cli.missing_model import how_to_fetch
from pensieve_cli.model_commands.chat import (
    ChatReport,
    Heard,
    History,
    Partner,
    Question,
    Text,
    Thought,
    divide_words,
    figures,
    joined,
    safe_on_terminal,
)
from pensieve_cli.model_commands.chosen import catalog_for, chosen_for
from pensieve_cli.model_commands.commands import Talk
from pensieve_cli.model_commands.engine_partner import EnginePartner
from pensieve_cli.model_commands.engine_thread import EngineThread
from pensieve_cli.model_commands.server_partner import ServerPartner
from pensieve_cli.printing import print_json
from pensieve_cli.server_client import ServerClient
from pensieve_cli.server_status import Answering, Locked, ServerStatus
from pensieve_cli.settings import Settings
from pensieve_cli.terminal import Terminal, silence
from pensieve_cli.waiting_line import WaitingLine
from pensieve_core import ModelNotFoundError
from pensieve_inference import SystemClock
from pensieve_registry import file_named

__all__ = ["run"]

_DIM, _PLAIN = "\x1b[2m", "\x1b[0m"


def run(command: Talk, terminal: Terminal, errors: TextIO | None = None) -> ExitCode:
    """Chat with a person until Ctrl-D, or answer once.

    Args:
        command: What was asked for.
        terminal: Where a person types, or a pipe ends; and where answers go.
        errors: Where everything else is said (stderr).

    Raises:
        CommandError, PensieveError: there is no model, or no answer.
    """
    told = errors or sys.stderr
    configure_logs(attrs.evolve(command.settings.log, log_level="error"))
    alone = terminal.answers.isatty()
    found = _server(command.settings)
    model, text = divide_words(
        command.words, lambda word: _known(word, found, command.settings), how_to_fetch, alone=alone
    )
    asked = joined(text, "" if alone else terminal.answers.read())
    if not asked and (command.json or not alone):
        msg = "nothing was asked: give a text in quotes, or pipe one in"
        raise CommandError(msg, ExitCode.USAGE)
    history = History(system=command.system, max_tokens=command.max_tokens)
    with _partner(command.settings, model, found, told) as partner, _lasting(terminal.output):
        if not asked:
            return _chat(partner, history, terminal, told)
        return _answer(partner, history.question(asked), terminal.output, as_json=command.json)


@attrs.frozen
class _Server:
    client: ServerClient
    status: ServerStatus


def _server(settings: Settings) -> _Server | None:
    """Return the server that answers where `settings` say."""
    if settings.listen.port == 0:
        return None
    client = ServerClient(url=client_url(settings.listen), key=key_to_send(settings.access))
    port = client.port()
    if isinstance(port, Locked):
        raise CommandError(f"the server on {client.url} wants a key: --api-key or --api-key-file", ExitCode.USAGE)
    return _Server(client, port.status) if isinstance(port, Answering) and not port.status.draining else None


def _known(name: str, server: _Server | None, settings: Settings) -> bool:
    if file_named(name) is not None:
        return True  # a file; whether it is a good one is told when it is loaded
    if server is not None:
        return server.client.ask("GET", f"/v1/models/{quote(name)}").status == OK
    try:
        return bool(catalog_for(settings, name).models())
    except (ModelNotFoundError, CommandError):
        return False


@contextlib.contextmanager
def _partner(settings: Settings, model: str | None, server: _Server | None, told: TextIO) -> Iterator[Partner]:
    wanted = model or settings.model.model
    if server is not None and (wanted is None or file_named(wanted) is None):
        name = wanted or server.status.default_model
        if name is None:
            raise CommandError(f"the server on {server.client.url} has no model", ExitCode.NOT_FOUND)
        yield ServerPartner(client=server.client, model=name)
        return
    engines, line = build_engines(settings, SystemClock()), WaitingLine(told)
    chosen = chosen_for(settings, model, engines)
    with EngineThread(engines, chosen) as engine:
        line.show(f"{chosen.id} is loading")
        try:
            engine.load()
        finally:
            line.clear()
        yield EnginePartner(engine, chosen.id)


@contextlib.contextmanager
def _lasting(output: TextIO) -> Iterator[None]:
    """Bear with a reader who leaves: `pensieve-server run … | head -1`."""
    try:
        yield
    except BrokenPipeError:
        silence(output)


def _answer(partner: Partner, question: Question, output: TextIO, *, as_json: bool) -> ExitCode:
    heard = _hear(partner, question, None if as_json else output)
    if heard.ending is None:
        return ExitCode.INTERRUPTED
    if as_json:
        print_json(ChatReport.of(heard, partner), output)
    return ExitCode.OK


def _chat(partner: Partner, history: History, terminal: Terminal, told: TextIO) -> ExitCode:
    where = partner.server or "here"
    told.write(f"{partner.model} answers, {where}. Ctrl-C ends an answer, Ctrl-D the chat.\n")
    while (text := _typed(terminal)) is not None:
        if text.strip():
            heard = _hear(partner, history.question(text), terminal.output)
            history = history.after(text, heard.text)
            told.write(f"{_DIM}{figures(heard)}{_PLAIN}\n" if told.isatty() else f"{figures(heard)}\n")
    terminal.output.write("\n")
    return ExitCode.OK


def _typed(terminal: Terminal) -> str | None:
    """Return the next line; None: the person leaves."""
    try:
        if terminal.answers is sys.stdin:
            import readline  # noqa: F401, PLC0415 - arrow keys and a history for input(), and for nobody else

            return input(">>> ")
        terminal.output.write(">>> ")
        return terminal.answers.readline() or None
    except KeyboardInterrupt:
        terminal.output.write("\nCtrl-D leaves.\n")
        return ""
    except EOFError:
        return None


def _hear(partner: Partner, question: Question, output: TextIO | None) -> Heard:
    """Return the answer, shown on `output` while it comes. Ctrl-C ends it where it is."""
    heard = Heard(began=time.monotonic())
    show = _Shown(output)
    with contextlib.suppress(KeyboardInterrupt), contextlib.closing(partner.answer(question)) as pieces:
        for piece in pieces:
            heard.feed(piece, time.monotonic())
            show(piece)
    show.end()
    return heard


class _Shown:
    """The answer on a terminal, reasoning pale; elsewhere its text alone, as it is. None: nowhere."""

    def __init__(self, output: TextIO | None) -> None:
        self._output = output
        self._terminal = output is not None and output.isatty()

    def __call__(self, piece: object) -> None:
        match piece:
            case Text(text=text):
                self._write(safe_on_terminal(text) if self._terminal else text)
            case Thought(text=text) if self._terminal:
                self._write(f"{_DIM}{safe_on_terminal(text)}{_PLAIN}")
            case _:
                pass

    def end(self) -> None:
        self._write("\n")

    def _write(self, text: str) -> None:
        if self._output is not None:
            self._output.write(text)
            self._output.flush()
