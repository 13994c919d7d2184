"""Exit codes and error lines; the commands themselves are tested where they live."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pensieve_cli.exit_codes import ExitCode
from pensieve_cli.main import main
from pensieve_registry.testing import write_chat_model


def test_version_is_told_by_word_and_by_flag(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == 0
    assert main(["--version"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == second
    assert first.startswith("pensieve-server ")


def test_arguments_are_those_of_the_process_by_default(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["pensieve-server", "version"])
    assert main() == 0
    assert "pensieve-server" in capsys.readouterr().out


def test_models_and_settings_print_json(own_world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_chat_model(own_world / "models" / "mine.gguf")
    assert main(["models", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["models"][0]["id"] == "mine"
    assert main(["settings", "--json", "--port", "1234"]) == 0
    assert json.loads(capsys.readouterr().out)["port"] == {"value": 1234, "origin": "flag"}


def test_broken_files_are_told_in_the_table_and_not_in_the_log(
    own_world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (own_world / "models").mkdir()
    (own_world / "models" / "torn.gguf").write_bytes(b"GGUF")
    assert main(["models"]) == 0
    printed = capsys.readouterr()
    assert "torn.gguf" in printed.out
    assert printed.err == ""


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--prot", "1"], ExitCode.USAGE, "--prot"),
        (["sevre"], ExitCode.USAGE, "sevre"),
        (["--model", "nobody"], ExitCode.NOT_FOUND, "nobody"),
        (["--model", "missing.gguf"], ExitCode.NOT_FOUND, "missing.gguf"),
        (["--engine", "onnx"], ExitCode.USAGE, "onnx"),
        (["--api-key-file", "missing"], ExitCode.USAGE, "missing"),
        (["--host", "0.0.0.0"], ExitCode.USAGE, "key"),
    ],
)
def test_an_error_is_one_line_and_an_exit_code(
    arguments: list[str], code: ExitCode, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    line, *more = (line for line in printed.err.splitlines() if not line.startswith("{"))  # without log records
    assert line.startswith("pensieve-server: ")
    assert told in line
    assert more == (["pensieve-server --help shows what there is."] if code is ExitCode.USAGE else [])


def test_a_traceback_is_shown_only_to_those_who_debug(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--model", "nobody"]) == ExitCode.NOT_FOUND
    assert "Traceback" not in capsys.readouterr().err
    assert main(["--model", "nobody", "--log-level", "debug"]) == ExitCode.NOT_FOUND
    assert "Traceback" in capsys.readouterr().err


@pytest.fixture
def scripted_here(
    scripted_engine: tuple[tuple[str, ...], dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> tuple[str, ...]:
    """Return arguments with which this process finds the scripted engine."""
    arguments, variables = scripted_engine
    for folder in variables["PYTHONPATH"].split(":"):
        monkeypatch.syspath_prepend(folder)
    return arguments


def test_a_bug_is_one_line_too(
    scripted_here: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CLI_SCRIPT", "bug")
    assert main(scripted_here) == ExitCode.FAILURE
    assert "unexpected ZeroDivisionError" in capsys.readouterr().err


def test_ctrl_c_before_the_server_runs_is_no_error_message(
    scripted_here: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CLI_SCRIPT", "interrupted")
    assert main(scripted_here) == ExitCode.INTERRUPTED
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("words", [["list"], ["list", "--json"], ["settings"], ["completion", "bash"]])
def test_a_reader_who_leaves_ends_a_command_without_a_word(words: list[str], environment: dict[str, str]) -> None:
    """`pensieve-server … | true`."""
    reader, writer = os.pipe()
    os.close(reader)
    program = Path(sys.executable).with_name("pensieve-server")
    try:
        done = subprocess.run(
            [program, *words], env=environment, stdout=writer, stderr=subprocess.PIPE, timeout=60, check=False
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (ExitCode.FAILURE, b"")
