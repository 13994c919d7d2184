"""What the server tells the person who started it: what runs where, and how to use it.

Pure: facts in, lines of rich markup out. `Announcer` prints them on stdout; log records go to stderr.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from typing import TextIO

import attrs
from rich.console import Console
from rich.markup import escape

from pensieve_cli.terminal import silence
from pensieve_cli.wording import counted, megabytes
from pensieve_core import EngineDescription, ModelDescriptor

__all__ = [
    "Announcer",
    "StartFacts",
    "broken_lines",
    "claude_code_command",
    "idle_lines",
    "listening_lines",
    "ready_lines",
]

_LAST_WORDS = 300


@attrs.frozen(kw_only=True)
class StartFacts:
    """What is known when the server can be reached, and no model is loaded yet."""

    version: str
    url: str
    only_this_machine: bool
    keys: int
    """How many keys are accepted."""
    model: ModelDescriptor
    """The default one."""
    further_models: int = 0


def listening_lines(facts: StartFacts) -> Iterator[str]:
    """Yield the banner: printed once, when the server can be reached."""
    yield f"[bold]Pensieve {facts.version}[/bold] listens on [bold]{facts.url}[/bold]"
    yield _row("model", f"{_model(facts.model)}, loading{_further(facts.further_models)}")
    yield _row("access", _access(facts))
    yield _row("Claude Code", escape(claude_code_command(facts)))
    yield _row("stop", "Ctrl-C")


def ready_lines(description: EngineDescription, load_s: float) -> Iterator[str]:
    """Yield what is known once the default model is loaded."""
    where = (
        "on the CPU alone" if description.gpu_layers == 0 else f"{counted(description.gpu_layers, 'layer')} on the GPU"
    )
    yield _row(
        "ready", f"[green]{escape(description.model.id)} in {load_s:.1f} s[/green], by {escape(description.engine)}"
    )
    yield _row(
        "context", f"{description.context_tokens:,} tokens, {counted(description.max_sequences, 'request')} at a time"
    )
    yield _row("compute", f"{counted(description.threads, 'thread')}, {where}")
    yield from (_row("", escape(note)) for note in description.notes)


def broken_lines(model: ModelDescriptor, reason: str) -> Iterator[str]:
    """Yield what is to be said when the default model cannot be loaded. The server goes on."""
    yield _row("broken", f"[red]{escape(model.id)}: {escape(_last_words(reason))}[/red]")
    yield _row("", f"The file: {escape(str(model.path))}. Other models can be asked for: pensieve-server list")


def idle_lines(seconds: float) -> Iterator[str]:
    """Yield what is to be said when the server stops because nobody asks."""
    yield _row("idle", f"nobody has asked for {seconds:,.0f} s (--idle-exit-seconds): the server stops")


def claude_code_command(facts: StartFacts) -> str:
    """Return the shell command that points Claude Code at this server. It never shows a key."""
    token = "'<your key>'" if facts.keys else "none-needed"
    model = shlex.quote(facts.model.id)
    return f"ANTHROPIC_BASE_URL={facts.url} ANTHROPIC_AUTH_TOKEN={token} ANTHROPIC_MODEL={model} claude"


def _row(label: str, text: str) -> str:
    return f"  [dim]{label:<12}[/dim] {text}"


def _model(model: ModelDescriptor) -> str:
    facts = [model.quantization, megabytes(model.size_bytes), model.source]
    return f"[bold]{escape(model.id)}[/bold] ({escape(', '.join(fact for fact in facts if fact))})"


def _last_words(reason: str) -> str:
    """Return the end of a long reason: what matters stands last in the words of a process that died."""
    return reason if len(reason) <= _LAST_WORDS else f"…{reason[-_LAST_WORDS:]}"


def _further(count: int) -> str:
    return f"; {count} more: pensieve-server list" if count else ""


def _access(facts: StartFacts) -> str:
    keys = f"with {counted(facts.keys, 'key')}" if facts.keys else "without a key"
    if facts.only_this_machine:
        return f"from this machine alone, {keys}"
    return f"from other machines too, {keys}" if facts.keys else f"[bold red]from other machines too, {keys}[/bold red]"


class Announcer:
    """Prints lines on a stream: styled on a terminal, else plain. A reader who has left is no reason to stop."""

    def __init__(self, stream: TextIO) -> None:
        self._console = _LastingConsole(file=stream, highlight=False, soft_wrap=True)

    def say(self, lines: Iterable[str]) -> None:
        """Print `lines` of rich markup at once."""
        self._console.print("\n".join(lines))


class _LastingConsole(Console):
    """A console that falls silent where rich would end the process: `pensieve-server | head -1`."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        silence(self.file)
