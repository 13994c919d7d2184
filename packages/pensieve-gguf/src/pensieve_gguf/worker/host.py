"""The worker process: one model, one engine, one socket to the supervisor. Crash-only.

There is no shutdown to get wrong: when the socket ends, the process ends within seconds, whatever it is doing. All that
matters is on the other side, or in the KV cache that can be computed again; so that it need not be, the engine saves
what it has not saved yet, if it can while there is time.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import faulthandler
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from typing import Any, Never, assert_never

import structlog

from pensieve_core import EngineFailedError, PensieveError
from pensieve_gguf.engine import GgufEngine
from pensieve_gguf.engine.disk_tier import LAST_SAVES_S
from pensieve_gguf.llama import LoadError
from pensieve_gguf.too_little_memory import TooLittleMemoryError
from pensieve_gguf.worker.frames import FrameDecoder, encode_frame
from pensieve_gguf.worker.messages import (
    Admitted,
    Alive,
    Cancel,
    Count,
    Counted,
    Event,
    Farewell,
    FromWorker,
    Generate,
    Load,
    Loaded,
    LoadFailed,
    Loading,
    Logged,
    ToWorker,
    decode_to_worker,
    encode,
    failure,
)
from pensieve_inference import SystemClock

__all__ = ["Host", "main"]

_HEARTBEAT_S = 1.0
_READ_BYTES = 1 << 18
_PR_SET_PDEATHSIG = 1
_PROGRESS_STEP = 0.01
_LAST_S = 2.0  # beyond what is saved, to free the model
# How long the engine thread may wait for the GIL after a decode, while a long prompt is being rendered.
_SWITCH_S = 0.0005


class Host:
    """Serves one `GgufEngine` over a socket.

    Args:
        connection: The stream to the supervisor.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._clock = SystemClock()
        self._engine: GgufEngine | None = None
        self._requests: dict[int, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._frames: list[bytes] = []
        self._save_s = LAST_SAVES_S

    async def run(self) -> None:
        """Serve until the supervisor closes the socket."""
        self._begin(self._beat())
        decoder = FrameDecoder()
        while data := await self._reader.read(_READ_BYTES):
            for payload in decoder.feed(data):
                self._take(decode_to_worker(payload))

    async def end(self) -> None:
        """Let the engine save what it has; if that hangs, the process ends all the same."""
        if self._engine is not None:
            last_resort = threading.Timer(self._save_s + _LAST_S, os._exit, (0,))
            last_resort.daemon = True
            last_resort.start()
            await self._engine.aclose(save_s=self._save_s)

    def log(self, level: str, event: dict[str, Any]) -> None:
        """Send a log event to the supervisor, which has a log; from the event loop."""
        fields = {name: str(value) for name, value in event.items() if name != "event"}
        self._send(Logged(level=level, event=str(event.get("event", "")), fields=fields))

    def _take(self, message: ToWorker) -> None:
        match message:
            case Load():
                self._begin(self._load(message))
            case Generate(key=key):
                self._begin_request(key, lambda: self._generate(message))
            case Count(key=key):
                self._begin_request(key, lambda: self._count(message))
            case Cancel(key=key):
                self._cancel(key)
            case Farewell(save_s=save_s):
                self._save_s = save_s
            case _:
                assert_never(message)

    async def _load(self, message: Load) -> None:
        loop = asyncio.get_running_loop()
        report = _Progress(lambda done: loop.call_soon_threadsafe(self._send, Loading(progress=done)))
        try:
            self._engine = await asyncio.to_thread(
                GgufEngine.load, message.model, message.settings, self._clock, report
            )
        except LoadError as error:
            self._send(LoadFailed(reason=str(error)))
        except TooLittleMemoryError as error:
            self._send(LoadFailed(reason=str(error), needs=error.needs))
        except Exception as error:  # noqa: BLE001 - whatever a file provokes, the supervisor must hear of it
            self._send(LoadFailed(reason=f"the engine cannot use it: {error!r}"))
        else:
            engine = self._engine
            self._send(Loaded(description=engine.description, kv_type=engine.kv_type, gpu_bytes=engine.gpu_bytes))

    async def _answer(self, key: int, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except PensieveError as error:
            if self._engine is not None and self._engine.ended is not None:
                self._hang_up(self._engine.ended)
            else:
                self._send(failure(key, error))
        except Exception as error:  # noqa: BLE001 - the edge of the worker: the client must hear of it
            self._send(failure(key, EngineFailedError(f"the engine cannot serve this request: {error!r}")))

    async def _generate(self, message: Generate) -> None:
        async with contextlib.aclosing(await self._ready().generate(message.request)) as generation:
            self._send(Admitted(key=message.key, prompt=generation.prompt))
            async for event in generation:
                self._send(Event(key=message.key, event=event))

    async def _count(self, message: Count) -> None:
        tokens = await self._ready().count_tokens(message.request)
        self._send(Counted(key=message.key, tokens=tokens))

    def _cancel(self, key: int) -> None:
        request = self._requests.get(key)
        if request is not None:
            request.cancel()

    async def _beat(self) -> None:
        while True:
            if self._engine is not None:
                vitals = self._engine.vitals
                since = vitals.decoding_since
                busy = 0.0 if since is None else max(0.0, self._clock.monotonic() - since)
                self._send(Alive(decodes=vitals.decodes, decoding_for_s=busy))
            await self._clock.sleep(_HEARTBEAT_S)

    def _ready(self) -> GgufEngine:
        if self._engine is None:
            msg = "no model is loaded"
            raise EngineFailedError(msg)
        return self._engine

    def _hang_up(self, reason: PensieveError) -> None:
        """End: an engine that has ended is not mended, and the supervisor knows whom to replay."""
        sys.stderr.write(f"{reason.message}\n")
        self._writer.close()

    def _send(self, message: FromWorker) -> None:
        """Write `message`, with all others of this turn of the event loop in one piece."""
        if not self._frames:
            asyncio.get_running_loop().call_soon(self._flush)
        self._frames.append(encode_frame(encode(message)))

    def _flush(self) -> None:
        self._writer.write(b"".join(self._frames))
        self._frames.clear()

    def _begin_request(self, key: int, work: Callable[[], Awaitable[None]]) -> None:
        task = self._begin(self._answer(key, work))
        self._requests[key] = task
        task.add_done_callback(lambda _: self._requests.pop(key))

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


class _Progress:
    """Passes on progress in steps that one can see; called in the loading thread."""

    def __init__(self, report: Callable[[float], object]) -> None:
        self._report = report
        self._told = 0.0

    def __call__(self, done: float) -> bool:
        if done - self._told >= _PROGRESS_STEP:
            self._told = done
            self._report(done)
        return True


def main(arguments: list[str]) -> None:
    """Run as `python -m pensieve_gguf.worker FD`: FD is one end of a socket pair."""
    faulthandler.enable()
    sys.setswitchinterval(_SWITCH_S)
    _isolate()
    connection = socket.socket(fileno=int(arguments[0]))
    asyncio.run(_serve(connection))
    os._exit(0)


async def _serve(connection: socket.socket) -> None:
    reader, writer = await asyncio.open_connection(sock=connection)
    host = Host(reader, writer)
    _send_logs(host, asyncio.get_running_loop())
    with contextlib.suppress(ConnectionError):
        await host.run()
    await host.end()
    sys.stderr.flush()
    os._exit(0)


def _send_logs(host: Host, loop: asyncio.AbstractEventLoop) -> None:
    """Let whatever this process logs, in any thread, go to the supervisor."""

    def send(_: object, level: str, event: MutableMapping[str, Any]) -> Never:
        loop.call_soon_threadsafe(host.log, level, dict(event))
        raise structlog.DropEvent

    structlog.configure(processors=[send])


def _isolate() -> None:
    """No core dumps (they hold prompts); signals are the supervisor's; die with it where the system can."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
