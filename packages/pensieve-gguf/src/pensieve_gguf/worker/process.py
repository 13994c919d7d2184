"""A worker process, seen from the supervisor: spawn it, talk to it, notice that it died.

Knows nothing of restarts and replays: that is the supervisor's policy.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence

import structlog

from pensieve_core import Clock, ModelDescriptor
from pensieve_gguf.cores import PAGES_DEFAULT, SPIN_DEFAULT
from pensieve_gguf.footprint import Footprint
from pensieve_gguf.settings import GgufSettings
from pensieve_gguf.worker.frames import FrameDecoder, FrameError, encode_frame
from pensieve_gguf.worker.messages import (
    Alive,
    Cancel,
    Farewell,
    FromWorker,
    Load,
    Loaded,
    LoadFailed,
    Loading,
    Logged,
    MessageError,
    ToWorker,
    decode_from_worker,
    encode,
)

__all__ = ["Channel", "LoadRefused", "WorkerDied", "WorkerProcess"]

_log = structlog.get_logger(__name__)
_READ_BYTES = 1 << 18
_LAST_WORDS_BYTES = 4096
_LEVELS = logging.getLevelNamesMapping()
_EXIT_S = 7.0  # for a worker to end by itself, once its socket has: it may have prefixes to save
# What a worker may see of our environment. Keys and tokens of other programs are not among it.
_ENVIRONMENT = frozenset(
    {"PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "GLIBC_TUNABLES"}
)
_ENVIRONMENT_PREFIXES = ("GGML_", "LLAMA_", "CUDA_", "HIP_", "ROCR_", "OMP_", "GOMP_", "COVERAGE_")


class WorkerDied(Exception):  # noqa: N818 - an event, and the supervisor decides whether it is an error
    """The process `pid` is gone. `words`: the end of what it wrote to stderr, and how it ended."""

    def __init__(self, pid: int, words: str) -> None:
        super().__init__(words)
        self.pid = pid
        self.words = words


class LoadRefused(Exception):  # noqa: N818 - the worker's answer, not a fault of its
    """The worker lives, but cannot load the model. `needs`: it could, if it might take so much."""

    def __init__(self, reason: str, needs: Footprint | None = None) -> None:
        super().__init__(reason)
        self.needs = needs


class Channel:
    """One request's messages from the worker."""

    def __init__(self, key: int, close: Callable[[int], None]) -> None:
        self.key = key
        self._close = close
        self._inbox: asyncio.Queue[FromWorker | WorkerDied | None] = asyncio.Queue()

    async def receive(self) -> FromWorker | None:
        """Wait for the next message. None: the channel was closed on this side.

        Raises:
            WorkerDied: no more will come.
        """
        message = await self._inbox.get()
        if isinstance(message, WorkerDied):
            raise message
        return message

    def put(self, message: FromWorker | WorkerDied) -> None:
        """Deliver a message."""
        self._inbox.put_nowait(message)

    def close(self) -> None:
        """Stop listening, and let the worker drop the request."""
        self._close(self.key)
        self._inbox.put_nowait(None)


