from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pensieve_cli.settings import AccessSettings, ModelSettings, Secret, Settings
from pensieve_cli.settings_table import run, shown_settings

_SETTINGS = Settings(
    access=AccessSettings(api_key=(Secret("sk-hidden"),), api_key_file=Path("keys"), unsafe_no_key=True),
    model=ModelSettings(models_folder=Path("/models")),
)
_ORIGINS = {"api_key": "PENSIEVE_API_KEY", "models_folder": "/home/me/pensieve.toml", "api_key_file": "flag"}


def _printed(*, as_json: bool) -> str:
    stream = io.StringIO()
    assert run(_SETTINGS, _ORIGINS, stream, as_json=as_json) == 0
    return stream.getvalue()


def test_every_setting_is_shown_with_its_origin() -> None:
    rows = {line.split()[0]: line.split()[1:] for line in _printed(as_json=False).splitlines()}
    assert rows["models_folder"] == ["/models", "/home/me/pensieve.toml"]
    assert rows["port"] == ["8000", "default"]
    assert rows["unsafe_no_key"] == ["yes", "default"]
    assert rows["allow_host"] == ["none", "default"]
    assert rows["ctx"] == ["not", "set", "default"]


def test_json_has_name_value_and_origin(check_json: Callable[[str, str], Any]) -> None:
    shown = check_json("settings", _printed(as_json=True))
    assert shown["models_folder"] == {"value": "/models", "origin": "/home/me/pensieve.toml"}
    assert shown["port"] == {"value": 8000, "origin": "default"}
    assert shown["ctx"] == {"value": None, "origin": "default"}


@pytest.mark.parametrize("as_json", [True, False])
def test_secrets_stay_masked(*, as_json: bool) -> None:
    printed = _printed(as_json=as_json)
    assert "sk-hidden" not in printed
    assert "********" in printed
    assert "PENSIEVE_API_KEY" in printed


def test_names_are_unique_for_they_are_flags() -> None:
    names = [setting.name for setting in shown_settings(Settings(), {})]
    assert len(names) == len(set(names))
