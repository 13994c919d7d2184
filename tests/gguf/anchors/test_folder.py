"""A folder is used only when it is ours, and nothing outside of it is ever touched."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TypeAlias

import pytest
import structlog

from pensieve_gguf.anchors import AnchorIdentity, AnchorStore, FolderRefusedError, Limits
from pensieve_gguf.anchors.folder import PrivateFolder
from pensieve_gguf.anchors.testing import FaultyFolder

OpenStore: TypeAlias = Callable[..., AnchorStore]
IS_ROOT = os.geteuid() == 0


@pytest.fixture
def refusal(identity: AnchorIdentity, clock: SimpleNamespace) -> Callable[[Path], str]:
    """Open a folder that must not be used, and return the one warning that says so."""

    def refusal(path: Path) -> str:
        with structlog.testing.capture_logs() as logs:
            limits = Limits(budget_bytes=10**9)
            assert AnchorStore.open(path, identity, limits=limits, clock=lambda: clock.now) is None
        (log,) = logs
        assert (log["event"], log["log_level"]) == ("anchors_disabled", "warning")
        return str(log["reason"])

    return refusal


def test_a_new_folder_is_private_and_says_what_it_is(open_store: OpenStore, folder: Path) -> None:
    open_store()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    text = (folder / "CACHEDIR.TAG").read_text()
    assert text.startswith("Signature: 8a477f597d28d172789f06886806bc55\n")
    assert "pensieve-server cache clear" in text


def test_a_folder_that_others_could_read_is_closed_to_them(open_store: OpenStore, folder: Path) -> None:
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    open_store()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_folder_with_files_of_others_is_left_alone(folder: Path, refusal: Callable[[Path], str]) -> None:
    folder.mkdir(parents=True)
    (folder / "thesis.tex").write_text("years of work")
    (folder / ("." + "0" * 16 + ".part")).write_text("by chance")
    before = {path: path.read_text() for path in folder.iterdir()}
    assert "thesis.tex" in refusal(folder)
    assert {path: path.read_text() for path in folder.iterdir()} == before


def test_anothers_cache_folder_is_not_ours(folder: Path, refusal: Callable[[Path], str]) -> None:
    """The tag is a convention that many programs follow: https://bford.info/cachedir/."""
    folder.mkdir(parents=True)
    (folder / "CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55\n# Of another program.\n")
    assert "not ours" in refusal(folder)


@pytest.mark.parametrize("dangling", [True, False])
def test_a_link_is_not_followed_to_the_folder(
    folder: Path, tmp_path: Path, refusal: Callable[[Path], str], *, dangling: bool
) -> None:
    target = tmp_path / "target"
    if not dangling:
        target.mkdir()
    folder.parent.mkdir()
    folder.symlink_to(target)
    assert refusal(folder)
    assert not dangling or not target.exists()
    assert dangling or list(target.iterdir()) == []


def test_a_link_is_not_followed_to_the_index(
    open_store: OpenStore, folder: Path, tmp_path: Path, refusal: Callable[[Path], str]
) -> None:
    open_store().close()
    target = tmp_path / "target"
    for index in folder.glob("index-*"):
        index.unlink()
    (folder / "index-2.0.sqlite").symlink_to(target)
    assert refusal(folder)
    assert not target.exists()


def test_a_file_in_place_of_the_folder_is_left_alone(folder: Path, refusal: Callable[[Path], str]) -> None:
    folder.parent.mkdir()
    folder.write_text("mine")
    assert refusal(folder)
    assert folder.read_text() == "mine"


@pytest.mark.skipif(not IS_ROOT, reason="only root can give a folder away")
def test_another_users_folder_is_left_alone(folder: Path, refusal: Callable[[Path], str]) -> None:
    folder.mkdir(parents=True)
    os.chown(folder, 12_345, -1)
    assert "another user" in refusal(folder)
    assert list(folder.iterdir()) == []


@pytest.mark.skipif(IS_ROOT, reason="root may write anywhere; test_crashes.py has a read-only disk")
def test_a_folder_that_may_not_be_written_is_not_used(folder: Path, refusal: Callable[[Path], str]) -> None:
    folder.mkdir(parents=True)
    folder.chmod(0o500)
    assert "denied" in refusal(folder)


def test_who_only_looks_makes_nothing(folder: Path) -> None:
    with pytest.raises(FileNotFoundError):
        PrivateFolder.open_existing(folder)
    assert not folder.exists()
    folder.mkdir(parents=True)
    with pytest.raises(FolderRefusedError, match="no marker"):
        PrivateFolder.open_existing(folder)
    assert list(folder.iterdir()) == []


# -- drafts --------------------------------------------------------------------------------------------------------


def test_drafts_of_the_dead_are_removed_and_those_of_the_living_are_not(open_store: OpenStore, folder: Path) -> None:
    """A process of its own holds the lock: flock does not tell threads apart, and neither must we."""
    open_store().close()
    dead, alive = folder / ("." + "0" * 16 + ".part"), folder / ("." + "1" * 16 + ".part")
    other = folder / ".of-somebody-else.part"
    for path in (dead, alive, other):
        path.write_bytes(b"half an anchor")
    program = (
        "import fcntl, sys; file = open(sys.argv[1]); fcntl.flock(file, fcntl.LOCK_EX);"
        "print('locked', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program, alive], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdin
    assert holder.stdout
    try:
        assert holder.stdout.readline() == "locked\n"
        open_store().close()
        assert (dead.exists(), alive.exists(), other.exists()) == (False, True, True)
    finally:
        holder.communicate(timeout=60)
    open_store()
    assert not alive.exists()


def test_a_draft_that_was_taken_for_abandoned_before_its_lock_is_made_anew(folder: Path) -> None:
    faulty = FaultyFolder.open(folder)
    locks = []

    def before(step: str) -> None:
        locks.append(step)
        if locks == ["create", "lock"]:
            faulty.remove_abandoned_drafts()

    faulty.before = before
    with faulty.draft() as (name, _):
        assert (folder / name).exists()
    assert locks.count("lock") == 2
    assert [path for path in folder.iterdir() if path.suffix == ".part"] == []
    faulty.close()


def test_a_disk_that_knows_no_locks_holds_no_drafts(folder: Path) -> None:
    """Some network file systems: nobody could tell a living writer from a dead one."""
    faulty = FaultyFolder.open(folder)

    def before(step: str) -> None:
        if step == "lock":
            raise OSError(errno.ENOLCK, "no locks available")

    faulty.before = before
    with pytest.raises(OSError, match="no locks"):
        faulty.create()
    assert [path for path in folder.iterdir() if path.suffix == ".part"] == []
    faulty.close()
    faulty.close()


def test_a_draft_is_locked_from_its_first_byte(folder: Path) -> None:
    private = PrivateFolder.open(folder)
    with private.draft() as (name, _), (folder / name).open("rb") as seen:
        private.remove_abandoned_drafts()
        assert (folder / name).exists()
        with pytest.raises(BlockingIOError):
            fcntl.flock(seen, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert not (folder / name).exists()
    private.close()
