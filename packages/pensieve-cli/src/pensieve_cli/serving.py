"""`pensieve-server serve`: the life of one server process, from settings to exit code.

Makes the parts (`composition`), opens the socket (`listener`), serves (`http_server`), loads the default model
meanwhile, and goes down (`stopping`). Each of these knows nothing of the others; this shell joins them.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import attrs
import structlog

from pensieve_cli.banner import Announcer, StartFacts, broken_lines, idle_lines, listening_lines, ready_lines
from pensieve_cli.composition import Application, compose
from pensieve_cli.errors import CommandError
from pensieve_cli.exit_codes import ExitCode
from pensieve_cli.http_server import HttpServer
from pensieve_cli.idle_end import Attendance
from pensieve_cli.listener import Listener, open_listener, require_key_beyond_loopback
from pensieve_cli.logs import configure_logs, log_form
from pensieve_cli.model_commands.chosen import chosen_model
from pensieve_cli.settings import Settings
from pensieve_cli.stopping import HardEnd, Patience, ProcessEnd, Signals, go_down
from pensieve_cli.version import version
from pensieve_core import ModelDescriptor, PensieveError
from pensieve_inference import EngineProvider, loader_of

__all__ = ["Terminal", "run", "serve"]

_log = structlog.stdlib.get_logger(__name__)


@attrs.frozen(kw_only=True)
class Terminal:
    """Where a server says what happens to it."""

    announcer: Announcer
    record: Callable[..., Any]
    """Logs what the announcer says in words: a record for machines, noise beside a person's banner."""


def run(settings: Settings) -> ExitCode:
    """Serve what `settings` describe until told to stop, in this process and its main thread.

    Raises:
        CommandError: it cannot start.
        ModelNotFoundError: nobody knows the default model that was asked for.
    """
    configure_logs(settings.log)
    require_key_beyond_loopback(
        settings.listen.host,
        has_keys=bool(settings.access.api_key or settings.access.api_key_file),
        unsafe_no_key=settings.access.unsafe_no_key,
    )
    application = compose(settings)
    default_model(application)
    listener = open_listener(settings.listen)
    form = log_form(settings.log.log_format, sys.stderr)
    terminal = Terminal(announcer=Announcer(sys.stdout), record=_log.info if form == "json" else _log.debug)
    patience = Patience(drain_s=settings.listen.drain_seconds)
    hard_end = ProcessEnd()
    try:
        return asyncio.run(serve(application, listener, patience=patience, terminal=terminal, hard_end=hard_end))
    finally:
        hard_end.disarm()
        listener.socket.close()


def default_model(application: Application) -> ModelDescriptor:
    """Return the model that is served when a request names none of ours.

    Raises:
        CommandError: there is no model at all.
    """
    return chosen_model(application.catalog)


async def serve(
    application: Application, listener: Listener, *, patience: Patience, terminal: Terminal, hard_end: HardEnd
) -> ExitCode:
    """Serve `application` on `listener` until a signal comes; load its default model meanwhile.

    Takes SIGINT and SIGTERM over. Closes engines and database; the socket and the armed `hard_end` are left to the
    caller.
    """
    try:
        return await _serve(application, listener, patience=patience, terminal=terminal, hard_end=hard_end)
    finally:
        await application.database.aclose()


async def _serve(
    application: Application, listener: Listener, *, patience: Patience, terminal: Terminal, hard_end: HardEnd
) -> ExitCode:
    attendance = Attendance(application.app, application.clock, lambda: application.drain.in_flight > 0)
    server, signals = HttpServer(attendance, listener.socket), Signals()
    with signals.caught():
        serving = asyncio.create_task(server.run())
        loading = asyncio.create_task(_load_first(application, terminal))
        work = _Work(batches=asyncio.create_task(application.batches.run()), engines=application.engines)
        _announce(application, listener, terminal)
        idle = asyncio.create_task(attendance.until_idle(application.idle_exit_s))
        stopped = asyncio.create_task(signals.first.wait())
        await asyncio.wait((serving, stopped, idle), return_when=asyncio.FIRST_COMPLETED)
        if idle.done():
            terminal.announcer.say(idle_lines(application.idle_exit_s))
            _log.info("server_was_idle", idle_s=application.idle_exit_s)
        idle.cancel()
        loading.cancel()
        if serving.done():
            await work.aclose()
            raise CommandError(f"the HTTP server ended by itself: {serving.exception()}", ExitCode.FAILURE)
        return await go_down(
            drain=application.drain,
            server=server,
            serving=serving,
            engines=work,
            hurry=signals.second,
            patience=patience,
            hard_end=hard_end,
        )


@attrs.frozen
class _Work:
    """What computes: the batches, and the engines that they need."""

    batches: asyncio.Task[None]
    engines: EngineProvider

    async def aclose(self) -> None:
        """Interrupt the batches, which stay pending; close the engines."""
        self.batches.cancel()
        await asyncio.wait((self.batches,))
        await self.engines.aclose()


def _announce(application: Application, listener: Listener, terminal: Terminal) -> None:
    model = default_model(application)
    facts = StartFacts(
        version=version(),
        url=listener.url,
        only_this_machine=listener.only_this_machine,
        keys=application.keys,
        model=model,
        further_models=len(application.catalog.models()) - 1,
    )
    terminal.announcer.say(listening_lines(facts))
    terminal.record("server_listening", url=listener.url, model=model.id, keys=application.keys)


async def _load_first(application: Application, terminal: Terminal) -> None:
    """Load the default model, then those that are pinned."""
    await _load_default(application, terminal)
    for model in application.pinned:
        try:
            await loader_of(application.engines).load(model, pin=True)
        except PensieveError as error:
            _log.error("model_load_failed", model=model.id, reason=error.message)


async def _load_default(application: Application, terminal: Terminal) -> None:
    """Load the default model. When that fails the server goes on: it has other models, and `/readyz` says why."""
    model, clock = default_model(application), application.clock
    began = clock.monotonic()
    try:
        engine = await application.engines.engine(model)
    except PensieveError as error:
        terminal.announcer.say(broken_lines(model, error.message))
        _log.error("model_load_failed", model=model.id, reason=error.message)
        return
    load_s = clock.monotonic() - began
    terminal.announcer.say(ready_lines(engine.description, load_s))
    terminal.record("model_loaded", model=model.id, load_s=round(load_s, 3))
