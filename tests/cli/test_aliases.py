"""The user's own names: what can be one, and the file that keeps them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pensieve_cli.aliases import AliasFile, with_alias, without_alias
from pensieve_cli.errors import CommandError
from pensieve_cli.exit_codes import ExitCode
from pensieve_core import PensieveError

_NAMES = st.from_regex(r"[a-zA-Z0-9][a-zA-Z0-9._+-]{0,20}", fullmatch=True).filter(
    lambda name: not name.lower().endswith(".gguf")
)


@given(names=st.lists(_NAMES, max_size=8))
def test_what_was_given_and_taken_away_leaves_nothing(
    names: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = AliasFile(tmp_path_factory.mktemp("aliases") / "deep" / "aliases.json")
    for name in names:
        file.write(with_alias(file.read(), name, f"model of {name.lower()}", ids=()))
    assert file.read() == {name.lower(): f"model of {name.lower()}" for name in names}
    for name in {name.lower() for name in names}:
        file.write(without_alias(file.read(), name.upper()))
    assert file.read() == {}
    assert [path.name for path in file.path.parent.glob("*")] == (["aliases.json"] if names else [])


def test_a_name_that_hides_a_model_is_refused() -> None:
    with pytest.raises(CommandError, match="would hide") as refused:
        with_alias({}, "Tiny", "other", ids={"tiny", "other"})
    assert refused.value.exit_code is ExitCode.USAGE


@pytest.mark.parametrize("alias", ["", " ", "a b", "./here", "m.gguf", "owner/name", "name:Q4", "a\x1bb", "x" * 200])
def test_what_has_the_form_of_something_else_is_refused(alias: str) -> None:
    with pytest.raises((CommandError, PensieveError)):
        with_alias({}, alias, "tiny", ids=())


def test_what_it_means_instead_is_told() -> None:
    with pytest.raises(CommandError, match="owner/name can be no alias: it means a repository of the hub"):
        with_alias({}, "owner/name", "tiny", ids=())


def test_taking_away_what_nobody_gave_is_told_with_what_there_is() -> None:
    with pytest.raises(CommandError, match="known: small") as refused:
        without_alias({"small": "tiny"}, "large")
    assert refused.value.exit_code is ExitCode.NOT_FOUND


@pytest.mark.parametrize("text", ["", "{", "[]", '{"aliases": []}', '{"aliases": {"a": 1}}', "\xff"])
def test_a_file_that_is_none_is_told_and_left_alone(text: str, tmp_path: Path) -> None:
    path = tmp_path / "aliases.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(CommandError, match=r"aliases\.json") as refused:
        AliasFile(path).read()
    assert refused.value.exit_code is ExitCode.USAGE
    assert path.read_text(encoding="latin-1") == text


def test_where_nothing_can_be_written_the_old_names_stay(tmp_path: Path) -> None:
    """Something else stands where the new file is to go: as a full disk, an error of the system."""
    path = tmp_path / "aliases.json"
    path.mkdir()
    (path / "in the way").touch()
    with pytest.raises(CommandError, match="cannot be written"):
        AliasFile(path).write({"a": "b"})
    assert [found.name for found in tmp_path.iterdir() if found.is_file()] == []


def test_the_file_lies_in_the_users_configuration_folder(tmp_path: Path) -> None:
    """`own_world` sets XDG_CONFIG_HOME."""
    AliasFile().write({"small": "tiny"})
    written = tmp_path / "config" / "pensieve" / "aliases.json"
    assert json.loads(written.read_text()) == {"aliases": {"small": "tiny"}}
