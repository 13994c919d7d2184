"""From words to values: what was asked for, with all settings and where each came from.

    flags  >  PENSIEVE_* variables  >  ./pensieve.toml  >  the user's pensieve.toml  >  defaults

Parses, checks, and does nothing else: `parse` returns one of these values, and `main` acts on it. cyclopts does
the work; this module says which sources there are and turns its errors into ours.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import attrs
from cyclopts import App, ArgumentCollection, CycloptsError, Parameter, Token
from cyclopts.config import Env, Toml
from cyclopts.validators import Number

from pensieve_cli.errors import CommandError
from pensieve_cli.exit_codes import ExitCode
from pensieve_cli.mistakes import explain
from pensieve_cli.model_commands.commands import ModelCommand, add_model_commands
from pensieve_cli.settings import Settings
from pensieve_cli.settings_files import settings_files

__all__ = [
    "ClearCache",
    "Command",
    "Examine",
    "ListCache",
    "PrintCompletion",
    "Serve",
    "Shell",
    "ShowSettings",
    "ShowVersion",
    "SizeCache",
    "StartClaudeCode",
    "completion_script",
    "known_words",
    "parse",
]

_Switch: TypeAlias = Annotated[bool, Parameter(negative="")]
Shell: TypeAlias = Literal["bash", "zsh", "fish"]
_Days: TypeAlias = Annotated[float, Parameter(validator=Number(gte=0))]


@attrs.frozen(kw_only=True)
class Serve:
    """`pensieve-server`: serve until told to stop."""

    settings: Settings


@attrs.frozen(kw_only=True)
class ListCache:
    """`pensieve-server cache list`: each prefix that is kept on the disk."""

    settings: Settings
    json: bool = False


@attrs.frozen(kw_only=True)
class SizeCache:
    """`pensieve-server cache size`: where they are, how many, how large."""

    settings: Settings
    json: bool = False


@attrs.frozen(kw_only=True)
class ClearCache:
    """`pensieve-server cache clear`: remove them."""

    settings: Settings
    older_than: float | None = None
    """Only those that were not used for so many days."""
    yes: bool = False
    """Do not ask."""


@attrs.frozen(kw_only=True)
class ShowSettings:
    """`pensieve-server settings`: each value, and where it comes from."""

    settings: Settings
    origins: Mapping[str, str]
    """For each field of each concern: "flag", a variable's name, a file's path, or "default"."""
    json: bool = False


@attrs.frozen(kw_only=True)
class Examine:
    """`pensieve-server doctor`: what is well, what is not, and what to do."""

    settings: Settings
    json: bool = False


@attrs.frozen(kw_only=True)
class ShowVersion:
    """`pensieve-server version`."""


@attrs.frozen(kw_only=True)
class PrintCompletion:
    """`pensieve-server completion`: what makes a shell complete our words."""

    shell: Shell


@attrs.frozen(kw_only=True)
class StartClaudeCode:
    """`pensieve-server claude [-- ARGUMENTS]`: Claude Code on a server, which is started if need be."""

    settings: Settings
    server_arguments: tuple[str, ...] = ()
    """What a server is started with: our own words without those that are about Claude Code."""
    arguments: tuple[str, ...] = ()
    """What is handed on to Claude Code."""
    lean: bool = False
    """Four tools and a short system prompt, however large the context is."""
    print_env: bool = False
    """Start the server, and print what Claude Code would be given."""


Command: TypeAlias = (
    Serve
    | ListCache
    | SizeCache
    | ClearCache
    | ShowSettings
    | ShowVersion
    | PrintCompletion
    | StartClaudeCode
    | Examine
    | ModelCommand
)
_PROGRAM = "pensieve-server"
_CLAUDE, _BEHIND = "claude", "--"
_CLAUDE_SWITCHES = frozenset({"--lean", "--print-env"})


def parse(arguments: Sequence[str], *, files: Sequence[Path] | None = None) -> Command:
    """Return what `arguments`, the environment and the settings files ask for.

    Args:
        arguments: The command line without the program's name. What stands behind `--` is Claude Code's.
        files: Settings files, the strongest first; those that do not exist are skipped. None: the usual two.

    Raises:
        CommandError: something is unknown or of the wrong kind; the message says what, and where it stands.
    """
    words, behind = _divided(arguments)
    origins = _Origins()
    app = _app(settings_files() if files is None else files, origins)
    try:
        build, bound, _ = app.parse_args(words, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        raise CommandError(explain(error, known_words()), ExitCode.USAGE) from error
    command: Command = build(*bound.args, **bound.kwargs)
    if isinstance(command, StartClaudeCode):
        return attrs.evolve(command, server_arguments=_of_server(words), arguments=behind)
    if behind:
        raise CommandError(f"only {_CLAUDE} takes arguments behind {_BEHIND}", ExitCode.USAGE)
    return command


def known_words() -> Mapping[str, App]:
    """Return the commands that `parse` knows, by their words: for completion, and for whoever checks the help pages."""
    app = _app((), _Origins())
    return {word: app[word] for word in app}


def completion_script(shell: Shell) -> str:
    """Return what makes `shell` complete all words and flags that `parse` knows.

    It is static, so no key starts Python but for the names of models: those the script asks for (`model_completion`).
    """
    return _app((), _Origins()).generate_completion(prog_name=_PROGRAM, shell=shell)


def _divided(arguments: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    own = list(itertools.takewhile(lambda word: word != _BEHIND, arguments))
    return own, tuple(arguments[len(own) + 1 :])


def _of_server(words: Sequence[str]) -> tuple[str, ...]:
    return tuple(word for word in words[1:] if word not in _CLAUDE_SWITCHES)


def _app(files: Sequence[Path], origins: _Origins) -> App:
    sources: list[Any] = [Env("PENSIEVE_", command=False)]
    sources += [_SettingsFile(file, use_commands_as_keys=False) for file in files]
    app = App(name=_PROGRAM, config=[*sources, origins], help_flags=(), version_flags=())

    def serve(*, settings: Settings | None = None) -> Serve:
        return Serve(settings=settings or Settings())

    def show_settings(*, settings: Settings | None = None, json: _Switch = False) -> ShowSettings:
        return ShowSettings(settings=settings or Settings(), origins=origins.by_name, json=json)

    def claude(
        *, settings: Settings | None = None, lean: _Switch = False, print_env: _Switch = False
    ) -> StartClaudeCode:
        return StartClaudeCode(settings=settings or Settings(), lean=lean, print_env=print_env)

    def doctor(*, settings: Settings | None = None, json: _Switch = False) -> Examine:
        return Examine(settings=settings or Settings(), json=json)

    def version(*, settings: Settings | None = None) -> ShowVersion:  # noqa: ARG001 - a settings file may be there
        return ShowVersion()

    def completion(shell: Shell, /, *, settings: Settings | None = None) -> PrintCompletion:  # noqa: ARG001 - as above
        return PrintCompletion(shell=shell)

    app.default(serve)
    app.command(serve)
    app.command(show_settings, name="settings")
    app.command(version)
    app.command(claude)
    app.command(doctor)
    app.command(completion)
    app.command(_cache_app())
    add_model_commands(app)
    return app


def _cache_app() -> App:
    app = App(name="cache", help_flags=(), version_flags=())

    def list_(*, settings: Settings | None = None, json: _Switch = False) -> ListCache:
        return ListCache(settings=settings or Settings(), json=json)

    def size(*, settings: Settings | None = None, json: _Switch = False) -> SizeCache:
        return SizeCache(settings=settings or Settings(), json=json)

    def clear(*, settings: Settings | None = None, older_than: _Days | None = None, yes: _Switch = False) -> ClearCache:
        return ClearCache(settings=settings or Settings(), older_than=older_than, yes=yes)

    app.default(list_)
    app.command(list_, name="list")
    app.command(size)
    app.command(clear)
    return app


class _SettingsFile(Toml):
    """A TOML file whose syntax errors name it."""

    def _load_config(self, path: Path) -> dict[str, Any]:
        try:
            return super()._load_config(path)
        except (OSError, ValueError) as error:
            raise CycloptsError(msg=f"{path} cannot be read: {error}") from error


class _Origins:
    """The last of cyclopts's sources: sets nothing, and notes who set what."""

    def __init__(self) -> None:
        self.by_name: dict[str, str] = {}

    def __call__(self, _app: App, _commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
        for argument in arguments:
            name = argument.name.removeprefix("--").replace("-", "_")
            self.by_name[name] = _origin(argument.tokens[0]) if argument.tokens else "default"


def _origin(token: Token) -> str:
    match token.source:
        case "cli":
            return "flag"
        case "env":
            return str(token.keyword)
        case _:
            return str(token.source)
