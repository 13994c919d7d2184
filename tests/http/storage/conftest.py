"""Stores in a folder of the test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TypeAlias

import pytest

from pensieve_core import Clock
from pensieve_http.storage import Database, FileFolder, FolderFileStore
from pensieve_inference import FileLimits
from pensieve_inference.testing import FakeClock

OpenStore: TypeAlias = Callable[..., AbstractAsyncContextManager[FolderFileStore]]
_AMPLE = FileLimits(max_file_bytes=1 << 30, max_total_bytes=1 << 30)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(start=1_700_000_000.0)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The data folder; it is not there yet."""
    return tmp_path / "data"


@pytest.fixture
def open_store(data: Path, clock: FakeClock) -> OpenStore:
    """Open a store on the data folder; it is closed at the end of the block."""

    @asynccontextmanager
    async def opened(
        limits: FileLimits = _AMPLE, *, clock: Clock = clock, folder: Path = data
    ) -> AsyncIterator[FolderFileStore]:
        database = Database(folder / "pensieve.sqlite3")
        try:
            yield FolderFileStore(FileFolder(folder / "files"), database, clock, limits=limits)
        finally:
            await database.aclose()

    return opened
