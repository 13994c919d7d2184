from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from pensieve_cli.access_keys import read_keys
from pensieve_cli.errors import CommandError
from pensieve_cli.exit_codes import ExitCode
from pensieve_cli.settings import AccessSettings, Secret
from pensieve_http import ApiKey


def _file(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "keys"
    file.write_text(text)
    return file


def test_without_any_key_there_are_none() -> None:
    assert read_keys(AccessSettings()) == ()


def test_keys_of_settings_and_of_the_file_count_together(tmp_path: Path) -> None:
    file = _file(tmp_path, "# mine\n\nsk-second\nlaptop sk-third\n")
    keys = read_keys(AccessSettings(api_key=(Secret("sk-first"),), api_key_file=file))
    assert keys == (
        ApiKey.from_plain("sk-first"),
        ApiKey.from_plain("sk-second"),
        ApiKey.from_plain("sk-third", name="laptop"),
    )


def test_a_key_may_be_given_as_its_digest(tmp_path: Path) -> None:
    digest = hashlib.sha256(b"sk-hidden").hexdigest()
    keys = read_keys(AccessSettings(api_key_file=_file(tmp_path, f"phone sha256:{digest}")))
    assert keys == (ApiKey.from_plain("sk-hidden", name="phone"),)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("# nobody\n", "holds no key"),
        ("name sk-secret-1 sk-secret-2", "line 1"),
        ("\nsha256:sk-secret", "line 2"),
        ("sha256:abcd", "64 hex digits"),
    ],
)
def test_a_wrong_file_is_refused_without_repeating_a_key(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(CommandError) as refused:
        read_keys(AccessSettings(api_key_file=_file(tmp_path, text)))
    assert told in refused.value.message
    assert "sk-secret" not in refused.value.message
    assert refused.value.exit_code is ExitCode.USAGE


def test_an_empty_key_is_refused_for_it_would_let_everybody_in() -> None:
    with pytest.raises(CommandError, match="must not be empty"):
        read_keys(AccessSettings(api_key=(Secret(" "),)))


def test_a_file_that_is_missing_or_no_text_is_told_by_name(tmp_path: Path) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\xff")
    for file in (tmp_path / "missing", binary, tmp_path):
        with pytest.raises(CommandError, match="cannot be read"):
            read_keys(AccessSettings(api_key_file=file))
