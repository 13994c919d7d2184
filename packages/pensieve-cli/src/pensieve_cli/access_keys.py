"""Keys, from settings and file to digests. As text a key leaves this module only for a client of this very machine.

A line of a key file is a key, or a name and a key; a key is the text itself or `sha256:` and its digest in hex:

    # who may use my server
    sk-local-3jv0
    laptop sk-local-p8s1
    phone sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pensieve_cli.errors import CommandError
from pensieve_cli.exit_codes import ExitCode
from pensieve_cli.settings import AccessSettings
from pensieve_http import ApiKey

__all__ = ["key_to_send", "read_keys"]

_DIGEST_MARK = "sha256:"


def read_keys(settings: AccessSettings) -> tuple[ApiKey, ...]:
    """Return the digests of all keys that clients may send.

    Raises:
        CommandError: a key is empty, or the file cannot be read; the message never repeats a key.
    """
    given = tuple(_key("default", secret.reveal(), "--api-key") for secret in settings.api_key)
    return given if settings.api_key_file is None else given + _keys_of_file(settings.api_key_file)


def key_to_send(settings: AccessSettings) -> str | None:
    """Return a key that the server of these settings accepts, for a client that we start. None: we have none as text.

    Raises:
        CommandError: the file cannot be read.
    """
    if settings.api_key:
        return settings.api_key[0].reveal()
    if settings.api_key_file is None:
        return None
    last_words = (words[-1] for words, _ in _lines(settings.api_key_file))
    return next((word for word in last_words if not word.startswith(_DIGEST_MARK)), None)


def _keys_of_file(path: Path) -> tuple[ApiKey, ...]:
    keys = tuple(_read(path))
    if not keys:  # a server that looks protected and is not
        raise CommandError(f"--api-key-file {path} holds no key", ExitCode.USAGE)
    return keys


def _read(path: Path) -> Iterator[ApiKey]:
    return (_key_of_line(words, place) for words, place in _lines(path))


def _lines(path: Path) -> Iterator[tuple[list[str], str]]:
    """Yield the words of each line that holds a key, and its place."""
    try:
        lines = path.expanduser().read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"--api-key-file {path} cannot be read: {error}", ExitCode.USAGE) from error
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if words and not words[0].startswith("#"):
            yield words, f"{path}, line {number}"


def _key_of_line(words: list[str], place: str) -> ApiKey:
    match words:
        case [key]:
            return _key("default", key, place)
        case [name, key]:
            return _key(name, key, place)
        case _:
            raise CommandError(f"{place}: a line is a key, or a name and a key", ExitCode.USAGE)


def _key(name: str, key: str, place: str) -> ApiKey:
    if not key.strip():
        raise CommandError(f"{place}: a key must not be empty", ExitCode.USAGE)
    if not key.startswith(_DIGEST_MARK):
        return ApiKey.from_plain(key, name=name)
    try:
        return ApiKey.from_hex(key.removeprefix(_DIGEST_MARK), name=name)
    except ValueError as error:
        raise CommandError(f"{place}: after {_DIGEST_MARK} come 64 hex digits", ExitCode.USAGE) from error
