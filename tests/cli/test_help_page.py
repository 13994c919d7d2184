"""The page is written by hand; here it is held against what can really be set."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable

import attrs

from pensieve_cli.help_page import HELP_PAGE
from pensieve_cli.settings import Settings


def _flags_of_settings() -> set[str]:
    concerns = [type(getattr(Settings(), concern.name)) for concern in attrs.fields(Settings)]
    return {f"--{field.name.replace('_', '-')}" for concern in concerns for field in attrs.fields(concern)}


def test_the_page_has_every_flag_and_no_other() -> None:
    assert set(re.findall(r"^  (--[a-z-]+)", HELP_PAGE, re.MULTILINE)) == _flags_of_settings()


def test_the_page_tells_the_true_defaults() -> None:
    told = dict(re.findall(r"^  --([a-z-]+) .*\[([^]]+)\]$", HELP_PAGE, re.MULTILINE))
    concerns = [getattr(Settings(), concern.name) for concern in attrs.fields(Settings)]
    defaults = {
        field.name.replace("_", "-"): getattr(concern, field.name)
        for concern in concerns
        for field in attrs.fields(type(concern))
    }
    for name, default in told.items():
        wanted = "fitted" if defaults[name] is None else f"{defaults[name]}".removesuffix(".0")
        assert default == wanted


def test_the_page_fits_on_a_screen() -> None:
    lines = HELP_PAGE.splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 40


def test_help_is_there_for_every_command(run_command: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    for arguments in (["--help"], ["-h"], ["models", "--help"]):
        done = run_command(*arguments)
        assert (done.returncode, done.stdout) == (0, HELP_PAGE)


def test_help_is_quick_for_it_imports_none_of_the_heavy_libraries() -> None:
    """Ours: 200 ms. Measured: 250 ms with cyclopts and rich, 60 ms without; but times are no test on a busy machine."""
    program = (
        "import sys; from pensieve_cli.main import main; main(['--help']); "
        "print(*(name for name in sys.modules if '.' not in name), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    imported = set(done.stderr.split())
    assert "pensieve_cli" in imported
    assert not imported & {"cyclopts", "rich", "hypercorn", "starlette", "structlog", "llama_cpp", "asyncio", "numpy"}