class WorkerProcess:
    """One worker. `spawn` it; it is gone when `died` is set."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        clock: Clock,
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
        self._clock = clock
        self._keys = itertools.count(1)
        self._channels: dict[int, Channel] = {}
        self._words = b""
        self._heard_at = clock.monotonic()
        self._decoding_for_s = 0.0
        self._exit_s = _EXIT_S
        self._load: asyncio.Future[Loaded] = asyncio.get_running_loop().create_future()
        self._on_progress: Callable[[float], None] = lambda _: None
        self._end: asyncio.Task[None] | None = None
        self.died = asyncio.Event()

    @classmethod
    async def spawn(cls, clock: Clock) -> WorkerProcess:
        """Start a process that waits for its model."""
        return await cls.run((sys.executable, "-m", "pensieve_gguf.worker"), clock)

    @classmethod
    async def run(cls, command: Sequence[str], clock: Clock) -> WorkerProcess:
        """Start `command` as a worker; its last argument will be the number of its socket."""
        ours, theirs = socket.socketpair()
        with theirs:
            # The socket first: once there is a process, nothing is waited for that may be cancelled.
            reader, writer = await asyncio.open_connection(sock=ours)
            try:
                process = await asyncio.create_subprocess_exec(
                    *command,
                    str(theirs.fileno()),
                    pass_fds=(theirs.fileno(),),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.DEVNULL,
                    stderr=asyncio.subprocess.PIPE,
                    env=_scrubbed_environment(),
                    start_new_session=True,
                )
            except BaseException:
                writer.close()
                await writer.wait_closed()
                raise
        worker = cls(process, reader, writer, clock)
        worker._end = asyncio.create_task(worker._follow(), name=f"worker-{process.pid}")
        return worker

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    async def load(
        self, model: ModelDescriptor, settings: GgufSettings, on_progress: Callable[[float], None]
    ) -> Loaded:
        """Load the model.

        Raises:
            LoadRefused: llama.cpp would not have it.
            WorkerDied: it took the process with it.
        """
        self._on_progress = on_progress
        self.send(Load(model=model, settings=settings))
        return await self._load

    def open(self) -> Channel:
        """Return a channel for a new request."""
        channel = Channel(next(self._keys), self._close_channel)
        self._channels[channel.key] = channel
        if self.died.is_set():
            channel.put(WorkerDied(self.pid, self.last_words()))
        return channel

    def send(self, message: ToWorker) -> None:
        """Write a message; a dead worker's channels say so by themselves."""
        if not self.died.is_set():
            self._writer.write(encode_frame(encode(message)))

    @property
    def requests(self) -> int:
        """Open channels."""
        return len(self._channels)

    def silent_for_s(self) -> float:
        """Seconds without a sign of life, or in one decode, whichever is more."""
        return max(self._clock.monotonic() - self._heard_at, self._decoding_for_s)

    def kill(self) -> None:
        """End the process now."""
        # Not Popen.kill: it polls, and takes the exit status away from asyncio's child watcher.
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGKILL)

    async def aclose(self, *, save_s: float | None = None) -> None:
        """End the process, and wait until it is gone and nothing of it is left. May be cancelled and called again.

        Args:
            save_s: For what the engine has not saved yet. None: as long as a server has that goes down.
        """
        if save_s is not None:
            self.send(Farewell(save_s=save_s))
            self._exit_s = save_s + _EXIT_S
        self._writer.close()  # the worker ends when its socket does
        if self._end is not None:
            await asyncio.wait((self._end,))

    def last_words(self) -> str:
        """Return how the process ended, and the end of what it wrote to stderr."""
        code = self._process.returncode
        how = f"ended by signal {-code}" if code is not None and code < 0 else f"ended with status {code}"
        return " ".join([how, *self._words.decode("utf-8", "replace").split()])

    def _close_channel(self, key: int) -> None:
        if self._channels.pop(key, None) is not None:
            self.send(Cancel(key=key))

    async def _follow(self) -> None:
        """Read messages and stderr until the process is gone, then tell everyone."""
        errors = asyncio.create_task(self._read_errors())
        try:
            await self._read_messages()
        except ConnectionError:
            pass  # it is gone: its status and its words say more
        except (FrameError, MessageError) as error:
            self._note(str(error))
            self.kill()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._exit_s):
                await self._process.wait()
        self.kill()
        await self._process.wait()
        await errors
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()
        self._tell_everyone()

    def _tell_everyone(self) -> None:
        self.died.set()
        death = WorkerDied(self.pid, self.last_words())
        if not self._load.done():
            self._load.set_exception(death)
            self._load.exception()  # retrieved: nobody may be waiting
        for channel in self._channels.values():
            channel.put(death)

    async def _read_messages(self) -> None:
        decoder = FrameDecoder()
        while data := await self._reader.read(_READ_BYTES):
            self._heard_at = self._clock.monotonic()
            for payload in decoder.feed(data):
                self._take(decode_from_worker(payload))

    def _take(self, message: FromWorker) -> None:
        match message:
            case Loading(progress=progress):
                self._on_progress(progress)
            case Loaded() if not self._load.done():
                self._load.set_result(message)
            case LoadFailed(reason=reason, needs=needs) if not self._load.done():
                self._load.set_exception(LoadRefused(reason, needs))
            case Loaded() | LoadFailed():
                msg = "a model is loaded once"
                raise MessageError(msg)
            case Alive(decoding_for_s=seconds):
                self._decoding_for_s = seconds
            case Logged(level=level, event=event, fields=fields):
                _log.log(_LEVELS.get(level.upper(), logging.WARNING), event, worker_pid=self.pid, **fields)
            case _:
                channel = self._channels.get(message.key)
                if channel is not None:
                    channel.put(message)

    async def _read_errors(self) -> None:
        stream = self._process.stderr
        while stream is not None and (data := await stream.read(_LAST_WORDS_BYTES)):
            self._words = (self._words + data)[-_LAST_WORDS_BYTES:]

    def _note(self, words: str) -> None:
        self._words += f" {words}".encode()


def _scrubbed_environment() -> dict[str, str]:
    passed = {
        name: value
        for name, value in os.environ.items()
        if name in _ENVIRONMENT or name.startswith(_ENVIRONMENT_PREFIXES)
    }
    return dict([SPIN_DEFAULT, PAGES_DEFAULT]) | passed
