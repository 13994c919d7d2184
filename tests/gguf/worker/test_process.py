"""Ours: a worker as the supervisor sees it. The programs here stand in for one; none of them loads a model."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from typing import Any

import psutil
import pytest

from pensieve_core import EngineDescription, GenerationRequest, ModelId, PromptUsage, RequestId
from pensieve_gguf import GgufSettings
from pensieve_gguf.footprint import Footprint
from pensieve_gguf.worker.frames import encode_frame
from pensieve_gguf.worker.messages import (
    Admitted,
    Alive,
    Counted,
    FromWorker,
    Generate,
    Loaded,
    LoadFailed,
    Loading,
    encode,
)
from pensieve_gguf.worker.process import LoadRefused, WorkerDied, WorkerProcess
from pensieve_inference import SystemClock
from pensieve_inference.testing import FakeClock, make_descriptor

PATIENCE_S = 20.0
MODEL = make_descriptor("m")
DESCRIPTION = EngineDescription(
    model=MODEL, engine="stand-in", context_tokens=8, max_sequences=1, threads=1, gpu_layers=0
)
SOCKET = "import os, signal, socket, sys, time; s = socket.socket(fileno=int(sys.argv[1]));"
READ_FOR_EVER = "\nwhile s.recv(65536): pass"
LOADED = Loaded(description=DESCRIPTION, kv_type="f16")


def says(*messages: FromWorker) -> str:
    """Return a program that waits for its first frame, says `messages`, and stays until its socket ends."""
    frames = b"".join(encode_frame(encode(message)) for message in messages)
    return f"{SOCKET} s.recv(65536); s.sendall({frames!r}){READ_FOR_EVER}"


@contextlib.asynccontextmanager
async def running(program: str, clock: Any = None) -> AsyncIterator[WorkerProcess]:
    """Run Python code as a worker; nothing of it is left afterwards."""
    async with asyncio.timeout(PATIENCE_S):
        worker = await WorkerProcess.run((sys.executable, "-S", "-E", "-c", program), clock or SystemClock())
        try:
            yield worker
        finally:
            await worker.aclose()


async def load(worker: WorkerProcess, told: list[float] | None = None) -> Loaded:
    return await worker.load(MODEL, GgufSettings(), (told if told is not None else []).append)


def request() -> GenerationRequest:
    return GenerationRequest(id=RequestId("req_1"), model=ModelId("m"), turns=(), max_tokens=1)


# -- loading -------------------------------------------------------------------------------------------------------


async def test_a_worker_tells_how_far_it_is_and_what_it_loaded() -> None:
    told: list[float] = []
    async with running(says(Loading(progress=0.25), Loading(progress=0.5), LOADED)) as worker:
        assert await load(worker, told) == LOADED
    assert told == [0.25, 0.5]


async def test_a_worker_that_cannot_load_says_why() -> None:
    async with running(says(LoadFailed(reason="invalid magic characters"))) as worker:
        with pytest.raises(LoadRefused, match="invalid magic characters"):
            await load(worker)


async def test_a_worker_that_has_too_little_memory_says_how_much_it_needs() -> None:
    async with running(says(LoadFailed(reason="too little", needs=Footprint(ram=7, gpu=5)))) as worker:
        with pytest.raises(LoadRefused) as caught:
            await load(worker)
        assert caught.value.needs == Footprint(ram=7, gpu=5)


async def test_a_worker_is_told_how_long_it_may_save_before_its_socket_ends() -> None:
    """It writes what it reads to stderr, its last words."""
    program = f"{SOCKET}\nwhile data := s.recv(4096): sys.stderr.write(repr(data)); sys.stderr.flush()"
    async with running(program) as worker:
        await worker.aclose(save_s=2.5)
        assert '"save_s":2.5' in worker.last_words()


async def test_a_worker_that_dies_while_it_loads_leaves_its_last_words() -> None:
    program = f"{SOCKET} sys.stderr.write('GGML_ASSERT(x) failed\\n'); sys.stderr.flush(); os.abort()"
    async with running(program) as worker:
        with pytest.raises(WorkerDied, match=r"ended by signal 6 GGML_ASSERT\(x\) failed"):
            await load(worker)


async def test_of_many_words_the_last_ones_are_kept() -> None:
    program = f"{SOCKET} sys.stderr.write('chatter ' * 10_000 + 'the end'); sys.stderr.flush(); sys.exit(3)"
    async with running(program) as worker:
        await worker.died.wait()
        assert worker.last_words().startswith("ended with status 3")
        assert worker.last_words().endswith("the end")
        assert len(worker.last_words()) < 5_000


# -- talking -------------------------------------------------------------------------------------------------------


async def test_each_channel_hears_its_own_messages() -> None:
    program = says(Counted(key=2, tokens=22), Counted(key=1, tokens=11), Counted(key=99, tokens=0))
    async with running(program) as worker:
        first, second = worker.open(), worker.open()
        worker.send(Generate(key=first.key, request=request()))
        assert await first.receive() == Counted(key=1, tokens=11)
        assert await second.receive() == Counted(key=2, tokens=22)
        assert worker.requests == 2


async def test_a_closed_channel_hears_what_was_on_its_way_and_then_nothing() -> None:
    async with running(says(Admitted(key=1, prompt=PromptUsage(prompt_tokens=3)), Counted(key=2, tokens=1))) as worker:
        channel, other = worker.open(), worker.open()
        worker.send(Generate(key=channel.key, request=request()))
        await other.receive()  # by now the first message has arrived, too
        channel.close()
        assert isinstance(await channel.receive(), Admitted)
        assert await channel.receive() is None
        assert worker.requests == 1


async def test_closing_a_channel_drops_its_request_in_the_worker() -> None:
    """The program answers a Cancel, recognised by its word, with a message to the second channel."""
    frame = encode_frame(encode(Counted(key=2, tokens=1)))
    program = f"{SOCKET}\nwhile b'cancel' not in s.recv(65536): pass\ns.sendall({frame!r}){READ_FOR_EVER}"
    async with running(program) as worker:
        channel, other = worker.open(), worker.open()
        channel.close()
        assert await other.receive() == Counted(key=2, tokens=1)


# -- dying ---------------------------------------------------------------------------------------------------------


async def test_when_a_worker_dies_every_channel_hears_of_it() -> None:
    async with running(SOCKET + READ_FOR_EVER) as worker:
        channels = [worker.open(), worker.open()]
        os.kill(worker.pid, signal.SIGKILL)
        for channel in channels:
            with pytest.raises(WorkerDied, match="ended by signal 9"):
                await channel.receive()


async def test_who_asks_a_dead_worker_hears_that_it_is_dead() -> None:
    async with running(SOCKET) as worker:
        await worker.died.wait()
        channel = worker.open()
        worker.send(Generate(key=channel.key, request=request()))
        with pytest.raises(WorkerDied, match="ended with status 0"):
            await channel.receive()


@pytest.mark.parametrize(
    "nonsense",
    [
        pytest.param(b"\xff\xff\xff\xff", id="an absurd length"),
        pytest.param(encode_frame(b"hello"), id="no JSON"),
        pytest.param(encode_frame(b'{"kind": "surprise"}'), id="an unknown message"),
        pytest.param(encode_frame(encode(LOADED)) * 2, id="two models"),
    ],
)
async def test_a_worker_that_talks_nonsense_is_ended(nonsense: bytes) -> None:
    async with running(f"{SOCKET} s.sendall({nonsense!r}){READ_FOR_EVER}") as worker:
        channel = worker.open()
        with pytest.raises(WorkerDied, match="ended by signal 9"):
            await channel.receive()


async def test_a_worker_that_closes_its_socket_but_stays_is_ended() -> None:
    async with running(f"{SOCKET} s.close(); time.sleep(600)") as worker:
        await worker.died.wait()
        assert not psutil.pid_exists(worker.pid)


async def test_silence_is_measured_from_the_last_message() -> None:
    clock = FakeClock()
    async with running(says(Alive(decodes=1, decoding_for_s=0.5), Counted(key=1, tokens=1)), clock) as worker:
        await clock.advance(100.0)
        assert worker.silent_for_s() == 100.0
        channel = worker.open()
        worker.send(Generate(key=channel.key, request=request()))
        await channel.receive()
        assert worker.silent_for_s() == 0.5


async def test_a_worker_that_decodes_for_ever_is_as_good_as_silent() -> None:
    """A GPU that hangs leaves the other threads alive (design 5)."""
    async with running(says(Alive(decodes=1, decoding_for_s=300.0), Counted(key=1, tokens=1))) as worker:
        channel = worker.open()
        worker.send(Generate(key=channel.key, request=request()))
        await channel.receive()
        assert worker.silent_for_s() == 300.0


# -- what it leaves, and what it sees ------------------------------------------------------------------------------


async def test_nothing_is_left_of_a_closed_worker() -> None:
    this = psutil.Process()
    async with running(SOCKET + READ_FOR_EVER):  # the first one may open what asyncio keeps
        pass
    before = this.num_fds()
    async with running(SOCKET + READ_FOR_EVER) as worker:
        pid = worker.pid
        assert this.num_fds() > before
    assert this.num_fds() <= before
    assert not psutil.pid_exists(pid)
    await worker.aclose()  # again: it is idempotent


async def test_a_program_that_cannot_be_started_leaves_nothing() -> None:
    this = psutil.Process()
    before = this.num_fds()
    with pytest.raises(FileNotFoundError):
        await WorkerProcess.run(("/nowhere/python",), SystemClock())
    assert this.num_fds() <= before


async def test_whoever_cancels_a_start_at_any_moment_leaves_nothing() -> None:
    """SQLite's way (design 5): once after each round of the event loop, until the start is over before the cancel."""
    this = psutil.Process()
    async with running(SOCKET):
        pass
    before = this.num_fds()
    for rounds in range(1_000):
        starting = asyncio.create_task(
            WorkerProcess.run((sys.executable, "-S", "-E", "-c", SOCKET + READ_FOR_EVER), SystemClock())
        )
        for _ in range(rounds):
            await asyncio.sleep(0)
        if starting.done():
            await (await starting).aclose()
            break
        starting.cancel()
        await asyncio.wait((starting,))
        assert this.children() == []
    assert this.num_fds() <= before
    assert rounds > 3


