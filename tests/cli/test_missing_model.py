"""What is said of a model that is not here, by every command that names one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from pensieve_cli.exit_codes import ExitCode
from pensieve_cli.main import main
from pensieve_cli.missing_model import explained, how_to_fetch
from pensieve_core import ModelNotFoundError
from pensieve_registry.testing import write_chat_model

RunCommand = Callable[..., subprocess.CompletedProcess[str]]
_FETCHES = "pensieve-server pull Owner/Small-GGUF:Q5_K_M fetches it"


@pytest.fixture
def fetched(own_world: Path) -> None:
    """A repository in the hub's cache, of which two quantisations were fetched."""
    snapshot = Path(os.environ["HF_HUB_CACHE"]) / "models--Owner--Small-GGUF" / "snapshots" / "abc"
    for quantization in ("Q4_K_M", "Q8_0"):
        write_chat_model(snapshot / f"Small-{quantization}.gguf")


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("Owner/Small-GGUF:q5_k_m", f"; {_FETCHES}"),
        ("https://huggingface.co/Owner/Small-GGUF", "; pensieve-server pull Owner/Small-GGUF fetches it"),
        ("GPT-oss-20b", "; pensieve-server pull GPT-oss-20b fetches it"),
        ("nobody", ""),
        ("./nobody.gguf", ""),
        ("no reference", ""),
    ],
)
def test_what_can_be_fetched_is_told_with_the_command(name: str, advice: str) -> None:
    assert how_to_fetch(name) == advice


@pytest.mark.parametrize("words", [["show"], ["bench"], ["run"], ["serve", "--model"], ["rm", "--yes"], ["alias", "a"]])
def test_every_command_says_how_a_model_that_is_not_here_is_fetched(
    words: list[str], fetched: None, run_command: RunCommand
) -> None:
    done = run_command(*words, "Owner/Small-GGUF:Q5_K_M", PENSIEVE_PORT="1")
    assert done.returncode == ExitCode.NOT_FOUND
    assert _FETCHES in done.stderr


def test_where_there_is_no_model_at_all_it_is_told_how_to_get_one() -> None:
    assert "pull fetches one that suits this machine" in explained(ModelNotFoundError("nobody", ()))
    assert "pull" not in explained(ModelNotFoundError("nobody", ("tiny",)))


def test_a_file_that_cannot_be_served_is_told_once_and_under_its_own_name(run_command: RunCommand) -> None:
    done = run_command("show", "./nobody.gguf")
    assert done.returncode == ExitCode.NOT_FOUND
    assert done.stderr == "pensieve-server: ./nobody.gguf cannot be read: No such file or directory\n"
    assert run_command("serve", "--model", "./nobody.gguf").stderr == done.stderr


def test_a_repository_of_which_several_are_here_is_no_case_for_fetching(
    fetched: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", "Owner/Small-GGUF"]) == ExitCode.NOT_FOUND
    said = capsys.readouterr().err
    assert "means several: small-q4_k_m, small-q8_0" in said
    assert "pull" not in said


def test_a_server_is_named_its_models_as_pull_is(
    start_server: Callable[..., Any], fetched: None, capsys: pytest.CaptureFixture[str], run_command: RunCommand
) -> None:
    server = start_server()
    port = ("--port", server.url.rpartition(":")[2])
    assert main(["load", "Owner/Small-GGUF:Q8_0", *port]) == 0
    assert "small-q8_0 is ready" in capsys.readouterr().out
    answered = run_command("run", "Owner/Small-GGUF:Q4_K_M", "Hello!", "--max-tokens", "10", *port)
    assert (answered.returncode, answered.stdout) == (0, "0 1 2 3 \n")
    assert main(["unload", "small:Q8_0", *port]) == 0
    body = {"model": "Owner/Small-GGUF:Q8_0", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello!"}]}
    assert httpx2.post(f"{server.url}/v1/messages", json=body, timeout=60).status_code == httpx2.codes.OK


@pytest.mark.parametrize("words", [["load"], ["run"], ["run", "Hello!", "--model"]])
def test_what_a_server_does_not_have_is_fetched_the_same_way(
    words: list[str], start_server: Callable[..., Any], fetched: None, run_command: RunCommand
) -> None:
    done = run_command(*words, "Owner/Small-GGUF:Q5_K_M", "--port", start_server().url.rpartition(":")[2])
    assert done.returncode == ExitCode.NOT_FOUND
    assert _FETCHES in done.stderr
