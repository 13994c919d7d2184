"""Ours: design 3, "own signature (HMAC)": the key outlives a restart, and is the owner's alone."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pensieve_cli.composition import compose
from pensieve_cli.settings import ApiSettings, Settings
from pensieve_cli.signing_key import signing_key
from pensieve_inference.testing import InMemoryCatalog, ScriptedProvider


def test_the_key_is_made_once_and_for_the_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "new" / "signing.key"
    key = signing_key(file)
    assert len(key) == 32
    assert signing_key(file) == key
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(file.parent.iterdir()) == [file]


def test_all_that_start_at_once_get_the_same_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(signing_key, [tmp_path / "signing.key"] * 32))
    assert len(keys) == 1


@pytest.mark.parametrize("found", [b"", b"short"])
def test_a_file_that_holds_no_key_is_left_alone(tmp_path: Path, found: bytes) -> None:
    file = tmp_path / "signing.key"
    file.write_bytes(found)
    assert len(signing_key(file)) == 32
    assert file.read_bytes() == found


def test_where_nothing_can_be_kept_there_is_a_key_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert len(signing_key(tmp_path / "file" / "signing.key")) == 32


def test_a_server_signs_with_the_key_of_its_installation(tmp_path: Path) -> None:
    compose(Settings(), catalog=InMemoryCatalog(), engines=ScriptedProvider())
    file = ApiSettings().signing_key_file
    assert file.is_relative_to(tmp_path)
    assert len(file.read_bytes()) == 32
