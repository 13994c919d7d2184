"""Ours: amounts of memory are read as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pensieve_cli.sizes import parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("8GB", 8_000_000_000),
        ("8gb", 8_000_000_000),
        ("8G", 8_000_000_000),
        ("8GiB", 8 << 30),
        ("7.5 GiB", 15 << 29),
        ("512M", 512_000_000),
        ("1.5k", 1_500),
        ("2TiB", 2 << 40),
        ("1000", 1_000),
        ("1000B", 1_000),
        (" 1 MB ", 1_000_000),
    ],
)
def test_a_size_is_read(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "8 elephants", "8GBs", "1e9", "8ib", "0x10", "1,5GB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected an amount of memory like 8GB"):
        parse_size(text)


@given(st.integers(0, 1 << 50))
def test_plain_bytes_are_taken_as_they_are(size: int) -> None:
    assert parse_size(str(size)) == size
