"""The contract of file stores: the fake keeps it, and a store that breaks a promise is caught by name."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeAlias

import attrs
import pytest

from pensieve_core import FileId, StoredFile, UnknownFileError
from pensieve_inference import FileLimits, FilePage, FileQuery, FileReader, FileStore, NewFile
from pensieve_inference.testing import FakeClock, InMemoryFileStore, InMemoryUpload
from pensieve_inference.testing.contract import (
    FILE_STORE_CHECKS,
    ContractBrokenError,
    FileStoreCase,
    FileStoreCheck,
    check_name,
)

MakeStore: TypeAlias = Callable[[FakeClock, FileLimits], InMemoryFileStore]


def case_of(make: MakeStore) -> FileStoreCase:
    clock = FakeClock()

    @asynccontextmanager
    async def store(limits: FileLimits) -> AsyncIterator[FileStore]:
        yield make(clock, limits)

    def open_store(limits: FileLimits) -> AbstractAsyncContextManager[FileStore]:
        return store(limits)

    return FileStoreCase(open_store=open_store, clock=clock)


def in_memory(clock: FakeClock, limits: FileLimits) -> InMemoryFileStore:
    return InMemoryFileStore(clock=clock, limits=limits)


@pytest.mark.parametrize("check", FILE_STORE_CHECKS, ids=check_name)
async def test_the_fake_keeps_the_contract(check: FileStoreCheck) -> None:
    await check(case_of(in_memory))


def test_the_fake_is_a_store_and_a_reader() -> None:
    assert isinstance(InMemoryFileStore(), FileStore)
    assert isinstance(InMemoryFileStore(), FileReader)


async def test_a_large_content_comes_in_pieces() -> None:
    store = InMemoryFileStore()
    file = store.put(bytes(70_000), NewFile(filename="a", media_type="b"))
    assert [len(piece) async for piece in store.content(file.id)] == [65_536, 4_464]


class Cutting(InMemoryFileStore):
    """Loses a byte."""

    async def read(self, file_id: FileId, *, max_bytes: int) -> bytes:
        return (await super().read(file_id, max_bytes=max_bytes))[:-1]


class Padding(InMemoryFileStore):
    """Pads a file."""

    async def content(self, file_id: FileId) -> AsyncGenerator[bytes, None]:
        await self.file(file_id)
        yield b"\0"


class Renaming(InMemoryFileStore):
    """Gives its own name."""

    def put(self, data: bytes, new: NewFile) -> StoredFile:
        return super().put(data, attrs.evolve(new, filename="file"))


class Hasty(InMemoryFileStore):
    """Shows a file before it is finished."""

    async def upload(self) -> InMemoryUpload:
        self.put(b"", NewFile(filename="a", media_type="b"))
        return await super().upload()


class Unlimited(InMemoryFileStore):
    """Takes everything."""

    def reserve(self, upload: InMemoryUpload, size_bytes: int) -> None:
        return


class OldestFirst(InMemoryFileStore):
    """Lists the wrong way round."""

    async def page(self, query: FileQuery) -> FilePage:
        page = await super().page(query)
        return attrs.evolve(page, files=tuple(reversed(page.files)))


class Endless(InMemoryFileStore):
    """Says that there is always more."""

    async def page(self, query: FileQuery) -> FilePage:
        return attrs.evolve(await super().page(query), has_more=True)


class Strict(InMemoryFileStore):
    """Knows no cursor whose file is gone."""

    async def page(self, query: FileQuery) -> FilePage:
        page = await super().page(query)
        return page if query.after is None or query.after in self._kept else attrs.evolve(page, files=())


class Keeping(InMemoryFileStore):
    """Removes nothing."""

    async def remove(self, file_id: FileId) -> None:
        await self.file(file_id)


class Blunt(InMemoryFileStore):
    """Does not tell what has expired from what never was."""

    def _find(self, file_id: FileId) -> object:  # type: ignore[override]
        try:
            return super()._find(file_id)
        except UnknownFileError:
            raise UnknownFileError(file_id) from None


class Greedy(InMemoryFileStore):
    """Reads whatever it costs."""

    async def read(self, file_id: FileId, *, max_bytes: int) -> bytes:
        return await super().read(file_id, max_bytes=1 << 30)


@pytest.mark.parametrize(
    ("check", "store", "promise"),
    [
        ("gives_back_what_it_was_given", Cutting, "read gives all bytes"),
        ("gives_back_what_it_was_given", Renaming, "name and type are the client's"),
        ("keeps_empty_files", Padding, "an empty file has no content"),
        ("shows_no_unfinished_upload", Hasty, "nobody sees a file before it is finished"),
        ("refuses_a_file_that_is_too_large", Unlimited, "a file of 1,001 bytes is refused"),
        ("refuses_more_than_its_quota", Unlimited, "1,501 bytes in all are refused"),
        ("lists_the_newest_first", OldestFirst, "lists"),
        ("lists_the_newest_first", Endless, "says has_more=False"),
        ("takes_a_removed_file_as_a_cursor", Strict, "lists"),
        ("forgets_what_is_removed", Keeping, "says that it is gone"),
        ("forgets_what_has_expired", Blunt, "says that it is gone"),
        ("reads_no_more_than_it_is_asked_to", Greedy, "10 bytes are not read into 9"),
    ],
)
async def test_a_broken_promise_is_named(check: str, store: type[InMemoryFileStore], promise: str) -> None:
    (called,) = [one for one in FILE_STORE_CHECKS if one.__name__ == check]
    with pytest.raises(ContractBrokenError, match=promise):
        await called(case_of(lambda clock, limits: store(clock=clock, limits=limits)))
