"""Uploads a file into the data folder of argv[1] and dies, as by kill -9, at the step argv[2]."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import aclosing
from pathlib import Path

from pensieve_http.storage import Database, FileFolder, FolderFileStore
from pensieve_inference import FileLimits, NewFile, SystemClock


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def main(data: Path, step: str) -> None:
    limits = FileLimits(max_file_bytes=1_000, max_total_bytes=1_000)
    database = Database(data / "pensieve.sqlite3")
    store = FolderFileStore(FileFolder(data / "files"), database, SystemClock(), limits=limits)
    async with aclosing(await store.upload()) as upload:
        if step == "begun":
            die()
        await upload.write(b"whole")
        if step == "written":
            die()
        await upload.finish(NewFile(filename="a", media_type="text/plain"))
        die()


asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
