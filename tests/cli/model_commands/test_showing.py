"""`pensieve-server show`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest

from pensieve_cli.main import main
from pensieve_cli.model_commands.showing import describe
from pensieve_cli.settings import EngineSettings, Settings
from pensieve_core import DraftModel, LoraAdapter, ModelId
from pensieve_gguf.fit import Memory
from pensieve_registry import FileSource, LocalCatalog
from pensieve_registry.testing import write_chat_model

CheckJson = Callable[[str, str], Any]

_METADATA: dict[str, bool | int | float | str | Sequence[str]] = {
    "general.name": "Tiny [Chat]",
    "general.license": "apache-2.0",
    "general.file_type": 15,
    "llama.block_count": 4,
    "llama.embedding_length": 64,
    "llama.attention.head_count": 8,
    "llama.attention.head_count_kv": 2,
    "tokenizer.chat_template": "{% for tool in tools %}<think>{% endfor %}",
}


def _models(folder: Path) -> Path:
    write_chat_model(folder / "models" / "tiny.gguf", _METADATA)
    write_chat_model(folder / "models" / "other.gguf")
    return folder


def test_a_model_is_told_in_human_terms(own_world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _models(own_world)
    assert main(["show", "tiny"]) == 0
    printed = capsys.readouterr().out
    for told in (
        "Tiny [Chat]",
        "Q4_K_M",
        "2,048 tokens",
        "apache-2.0",
        "in the manner of hermes",
        "models folder",
        "4 of width 64",
        "tools, reasoning; ",
        "fit",
    ):
        assert told in printed
    assert printed.index("architecture") < printed.index("parameters") < printed.index("quantisation")
    assert f"weights  0 MB  {Path('models') / 'tiny.gguf'}" in " ".join(printed.split("\n")[-2].split(" "))


def test_the_json_holds_the_facts(own_world: Path, capsys: pytest.CaptureFixture[str], check_json: CheckJson) -> None:
    _models(own_world)
    assert main(["show", "tiny", "--json", "--ctx", "512"]) == 0
    shown = check_json("show", capsys.readouterr().out)
    assert (shown["id"], shown["default"], shown["license"]) == ("tiny", True, "apache-2.0")
    assert (shown["tools"], shown["thinking"], shown["images"]) == (True, True, False)
    assert {"label": "layers", "text": "4 of width 64"} in shown["details"]
    assert shown["fit"]["context_tokens"] == 512
    assert shown["fit"]["fits"] is True
    assert "512 cells (0 KiB a token, f16)" in shown["fit"]["note"], (
        "4 layers, 2 heads, 8 + 8 numbers of 2 bytes: 512 bytes"
    )


def test_without_a_name_it_is_the_default_model(own_world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _models(own_world)
    for words, default in ((["show"], True), (["show", "tiny"], True), (["show", "other"], False)):
        assert main([*words, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["default"] is default


def test_a_file_is_shown_wherever_it_lies(model_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(model_file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["files"] == [
        {"role": "weights", "path": str(model_file), "size_bytes": model_file.stat().st_size}
    ]


def test_what_can_be_used_with_it_is_listed(tmp_path: Path) -> None:
    catalog = LocalCatalog([FileSource(write_chat_model(tmp_path / "tiny.gguf", _METADATA))])
    (tmp_path / "eyes").write_bytes(bytes(7))
    model = attrs.evolve(
        catalog.models()[0],
        projector=tmp_path / "eyes",
        adapters=(LoraAdapter(name="lora", path=tmp_path / "lora", size_bytes=5),),
        draft=DraftModel(id=ModelId("small"), path=tmp_path / "small", size_bytes=3, parameters=1),
    )
    shown = describe(model, Settings(), {}, Memory(ram=1 << 33))
    assert [(file.role, file.size_bytes) for file in shown.files[1:]] == [
        ("projector", 7),
        ("adapter", 5),
        ("draft", 3),
    ]


def test_a_draft_model_is_a_part_of_how_it_fits(tmp_path: Path) -> None:
    path, small = (
        write_chat_model(tmp_path / "tiny.gguf", _METADATA),
        write_chat_model(tmp_path / "small.gguf", _METADATA),
    )
    (model,) = LocalCatalog([FileSource(path)], draft=str(small)).models()
    with_it, without = (
        describe(model, Settings(engine=EngineSettings(no_drafts=off)), {}, Memory(ram=1 << 33))
        for off in (False, True)
    )
    assert "draft model 0.06 GiB" in with_it.fit.note
    assert "draft model" not in without.fit.note
    small.write_bytes(b"gone bad")
    assert "draft model" not in describe(model, Settings(), {}, Memory(ram=1 << 33)).fit.note


def test_paths_are_whole_on_a_narrow_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    file = write_chat_model(tmp_path / ("deep" * 20) / "tiny.gguf")
    assert main(["show", str(file)]) == 0
    assert capsys.readouterr().out.splitlines()[-1].split() == ["weights", "0", "MB", str(file)]


def test_a_model_that_does_not_fit_is_told(tmp_path: Path) -> None:
    catalog = LocalCatalog([FileSource(write_chat_model(tmp_path / "tiny.gguf", _METADATA))])
    shown = describe(catalog.models()[0], Settings(), {}, Memory(ram=1_000))
    assert shown.fit.fits is False
    assert "smaller quantisation" in shown.fit.note
    asked = describe(
        catalog.models()[0], Settings(engine=EngineSettings(ctx=1_024, kv_type="q8_0")), {}, Memory(ram=1 << 33)
    )
    assert (asked.fit.kv_type, asked.fit.context_tokens, asked.fit.fits) == ("q8_0", 1_024, True)


def test_a_gpu_takes_layers(tmp_path: Path) -> None:
    catalog = LocalCatalog([FileSource(write_chat_model(tmp_path / "tiny.gguf", _METADATA))])
    shown = describe(catalog.models()[0], Settings(), {}, Memory(ram=1 << 33, gpu=1 << 33))
    assert (shown.fit.gpu_layers, shown.fit.fits) == (5, True)


def test_nobody_knows_it_is_an_exit_code_and_so_is_no_model_at_all(
    own_world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _models(own_world)
    assert main(["show", "nobody"]) == 3
    assert "available: " in capsys.readouterr().err
