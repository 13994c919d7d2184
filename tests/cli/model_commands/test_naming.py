"""`pensieve-server alias`, and what names do elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pensieve_cli.main import main
from pensieve_registry.testing import write_chat_model

CheckJson = Callable[[str, str], Any]


@pytest.fixture
def two_models(own_world: Path) -> Path:
    write_chat_model(own_world / "models" / "tiny.gguf")
    write_chat_model(own_world / "models" / "other.gguf")
    return own_world


def test_an_alias_can_be_used_wherever_a_model_is_named(
    two_models: Path, capsys: pytest.CaptureFixture[str], check_json: CheckJson
) -> None:
    assert main(["alias", "Small", "tiny", "--json"]) == 0
    given = check_json("alias", capsys.readouterr().out)
    assert given["aliases"] == [{"alias": "small", "model": "tiny", "found": True}]
    assert main(["show", "small", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["id"] == "tiny"
    assert main(["list", "--model", "small", "--json"]) == 0
    assert check_json("list", capsys.readouterr().out)["models"][0]["aliases"] == ["small"]


def test_names_are_listed_those_too_whose_model_has_gone(two_models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["alias"]) == 0
    assert "alias NAME MODEL" in capsys.readouterr().out
    assert main(["alias", "small", "tiny"]) == 0
    assert "starts again" in capsys.readouterr().out
    (two_models / "models" / "tiny.gguf").unlink()
    assert main(["alias"]) == 0
    assert capsys.readouterr().out == "small → tiny  (no such model any more)\n"


def test_a_name_is_taken_away(two_models: Path, capsys: pytest.CaptureFixture[str], check_json: CheckJson) -> None:
    assert main(["alias", "small", "tiny"]) == 0
    capsys.readouterr()
    assert main(["alias", "--remove", "small", "--json"]) == 0
    assert check_json("alias", capsys.readouterr().out)["aliases"] == []


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["tiny", "other"], 2),
        (["small", "nobody"], 3),
        (["--remove", "small"], 3),
        (["o/n", "tiny"], 2),
        (["-", "o"], 2),
    ],
)
def test_what_cannot_be_done_is_an_exit_code(
    words: list[str], code: int, two_models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["alias", *words]) == code
    assert capsys.readouterr().out == ""
