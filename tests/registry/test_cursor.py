"""The cursor never leaves the file, whatever lengths it meets."""

import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pensieve_registry import GgufHeaderError
from pensieve_registry._cursor import HEADER_LIMIT, STRINGS_LIMIT, TAKEN_LIMIT, HeaderCursor
from pensieve_registry.testing import string


def over(content: bytes, *, size: int | None = None) -> HeaderCursor:
    return HeaderCursor(io.BytesIO(content), len(content) if size is None else size)


def test_takes_bytes_and_numbers_in_order() -> None:
    cursor = over(b"GGUF" + struct.pack("<Id", 3, 0.5))
    assert cursor.take(4) == b"GGUF"
    assert cursor.number(struct.Struct("<I")) == 3
    assert cursor.number(struct.Struct("<d")) == 0.5
    assert cursor.remaining == 0


def test_refuses_a_length_beyond_the_end_of_the_file() -> None:
    with pytest.raises(GgufHeaderError, match=r"^ends at 9 beyond the file's 5 bytes$"):
        over(b"12345").take(9)


def test_refuses_a_header_longer_than_any_real_one_before_reading_it() -> None:
    with pytest.raises(GgufHeaderError, match="header is longer than 134217728 bytes"):
        over(b"", size=2**40).skip(HEADER_LIMIT + 1)


def test_refuses_more_strings_than_any_vocabulary_has() -> None:
    """Ours: the walk over them costs 0.1 µs each, so their number bounds the time."""
    cursor = over(b"", size=2**40)
    with pytest.raises(GgufHeaderError, match="more than 2097152 strings in arrays"):
        cursor.skip_strings(STRINGS_LIMIT + 1)


def test_refuses_more_names_and_texts_than_memory_should_hold() -> None:
    cursor = over(bytes(TAKEN_LIMIT + 1))
    cursor.take(TAKEN_LIMIT)
    with pytest.raises(GgufHeaderError, match="holds more than 8388608 bytes of names and texts"):
        cursor.take(1)


def test_what_is_skipped_is_not_read() -> None:
    """Ours: a length that is wrong by a hundred megabytes costs neither time nor memory."""
    cursor = HeaderCursor(io.BytesIO(b"1234"), size=HEADER_LIMIT)
    cursor.skip(HEADER_LIMIT)
    assert (cursor.remaining, cursor._piece) == (0, b"")


def test_reads_again_what_lies_behind_it() -> None:
    cursor = over(b"0123456789")
    cursor.skip(8)
    assert (cursor.again(2, 5), cursor.take(2)) == (b"234", b"89")


def test_counts_the_strings_of_all_arrays_together() -> None:
    cursor = over(string("a") * 2)
    cursor._strings_left = 3
    cursor.skip_strings(2)
    with pytest.raises(GgufHeaderError, match="strings in arrays"):
        cursor.skip_strings(2)


def test_says_when_the_file_shrinks_under_the_reader() -> None:
    """Ours: a download that starts again truncates; a memory map would end the process with SIGBUS here."""
    with pytest.raises(GgufHeaderError, match="shrank to 3 bytes while it was read"):
        over(b"123", size=1000).take(4)


def test_a_string_that_claims_to_reach_beyond_the_file_ends_the_walk() -> None:
    with pytest.raises(GgufHeaderError, match="ends at 18446744073709551623 beyond"):
        over(struct.pack("<Q", 2**64 - 1)).skip_strings(1)


def test_a_walk_over_strings_crosses_the_borders_of_chunks() -> None:
    content = string(b"x" * 700_000) * 4
    cursor = over(content + b"end")
    cursor.skip_strings(4)
    assert cursor.position == len(content)
    assert cursor.take(3) == b"end"


@given(texts=st.lists(st.binary(max_size=50), max_size=30), tail=st.binary(max_size=20))
def test_skipping_strings_ends_where_they_end(texts: list[bytes], tail: bytes) -> None:
    cursor = over(b"".join(map(string, texts)) + tail)
    cursor.skip_strings(len(texts))
    assert cursor.take(cursor.remaining) == tail
