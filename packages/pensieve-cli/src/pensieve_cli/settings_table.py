"""`pensieve-server settings`: each value, and who set it. Secrets stay masked."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TextIO, TypeAlias

import attrs

from pensieve_cli.exit_codes import ExitCode
from pensieve_cli.printing import print_lines, table
from pensieve_cli.settings import Settings

__all__ = ["SettingShown", "print_json", "print_table", "run", "shown_settings"]


Plain: TypeAlias = str | float | bool | list[str] | None


@attrs.frozen(kw_only=True)
class SettingShown:
    """One setting as it may be seen by anybody."""

    name: str
    value: Plain
    origin: str
    """"flag", a variable's name, a file's path, or "default"."""


def run(settings: Settings, origins: Mapping[str, str], stream: TextIO, *, as_json: bool) -> ExitCode:
    """Print `settings` on `stream`."""
    (print_json if as_json else print_table)(shown_settings(settings, origins), stream)
    return ExitCode.OK


def shown_settings(settings: Settings, origins: Mapping[str, str]) -> tuple[SettingShown, ...]:
    """Return all settings in the order of the help page's concerns."""
    return tuple(
        SettingShown(name=name, value=_plain(value), origin=origins.get(name, "default"))
        for name, value in _fields(settings)
    )


def print_json(shown: tuple[SettingShown, ...], stream: TextIO) -> None:
    """Print one JSON object: name → value and origin."""
    by_name = {setting.name: {"value": setting.value, "origin": setting.origin} for setting in shown}
    stream.write(json.dumps(by_name, indent=2, ensure_ascii=False) + "\n")


def print_table(shown: tuple[SettingShown, ...], stream: TextIO) -> None:
    """Print a table."""
    rows = ((setting.name, _words(setting.value), setting.origin) for setting in shown)
    print_lines([table(("SETTING", "VALUE", "FROM"), rows)], stream)


def _fields(settings: Settings) -> Iterator[tuple[str, object]]:
    for concern in attrs.fields(Settings):
        values = getattr(settings, concern.name)
        yield from ((field.name, getattr(values, field.name)) for field in attrs.fields(type(values)))


def _plain(value: object) -> Plain:
    match value:
        case None | bool() | int() | float() | str():
            return value
        case tuple():
            return [str(item) for item in value]
        case Path():
            return str(value)
        case _:
            raise TypeError(f"a setting of {type(value)} has no plain form")


def _words(value: Plain) -> str:
    match value:
        case None:
            return "not set"
        case bool():
            return "yes" if value else "no"
        case list():
            return ", ".join(value) or "none"
        case _:
            return str(value)
