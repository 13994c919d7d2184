"""The database: transactions, and what becomes of its errors."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from pensieve_core import StorageFullError
from pensieve_http.storage import Database


async def test_nothing_is_created_before_it_is_used(data: Path) -> None:
    database = Database(data / "x.sqlite3")
    assert not database.exists
    await database.aclose()
    assert not data.exists()


async def test_a_failed_transaction_leaves_nothing(data: Path) -> None:
    database = Database(data / "x.sqlite3")

    def half(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO files VALUES ('a', 'b', 'c', 1, 'd', 1, NULL, 0)")
        raise ZeroDivisionError

    try:
        with pytest.raises(ZeroDivisionError):
            await database.write(half)
        assert await database.read(lambda connection: connection.execute("SELECT * FROM files").fetchall()) == []
    finally:
        await database.aclose()
        await database.aclose()


async def test_a_full_database_is_a_full_storage(data: Path) -> None:
    database = Database(data / "x.sqlite3")

    def limit(connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA max_page_count = 20")

    def fill(connection: sqlite3.Connection) -> None:
        connection.execute("CREATE TABLE filler (data BLOB)")
        connection.execute("INSERT INTO filler VALUES (zeroblob(1000000))")

    try:
        await database.read(limit)
        with pytest.raises(StorageFullError, match="the disk is full; delete files and batches"):
            await database.write(fill)
        with pytest.raises(sqlite3.OperationalError, match="no such table"):
            await database.read(lambda connection: connection.execute("SELECT * FROM filler"))
    finally:
        await database.aclose()


async def test_what_a_later_pensieve_has_written_is_left_alone(data: Path) -> None:
    data.mkdir()
    with sqlite3.connect(data / "x.sqlite3") as connection:
        connection.execute("PRAGMA user_version = 1000")
    connection.close()
    database = Database(data / "x.sqlite3")
    try:
        with pytest.raises(sqlite3.DatabaseError, match="by a later Pensieve"):
            await database.read(lambda connection: None)
    finally:
        await database.aclose()
