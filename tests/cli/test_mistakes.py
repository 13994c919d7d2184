"""Words that make no sense: each is told with what was meant, or what to do."""

from __future__ import annotations

import pytest

from pensieve_cli.command_line import parse
from pensieve_cli.errors import CommandError
from pensieve_cli.exit_codes import ExitCode
from pensieve_cli.main import main


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["lsit"], "unknown command: lsit; did you mean list?"),
        (["xyzzy"], "unknown command: xyzzy"),
        (["--port", "1", "ps"], "a command stands before its options: pensieve-server ps …"),
        (["serve", "--models-folder", "x", "list"], "a command stands before its options: pensieve-server list …"),
        (["cache", "lst"], "cache has no lst: it has list, size, clear"),
        (["cache", "size", "more"], "too many words: more"),
        (["claude", "fix", "it"], "what is for Claude Code stands behind --: pensieve-server claude -- fix it"),
        (["show", "one", "two"], "too many words: two"),
        (["load"], "load needs the name of a MODEL; pensieve-server list has all"),
        (["unload"], "unload needs the name of a MODEL; pensieve-server list has all"),
        (["completion"], "completion needs a SHELL: bash, zsh or fish"),
    ],
)
def test_a_mistake_is_told_with_what_was_meant(words: list[str], told: str) -> None:
    with pytest.raises(CommandError) as refused:
        parse(words, files=())
    assert refused.value.message == told
    assert refused.value.exit_code is ExitCode.USAGE


def test_a_flag_that_lacks_its_value_is_told_by_name() -> None:
    with pytest.raises(CommandError, match="--port"):
        parse(["ps", "--port"], files=())


@pytest.mark.parametrize(("word", "page"), [("load", "load --help"), ("lsit", "--help"), ("--prot", "--help")])
def test_the_page_that_helps_is_named(word: str, page: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([word]) == ExitCode.USAGE
    assert capsys.readouterr().err.splitlines()[-1] == f"pensieve-server {page} shows what there is."
