"""The contract of `FileStore`."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from typing import TypeAlias

import attrs

from pensieve_core import (
    FileExpiredError,
    FileId,
    FileTooLargeError,
    PensieveError,
    StorageFullError,
    StoredFile,
    UnknownFileError,
)
from pensieve_inference._files import FileLimits, FileQuery, FileStore, NewFile
from pensieve_inference.testing._clock import FakeClock
from pensieve_inference.testing.contract._expect import ContractBrokenError, expect

__all__ = ["FILE_STORE_CHECKS", "FileStoreCase", "FileStoreCheck"]

_LIMITS = FileLimits(max_file_bytes=1_000, max_total_bytes=1_500)
_TEXT = NewFile(filename="notes.txt", media_type="text/plain")
_NOBODY = FileId("file_nobody")


@attrs.frozen(kw_only=True)
class FileStoreCase:
    """How to get at a store: an empty one of these limits, on this clock."""

    open_store: Callable[[FileLimits], AbstractAsyncContextManager[FileStore]]
    clock: FakeClock


FileStoreCheck: TypeAlias = Callable[[FileStoreCase], Awaitable[None]]


async def gives_back_what_it_was_given(case: FileStoreCase) -> None:
    """Bytes, name, type, size and digest are those of the upload."""
    async with case.open_store(_LIMITS) as store:
        file = await _put(store, b"one", b"", b"two")
        expect(await store.file(file.id) == file, "a file is known as it was said to be when it was uploaded")
        expect((file.filename, file.media_type) == ("notes.txt", "text/plain"), "name and type are the client's")
        expect(file.size_bytes == len(b"onetwo"), "the size is that of all pieces")
        expect(file.sha256 == hashlib.sha256(b"onetwo").hexdigest(), "the digest is that of all pieces")
        expect(file.created_at == int(case.clock.time()), "a file is created when it is uploaded")
        expect(await store.read(file.id, max_bytes=6) == b"onetwo", "read gives all bytes")
        expect(await _content(store, file.id) == b"onetwo", "content gives all bytes")


async def keeps_empty_files(case: FileStoreCase) -> None:
    """No bytes are bytes, too."""
    async with case.open_store(_LIMITS) as store:
        file = await _put(store)
        expect(file.size_bytes == 0, "an empty file has no bytes")
        expect(await _content(store, file.id) == b"", "an empty file has no content")


async def shows_no_unfinished_upload(case: FileStoreCase) -> None:
    """What is not finished is not there, and takes no room once it is closed."""
    async with case.open_store(_LIMITS) as store:
        upload = await store.upload()
        await upload.write(bytes(900))
        page = await store.page(FileQuery(limit=10))
        expect(not page.files, "nobody sees a file before it is finished")
        await upload.aclose()
        await upload.aclose()
        await _put(store, bytes(1_000))
        expect(len((await store.page(FileQuery(limit=10))).files) == 1, "only finished uploads are files")


async def refuses_a_file_that_is_too_large(case: FileStoreCase) -> None:
    """One byte more than a file may have is too many."""
    async with case.open_store(_LIMITS) as store:
        await _put(store, bytes(1_000))
        async with aclosing(await store.upload()) as upload:
            await _expect_error(upload.write(bytes(1_001)), FileTooLargeError, "a file of 1,001 bytes is refused")


async def refuses_more_than_its_quota(case: FileStoreCase) -> None:
    """Finished files and those on their way count alike; what is removed counts no more."""
    async with case.open_store(_LIMITS) as store:
        file = await _put(store, bytes(800))
        async with aclosing(await store.upload()) as first, aclosing(await store.upload()) as second:
            await first.write(bytes(400))
            await _expect_error(second.write(bytes(301)), StorageFullError, "1,501 bytes in all are refused")
            await store.remove(file.id)
            await second.write(bytes(301))


async def lists_the_newest_first(case: FileStoreCase) -> None:
    """Pages follow each other in both directions."""
    async with case.open_store(_LIMITS) as store:
        oldest, middle, newest = [(await _put(store, bytes(index))).id for index in range(3)]
        await _expect_page(store, FileQuery(limit=2), (newest, middle), has_more=True)
        await _expect_page(store, FileQuery(limit=2, after=middle), (oldest,), has_more=False)
        await _expect_page(store, FileQuery(limit=1, before=oldest), (middle,), has_more=True)
        await _expect_page(store, FileQuery(limit=2, before=oldest), (newest, middle), has_more=False)
        await _expect_page(store, FileQuery(limit=3), (newest, middle, oldest), has_more=False)


async def takes_a_removed_file_as_a_cursor(case: FileStoreCase) -> None:
    """Who deletes while he lists gets to the end all the same."""
    async with case.open_store(_LIMITS) as store:
        oldest, middle, _ = [(await _put(store)).id for _ in range(3)]
        await store.remove(middle)
        await _expect_page(store, FileQuery(limit=2, after=middle), (oldest,), has_more=False)


async def forgets_what_is_removed(case: FileStoreCase) -> None:
    """A removed file is unknown to every question."""
    async with case.open_store(_LIMITS) as store:
        file = await _put(store, b"gone")
        await store.remove(file.id)
        await _expect_unknown(store, file.id, UnknownFileError)
        await _expect_unknown(store, _NOBODY, UnknownFileError)
        again = await _put(store, b"gone")
        expect(again.id != file.id, "ids are never used twice")


async def forgets_what_has_expired(case: FileStoreCase) -> None:
    """A file is there up to its last second, and says afterwards that it was."""
    async with case.open_store(_LIMITS) as store:
        file = await _put(store, bytes(1_000), new=attrs.evolve(_TEXT, expires_in_s=60))
        expect(file.expires_at == file.created_at + 60, "a file expires when it was told to")
        await case.clock.advance(59)
        expect(await store.file(file.id) == file, "a file is there before it expires")
        await case.clock.advance(1)
        await _expect_unknown(store, file.id, FileExpiredError)
        expect(not (await store.page(FileQuery(limit=1))).files, "what has expired is not listed")
        await _put(store, bytes(1_000))


async def reads_no_more_than_it_is_asked_to(case: FileStoreCase) -> None:
    """Who has no room for a file is told so."""
    async with case.open_store(_LIMITS) as store:
        file = await _put(store, bytes(10))
        await _expect_error(store.read(file.id, max_bytes=9), FileTooLargeError, "10 bytes are not read into 9")


FILE_STORE_CHECKS: tuple[FileStoreCheck, ...] = (
    gives_back_what_it_was_given,
    keeps_empty_files,
    shows_no_unfinished_upload,
    refuses_a_file_that_is_too_large,
    refuses_more_than_its_quota,
    lists_the_newest_first,
    takes_a_removed_file_as_a_cursor,
    forgets_what_is_removed,
    forgets_what_has_expired,
    reads_no_more_than_it_is_asked_to,
)


async def _put(store: FileStore, *pieces: bytes, new: NewFile = _TEXT) -> StoredFile:
    async with aclosing(await store.upload()) as upload:
        for piece in pieces:
            await upload.write(piece)
        return await upload.finish(new)


async def _content(store: FileStore, file_id: FileId) -> bytes:
    async with aclosing(store.content(file_id)) as pieces:
        return b"".join([piece async for piece in pieces])


async def _expect_page(store: FileStore, query: FileQuery, ids: tuple[FileId, ...], *, has_more: bool) -> None:
    page = await store.page(query)
    listed = tuple(file.id for file in page.files)
    expect(listed == ids, f"{query} lists {ids}, not {listed}")
    expect(page.has_more is has_more, f"{query} says has_more={has_more}")


async def _expect_unknown(store: FileStore, file_id: FileId, error: type[UnknownFileError]) -> None:
    await _expect_error(store.file(file_id), error, f"file({file_id}) says that it is gone")
    await _expect_error(store.read(file_id, max_bytes=10_000), error, f"read({file_id}) says that it is gone")
    await _expect_error(_content(store, file_id), error, f"content({file_id}) says that it is gone")
    await _expect_error(store.remove(file_id), error, f"remove({file_id}) says that it is gone")


async def _expect_error(awaitable: Awaitable[object], error: type[PensieveError], promise: str) -> None:
    try:
        await awaitable
    except PensieveError as raised:
        expect(type(raised) is error, f"{promise}: with {error.__name__}, not {type(raised).__name__}")
        return
    raise ContractBrokenError(f"{promise}: with {error.__name__}")
