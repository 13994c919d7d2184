"""`pensieve-server doctor`: gathers facts, and prints what is made of them. Changes nothing; every question is bounded.

What is made of them is `findings`.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Sequence
from http.client import HTTPException
from typing import TextIO

import attrs
import psutil
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pensieve_cli.access_keys import key_to_send, read_keys
from pensieve_cli.claude_code.findings import Facts, Finding, Level, Machine, RoundTrip, findings
from pensieve_cli.claude_code.launcher import find_claude
from pensieve_cli.command_line import Examine
from pensieve_cli.composition import build_catalog
from pensieve_cli.exit_codes import ExitCode
from pensieve_cli.listener import client_url
from pensieve_cli.logs import configure_logs
from pensieve_cli.machine import cpu_flags, native_engine
from pensieve_cli.server_client import ServerClient
from pensieve_cli.server_status import Answering, Port
from pensieve_cli.version import version
from pensieve_core import ModelDescriptor
from pensieve_gguf.machine import features_of

__all__ = ["gather", "print_findings", "run"]

_QUESTION_S = 20.0
_MARKS = {Level.OK: "[green]ok[/green]", Level.NOTE: "[yellow]note[/yellow]", Level.PROBLEM: "[red]problem[/red]"}


def run(command: Examine, output: TextIO) -> ExitCode:
    """Examine this machine and the server on it; a problem is an exit code of 1.

    Raises:
        CommandError: the settings themselves are wrong.
    """
    configure_logs(attrs.evolve(command.settings.log, log_level="error"))
    found = findings(gather(command))
    if command.json:
        output.write(json.dumps([attrs.asdict(finding) for finding in found], indent=2) + "\n")
    else:
        print_findings(found, output)
    return ExitCode.FAILURE if any(finding.level is Level.PROBLEM for finding in found) else ExitCode.OK


def print_findings(found: Sequence[Finding], output: TextIO) -> None:
    """Print a line for each, and one more where there is something to do."""
    table = Table.grid(padding=(0, 2))
    for finding in found:
        table.add_row(_MARKS[finding.level], escape(finding.name), escape(finding.text))
        if finding.advice is not None:
            table.add_row("", "", f"[dim]→ {escape(finding.advice)}[/dim]")
    Console(file=output, highlight=False).print(table)


def gather(command: Examine) -> Facts:
    """Ask everybody."""
    settings = command.settings
    url = client_url(settings.listen)
    client = ServerClient(url=url, key=key_to_send(settings.access))
    port, claude, model = client.port(), find_claude(os.environ), _model(command)
    return Facts(
        url=url,
        version=version(),
        machine=_machine(),
        model=None if model is None else model.id,
        model_bytes=0 if model is None else model.size_bytes,
        available_bytes=psutil.virtual_memory().available,
        port=port,
        keys=len(read_keys(settings.access)),
        claude=claude,
        claude_version=None if claude is None else _said_by(claude, "--version"),
        round_trip=_round_trip(client, port),
    )


def _model(command: Examine) -> ModelDescriptor | None:
    models = build_catalog(command.settings.model).models()
    return models[0] if models else None


def _machine() -> Machine | None:
    engine = native_engine()
    if engine is None:
        return None
    present = features_of(cpu_flags())
    return Machine(engine=engine.version, used=engine.features, present=present, gpus=engine.gpus)


def _said_by(*words: str) -> str | None:
    """Return what a program prints; None when it fails, or takes too long."""
    try:
        done = subprocess.run(  # noqa: S603 - the Claude Code that the user has installed
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_QUESTION_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _round_trip(client: ServerClient, port: Port) -> RoundTrip | None:
    """Let a model that is ready say one token."""
    if not isinstance(port, Answering) or not port.status.ready or port.status.default_model is None:
        return None
    messages = [{"role": "user", "content": "Hello"}]
    body = {"model": port.status.default_model, "max_tokens": 1, "messages": messages}
    began = time.monotonic()
    try:
        reply = client.ask("POST", "/v1/messages", body, bound_s=_QUESTION_S)
    except (OSError, HTTPException) as error:
        return RoundTrip(status=0, seconds=time.monotonic() - began, said=f"{type(error).__name__}: {error}")
    return RoundTrip(status=reply.status, seconds=time.monotonic() - began, said=reply.body.decode("utf-8", "replace"))
