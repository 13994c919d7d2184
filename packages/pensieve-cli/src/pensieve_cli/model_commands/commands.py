"""What can be asked for about models: one value for each command, and the words that lead to it.

Imports nothing but settings and cyclopts: parsing is to stay quick. Above: `command_line.parse`; `doing` acts on them.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

import attrs
from cyclopts import App, Parameter
from cyclopts.validators import Number

from pensieve_cli.errors import CommandError
from pensieve_cli.exit_codes import ExitCode
from pensieve_cli.settings import ModelName, Settings

__all__ = [
    "Benchmark",
    "ChangeAlias",
    "ListAliases",
    "ListEngines",
    "ListModels",
    "LoadModel",
    "ModelCommand",
    "PullModel",
    "RemoveModels",
    "ShowModel",
    "Talk",
    "UnloadModel",
    "add_model_commands",
]

_Switch: TypeAlias = Annotated[bool, Parameter(negative="")]
_Count: TypeAlias = Annotated[int, Parameter(validator=Number(gte=1))]


@attrs.frozen(kw_only=True)
class ListModels:
    """`pensieve-server list`: which models were found."""

    settings: Settings
    json: bool = False


@attrs.frozen(kw_only=True)
class ShowModel:
    """`pensieve-server show`: one of them."""

    settings: Settings
    model: str | None = None
    """Any of its names, or a file. None: the default one."""
    json: bool = False


@attrs.frozen(kw_only=True)
class ListAliases:
    """`pensieve-server alias`."""

    settings: Settings
    json: bool = False


@attrs.frozen(kw_only=True)
class ChangeAlias:
    """`pensieve-server alias NAME MODEL`, or `--remove NAME`."""

    settings: Settings
    alias: str
    model: str | None
    """None: it is taken away."""
    json: bool = False


@attrs.frozen(kw_only=True)
class PullModel:
    """`pensieve-server pull`: fetch one."""

    settings: Settings
    model: str | None = None
    """A repository of the hub, or a name of the catalog. None: what suits this machine."""
    yes: bool = False
    """Do not ask."""
    offline: bool = False
    check: bool = False
    """Fetch nothing; hold the catalog against the hub."""
    json: bool = False


@attrs.frozen(kw_only=True)
class RemoveModels:
    """`pensieve-server rm`: remove the files of models."""

    settings: Settings
    models: tuple[str, ...]
    """At least one; whole names, or files."""
    yes: bool = False
    """Do not ask."""
    force: bool = False
    """Even while a server has them loaded."""
    json: bool = False


@attrs.frozen(kw_only=True)
class ListEngines:
    """`pensieve-server ps`: what a running server holds in memory."""

    settings: Settings
    json: bool = False


@attrs.frozen(kw_only=True)
class LoadModel:
    """`pensieve-server load`."""

    settings: Settings
    model: str
    pin: bool = False
    """It stays, whoever else asks for room."""
    json: bool = False


@attrs.frozen(kw_only=True)
class UnloadModel:
    """`pensieve-server unload`."""

    settings: Settings
    model: str
    json: bool = False


@attrs.frozen(kw_only=True)
class Talk:
    """`pensieve-server run`: a chat in the terminal, or one answer."""

    settings: Settings
    words: tuple[str, ...] = ()
    """A model, a text, or both in this order."""
    system: str = ""
    max_tokens: int = 4_096
    json: bool = False


@attrs.frozen(kw_only=True)
class Benchmark:
    """`pensieve-server bench`: how fast a model is here."""

    settings: Settings
    model: str | None = None
    prompt_tokens: int = 512
    """About so many: a text is made of words."""
    answer_tokens: int = 128
    """At most: a model may be done before."""
    rounds: int = 3
    json: bool = False


ModelCommand: TypeAlias = (
    ListModels
    | ShowModel
    | ListAliases
    | ChangeAlias
    | PullModel
    | RemoveModels
    | ListEngines
    | LoadModel
    | UnloadModel
    | Talk
    | Benchmark
)


def add_model_commands(app: App) -> None:
    """Teach `app` the words.

    No parameter by position is called as a setting is: cyclopts would take it from that setting's variable.
    """
    app.command(_list, name=("list", "models"))
    app.command(_show, name="show")
    app.command(_alias, name="alias")
    app.command(_pull, name="pull")
    app.command(_rm, name="rm")
    app.command(_ps, name="ps")
    app.command(_load, name="load")
    app.command(_unload, name="unload")
    app.command(_run, name="run")
    app.command(_bench, name="bench")


def _list(*, settings: Settings | None = None, json: _Switch = False) -> ListModels:
    return ListModels(settings=settings or Settings(), json=json)


def _show(
    model_name: ModelName | None = None, /, *, settings: Settings | None = None, json: _Switch = False
) -> ShowModel:
    return ShowModel(settings=settings or Settings(), model=model_name, json=json)


def _alias(
    alias_name: ModelName | None = None,
    model_name: ModelName | None = None,
    /,
    *,
    settings: Settings | None = None,
    remove: _Switch = False,
    json: _Switch = False,
) -> ListAliases | ChangeAlias:
    settings = settings or Settings()
    if alias_name is None and not remove:
        return ListAliases(settings=settings, json=json)
    if alias_name is None or remove is (model_name is not None):
        msg = "alias takes NAME MODEL to give a name, --remove NAME to take it away, and nothing to list them"
        raise CommandError(msg, ExitCode.USAGE)
    return ChangeAlias(settings=settings, alias=alias_name, model=model_name, json=json)


def _pull(
    model_name: ModelName | None = None,
    /,
    *,
    settings: Settings | None = None,
    yes: _Switch = False,
    offline: _Switch = False,
    check: _Switch = False,
    json: _Switch = False,
) -> PullModel:
    if check and model_name is not None:
        msg = "pull --check checks the whole catalog, and takes no model"
        raise CommandError(msg, ExitCode.USAGE)
    return PullModel(
        settings=settings or Settings(), model=model_name, yes=yes, offline=offline, check=check, json=json
    )


def _rm(
    *model_names: ModelName,
    settings: Settings | None = None,
    yes: _Switch = False,
    force: _Switch = False,
    json: _Switch = False,
) -> RemoveModels:
    if not model_names:
        msg = "rm takes the names of the models to remove"
        raise CommandError(msg, ExitCode.USAGE)
    return RemoveModels(settings=settings or Settings(), models=model_names, yes=yes, force=force, json=json)


def _ps(*, settings: Settings | None = None, json: _Switch = False) -> ListEngines:
    return ListEngines(settings=settings or Settings(), json=json)


def _load(
    model_name: ModelName, /, *, settings: Settings | None = None, pin: _Switch = False, json: _Switch = False
) -> LoadModel:
    return LoadModel(settings=settings or Settings(), model=model_name, pin=pin, json=json)


def _unload(model_name: ModelName, /, *, settings: Settings | None = None, json: _Switch = False) -> UnloadModel:
    return UnloadModel(settings=settings or Settings(), model=model_name, json=json)


def _run(
    first: ModelName | None = None,
    /,
    *more: str,
    settings: Settings | None = None,
    system: str = "",
    max_tokens: _Count = 4_096,
    json: _Switch = False,
) -> Talk:
    words = () if first is None else (first, *more)
    return Talk(settings=settings or Settings(), words=words, system=system, max_tokens=max_tokens, json=json)


def _bench(
    model_name: ModelName | None = None,
    /,
    *,
    settings: Settings | None = None,
    prompt_tokens: _Count = 512,
    answer_tokens: _Count = 128,
    rounds: _Count = 3,
    json: _Switch = False,
) -> Benchmark:
    return Benchmark(
        settings=settings or Settings(),
        model=model_name,
        prompt_tokens=prompt_tokens,
        answer_tokens=answer_tokens,
        rounds=rounds,
        json=json,
    )
