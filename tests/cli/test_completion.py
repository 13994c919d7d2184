"""`pensieve-server completion`: what shells do with it, as far as they are installed here."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pensieve_cli.command_line import known_words

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


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("pensieve-server sho", {"show"}),
        ("pensieve-server show --js", {"--json"}),
        ("pensieve-server cache cl", {"clear"}),
        ("pensieve-server serve --kv-type q", {"q8_0"}),
    ],
)
def test_bash_completes(typed: str, completed: set[str], run_command: _Run, tmp_path: Path) -> None:
    (tmp_path / "script").write_text(run_command("completion", "bash").stdout)
    program = (
        f"source {tmp_path / 'script'}; COMP_WORDS=({typed}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); "
        'COMP_LINE="${COMP_WORDS[*]}"; COMP_POINT=${#COMP_LINE}; '
        "function=$(complete -p pensieve-server | sed 's/.*-F \\([^ ]*\\).*/\\1/'); "
        '$function pensieve-server "${COMP_WORDS[COMP_CWORD]}" ""; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert set(done.stdout.split()) == completed


def test_an_unknown_shell_is_told_which_there_are(run_command: _Run) -> None:
    done = run_command("completion", "tcsh")
    assert done.returncode == 2
    assert "bash" in done.stderr
