r"""What a shell offers where a model is to be named: `pensieve-server __complete WORDS…`, asked at a press of Tab.

The scripts are cyclopts's (`command_line.completion_script`), and so is how they ask: the words up to the cursor come
in, a line `\x1fbegin` goes out, then a name a line, and the shell keeps those that begin as the word under the cursor.
They ask only where a model may stand. An answer of cyclopts's own would parse every word and each settings file, in
300 ms; this one imports no cyclopts and reads no header, and takes half of that. Nothing that goes wrong here is worth
a word on somebody's prompt: then nothing is offered.
"""

from __future__ import annotations

import itertools
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, TextIO, TypeAlias

from pensieve_cli.aliases import AliasFile
from pensieve_cli.model_places import model_sources
from pensieve_cli.settings_files import settings_files
from pensieve_registry import ids_by_file_name, load_curated

__all__ = ["answer", "wanted"]

Wanted: TypeAlias = Literal["model", "alias", "catalog", "nothing"]

_BEGIN = "\x1fbegin"
_MODEL_FLAGS = frozenset({"--model", "--pinned"})
_FOLDER_FLAG, _FOLDER_VARIABLE = "--models-folder", "PENSIEVE_MODELS_FOLDER"
_FOLDER_KEYS = ("models-folder", "models_folder")
_DEFAULT_FOLDER = "models"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+:/-]*")
"""Whatever else stands in a file that people may write by hand, a shell is not given it."""


def answer(words: Sequence[str], output: TextIO, variables: Mapping[str, str]) -> int:
    """Print what may stand at the end of `words`, and return 0, whatever happens.

    Args:
        words: Those behind the program's name, up to the one under the cursor, which may be empty.
        output: What the shell reads.
        variables: The environment.
    """
    try:
        names = [name for name in _names(words, variables) if _NAME.fullmatch(name)]
    except Exception:  # noqa: BLE001 - an edge of the program, and one where nobody wants to read
        names = []
    output.write("\n".join((_BEGIN, *names, "")))
    return 0


def wanted(words: Sequence[str]) -> Wanted:
    """Return what may stand at the end of `words`."""
    *before, under_cursor = words or ("",)
    command, flag = next(iter(before), ""), _flag(before, under_cursor)
    if flag in _MODEL_FLAGS:
        return "model"
    if command == "alias":
        return _of_alias(before[1:])
    return "catalog" if command == "pull" else "model"


def _flag(before: Sequence[str], under_cursor: str) -> str:
    """Return the word before the cursor, or the flag in `--model=X`, which bash hands over as three words."""
    if under_cursor.startswith("-"):
        return under_cursor.partition("=")[0]
    return next((word for word in reversed(before) if word != "="), "")


def _of_alias(before: Sequence[str]) -> Wanted:
    """Return what follows `alias`: a new name is the user's own idea, its model is not."""
    if "--remove" in before:
        return "alias"
    return "model" if any(not word.startswith("-") for word in before) else "nothing"


def _names(words: Sequence[str], variables: Mapping[str, str]) -> Iterable[str]:
    match wanted(words):
        case "model":
            folder = Path(next(_folders(words, variables)))
            return sorted({*AliasFile().read(), *ids_by_file_name(model_sources(folder))})
        case "alias":
            return AliasFile().read()
        case "catalog":
            return (model.name for model in load_curated())
        case "nothing":
            return ()


def _folders(words: Sequence[str], variables: Mapping[str, str]) -> Iterator[str]:
    """Yield what is said of the models folder, what counts most first: as `command_line`, which is asked in a test."""
    yield from (word for before, word in itertools.pairwise(words) if before == _FOLDER_FLAG)
    yield from (word.partition("=")[2] for word in words if word.startswith(f"{_FOLDER_FLAG}="))
    if _FOLDER_VARIABLE in variables:
        yield variables[_FOLDER_VARIABLE]
    for file in settings_files():
        if file.exists():
            document = tomllib.loads(file.read_text("utf-8"))
            yield from (str(document[key]) for key in _FOLDER_KEYS if key in document)
    yield _DEFAULT_FOLDER
