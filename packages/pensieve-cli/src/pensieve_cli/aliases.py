"""Names that the user has given to models: a small file in the user's configuration folder.

    {"aliases": {"coder": "qwen2.5-coder-7b-instruct-q4_k_m"}}

Knows the file and what may be an alias. Which model a name means is the catalog's business (`pensieve_registry`), which
reads these names when it is made.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import IO

import platformdirs

from pensieve_cli.errors import CommandError
from pensieve_cli.exit_codes import ExitCode
from pensieve_registry import NameRef, parse_ref

__all__ = ["AliasFile", "with_alias", "without_alias"]

_MEANINGS = {"hub": "a repository of the hub", "path": "a file", "name": "a model and its quantisation"}


def with_alias(aliases: Mapping[str, str], alias: str, model: str, *, ids: Collection[str]) -> dict[str, str]:
    """Return `aliases` with one more, or with another model behind it.

    Args:
        aliases: From alias to model id.
        alias: The new one; case does not matter.
        model: The id of its model.
        ids: Of all models: a name that is one of these would hide that model.

    Raises:
        CommandError: another model would be hidden, or it has the form of something else: a path, a repository.
        InvalidReferenceError: it has no form at all.
    """
    name = alias.strip().lower()
    reference = parse_ref(name)
    if not isinstance(reference, NameRef) or reference.quantization is not None:
        raise CommandError(f"{alias} can be no alias: it means {_MEANINGS[reference.type]}", ExitCode.USAGE)
    if name in ids:
        raise CommandError(f"{name} is the id of a model, which the alias would hide; choose another", ExitCode.USAGE)
    return dict(sorted({**aliases, name: model}.items()))


def without_alias(aliases: Mapping[str, str], alias: str) -> dict[str, str]:
    """Return `aliases` without one.

    Raises:
        CommandError: there is no such alias.
    """
    name = alias.strip().lower()
    if name not in aliases:
        known = ", ".join(aliases) or "none"
        raise CommandError(f"there is no alias {alias} (known: {known})", ExitCode.NOT_FOUND)
    return {other: model for other, model in aliases.items() if other != name}


class AliasFile:
    """The file, there or not."""

    def __init__(self, path: Path | None = None) -> None:
        """`path` None: in the user's configuration folder."""
        self.path = path or platformdirs.user_config_path("pensieve") / "aliases.json"

    def read(self) -> dict[str, str]:
        """Return model ids by alias.

        Raises:
            CommandError: the file is there and cannot be read.
        """
        try:
            return _aliases(json.loads(self.path.read_bytes()))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise CommandError(f"{self.path} cannot be read: {error}; correct or remove it", ExitCode.USAGE) from error

    def write(self, aliases: Mapping[str, str]) -> None:
        """Replace all of them, at once: who reads meanwhile sees the old ones or the new ones.

        Raises:
            CommandError: it cannot be written; the old ones are still there.
        """
        text = json.dumps({"aliases": dict(aliases)}, indent=2, ensure_ascii=False) + "\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with _replacing(self.path) as file:
                file.write(text.encode())
        except OSError as error:
            raise CommandError(f"{self.path} cannot be written: {error}", ExitCode.FAILURE) from error


def _aliases(document: object) -> dict[str, str]:
    aliases = document.get("aliases") if isinstance(document, dict) else None
    if not isinstance(aliases, dict) or not all(isinstance(model, str) for model in aliases.values()):
        msg = 'it is no {"aliases": {"NAME": "MODEL"}}'
        raise ValueError(msg)
    return {str(alias).lower(): model for alias, model in aliases.items()}


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    """Yield a new file that takes the place of `path` once it has reached the disk, or vanishes."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}-", delete=False) as file:
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink()
            raise
