"""`pensieve-server bench`: loads a model as the server would, in a worker of its own, and measures it alone.

Nothing is kept on the disk, and every prompt begins with words of its own, so that no round profits from one before.
A first round, which measures the machine for the engine too, is not counted.
"""

from __future__ import annotations

import os
import platform
import resource
import secrets
import sys
import time
from typing import TextIO

import attrs
import psutil

from pensieve_cli.composition import build_engines
from pensieve_cli.exit_codes import ExitCode
from pensieve_cli.listener import client_url
from pensieve_cli.logs import configure_logs
from pensieve_cli.machine import cpu_name, memory_bytes
from pensieve_cli.model_commands.bench_report import BenchReport, Machine, Round, bench_lines, bench_report
from pensieve_cli.model_commands.chosen import chosen_for
from pensieve_cli.model_commands.commands import Benchmark
from pensieve_cli.model_commands.engine_thread import EngineThread
from pensieve_cli.model_commands.measuring import Bench
from pensieve_cli.printing import print_json, print_lines
from pensieve_cli.server_client import ServerClient
from pensieve_cli.server_status import Nobody
from pensieve_cli.settings import Settings
from pensieve_cli.version import version
from pensieve_cli.waiting_line import WaitingLine
from pensieve_core import ModelDescriptor
from pensieve_inference import SystemClock

__all__ = ["run"]

_WARM_UP_TOKENS = 16
_BUSY_SHARE = 0.5
"""Of the cores, in use before anything was measured: then figures say little."""


def run(command: Benchmark, output: TextIO, errors: TextIO | None = None) -> ExitCode:
    """Measure, and print it. `errors`: where a person sees how far it is (stderr).

    Raises:
        CommandError, PensieveError: there is no model, or it cannot be loaded; the prompt exceeds its context.
    """
    configure_logs(attrs.evolve(command.settings.log, log_level="error"))
    forgetful = attrs.evolve(command.settings.cache, cache_disk_bytes=0)
    engines = build_engines(attrs.evolve(command.settings, cache=forgetful), SystemClock())
    model = chosen_for(command.settings, command.model, engines)
    line = WaitingLine(errors or sys.stderr)
    notes = _notes(command.settings)
    try:
        with EngineThread(engines, model) as engine:
            measured = _measured(command, engine, model, line)
        report = attrs.evolve(measured, peak_memory_bytes=_peak_memory_bytes(), notes=notes)  # the worker has ended
    finally:
        line.clear()
    print_json(report, output) if command.json else print_lines(bench_lines(report), output)
    return ExitCode.OK


def _measured(command: Benchmark, engine: EngineThread, model: ModelDescriptor, line: WaitingLine) -> BenchReport:
    line.show(f"{model.id} is loading")
    began = time.perf_counter()
    loaded = engine.load()
    load_s = time.perf_counter() - began
    rounds = _rounds(command, Bench(engine=engine, model=model.id, now=time.perf_counter), line)
    drafts = not command.settings.engine.no_drafts
    return bench_report(model, loaded, rounds, machine=_machine(), drafts=drafts, load_s=load_s)


def _rounds(command: Benchmark, bench: Bench, line: WaitingLine) -> list[Round]:
    line.show("a first round, not counted")
    words, rounds = bench.words_for(command.prompt_tokens), []
    bench.round(words, _WARM_UP_TOKENS, seed=secrets.randbits(32))
    for number in range(1, command.rounds + 1):
        line.show(f"round {number} of {command.rounds}")
        rounds.append(bench.round(words, command.answer_tokens, seed=secrets.randbits(32)))
    return rounds


def _peak_memory_bytes() -> int:
    """Return the most RAM that any process held that this one has started, or this one, if it started none."""
    largest = (
        resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    )
    return largest if sys.platform == "darwin" else largest * 1_024


def _machine() -> Machine:
    return Machine(
        cpu=cpu_name(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_bytes=memory_bytes(),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        pensieve=version(),
    )


def _notes(settings: Settings) -> tuple[str, ...]:
    busy = psutil.cpu_percent(interval=0.5) / 100
    notes = [f"the machine was {busy:.0%} busy before this began"] if busy > _BUSY_SHARE else []
    if settings.listen.port and not isinstance(ServerClient(url=client_url(settings.listen)).port(), Nobody):
        notes.append(f"something listens on {client_url(settings.listen)}: a server that computes takes its share")
    return tuple(notes)
