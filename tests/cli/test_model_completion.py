"""What is offered where a model is to be named: the right kind of names, quickly, and never a word too many."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pensieve_cli.aliases import AliasFile
from pensieve_cli.command_line import parse
from pensieve_cli.main import main
from pensieve_cli.model_commands.commands import ListModels
from pensieve_cli.model_completion import Wanted, answer, wanted
from pensieve_registry import load_curated
from pensieve_registry.testing import write_chat_model

_PROGRAM = Path(sys.executable).with_name("pensieve-server")
_RUNS, _BOUND_S = 5, 0.2
_BARE = 22
"""Where Python alone takes more than 9 ms, the machine is slow, or busy: it may take so many times that."""


def _offered(*words: str) -> list[str]:
    output = io.StringIO()
    assert answer(words, output, os.environ) == 0
    begin, *names = output.getvalue().splitlines()
    assert begin == "\x1fbegin"
    return names


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (["run", "sm"], "model"),
        (["show", "--json", ""], "model"),
        (["rm", "one", ""], "model"),
        (["--model", "sm"], "model"),
        (["serve", "--model=sm"], "model"),
        (["serve", "--model", "=", "sm"], "model"),
        (["claude", "--pinned", ""], "model"),
        (["pull", "qw"], "catalog"),
        (["pull", "--model", ""], "model"),
        (["alias", ""], "nothing"),
        (["alias", "--json", "mine", ""], "model"),
        (["alias", "--remove", ""], "alias"),
        ([], "model"),
    ],
)
def test_each_place_has_its_kind_of_names(words: list[str], kind: Wanted) -> None:
    assert wanted(words) == kind


def test_models_and_aliases_of_this_machine_are_offered(own_world: Path) -> None:
    write_chat_model(own_world / "models" / "tiny.gguf")
    AliasFile().write({"small": "tiny"})
    assert {"tiny", "small"} <= set(_offered("run", ""))
    assert _offered("alias", "--remove", "") == ["small"]
    assert _offered("alias", "") == []


def test_of_the_hub_what_the_catalog_has_is_offered() -> None:
    assert _offered("pull", "") == [model.name for model in load_curated()]


@pytest.mark.parametrize(
    ("words", "variables", "file"),
    [
        ((), {}, ""),
        ((), {}, 'models-folder = "other"'),
        ((), {}, 'models_folder = "other"'),
        ((), {"PENSIEVE_MODELS_FOLDER": "other"}, 'models-folder = "models"'),
        (("--models-folder", "other"), {"PENSIEVE_MODELS_FOLDER": "models"}, ""),
        (("--models-folder=other",), {}, ""),
    ],
)
def test_the_folder_is_the_one_that_the_command_itself_would_look_in(
    words: tuple[str, ...], variables: dict[str, str], file: str, own_world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    (own_world / "pensieve.toml").write_text(file)
    command = parse(["list", *words])
    assert isinstance(command, ListModels)
    write_chat_model(command.settings.model.models_folder / "tiny.gguf")
    assert "tiny" in _offered("load", *words, "")


def test_what_a_shell_could_obey_is_not_offered(own_world: Path) -> None:
    """Files are written by hand, too: a name that would be a command stays where it is."""
    AliasFile().write({"good": "m", "$(reboot)": "m", "a b": "m", "`x`": "m"})
    assert _offered("alias", "--remove", "") == ["good"]


@pytest.mark.parametrize("name", ["pensieve.toml", "../config/pensieve/aliases.json"])
def test_a_file_that_cannot_be_read_offers_nothing_and_says_nothing(
    name: str, own_world: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = own_world / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("[")
    assert main(["__complete", "run", ""]) == 0
    assert capfd.readouterr() == ("\x1fbegin\n", "")


def test_a_name_is_offered_in_less_than_200_ms_and_without_the_heavy_libraries(
    run_command: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    """Ours. What it computes, not what passes, for others may compute, too."""
    program = (
        "import sys; from pensieve_cli.main import main\n"
        "for words in (['run', ''], ['pull', '']): assert main(['__complete', *words]) == 0\n"
        "print(*(name for name in sys.modules if '.' not in name), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert not set(done.stderr.split()) & {"cyclopts", "rich", "structlog", "pensieve_gguf", "pensieve_http"}
    bound_s = max(_BOUND_S, _BARE * _computed_s([sys.executable, "-c", ""]))
    assert _computed_s([str(_PROGRAM), "__complete", "run", ""]) < bound_s


def _computed_s(command: list[str]) -> float:
    """Return the least seconds of computation of several runs."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    return min(_used_s(command, plain) for _ in range(_RUNS))


def _used_s(command: list[str], variables: dict[str, str]) -> float:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=variables)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return used.ru_utime + used.ru_stime
