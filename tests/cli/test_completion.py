"""`pensieve-server completion`: what shells do with it, as far as they are installed here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pensieve_cli.aliases import AliasFile
from pensieve_cli.command_line import known_words
from pensieve_registry.testing import write_chat_model

_Run = Callable[..., subprocess.CompletedProcess[str]]
_CHECKS = {"bash": ("bash", "-n"), "zsh": ("zsh", "-n"), "fish": ("fish", "--no-execute")}


@pytest.mark.parametrize("shell", sorted(_CHECKS))
def test_every_shell_gets_all_words_in_its_own_syntax(shell: str, run_command: _Run, tmp_path: Path) -> None:
    done = run_command("completion", shell)
    assert (done.returncode, done.stderr) == (0, "")
    assert [word for word in known_words() if word not in done.stdout] == []
    if shutil.which(shell):
        (tmp_path / "script").write_text(done.stdout)
        subprocess.run([*_CHECKS[shell], tmp_path / "script"], check=True, timeout=60)


_needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")


@pytest.fixture
def complete(run_command: _Run, tmp_path: Path) -> Callable[[str], set[str]]:
    """Let a real bash complete the end of a line, and return what it offers. It says nothing else."""
    script = tmp_path / "script"
    script.write_text(run_command("completion", "bash").stdout)

    def completed(line: str) -> set[str]:
        program = (
            f"source {script}; COMP_WORDS=({line}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); "
            'COMP_LINE="${COMP_WORDS[*]}"; COMP_POINT=${#COMP_LINE}; '
            "function=$(complete -p pensieve-server | sed 's/.*-F \\([^ ]*\\).*/\\1/'); "
            '$function pensieve-server "${COMP_WORDS[COMP_CWORD]}" ""; printf "%s\\n" "${COMPREPLY[@]}"'
        )
        path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
        done = subprocess.run(
            ["bash", "-c", program],
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert done.stderr == ""
        return set(done.stdout.split())

    return completed


@_needs_bash
@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("pensieve-server sho", {"show"}),
        ("pensieve-server show --js", {"--json"}),
        ("pensieve-server cache cl", {"clear"}),
        ("pensieve-server serve --kv-type q", {"q8_0"}),
    ],
)
def test_bash_completes(typed: str, completed: set[str], complete: Callable[[str], set[str]]) -> None:
    assert complete(typed) == completed


@_needs_bash
@pytest.mark.parametrize("before", ["run", "show", "load", "unload", "bench", "rm other", "alias new", "ps --model"])
def test_bash_completes_the_names_of_models(before: str, complete: Callable[[str], set[str]], own_world: Path) -> None:
    write_chat_model(own_world / "models" / "tiny.gguf")
    AliasFile().write({"tinier": "tiny"})
    assert complete(f"pensieve-server {before} tin") == {"tiny", "tinier"}


@_needs_bash
def test_bash_completes_the_names_of_the_catalog_where_one_is_fetched(complete: Callable[[str], set[str]]) -> None:
    assert complete("pensieve-server pull gpt-oss-2") == {"gpt-oss-20b"}


@_needs_bash
def test_what_follows_the_model_is_text(complete: Callable[[str], set[str]], own_world: Path) -> None:
    write_chat_model(own_world / "models" / "tiny.gguf")
    assert complete("pensieve-server run tiny tin") == set()


def test_an_unknown_shell_is_told_which_there_are(run_command: _Run) -> None:
    done = run_command("completion", "tcsh")
    assert done.returncode == 2
    assert "bash" in done.stderr
