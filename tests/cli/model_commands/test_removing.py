"""`pensieve-server rm`, from words to files."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from pensieve_cli.command_line import parse
from pensieve_cli.errors import CommandError
from pensieve_cli.exit_codes import ExitCode
from pensieve_cli.main import main
from pensieve_cli.model_commands.commands import RemoveModels
from pensieve_cli.model_commands.removing import run
from pensieve_cli.terminal import Terminal
from pensieve_registry.testing import write_chat_model

CheckJson = Callable[[str, str], Any]
_NOWHERE = ("--port", "1")
"""No server listens there."""
_MATRIX = "blk.0.attn_q.weight"


class _Keyboard(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def models(own_world: Path) -> Path:
    for name in ("tiny", "tiny-two", "other"):
        write_chat_model(own_world / "models" / f"{name}.gguf")
    return own_world / "models"


def _left(models: Path) -> set[str]:
    return {path.stem for path in models.glob("*.gguf")}


def _write_poet(models: Path) -> None:
    """Write a LoRA adapter of `other`."""
    lora: dict[str, Any] = {"general.type": "adapter", "adapter.type": "lora", "adapter.lora.alpha": 16.0}
    shapes = {f"{_MATRIX}.lora_a": (32, 4), f"{_MATRIX}.lora_b": (4, 8)}
    write_chat_model(models / "other.gguf", shapes={_MATRIX: (32, 8)})
    write_chat_model(models / "poet.gguf", {**lora, "general.base_model.0.name": "other"}, shapes=shapes)


def _answered(answer: str, *words: str) -> str:
    command = parse(["rm", *words, *_NOWHERE], files=())
    assert isinstance(command, RemoveModels)
    terminal = Terminal(answers=_Keyboard(answer), output=io.StringIO())
    assert run(command, terminal) is ExitCode.OK
    return str(terminal.output.getvalue())  # type: ignore[attr-defined] # a StringIO


def test_a_person_is_asked_with_every_path(models: Path) -> None:
    printed = _answered("y\n", "tiny", "other")
    assert str(models.relative_to(models.parent) / "tiny.gguf") in printed
    assert "Remove 2 models (0 MB)? [y/N] " in printed
    assert "Removed tiny (0 MB)." in printed
    assert _left(models) == {"tiny-two"}


def test_a_no_leaves_everything(models: Path) -> None:
    with pytest.raises(CommandError, match="nothing was removed"):
        _answered("n\n", "tiny")
    assert _left(models) == {"tiny", "tiny-two", "other"}


def test_a_script_says_yes_and_reads_json(
    models: Path, capsys: pytest.CaptureFixture[str], check_json: CheckJson
) -> None:
    size = (models / "tiny.gguf").stat().st_size
    assert main(["rm", "Tiny", "--yes", "--json", *_NOWHERE]) == 0
    removed = check_json("rm", capsys.readouterr().out)["removed"]
    assert removed == [{"model": "tiny", "paths": ["models/tiny.gguf"], "freed_bytes": size}]
    assert _left(models) == {"tiny-two", "other"}


def test_without_anybody_to_ask_nothing_goes(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rm", "tiny", *_NOWHERE]) == ExitCode.USAGE
    assert "rm --yes" in capsys.readouterr().err
    assert "tiny" in _left(models)


@pytest.mark.parametrize("name", ["tiny-t", "claude", "claude-opus-4-8", "default", "oth"])
def test_only_a_whole_name_removes_anything(name: str, models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Everywhere else the beginning of an id will do, and any claude-… means the default model."""
    assert main(["rm", name, "--yes", *_NOWHERE]) == ExitCode.NOT_FOUND
    assert "whole name" in capsys.readouterr().err
    assert _left(models) == {"tiny", "tiny-two", "other"}


def test_an_alias_and_a_path_are_whole_names(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["alias", "small", "tiny"]) == 0
    assert main(["rm", "small", "models/other.gguf", "--yes", *_NOWHERE]) == 0
    assert _left(models) == {"tiny-two"}
    assert main(["rm", "tiny-two", "nobody", "--yes", *_NOWHERE]) == ExitCode.NOT_FOUND
    assert _left(models) == {"tiny-two"}, "all are found before one is removed"


def test_a_repository_of_the_hub_is_a_whole_name(own_world: Path) -> None:
    repository = Path(os.environ["HF_HUB_CACHE"]) / "models--o--n"
    write_chat_model(repository / "snapshots" / "abc" / "small.gguf")
    assert main(["rm", "o/n", "--yes", *_NOWHERE]) == 0
    assert not repository.exists()


