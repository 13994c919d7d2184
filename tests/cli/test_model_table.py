from __future__ import annotations

import io
import json
from pathlib import Path

from pensieve_cli.model_table import findings, print_table, run
from pensieve_cli.printing import print_json
from pensieve_cli.settings import ModelSettings, Settings
from pensieve_registry import FolderSource, LocalCatalog
from pensieve_registry.testing import write_chat_model


def _catalog(folder: Path) -> LocalCatalog:
    write_chat_model(folder / "tiny.gguf")
    write_chat_model(folder / "other.gguf")
    (folder / "broken.gguf").write_bytes(b"GGUF and nothing more")
    return LocalCatalog([FolderSource(folder)], default="other")


def test_the_table_has_a_row_for_each_model_the_default_first_and_says_what_is_left_out(tmp_path: Path) -> None:
    stream = io.StringIO()
    print_table(findings(_catalog(tmp_path)), stream)
    head, first, second, left_out = stream.getvalue().splitlines()
    assert head.split() == ["MODEL", "SIZE", "QUANT", "CONTEXT", "SOURCE"]
    assert first.startswith("other (default)")
    assert second.startswith("tiny ")
    assert "models folder" in second
    assert left_out.startswith(f"left out {tmp_path / 'broken.gguf'}: ")


def test_the_json_is_one_object_with_paths_and_plain_numbers(tmp_path: Path) -> None:
    stream = io.StringIO()
    print_json(findings(_catalog(tmp_path)), stream)
    found = json.loads(stream.getvalue())
    assert [(model["id"], model["default"]) for model in found["models"]] == [("other", True), ("tiny", False)]
    assert found["models"][0]["path"] == str(tmp_path / "other.gguf")
    assert found["models"][0]["size_bytes"] == (tmp_path / "other.gguf").stat().st_size
    assert found["problems"][0]["path"] == str(tmp_path / "broken.gguf")


def test_aliases_have_a_column_when_there_are_any(tmp_path: Path) -> None:
    stream = io.StringIO()
    found = findings(_catalog(tmp_path), {"small": "tiny", "little": "tiny", "lost": "gone"})
    print_table(found, stream)
    head, first, second, _ = stream.getvalue().splitlines()
    assert head.split()[-1] == "ALIASES"
    assert second.endswith("little, small")
    assert first.rstrip().endswith("models folder")
    assert found.models[1].aliases == ("little", "small")


def test_no_models_are_told_with_what_to_do(tmp_path: Path) -> None:
    stream = io.StringIO()
    print_table(findings(LocalCatalog([FolderSource(tmp_path)])), stream)
    assert "No model was found" in stream.getvalue()
    assert "--model FILE" in stream.getvalue()


def test_the_command_looks_where_the_settings_say(tmp_path: Path) -> None:
    write_chat_model(tmp_path / "mine" / "tiny.gguf")
    stream = io.StringIO()
    settings = Settings(model=ModelSettings(models_folder=tmp_path / "mine"))
    assert run(settings, stream, as_json=True) == 0
    assert "tiny" in [model["id"] for model in json.loads(stream.getvalue())["models"]]


def test_a_folder_that_somebody_named_and_that_is_not_there_is_told() -> None:
    told, usual, for_programs = io.StringIO(), io.StringIO(), io.StringIO()
    named = Settings(model=ModelSettings(models_folder=Path("nowhere")))
    run(named, told, as_json=False)
    assert "There is no folder nowhere" in told.getvalue()
    run(Settings(), usual, as_json=False)
    assert "There is no folder" not in usual.getvalue()
    run(named, for_programs, as_json=True)
    json.loads(for_programs.getvalue())
