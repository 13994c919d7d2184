"""Ours: the worker's side of the socket, in this process, so that its counters can be seen."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from pensieve_core import ModelDescriptor
from pensieve_gguf import GgufSettings
from pensieve_gguf.worker.frames import FrameDecoder, encode_frame
from pensieve_gguf.worker.host import Host
from pensieve_gguf.worker.messages import (
    Admitted,
    Alive,
    Cancel,
    Count,
    Counted,
    Event,
    Failed,
    FromWorker,
    Generate,
    Load,
    Loaded,
    LoadFailed,
    Loading,
    ToWorker,
    decode_from_worker,
    encode,
)

pytestmark = pytest.mark.model

PATIENCE_S = 30.0
SETTINGS = GgufSettings(context_tokens=512, threads=1, max_running=1)


class Peer:
    """The supervisor's end of the socket; heartbeats are kept apart."""

    def __init__(self, host: Host, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.host = host
        self.writer = writer
        self._reader = reader
        self._decoder = FrameDecoder()
        self._heard: list[FromWorker] = []
        self._alive: list[Alive] = []

    def say(self, *messages: ToWorker) -> None:
        """Send all messages in one piece: the host reads them before it can begin to work."""
        self.writer.write(b"".join(encode_frame(encode(message)) for message in messages))

    async def hear(self) -> FromWorker | None:
        """Return the next message; None when the host has hung up."""
        while not self._heard:
            if not await self._read():
                return None
        return self._heard.pop(0)

    async def hear_alive(self) -> Alive:
        """Return the next heartbeat."""
        while not self._alive:
            assert await self._read(), "the host has hung up"
        return self._alive.pop(0)

    async def _read(self) -> bool:
        data = await self._reader.read(1 << 16)
        messages = [decode_from_worker(payload) for payload in self._decoder.feed(data)]
        self._heard += [message for message in messages if not isinstance(message, Alive | Loading)]
        self._alive += [message for message in messages if isinstance(message, Alive)]
        return bool(data)


@contextlib.asynccontextmanager
async def hosted() -> AsyncIterator[Peer]:
    """Run a host; yields its peer."""
    ours, theirs = socket.socketpair()
    async with asyncio.timeout(PATIENCE_S):
        reader, writer = await asyncio.open_connection(sock=theirs)
        host = Host(reader, writer)
        serving = asyncio.create_task(host.run())
        peer = Peer(host, *await asyncio.open_connection(sock=ours))
        try:
            yield peer
        finally:
            peer.writer.close()
            await asyncio.wait((serving,))
            await end(host)
            writer.close()


async def end(host: Host) -> None:
    """Do what the end of a process does to a host."""
    for task in list(host._tasks):
        task.cancel()
    if host._tasks:
        await asyncio.wait(host._tasks)
    if host._engine is not None:
        await host._engine.aclose()


@contextlib.asynccontextmanager
async def loaded(model: ModelDescriptor, settings: GgufSettings = SETTINGS) -> AsyncIterator[Peer]:
    async with hosted() as peer:
        peer.say(Load(model=model, settings=settings))
        assert isinstance(await peer.hear(), Loaded)
        yield peer


async def test_a_request_is_admitted_answered_and_finished(smollm2: ModelDescriptor, client: Any) -> None:
    async with loaded(smollm2) as peer:
        peer.say(Generate(key=7, request=client.counting(7)))
        admitted = await peer.hear()
        assert isinstance(admitted, Admitted)
        assert admitted.key == 7
        heard: list[Any] = []
        while not heard or heard[-1].type != "generation_finished":
            message = await peer.hear()
            assert isinstance(message, Event)
            heard.append(message.event)
        assert heard[-1].usage.prompt_tokens == admitted.prompt.prompt_tokens


async def test_a_prompt_is_counted(smollm2: ModelDescriptor, client: Any) -> None:
    async with loaded(smollm2) as peer:
        peer.say(Count(key=1, request=client.request("hello")))
        counted = await peer.hear()
        assert isinstance(counted, Counted)
        assert counted.tokens > 1


async def test_a_cancel_that_overtakes_the_admission_is_not_lost(smollm2: ModelDescriptor, client: Any) -> None:
    """A client that leaves while its prompt is rendered: nobody would read what the model then says for minutes."""
    async with loaded(smollm2) as peer:
        peer.say(
            Generate(key=1, request=client.endless()),
            Cancel(key=1),
            Count(key=2, request=client.request("hello")),
        )
        assert isinstance(await peer.hear(), Counted)
        assert peer.host._engine is not None
        assert peer.host._engine.vitals.tokens_sampled == 0
        assert list(peer.host._requests) == []


async def test_a_cancel_stops_the_generation_and_makes_room_for_the_next(smollm2: ModelDescriptor, client: Any) -> None:
    async with loaded(smollm2) as peer:
        peer.say(Generate(key=1, request=client.endless()))
        while not isinstance(await peer.hear(), Event):
            pass
        peer.say(Cancel(key=1), Cancel(key=1), Cancel(key=99), Count(key=2, request=client.request("hello")))
        while not isinstance(await peer.hear(), Counted):
            pass
        assert peer.host._engine is not None
        peer.say(Generate(key=3, request=client.request("hello", max_tokens=1)))
        answers = [await peer.hear() for _ in range(2)]
        assert {message.key for message in answers if isinstance(message, Admitted | Event)} == {3}


async def test_a_request_that_cannot_be_served_fails_alone(smollm2: ModelDescriptor, client: Any) -> None:
    async with loaded(smollm2) as peer:
        peer.say(Generate(key=1, request=client.request("sea " * 1_000)), Count(key=2, request=client.request("hello")))
        failed, counted = await peer.hear(), await peer.hear()
        assert isinstance(failed, Failed)
        assert failed.error == "prompt_too_long"
        assert isinstance(counted, Counted)


async def test_without_a_model_nothing_is_served(client: Any) -> None:
    async with hosted() as peer:
        peer.say(Count(key=1, request=client.request("hello")))
        failed = await peer.hear()
        assert isinstance(failed, Failed)
        assert failed.error == "engine_failed"


async def test_a_broken_file_is_refused_in_the_words_of_llama_cpp(smollm2: ModelDescriptor, tmp_path: Path) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(b"GGUF, or so it says" * 100)
    async with hosted() as peer:
        peer.say(Load(model=attrs.evolve(smollm2, path=path), settings=SETTINGS))
        refused = await peer.hear()
        assert isinstance(refused, LoadFailed)
        assert "broken.gguf" in refused.reason


async def test_settings_that_cannot_be_used_are_refused_and_not_waited_for(smollm2: ModelDescriptor) -> None:
    """Whatever goes wrong while loading: the supervisor waits ten minutes for an answer."""
    async with hosted() as peer:
        peer.say(Load(model=smollm2, settings=attrs.evolve(SETTINGS, kv_type="f16", max_resident=10_000)))
        assert isinstance(await peer.hear(), LoadFailed)
        nothing_in_32_bits = 1 << 32
        peer.say(Load(model=smollm2, settings=attrs.evolve(SETTINGS, batch_tokens=nothing_in_32_bits)))
        assert isinstance(await peer.hear(), LoadFailed)


async def test_a_host_whose_engine_thread_ended_hangs_up(
    smollm2: ModelDescriptor, client: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Crash-only: the supervisor replaces the process, and knows whom to replay."""
    async with loaded(smollm2) as peer:
        assert peer.host._engine is not None
        peer.host._engine._model.vocabulary_size = 1  # no token is known from now on: the next decode fails
        peer.say(Generate(key=1, request=client.request("hello")))
        assert isinstance(await peer.hear(), Admitted)
        assert await peer.hear() is None
    assert "not in the vocabulary" in capsys.readouterr().err


async def test_a_host_says_that_it_is_alive(smollm2: ModelDescriptor) -> None:
    async with loaded(smollm2) as peer:
        assert (await peer.hear_alive()).decoding_for_s == 0.0
