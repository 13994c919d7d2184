"""`pensieve-server cache`: what is kept, and how to be rid of it."""

from __future__ import annotations

import io
import json
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pensieve_cli.cache_table import CacheCommand, run
from pensieve_cli.command_line import ClearCache, ListCache, SizeCache
from pensieve_cli.errors import CommandError
from pensieve_cli.exit_codes import ExitCode
from pensieve_cli.settings import CacheSettings, Settings
from pensieve_cli.terminal import Terminal
from pensieve_gguf.anchors import AnchorIdentity, AnchorKind, AnchorStore, Limits, Saved

NOW = 2_000_000.0
HOUR_S, DAY_S = 3_600.0, 86_400.0


class Keyboard(io.StringIO):
    """A person at a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a head that was last used a month ago and a turn of three hours ago."""
    path = tmp_path / "kept"
    identity = AnchorIdentity(
        label="qwen [coder]",
        model="m",
        build="b",
        state_version=2,
        key_type="f16",
        value_type="f16",
        flash_attention=True,
    )
    now = NOW - 30 * DAY_S
    limits = Limits(budget_bytes=10**9, reserve_bytes=0)
    store = AnchorStore.open(path, identity, limits=limits, clock=lambda: now)
    assert store is not None
    assert store.save(array("i", range(1_234)), np.zeros(2_000_000, np.uint8), kind=AnchorKind.HEAD) is Saved.SAVED
    now = NOW - 3 * HOUR_S
    assert store.save(array("i", range(5_000)), np.zeros(3_000_000, np.uint8), kind=AnchorKind.TURN) is Saved.SAVED
    store.close()
    return path


def _settings(folder: Path, **more: Any) -> Settings:
    return Settings(cache=CacheSettings(cache_dir=folder, **more))


def _printed(command: CacheCommand, answers: io.StringIO | None = None) -> str:
    output = io.StringIO()
    assert run(command, Terminal(answers=answers or io.StringIO(), output=output), NOW) is ExitCode.OK
    return output.getvalue()


def _refused(command: CacheCommand, answers: io.StringIO | None = None) -> CommandError:
    with pytest.raises(CommandError) as refused:
        _printed(command, answers)
    return refused.value


def test_the_list_has_a_row_for_each_prompt_the_last_used_first(folder: Path) -> None:
    head, first, second = _printed(ListCache(settings=_settings(folder))).splitlines()
    assert head.split() == ["MODEL", "KIND", "TOKENS", "SIZE", "LAST", "USED"]
    assert first.split() == ["qwen", "[coder]", "turn", "5,000", "3", "MB", "3", "h", "ago"]
    assert second.split() == ["qwen", "[coder]", "head", "1,234", "2", "MB", "30", "days", "ago"]


def test_the_lists_json_is_one_object_with_paths_and_plain_numbers(folder: Path) -> None:
    printed = json.loads(_printed(ListCache(settings=_settings(folder), json=True)))
    assert printed["folder"] == str(folder)
    assert [(row["kind"], row["tokens"], row["used_at"]) for row in printed["prompts"]] == [
        ("turn", 5_000, NOW - 3 * HOUR_S),
        ("head", 1_234, NOW - 30 * DAY_S),
    ]
    assert all(Path(row["path"]).stat().st_size == row["size_bytes"] for row in printed["prompts"])


def test_the_size_says_how_much_of_what_and_where(folder: Path) -> None:
    printed = _printed(SizeCache(settings=_settings(folder, cache_disk_bytes=7 * 10**9)))
    assert printed == f"2 prompts, 5 MB of 7.0 GB, in {folder}\n"
    size = json.loads(_printed(SizeCache(settings=_settings(folder), json=True)))
    assert size["prompts"] == 2
    assert size["size_bytes"] == sum(path.stat().st_size for path in folder.iterdir())
    assert 0 < size["limit_bytes"] <= 20 * 10**9


def test_where_nothing_was_kept_yet_is_no_error_and_nothing_is_made(tmp_path: Path) -> None:
    settings = _settings(tmp_path / "nowhere" / "yet")
    assert "Nothing is kept" in _printed(ListCache(settings=settings))
    assert _printed(SizeCache(settings=settings)).startswith("0 prompts, 0 MB of ")
    assert "Nothing is kept" in _printed(ClearCache(settings=settings))
    assert not (tmp_path / "nowhere").exists()


def test_clearing_asks_first(folder: Path) -> None:
    printed = _printed(ClearCache(settings=_settings(folder)), Keyboard("y\n"))
    assert printed == f"Remove 2 prompts (5 MB) from {folder}? [y/N] Removed 2 prompts (5 MB).\n"
    assert list(folder.glob("*.anchor")) == []


@pytest.mark.parametrize("answer", ["\n", "n\n", "", "yes please\n"])
def test_whatever_is_no_yes_is_a_no(folder: Path, answer: str) -> None:
    refused = _refused(ClearCache(settings=_settings(folder)), Keyboard(answer))
    assert (refused.message, refused.exit_code) == ("nothing was removed", ExitCode.FAILURE)
    assert len(list(folder.glob("*.anchor"))) == 2


def test_where_nobody_can_be_asked_nothing_is_removed(folder: Path) -> None:
    refused = _refused(ClearCache(settings=_settings(folder)), io.StringIO("y\n"))
    assert "--yes" in refused.message
    assert refused.exit_code is ExitCode.USAGE
    assert len(list(folder.glob("*.anchor"))) == 2


def test_clearing_can_be_held_to_what_was_not_used_for_days(folder: Path) -> None:
    printed = _printed(ClearCache(settings=_settings(folder), older_than=7.0), Keyboard("yes\n"))
    assert "Remove 1 prompt (2 MB)" in printed
    assert "Removed 1 prompt (2 MB)" in printed
    assert len(list(folder.glob("*.anchor"))) == 1
    assert "Removed 1 prompt" in _printed(ClearCache(settings=_settings(folder), older_than=0.0, yes=True))


@pytest.mark.parametrize("command", [ListCache, SizeCache, ClearCache])
def test_a_folder_that_is_not_ours_is_refused_by_its_flag(tmp_path: Path, command: Callable[..., CacheCommand]) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    refused = _refused(command(settings=_settings(tmp_path)))
    assert str(tmp_path) in refused.message
    assert "--cache-dir" in refused.message
    assert (tmp_path / "thesis.tex").exists()


def test_the_folder_is_in_the_platforms_cache_unless_it_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert CacheSettings().folder == tmp_path / "caches" / "pensieve" / "anchors"
    assert CacheSettings(cache_dir=Path("~/mine")).folder == tmp_path / "home" / "mine"


def test_the_command_works_from_end_to_end(
    folder: Path, run_command: Callable[..., Any], check_json: Callable[[str, str], Any]
) -> None:
    listed = run_command("cache", "--json", PENSIEVE_CACHE_DIR=str(folder))
    assert (listed.returncode, listed.stderr) == (0, "")
    assert len(check_json("cache-list", listed.stdout)["prompts"]) == 2
    assert check_json("cache-size", run_command("cache", "size", "--json", PENSIEVE_CACHE_DIR=str(folder)).stdout)
    cleared = run_command("cache", "clear", "--cache-dir", str(folder), "--yes")
    assert (cleared.returncode, cleared.stdout) == (0, "Removed 2 prompts (5 MB).\n")