async def test_a_worker_sees_no_secrets_of_our_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-secret")
    monkeypatch.setenv("PENSIEVE_API_KEYS", "secret")
    monkeypatch.setenv("PYTHONPATH", "/tmp/elsewhere")
    monkeypatch.setenv("GGML_CUDA_NO_PINNED", "1")
    async with running(SOCKET + READ_FOR_EVER) as worker:
        seen = psutil.Process(worker.pid).environ()
    assert "secret" not in str(seen)
    assert "PYTHONPATH" not in seen
    assert seen["GGML_CUDA_NO_PINNED"] == "1"
    assert seen["PATH"] == os.environ["PATH"]


async def test_a_worker_holds_no_file_of_ours_but_its_socket() -> None:
    ours = os.open(os.devnull, os.O_RDONLY)
    try:
        os.set_inheritable(ours, True)  # noqa: FBT003 - takes no keyword
        program = f"{SOCKET} sys.stderr.write(str(len(os.listdir('/proc/self/fd')) - 1)); sys.exit(0)"
        async with running(program) as worker:
            await worker.died.wait()
            assert worker.last_words() == "ended with status 0 4"  # in, out, err, and the socket
    finally:
        os.close(ours)


async def test_a_signal_to_our_terminal_does_not_reach_the_worker() -> None:
    """Ctrl-C drains the server; workers go when it closes them."""
    async with running(SOCKET + READ_FOR_EVER) as worker:
        assert os.getsid(worker.pid) != os.getsid(0)
