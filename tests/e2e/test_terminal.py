"""The commands of the terminal on a real model: chats that keep their prefix, figures that are true, files that go."""

from __future__ import annotations

import io
import itertools
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pensieve_cli.command_line import parse
from pensieve_cli.exit_codes import ExitCode
from pensieve_cli.main import main
from pensieve_cli.model_commands.commands import Talk
from pensieve_cli.model_commands.talking import run
from pensieve_cli.terminal import Terminal

pytestmark = [pytest.mark.e2e, pytest.mark.model, pytest.mark.timeout(600)]

_KNOWN = re.compile(r"(\d+) of (\d+) known")
_TALK = ("--max-tokens", "24", "--system", "You answer in one short sentence.")
_NO_SERVER = ("--port", "1", "--ctx", "2048")


class _Keyboard(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ("CONFIG", "CACHE", "DATA"):
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(tmp_path / kind))
    monkeypatch.chdir(tmp_path)


def _known(*words: str) -> list[tuple[int, int]]:
    """Chat, and return for each answer how many tokens of the prompt were known, and of how many."""
    command = parse(["run", *words, *_TALK], files=())
    assert isinstance(command, Talk)
    told = io.StringIO()
    typed = _Keyboard("Name a colour.\nWhy that one?\nAnd another?\n")
    assert run(command, Terminal(answers=typed, output=io.StringIO()), told) is ExitCode.OK
    return [(int(known), int(total)) for known, total in _KNOWN.findall(told.getvalue())]


def _keeps_its_prefix(answers: list[tuple[int, int]]) -> bool:
    """Whether each prompt is computed from where the one before ended: all but a handful of its tokens were known."""
    return all(known >= before for (_, before), (known, _) in itertools.pairwise(answers))


def test_a_chat_with_an_engine_of_its_own_computes_only_what_is_new(starter_model: Path) -> None:
    answers = _known(str(starter_model), *_NO_SERVER)
    assert len(answers) == 3
    assert _keeps_its_prefix(answers)


def test_a_chat_with_a_server_computes_only_what_is_new(start_server: Callable[..., Any], starter_model: Path) -> None:
    port = start_server("--model", str(starter_model), "--ctx", "2048").url.rpartition(":")[2]
    answers = _known("--port", port)
    assert len(answers) == 3
    assert _keeps_its_prefix(answers)


def test_a_benchmark_measures_prompts_that_nobody_knew(starter_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--prompt-tokens", "200", "--answer-tokens", "16", "--rounds", "2", "--json", *_NO_SERVER)
    assert main(["bench", str(starter_model), *words]) == 0
    measured = json.loads(capsys.readouterr().out)
    for one in measured["rounds"]:
        assert one["prompt_tokens"] == pytest.approx(200, rel=0.1)
        assert one["cached_tokens"] < 40, "what the template puts before the prompt"
        assert one["generated_tokens"] == 16
        assert one["first_token_s"] >= one["prefill_s"] > 0
        assert one["decode_tokens_per_s"] > 0
    assert measured["peak_memory_bytes"] > measured["size_bytes"]
    assert not list(Path.cwd().rglob("*.anchor")), "nothing is kept"


def test_a_model_is_removed_once_its_server_has_let_it_go(
    start_server: Callable[..., Any], starter_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "models").mkdir()
    copied = Path(shutil.copy(starter_model, tmp_path / "models" / "mine.gguf"))
    settings = ("--models-folder", str(tmp_path / "models"))
    port = ("--port", start_server(*settings, "--model", "mine", "--ctx", "2048").url.rpartition(":")[2])
    assert main(["ps", "--json", *port]) == 0
    engine = next(one for one in json.loads(capsys.readouterr().out)["engines"] if one["model"] == "mine")
    assert (engine["model"], engine["state"]) == ("mine", "ready")
    assert engine["memory_bytes"] > copied.stat().st_size
    assert main(["load", "mine", "--pin", "--json", *port]) == 0
    assert json.loads(capsys.readouterr().out)["pinned"] is True
    assert main(["rm", "mine", "--yes", *settings, *port]) == ExitCode.REFUSED
    assert copied.exists()
    assert main(["unload", "mine", *port]) == 0
    assert main(["rm", "mine", "--yes", *settings, *port]) == 0
    assert not copied.exists()
