from __future__ import annotations

import gzip
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pensieve_http import HttpSettings
from pensieve_http.body import BodyDecoder
from pensieve_http.testing import build_world
from pensieve_protocol import RequestError

_LIMIT = 1_000
_BODY = b'{"model": "claude-x", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}'


def _decode(pieces: list[bytes], encoding: str = "", limit: int = _LIMIT) -> bytes:
    decoder = BodyDecoder(encoding, max_bytes=limit)
    for piece in pieces:
        decoder.feed(piece)
    return decoder.finish()


def _cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


@given(body=st.binary(max_size=_LIMIT), places=st.lists(st.integers(0, 5_000), max_size=5))
def test_however_a_body_is_cut_it_arrives_whole(body: bytes, places: list[int]) -> None:
    assert _decode(_cut(body, places)) == body
    assert _decode(_cut(gzip.compress(body), places), "gzip", limit=5_000) == body


@given(excess=st.integers(1, 5_000), places=st.lists(st.integers(0, 10_000), max_size=5))
def test_one_byte_more_than_allowed_is_too_large_plain_and_compressed(excess: int, places: list[int]) -> None:
    body = b"x" * (_LIMIT + excess)
    for pieces, encoding in [(_cut(body, places), ""), (_cut(gzip.compress(body), places), "gzip")]:
        with pytest.raises(RequestError) as refusal:
            _decode(pieces, encoding)
        assert refusal.value.error.status == 413


def test_gzip_that_is_long_and_holds_little_is_too_large_as_well() -> None:
    # RFC 1952: FLG.FNAME announces a file name of any length, which decodes to nothing.
    named = b"\x1f\x8b\x08\x08\0\0\0\0\0\xff" + b"n" * 2 * _LIMIT
    with pytest.raises(RequestError) as refusal:
        _decode([named], "gzip")
    assert refusal.value.error.status == 413


def test_a_gzip_bomb_ends_at_the_limit_however_much_is_in_it() -> None:
    bomb = gzip.compress(bytes(50_000_000))
    decoder = BodyDecoder("gzip", max_bytes=100_000)
    with pytest.raises(RequestError):
        decoder.feed(bomb)
    assert len(decoder._decoded) <= 100_001


@pytest.mark.parametrize(
    "body", [b"not gzip", gzip.compress(b"{}")[:-1], gzip.compress(b"{}") + b"more", gzip.compress(b"{}")[:12]]
)
def test_broken_gzip_is_a_400(body: bytes) -> None:
    with pytest.raises(RequestError, match="not one complete gzip member") as refusal:
        _decode([body], "gzip")
    assert refusal.value.error.status == 400


async def test_a_gzipped_request_is_served() -> None:
    world = build_world()
    reply = await world.client.post("/v1/messages", body=gzip.compress(_BODY), headers={"content-encoding": "GZip"})
    assert reply.status == 200


async def test_another_encoding_is_refused_by_name() -> None:
    reply = await build_world().client.post("/v1/messages", body=_BODY, headers={"content-encoding": "br"})
    assert reply.status == 400
    assert "expected identity or gzip, got br" in reply.json()["error"]["message"]


@pytest.mark.parametrize("length", ["101", "9" * 5_000, "0" * 50 + "101"])
async def test_a_body_announced_as_too_large_is_refused_before_it_is_read(length: str) -> None:
    world = build_world(settings=HttpSettings(max_body_bytes=100))
    async with world.client.open("POST", "/v1/messages", headers={"content-length": length}) as connection:
        assert await connection.status() == 413
        connection.upload(b"")
        assert (await connection.reply()).json()["error"]["type"] == "request_too_large"


async def test_a_body_without_announced_length_is_cut_while_it_streams_in() -> None:
    world = build_world(settings=HttpSettings(max_body_bytes=100))
    async with world.client.open("POST", "/v1/messages") as connection:
        connection.upload(b"x" * 60, more=True)
        connection.upload(b"x" * 60, more=True)
        assert await connection.status() == 413


async def test_a_body_that_never_ends_is_given_up_after_its_time() -> None:
    world = build_world(settings=HttpSettings(body_timeout_s=60, linger_s=2))
    async with world.client.open("POST", "/v1/messages") as connection:
        connection.upload(_BODY[:10], more=True)
        await world.clock.advance(59)
        assert connection.silent
        await world.clock.advance(2)
        await world.clock.advance(2)
        reply = await connection.reply()
    assert reply.status == 408
    assert reply.json()["error"] == {
        "type": "timeout_error",
        "message": "the request's body did not arrive within 60 s",
    }


async def test_a_client_that_leaves_in_the_middle_of_its_body_gets_no_answer_and_one_log_line() -> None:
    world = build_world()
    async with world.client.open("POST", "/v1/messages") as connection:
        connection.upload(_BODY[:10], more=True)
        connection.disconnect()
        await connection.served()
        assert connection.silent
    assert [line["ending"] for line in world.lines()] == ["disconnected"]
