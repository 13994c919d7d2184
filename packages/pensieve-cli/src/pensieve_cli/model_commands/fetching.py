"""`pensieve-server pull`: a model from the hub, or the one that suits this machine.

Knows words, questions and exit codes; what is fetched and how is `pensieve_registry.hub`'s business.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Literal, assert_never

import attrs

from pensieve_cli.errors import CommandError
from pensieve_cli.exit_codes import ExitCode
from pensieve_cli.machine import this_machine
from pensieve_cli.model_commands.commands import PullModel
from pensieve_cli.model_commands.fetch_report import JsonPrinter, LinePrinter
from pensieve_cli.model_commands.forecast import foreseeing, free_memory
from pensieve_cli.printing import print_lines
from pensieve_cli.settings import Settings
from pensieve_cli.terminal import Terminal, confirm
from pensieve_cli.wording import megabytes
from pensieve_gguf.fit import Memory
from pensieve_registry import (
    CuratedModel,
    Foreseen,
    HubRef,
    HuggingFaceCacheSource,
    InvalidReferenceError,
    Machine,
    NameRef,
    PathRef,
    Recommendation,
    curated_model,
    load_curated,
    parse_ref,
    recommend,
)
from pensieve_registry.hub import (
    CheckedEntry,
    Hub,
    HubStore,
    NoSuchQuantizationError,
    NotAtHubError,
    PullError,
    PullStoppedError,
    check_curated,
    plan_pull,
    pull,
)

__all__ = ["Recommended", "run"]


@attrs.frozen(kw_only=True)
class Recommended:
    """What `pull --json` without a name says."""

    type: Literal["recommended"] = "recommended"
    name: str
    reference: str
    reason: str
    size_bytes: int
    context_tokens: int
    """What it was trained for."""
    licence: str
    note: str
    fit: Foreseen
    """How it would be loaded now, in bytes."""
    left_bytes: int


@attrs.frozen(kw_only=True)
class _Wish:
    """What is to be fetched, and what the user calls it."""

    words: str
    ref: HubRef
    pinned: str | None = None


def run(
    command: PullModel,
    terminal: Terminal,
    *,
    machine: Callable[[], Machine] = this_machine,
    memory: Callable[[Settings], Memory] = free_memory,
) -> ExitCode:
    """Do what `command` says. Each of the last two is asked only when it matters.

    Args:
        command: What to do.
        terminal: Who is told, and asked.
        machine: Tells what a quantisation is to be chosen for.
        memory: Tells what is free, for a model to fit into.

    Raises:
        CommandError: it could not be fetched; the message says how to go on.
        ModelNotFoundError: no entry of the catalog has this name.
    """
    curated = load_curated()
    hub = Hub(offline=command.offline)
    if command.check:
        return _check(hub, curated, command, terminal)
    if command.model is None:
        foresee = foreseeing(command.settings, memory(command.settings))
        wish = _recommended(recommend(curated, foresee), command, terminal)
    else:
        wish = _wished(command.model, curated)
    if wish is not None:
        _fetch(wish, hub, command, terminal, machine)
    return ExitCode.OK


def _wished(words: str, curated: tuple[CuratedModel, ...]) -> _Wish:
    try:
        ref = parse_ref(words)
    except InvalidReferenceError as error:
        raise CommandError(error.message, ExitCode.USAGE) from error
    match ref:
        case HubRef():
            return _Wish(words=words, ref=ref)
        case NameRef():
            return _curated(words, curated_model(ref, curated), ref.quantization)
        case PathRef():
            raise CommandError(f"{words} is a path, and needs no fetching; a repository is OWNER/NAME", ExitCode.USAGE)
        case _:
            assert_never(ref)


def _curated(words: str, model: CuratedModel, quantization: str | None = None) -> _Wish:
    """Return an entry's own file, or another quantisation of its repository."""
    if quantization in {None, model.quantization}:
        return _Wish(words=words, ref=model.ref, pinned=model.sha256)
    return _Wish(words=words, ref=attrs.evolve(model.ref, file=None, quantization=quantization))


def _recommended(found: Recommendation, command: PullModel, terminal: Terminal) -> _Wish | None:
    """Say what suits this machine; return it when it is to be fetched."""
    model = found.model
    if command.json:
        JsonPrinter(terminal.output).write(_as_report(found))
    else:
        size = megabytes(model.size_bytes)
        print_lines([f"{model.name} ({size}, {model.licence}): {model.note}", f"Why: {found.reason}."], terminal.output)
    if command.yes:
        return _curated(model.name, model)
    if command.json or not terminal.answers.isatty():
        if not command.json:
            print_lines([f"pensieve-server pull {model.name} fetches it."], terminal.output)
        return None
    confirm(f"Fetch {model.name}?", terminal, otherwise="pull --yes", declined="nothing was fetched")
    return _curated(model.name, model)


def _as_report(found: Recommendation) -> Recommended:
    model = found.model
    return Recommended(
        name=model.name,
        reference=str(model.ref),
        reason=found.reason,
        size_bytes=model.size_bytes,
        context_tokens=model.context_tokens,
        licence=model.licence,
        note=model.note,
        fit=found.foreseen,
        left_bytes=found.foreseen.left_bytes,
    )


def _fetch(wish: _Wish, hub: Hub, command: PullModel, terminal: Terminal, machine: Callable[[], Machine]) -> None:
    printer = JsonPrinter(terminal.output) if command.json else LinePrinter(terminal.output)
    store = HubStore(HuggingFaceCacheSource.from_environment(os.environ).folder)
    try:
        plan = plan_pull(hub, store, wish.ref, room=lambda: machine().room_bytes, pinned=wish.pinned)
        pulled = pull(plan, hub, store, on_event=printer.on_event)
    except PullError as error:
        raise CommandError(_how_to_go_on(error, wish), _exit_code(error)) from error
    finally:
        printer.close()
    printer.finish(pulled, wish.words)


def _how_to_go_on(error: PullError, wish: _Wish) -> str:
    if not error.resumable:
        return error.message
    return f"{error.message}; pensieve-server pull {wish.words} goes on where this ended"


def _exit_code(error: PullError) -> ExitCode:
    match error:
        case PullStoppedError():
            return ExitCode.INTERRUPTED
        case NotAtHubError() | NoSuchQuantizationError():
            return ExitCode.NOT_FOUND
        case _:
            return ExitCode.FAILURE


def _check(hub: Hub, curated: tuple[CuratedModel, ...], command: PullModel, terminal: Terminal) -> ExitCode:
    """Tell of each entry of the catalog whether the hub has it as it is written."""
    wrong = 0
    for entry in check_curated(hub, curated):
        wrong += entry.problem is not None
        if command.json:
            JsonPrinter(terminal.output).write(entry, type="checked")
        else:
            terminal.output.write(_checked_line(entry) + "\n")
            terminal.output.flush()
    return ExitCode.FAILURE if wrong else ExitCode.OK


def _checked_line(entry: CheckedEntry) -> str:
    return f"{'ok     ' if entry.problem is None else 'PROBLEM'} {entry.name}: {entry.problem or entry.reference}"
