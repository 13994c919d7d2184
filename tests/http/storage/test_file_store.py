"""Files in a folder: they keep the contract, survive restarts and crashes, and nothing outside is ever reached."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, contextmanager
from pathlib import Path
from typing import TypeAlias

import pytest

from pensieve_core import FileId, StorageFullError, StoredFile, UnknownFileError
from pensieve_http.storage import Database, FileFolder, FolderFileStore
from pensieve_http.storage.file_folder import full_disk_translated
from pensieve_inference import FileLimits, FileQuery, FileStore, NewFile
from pensieve_inference.testing import FakeClock
from pensieve_inference.testing.contract import FILE_STORE_CHECKS, FileStoreCase, FileStoreCheck, check_name

OpenStore: TypeAlias = Callable[..., AbstractAsyncContextManager[FolderFileStore]]
TEXT = NewFile(filename="notes.txt", media_type="text/plain")
WRITER = Path(__file__).with_name("dying_uploader.py")
BOUND_S = 60.0


async def put(store: FileStore, data: bytes, new: NewFile = TEXT) -> StoredFile:
    async with aclosing(await store.upload()) as upload:
        await upload.write(data)
        return await upload.finish(new)


@pytest.mark.parametrize("check", FILE_STORE_CHECKS, ids=check_name)
async def test_keeps_the_contract(check: FileStoreCheck, open_store: OpenStore, clock: FakeClock) -> None:
    @asynccontextmanager
    async def opened(limits: FileLimits) -> AsyncIterator[FileStore]:
        async with open_store(limits) as store:
            yield store

    await check(FileStoreCase(open_store=opened, clock=clock))


async def test_files_are_there_after_a_restart(open_store: OpenStore) -> None:
    async with open_store() as before:
        file = await put(before, b"kept")
    async with open_store() as after:
        assert await after.file(file.id) == file
        assert await after.read(file.id, max_bytes=4) == b"kept"


async def test_nobody_else_may_look_into_the_folder(open_store: OpenStore, data: Path) -> None:
    async with open_store() as store:
        file = await put(store, b"private")
    assert stat.S_IMODE(data.stat().st_mode) == stat.S_IMODE((data / "files").stat().st_mode) == 0o700
    assert stat.S_IMODE((data / "files" / file.id).stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "..", "", "file_1/../../secret", "file_\0"])
async def test_an_id_never_becomes_a_path(open_store: OpenStore, data: Path, name: str) -> None:
    async with open_store() as store:
        await put(store, b"x")
        (data / "secret").write_bytes(b"secret")
        for question in (store.file, store.remove):
            with pytest.raises(UnknownFileError):
                await question(FileId(name))
        with pytest.raises(UnknownFileError):
            await store.read(FileId(name), max_bytes=100)
    assert (data / "secret").read_bytes() == b"secret"


async def test_a_link_in_the_folder_is_not_followed(open_store: OpenStore, data: Path) -> None:
    async with open_store() as store:
        file = await put(store, b"x")
        (data / "files" / file.id).unlink()
        (data / "files" / file.id).symlink_to("/etc/passwd")
        with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
            await store.read(file.id, max_bytes=1 << 20)


async def test_bytes_that_somebody_took_away_are_unknown(open_store: OpenStore, data: Path) -> None:
    async with open_store() as store:
        file = await put(store, b"x")
        (data / "files" / file.id).unlink()
        with pytest.raises(UnknownFileError):
            await store.read(file.id, max_bytes=1)


async def test_a_download_goes_on_when_its_file_is_deleted(open_store: OpenStore) -> None:
    async with open_store() as store:
        file = await put(store, bytes(600_000))
        async with aclosing(store.content(file.id)) as pieces:
            first = await anext(pieces)
            await store.remove(file.id)
            rest = [piece async for piece in pieces]
    assert [len(piece) for piece in (first, *rest)] == [262_144, 262_144, 75_712]


async def test_the_bytes_of_expired_files_make_room(open_store: OpenStore, clock: FakeClock, data: Path) -> None:
    async with open_store() as store:
        file = await put(store, b"x", NewFile(filename="a", media_type="b/c", expires_in_s=60))
        await clock.advance(60)
        await put(store, b"y")
    assert file.id not in {path.name for path in (data / "files").iterdir()}


async def test_ids_grow_even_when_the_clock_goes_back(open_store: OpenStore) -> None:
    async with open_store(clock=FakeClock(start=1_700_000_000.0)) as store:
        first = await put(store, b"")
    async with open_store(clock=FakeClock(start=1_600_000_000.0)) as store:
        assert (await put(store, b"")).id > first.id


async def test_what_a_crash_has_left_is_swept_and_what_others_write_is_not(open_store: OpenStore, data: Path) -> None:
    async with open_store() as other:
        file = await put(other, b"kept")
        (data / "files" / "00.part").write_bytes(b"left behind")
        (data / "files" / "file_000000000000abcdef").write_bytes(b"nobody knows it")
        async with aclosing(await other.upload()) as under_way:
            await under_way.write(b"other ")
            async with open_store() as store:
                mine = await put(store, b"mine")
            await under_way.write(b"server")
            theirs = await under_way.finish(TEXT)
        names = {path.name for path in (data / "files").iterdir()}
        assert names == {file.id, mine.id, theirs.id}
        assert await other.read(theirs.id, max_bytes=100) == b"other server"


@pytest.mark.parametrize("step", ["begun", "written", "finished"])
async def test_killed_at_any_step_of_an_upload_the_file_is_whole_or_not_there(
    open_store: OpenStore, data: Path, step: str
) -> None:
    process = subprocess.run([sys.executable, WRITER, data, step], timeout=BOUND_S, check=False)
    assert process.returncode == -signal.SIGKILL
    async with open_store() as store:
        await put(store, b"after")
        files = (await store.page(FileQuery(limit=10))).files
        contents = [await store.read(file.id, max_bytes=1 << 30) for file in files]
    assert contents == ([b"after", b"whole"] if step == "finished" else [b"after"])
    assert {path.name for path in (data / "files").iterdir()} == {file.id for file in files}


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small tmpfs cannot be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True, timeout=BOUND_S)


async def test_a_full_disk_is_said_and_nothing_of_the_file_is_left(tmp_path: Path, clock: FakeClock) -> None:
    ample = FileLimits(max_file_bytes=1 << 30, max_total_bytes=1 << 30)
    with small_disk(tmp_path, "2m"):
        database = Database(tmp_path / "data" / "pensieve.sqlite3")
        store = FolderFileStore(FileFolder(tmp_path / "data" / "files"), database, clock, limits=ample)
        try:
            small = await put(store, bytes(1_000))
            with pytest.raises(StorageFullError, match="the disk is full; delete files"):
                await put(store, bytes(3 << 20))
            assert [path.name for path in (tmp_path / "data" / "files").iterdir()] == [small.id]
            await put(store, bytes(500_000))
        finally:
            await database.aclose()


def test_a_full_disk_is_told_from_a_broken_one() -> None:
    with pytest.raises(StorageFullError), full_disk_translated():
        raise OSError(errno.ENOSPC, "no space")
    with pytest.raises(OSError, match="broken"), full_disk_translated():
        raise OSError(errno.EIO, "broken")
