"""`pensieve-server cache`: computed prompts that are kept on the disk, and how to be rid of them.

Knows where they are and how to print them; what they are is the business of `pensieve_gguf.anchors`. The JSON of each
command is one object; keys may be added, never changed.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TextIO, TypeAlias, assert_never

import attrs
from rich.markup import escape
from rich.table import Table

from pensieve_cli.command_line import ClearCache, ListCache, SizeCache
from pensieve_cli.errors import CommandError
from pensieve_cli.exit_codes import ExitCode
from pensieve_cli.printing import print_json, print_lines, table
from pensieve_cli.terminal import Terminal, confirm
from pensieve_cli.wording import counted, lately, megabytes
from pensieve_gguf.anchors import (
    FolderRefusedError,
    ListedAnchor,
    Survey,
    clear_folder,
    default_budget,
    survey_folder,
)

__all__ = ["CacheCommand", "Kept", "KeptPrompt", "Size", "run"]

CacheCommand: TypeAlias = ListCache | SizeCache | ClearCache

_DAY_S = 86_400


@attrs.frozen(kw_only=True)
class KeptPrompt:
    """One row."""

    model: str
    kind: str
    """"head": tools and system text; "turn": a conversation."""
    tokens: int
    size_bytes: int
    created_at: float
    used_at: float
    """Unix seconds."""
    path: str


@attrs.frozen(kw_only=True)
class Kept:
    """All that `list` prints."""

    folder: str
    prompts: tuple[KeptPrompt, ...]


@attrs.frozen(kw_only=True)
class Size:
    """All that `size` prints."""

    folder: str
    prompts: int
    size_bytes: int
    """Of all files, those of the index too."""
    limit_bytes: int


def run(command: CacheCommand, terminal: Terminal, now: float) -> ExitCode:
    """Do what `command` says. `now`: Unix seconds.

    Raises:
        CommandError: the folder is not ours or cannot be used, or nobody confirmed that it is to be cleared.
    """
    folder = command.settings.cache.folder
    try:
        match command:
            case ListCache():
                _list(_surveyed(folder), folder, command, terminal.output, now)
            case SizeCache():
                _size(_surveyed(folder), folder, command, terminal.output)
            case ClearCache():
                _clear(_surveyed(folder), folder, command, terminal, now)
            case _:
                assert_never(command)
    except (FolderRefusedError, OSError) as error:
        raise CommandError(f"--cache-dir {folder}: {error}", ExitCode.FAILURE) from error
    return ExitCode.OK


def _surveyed(folder: Path) -> Survey:
    try:
        return survey_folder(folder)
    except FileNotFoundError:
        existing = next(parent for parent in folder.absolute().parents if parent.exists())
        return Survey(anchors=(), total_bytes=0, free_bytes=shutil.disk_usage(existing).free)


def _list(survey: Survey, folder: Path, command: ListCache, output: TextIO, now: float) -> None:
    if command.json:
        prompts = tuple(_kept(anchor, folder) for anchor in survey.anchors)
        print_json(Kept(folder=str(folder), prompts=prompts), output)
        return
    kept = _table(survey, now) if survey.anchors else f"Nothing is kept in {escape(str(folder))}."
    print_lines([kept], output)


def _size(survey: Survey, folder: Path, command: SizeCache, output: TextIO) -> None:
    chosen = command.settings.cache.cache_disk_bytes
    limit = default_budget(survey.free_bytes, survey.total_bytes) if chosen is None else chosen
    size = Size(folder=str(folder), prompts=len(survey.anchors), size_bytes=survey.total_bytes, limit_bytes=limit)
    if command.json:
        print_json(size, output)
        return
    held = f"{counted(size.prompts, 'prompt')}, {megabytes(size.size_bytes)} of {megabytes(limit)}"
    print_lines([f"{held}, in {escape(size.folder)}"], output)


def _clear(survey: Survey, folder: Path, command: ClearCache, terminal: Terminal, now: float) -> None:
    if not survey.total_bytes:
        print_lines([f"Nothing is kept in {escape(str(folder))}."], terminal.output)
        return
    unused_since = None if command.older_than is None else now - command.older_than * _DAY_S
    chosen = [anchor for anchor in survey.anchors if unused_since is None or anchor.used_at < unused_since]
    if not command.yes:
        question = f"Remove {_counted(len(chosen), sum(a.file_bytes for a in chosen))} from {folder}?"
        confirm(question, terminal, otherwise="cache clear --yes")
    cleared = clear_folder(folder, unused_since=unused_since)
    print_lines([f"Removed {_counted(cleared.anchors, cleared.file_bytes)}."], terminal.output)


def _counted(prompts: int, size_bytes: int) -> str:
    return f"{counted(prompts, 'prompt')} ({megabytes(size_bytes)})"


def _kept(anchor: ListedAnchor, folder: Path) -> KeptPrompt:
    return KeptPrompt(
        model=anchor.model,
        kind=anchor.kind.name.lower(),
        tokens=anchor.tokens,
        size_bytes=anchor.file_bytes,
        created_at=anchor.created_at,
        used_at=anchor.used_at,
        path=str(folder / anchor.name),
    )


def _table(survey: Survey, now: float) -> Table:
    columns = ("MODEL", "KIND", "TOKENS", "SIZE", "LAST USED")
    return table(columns, (_row(anchor, now) for anchor in survey.anchors), right=("TOKENS", "SIZE"))


def _row(anchor: ListedAnchor, now: float) -> tuple[str, ...]:
    return (
        anchor.model or "?",
        anchor.kind.name.lower(),
        f"{anchor.tokens:,}",
        megabytes(anchor.file_bytes),
        lately(now - anchor.used_at),
    )