@pytest.mark.parametrize("name", ["claude/opus", "anthropic/n", "anthropic claude/n"])
def test_a_repository_that_is_not_here_is_no_name_of_the_default_model(name: str) -> None:
    """In a request any anthropic… means that."""
    file = Path(os.environ["HF_HUB_CACHE"]) / "models--o--n" / "snapshots" / "abc" / "small.gguf"
    write_chat_model(file)
    assert main(["rm", name, "--yes", *_NOWHERE]) == ExitCode.NOT_FOUND
    assert file.exists()


@pytest.mark.parametrize("name", ["o/n", "o/n:Q4_K_M", "o/n:big-Q4_K_M.gguf", "here/models", "models/o", "n/sub"])
def test_folders_that_a_path_happens_to_have_remove_nothing(name: str, own_world: Path) -> None:
    """In a request `models/o/n` may stand for a repository; what is deleted is named by its id, file or cache."""
    files = {own_world / "models" / place for place in ("loose.gguf", "o/n/big-Q4_K_M.gguf", "o/n/sub/c.gguf")}
    for file in files:
        write_chat_model(file)
    assert main(["rm", name, "--yes", *_NOWHERE]) == ExitCode.NOT_FOUND
    assert all(file.exists() for file in files)


def test_a_file_in_folders_like_a_repositorys_is_named_by_its_id(
    own_world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_chat_model(own_world / "models" / "o" / "n" / "big-Q4_K_M.gguf")
    assert main(["rm", "o/n", "--yes", *_NOWHERE]) == ExitCode.NOT_FOUND
    assert "o/n is not the whole name of a model; is it big-q4_k_m?" in capsys.readouterr().err
    assert main(["rm", "big-q4_k_m", "--yes", *_NOWHERE]) == 0
    assert not file.exists()


@pytest.mark.parametrize("name", ["other+poet", "other+poet:0.5", "bard"])
def test_a_model_with_an_adapter_is_no_files_of_its_own(
    name: str, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its file is that of the bare model, which others are made of, too."""
    _write_poet(models)
    assert main(["alias", "bard", "other+poet"]) == 0
    assert main(["rm", name, "--yes", *_NOWHERE]) == ExitCode.REFUSED
    assert f"delete {Path('models/poet.gguf')} yourself" in capsys.readouterr().err
    assert _left(models) == {"tiny", "tiny-two", "other", "poet"}


def test_a_model_that_a_server_has_loaded_with_an_adapter_is_refused(
    models: Path, start_server: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    _write_poet(models)
    port = start_server().url.rpartition(":")[2]
    assert main(["load", "other+poet", "--port", port]) == 0
    assert main(["rm", "other", "--yes", "--port", port]) == ExitCode.REFUSED
    assert "has loaded other+poet" in capsys.readouterr().err


def test_a_file_elsewhere_is_the_users_own(model_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rm", str(model_file), "--yes", *_NOWHERE]) == ExitCode.REFUSED
    assert f"delete {model_file} yourself" in capsys.readouterr().err
    assert model_file.exists()


def test_a_projector_goes_with_the_last_model_that_uses_it(own_world: Path) -> None:
    folder = own_world / "models"
    width = {"llama.embedding_length": 64}
    eyes: dict[str, bool | int | float | str | Sequence[str]] = {
        "general.type": "mmproj",
        "general.architecture": "clip",
        "clip.has_vision_encoder": True,
        "clip.vision.projection_dim": 64,
    }
    for quantization in ("Q4_0", "Q8_0"):
        write_chat_model(folder / f"seer-{quantization}.gguf", width)
    write_chat_model(folder / "mmproj-seer-f16.gguf", eyes)
    assert main(["rm", "seer-q4_0", "--yes", *_NOWHERE]) == 0
    assert {path.name for path in folder.iterdir()} == {"seer-Q8_0.gguf", "mmproj-seer-f16.gguf"}
    assert main(["rm", "seer-q8_0", "--yes", *_NOWHERE]) == 0
    assert list(folder.iterdir()) == []


def test_a_model_that_a_server_has_loaded_is_refused_unless_told(
    models: Path, start_server: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    port = start_server().url.rpartition(":")[2]
    assert main(["load", "tiny", "--port", port]) == 0
    assert main(["rm", "tiny", "--yes", "--port", port]) == ExitCode.REFUSED
    assert "has loaded tiny" in capsys.readouterr().err
    assert main(["rm", "other", "--yes", "--port", port]) == 0
    assert main(["rm", "tiny", "--yes", "--force", "--port", port]) == 0
    assert _left(models) == {"tiny-two"}


def test_a_server_that_cannot_be_asked_is_told_with_the_way_round(
    models: Path, start_server: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    port = start_server("--api-key", "sk-other").url.rpartition(":")[2]
    assert main(["rm", "tiny", "--yes", "--port", port]) == ExitCode.USAGE
    assert "--force" in capsys.readouterr().err


def test_no_names_are_no_wildcard(models: Path) -> None:
    assert main(["rm", "--yes"]) == ExitCode.USAGE
    assert len(_left(models)) == 3
