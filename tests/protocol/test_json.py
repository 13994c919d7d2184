"""Strict reading, compact writing. The cases of JSON itself are RFC 8259's; depth and 64 bits are ours."""

from __future__ import annotations

import json
import re

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pensieve_protocol._json import MAX_DEPTH, JsonError, dump_json, parse_json

DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@pytest.mark.parametrize(
    ("document", "says"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b'{"a":1,}', "not valid JSON"),
        (b'{"a":NaN}', "not valid JSON"),
        (b'{"a":1e999}', "not valid JSON"),
        (b'{"a":"\xff"}', "not valid JSON"),
        (b"\xef\xbb\xbf{}", "not valid JSON"),
        (rb'{"a":"\ud800"}', "not valid JSON"),
        ("{}".encode("utf-16"), "not valid JSON"),
        (b'{"a":18446744073709551616}', "does not fit into 64 bits: 18446744073709551616"),
        (b'{"a":-9223372036854775809}', "does not fit into 64 bits: -9223372036854775809"),
        (b'{"a":' + b"9" * 300 + b"}", "does not fit into 64 bits: 999999"),
        (b'{"a":' + b"9" * 5000 + b"}", "not valid JSON: number is infinity"),
        (b'{"a":{"b":1,"c":2,"b":3}}', "two members named 'b'"),
    ],
)
def test_what_would_be_changed_or_guessed_is_refused(document: bytes, says: str) -> None:
    with pytest.raises(JsonError, match=re.escape(says)):
        parse_json(document)


def test_of_a_long_number_forty_digits_are_shown() -> None:
    with pytest.raises(JsonError, match=r": 9{40}$"):
        parse_json(b'{"a":' + b"9" * 300 + b"}")


@pytest.mark.parametrize("number", [b"18446744073709551615", b"-9223372036854775808", b"1e300", b"-1e300"])
def test_the_largest_numbers_that_are_exact_pass(number: bytes) -> None:
    assert parse_json(number) == json.loads(number)


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_nesting_is_accepted_to_the_limit_and_refused_beyond(opening: str) -> None:
    closing = "]" if opening == "[" else "}"
    deepest = opening * (MAX_DEPTH - 1) + "[]" + closing * (MAX_DEPTH - 1)
    parse_json(deepest.encode())
    with pytest.raises(JsonError, match="more than 64 levels"):
        parse_json((opening + deepest + closing).encode())


@pytest.mark.parametrize("depth", [2_000, 1_000_000])
def test_absurd_nesting_ends_in_an_error_and_not_in_a_recursion(depth: int) -> None:
    with pytest.raises(JsonError):
        parse_json(b"[" * depth + b"]" * depth)


@given(DOCUMENTS)
def test_what_was_written_reads_as_it_was(value: object) -> None:
    assert parse_json(dump_json(value)) == value


@given(st.binary(max_size=40))
def test_arbitrary_bytes_are_read_or_refused(document: bytes) -> None:
    try:
        value = parse_json(document)
    except JsonError:
        return
    assert value == json.loads(document)


def test_values_are_written_field_by_field() -> None:
    @attrs.frozen
    class Inner:
        x: int

    @attrs.frozen
    class Outer:
        type: str
        inner: Inner
        items: tuple[Inner, ...]
        nothing: None = None

    written = dump_json(Outer("o", Inner(1), (Inner(2),)))
    assert written == b'{"type":"o","inner":{"x":1},"items":[{"x":2}],"nothing":null}'
