"""Where settings come from, and what is said when they are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pensieve_cli.command_line import (
    ClearCache,
    ListCache,
    PrintCompletion,
    Serve,
    ShowSettings,
    ShowVersion,
    SizeCache,
    parse,
)
from pensieve_cli.errors import CommandError
from pensieve_cli.exit_codes import ExitCode
from pensieve_cli.model_commands.commands import ChangeAlias, ListAliases, ListModels, ShowModel
from pensieve_cli.settings import Secret, Settings
from pensieve_cli.settings_files import settings_files


def _serve(*arguments: str, files: tuple[Path, ...] = ()) -> Settings:
    command = parse(arguments, files=files)
    assert isinstance(command, Serve)
    return command.settings


def _refusal(*arguments: str, files: tuple[Path, ...] = ()) -> str:
    with pytest.raises(CommandError) as refused:
        parse(arguments, files=files)
    assert refused.value.exit_code is ExitCode.USAGE
    return refused.value.message


def _file(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_nothing_asked_for_means_serving_with_the_defaults() -> None:
    assert parse([], files=()) == Serve(settings=Settings())


def test_each_command_has_its_word() -> None:
    assert isinstance(parse(["serve"], files=()), Serve)
    assert parse(["models", "--json"], files=()) == ListModels(settings=Settings(), json=True)
    assert parse(["list"], files=()) == ListModels(settings=Settings())
    assert parse(["show", "tiny", "--json"], files=()) == ShowModel(settings=Settings(), model="tiny", json=True)
    assert parse(["completion", "zsh"], files=()) == PrintCompletion(shell="zsh")
    assert isinstance(parse(["settings"], files=()), ShowSettings)
    assert parse(["version"], files=()) == ShowVersion()


def test_the_cache_has_words_of_its_own_and_is_listed_without_one() -> None:
    assert parse(["cache"], files=()) == parse(["cache", "list"], files=()) == ListCache(settings=Settings())
    assert parse(["cache", "list", "--json"], files=()) == ListCache(settings=Settings(), json=True)
    assert parse(["cache", "size", "--json"], files=()) == SizeCache(settings=Settings(), json=True)
    cleared = parse(["cache", "clear", "--older-than", "7", "--yes", "--cache-dir", "here"], files=())
    assert isinstance(cleared, ClearCache)
    assert (cleared.older_than, cleared.yes, cleared.settings.cache.cache_dir) == (7.0, True, Path("here"))


def test_aliases_are_listed_given_and_taken_away_by_one_word() -> None:
    settings = Settings()
    assert parse(["alias"], files=()) == ListAliases(settings=settings)
    given = ChangeAlias(settings=settings, alias="a", model="m", json=True)
    assert parse(["alias", "a", "m", "--json"], files=()) == given
    assert parse(["alias", "--remove", "a"], files=()) == ChangeAlias(settings=settings, alias="a", model=None)


@pytest.mark.parametrize("words", [["a"], ["--remove"], ["a", "m", "--remove"]])
def test_an_alias_without_its_other_half_is_refused(words: list[str]) -> None:
    assert "--remove NAME" in _refusal("alias", *words)


def test_the_model_of_a_command_comes_from_its_words_and_not_from_the_variable_of_the_setting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PENSIEVE_MODEL", "from-variable")
    command = parse(["show"], files=())
    assert isinstance(command, ShowModel)
    assert (command.model, command.settings.model.model) == (None, "from-variable")


def test_settings_of_every_source_count_for_the_cache_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSIEVE_CACHE_DIR", "/from/variable")
    file = _file(tmp_path / "a.toml", "cache-disk-bytes = 5\nport = 1234")
    command = parse(["cache", "size"], files=(file,))
    assert isinstance(command, SizeCache)
    assert command.settings.cache.cache_dir == Path("/from/variable")
    assert command.settings.cache.cache_disk_bytes == 5


def test_memory_is_said_as_people_say_it_wherever_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = _file(tmp_path / "a.toml", 'memory-budget = "7.5GiB"\npinned = ["a", "b"]\nidle-unload-seconds = 90')
    said = _serve(files=(file,)).memory
    assert (said.memory_budget, said.pinned, said.idle_unload_seconds) == (15 << 29, ("a", "b"), 90.0)
    monkeypatch.setenv("PENSIEVE_MEMORY_BUDGET", "2GB")
    assert _serve(files=(file,)).memory.memory_budget == 2_000_000_000
    flags = ["--memory-budget", "1000", "--pinned", "c", "--pinned", "d"]
    said = _serve(*flags, files=(file,)).memory
    assert (said.memory_budget, said.pinned) == (1_000, ("c", "d"))


def test_what_is_no_amount_of_memory_is_refused_with_an_example() -> None:
    assert "like 8GB" in _refusal("serve", "--memory-budget", "lots")


@given(sources=st.sets(st.sampled_from(["flag", "variable", "here", "user"])))
def test_a_flag_beats_a_variable_beats_this_folder_beats_the_user(
    tmp_path_factory: pytest.TempPathFactory, sources: set[str]
) -> None:
    folder = tmp_path_factory.mktemp("sources")
    here, user = folder / "here.toml", folder / "user.toml"
    strongest_first = {"flag": 1001, "variable": 1002, "here": 1003, "user": 1004}
    if "here" in sources:
        _file(here, "port = 1003")
    if "user" in sources:
        _file(user, "port = 1004")
    with pytest.MonkeyPatch.context() as variables:
        if "variable" in sources:
            variables.setenv("PENSIEVE_PORT", "1002")
        arguments = ["--port", "1001"] if "flag" in sources else []
        command = parse(["settings", *arguments], files=(here, user))
    assert isinstance(command, ShowSettings)
    origins = {"flag": "flag", "variable": "PENSIEVE_PORT", "here": str(here), "user": str(user)}
    winner = next((source for source in strongest_first if source in sources), None)
    assert command.settings.listen.port == (strongest_first[winner] if winner else 8000)
    assert command.origins["port"] == (origins[winner] if winner else "default")


def test_a_stronger_source_replaces_lists_and_leaves_other_settings_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = _file(tmp_path / "a.toml", 'allow-host = ["one", "two"]\nctx = 4096')
    monkeypatch.setenv("PENSIEVE_THREADS", "3")
    settings = _serve("--allow-host", "three", "--allow-host", "four", files=(file,))
    assert settings.access.allow_host == ("three", "four")
    assert (settings.engine.ctx, settings.engine.threads) == (4096, 3)


def test_the_files_are_this_folders_and_the_users(tmp_path: Path) -> None:
    assert settings_files() == (Path("pensieve.toml"), tmp_path / "config" / "pensieve" / "pensieve.toml")


def test_a_file_in_this_folder_counts_for_every_command() -> None:
    _file(Path("pensieve.toml"), "port = 1234")
    command = parse([])
    assert isinstance(command, Serve)
    assert command.settings.listen.port == 1234
    assert parse(["version"]) == ShowVersion()


def test_an_unknown_key_of_a_file_is_told_with_file_and_key(tmp_path: Path) -> None:
    file = _file(tmp_path / "pensieve.toml", "prot = 1")
    message = _refusal(files=(file,))
    assert "prot" in message
    assert str(file) in message


@pytest.mark.parametrize("line", ['port = "abc"', "port = [1, 2]", "port = 70000", "port = true"])
def test_a_wrong_value_in_a_file_is_told_with_file_and_key(tmp_path: Path, line: str) -> None:
    file = _file(tmp_path / "pensieve.toml", line)
    message = _refusal(files=(file,))
    assert "port" in message
    assert str(file) in message


@pytest.mark.parametrize("text", ["port = ", "port = 1\nport = 2", "\ufffd\x00"])
def test_a_file_that_is_no_toml_is_told_by_name(tmp_path: Path, text: str) -> None:
    file = _file(tmp_path / "pensieve.toml", text)
    assert str(file) in _refusal(files=(file,))


def test_a_wrong_variable_is_told_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSIEVE_CTX", "many")
    assert "PENSIEVE_CTX" in _refusal()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--prot", "1"],
        ["--port"],
        ["--port", "-1"],
        ["--ctx", "0"],
        ["--parallel", "0"],
        ["--threads", "0"],
        ["--gpu-layers", "-2"],
        ["--drain-seconds", "-1"],
        ["--cache-disk-bytes", "-1"],
        ["--drain-seconds", "nan"],
        ["--log-format", "xml"],
        ["--ctx", "1", "--ctx", "2"],
    ],
)
def test_a_wrong_flag_is_told_by_name(arguments: list[str]) -> None:
    assert arguments[0] in _refusal(*arguments)


def test_an_unknown_command_is_told() -> None:
    assert "sevre" in _refusal("sevre")
    assert "lst" in _refusal("cache", "lst")
    assert "too many words: two" in _refusal("show", "one", "two")
    assert "--older-than" in _refusal("cache", "clear", "--older-than", "-1")


def test_keys_come_from_every_source_and_show_themselves_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _serve("--api-key", "sk-1", "--api-key", "sk-2").access.api_key == (Secret("sk-1"), Secret("sk-2"))
    monkeypatch.setenv("PENSIEVE_API_KEY", "sk-3 sk-4")
    assert [key.reveal() for key in _serve().access.api_key] == ["sk-3", "sk-4"]
    monkeypatch.delenv("PENSIEVE_API_KEY")
    settings = _serve(files=(_file(tmp_path / "a.toml", 'api-key = ["sk-5"]'),))
    assert settings.access.api_key[0].reveal() == "sk-5"
    assert "sk-5" not in f"{settings!r} {settings.access.api_key[0]!s}"
