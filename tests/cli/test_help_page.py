"""The pages are written by hand; here they are held against what can really be said."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest
from cyclopts import App

from pensieve_cli.command_line import known_words
from pensieve_cli.help_page import HELP_PAGES, OVERVIEW, help_page
from pensieve_cli.settings import Settings

_PROGRAM = Path(sys.executable).with_name("pensieve-server")
_OF_MAIN = {"statusline"}
"""Commands that never reach the parser."""
_RUNS, _BOUND_S = 5, 0.2
_BARE = 10
"""Where Python alone takes 20 ms or more, the machine is slow: it may take so many times that."""


def _settings() -> dict[str, object]:
    concerns = [getattr(Settings(), concern.name) for concern in attrs.fields(Settings)]
    return {
        f"--{field.name.replace('_', '-')}": getattr(concern, field.name)
        for concern in concerns
        for field in attrs.fields(type(concern))
    }


def _flags(app: App) -> Iterator[str]:
    """Yield the flags of a command and of those below it, without the settings'."""
    for name in app:
        yield from _flags(app[name])
    if app.default_command is not None:
        names = (name for argument in app.assemble_argument_collection() for name in argument.names)
        yield from (name for name in names if name.startswith("--") and name not in _settings())


def test_there_is_a_page_for_every_command() -> None:
    assert set(known_words()) | _OF_MAIN == set(HELP_PAGES)


@pytest.mark.parametrize("word", sorted(known_words()))
def test_a_page_has_every_flag_of_its_command_and_no_other(word: str) -> None:
    told = set(re.findall(r"--[a-z][a-z-]+", HELP_PAGES[word]))
    own = set(_flags(known_words()[word])) - {"--help"}
    assert own <= told
    assert told - own <= {*_settings(), "--help"}


def test_the_page_of_serving_has_every_setting() -> None:
    assert set(re.findall(r"  (--[a-z-]+)", HELP_PAGES["serve"])) == set(_settings())


def test_the_page_of_serving_tells_the_true_defaults() -> None:
    told = re.findall(r"(--[a-z-]+) (?:(?!--)[^[])*\[([^]]+)\]", HELP_PAGES["serve"].partition("Model")[2])
    assert len(told) > 9
    for flag, default in told:
        value = _settings()[flag]
        assert default == ("fitted" if value is None else str(value).removesuffix(".0"))


@pytest.mark.parametrize("page", [OVERVIEW, *HELP_PAGES.values()])
def test_a_page_fits_on_a_screen(page: str) -> None:
    lines = page.splitlines()
    assert max(map(len, lines)) <= 100
    assert len(lines) <= 24


def test_the_overview_fits_on_the_narrowest_screen_and_names_every_command() -> None:
    assert max(map(len, OVERVIEW.splitlines())) <= 80
    words = set(re.findall(r"[a-z]+", OVERVIEW))
    assert set(HELP_PAGES) - _OF_MAIN <= words


def test_help_is_found_wherever_it_is_asked_for(run_command: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    for arguments in (["--help"], ["-h"], ["models", "--help"], ["cache", "size", "-h"], ["statusline", "--help"]):
        done = run_command(*arguments)
        assert (done.returncode, done.stdout) == (0, help_page(arguments))
    assert help_page(["--port", "1"]) == OVERVIEW


def test_help_imports_none_of_the_heavy_libraries() -> None:
    program = (
        "import sys; from pensieve_cli.main import main\n"
        f"for word in ['', *{sorted(HELP_PAGES)}]: assert main([word, '--help'] if word else ['--help']) == 0\n"
        "print(*(name for name in sys.modules if '.' not in name), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    imported = set(done.stderr.split())
    assert "pensieve_cli" in imported
    light = {"attrs", "cyclopts", "rich", "hypercorn", "starlette", "structlog", "huggingface_hub"}
    assert not imported & {*light, "llama_cpp", "asyncio", "numpy", "psutil", "pensieve_registry"}


@pytest.mark.parametrize("word", ["", *sorted(HELP_PAGES)])
def test_help_answers_in_less_than_200_ms(word: str) -> None:
    """Ours. What it computes, not what passes, for others may compute, too."""
    words = [word, "--help"] if word else ["--help"]
    bound_s = max(_BOUND_S, _BARE * _computed_s([sys.executable, "-c", ""]))
    assert _computed_s([str(_PROGRAM), *words]) < bound_s


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
