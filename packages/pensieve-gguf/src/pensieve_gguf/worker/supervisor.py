"""Keeps one engine alive: restarts its worker, replays what nobody saw die, quarantines what kills.

Policy (design 5): a request whose engine died before its first token is replayed once, silently. After its first
token it fails. A request that has killed two engines is refused. An engine that keeps dying without having served
anything in between is given up.

Above: the provider. Below: `WorkerProcess`, which only knows that a process lives or is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib

import attrs
import structlog

from pensieve_core import (
    Clock,
    EngineDescription,
    EngineFailedError,
    EnginePhase,
    EngineStatus,
    GenerationEvent,
    GenerationFinished,
    GenerationRequest,
    ModelBrokenError,
    ModelDescriptor,
    OverloadedError,
    PensieveError,
    PrefillProgressed,
    PromptUsage,
    QuarantinedError,
    RequestId,
)
from pensieve_gguf.settings import GgufSettings
from pensieve_gguf.worker.messages import Admitted, Count, Counted, Event, Failed, FromWorker, Generate, encode
from pensieve_gguf.worker.process import Channel, LoadRefused, WorkerDied, WorkerProcess

__all__ = ["SupervisedEngine", "SupervisedGeneration"]

_log = structlog.get_logger(__name__)

_DEATHS_TO_QUARANTINE = 2
_DEATHS_TO_GIVE_UP = 5
_FIRST_BACK_OFF_S = 0.1
_WATCH_S = 1.0
_REMEMBERED = 256


@attrs.define
class _Deaths:
    """How often requests, and the engine itself, died. Bounded."""

    by_request: dict[str, int] = attrs.field(factory=dict)
    in_a_row: int = 0

    def count(self, request: GenerationRequest) -> int:
        """How many engines `request` has taken along."""
        return self.by_request.get(_fingerprint(request), 0) if self.by_request else 0

    def blame(self, request: GenerationRequest) -> int:
        """Note one more; return how many it is now."""
        fingerprint = _fingerprint(request)
        deaths = self.by_request.pop(fingerprint, 0) + 1
        self.by_request[fingerprint] = deaths
        while len(self.by_request) > _REMEMBERED:
            del self.by_request[next(iter(self.by_request))]
        return deaths


class SupervisedEngine:
    """`InferenceEngine` whose native code may die at any time."""

    def __init__(self, model: ModelDescriptor, settings: GgufSettings, clock: Clock) -> None:
        self._model = model
        self._settings = settings
        self._clock = clock
        self._worker: WorkerProcess | None = None
        self._description: EngineDescription | None = None
        self._spawning: asyncio.Task[WorkerProcess] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._deaths = _Deaths()
        self._closed = False
        self.status = EngineStatus(model=model.id, phase=EnginePhase.COLD)

    @property
    def description(self) -> EngineDescription:
        """What was loaded; known once `start` has returned."""
        if self._description is None:
            msg = "the engine has not been started"
            raise RuntimeError(msg)
        return self._description

    @property
    def busy(self) -> bool:
        """Whether any request is open."""
        return self._worker is not None and self._worker.requests > 0

    @property
    def worker_pid(self) -> int | None:
        """The process that holds the model now."""
        return None if self._worker is None else self._worker.pid

    async def start(self) -> None:
        """Load the model, unless it is.

        Raises:
            ModelBrokenError: it cannot be loaded.
        """
        await self._ready()

    async def generate(self, request: GenerationRequest) -> SupervisedGeneration:
        """Admit `request`; see `InferenceEngine.generate`."""
        generation = SupervisedGeneration(self, request)
        await generation.admit()
        return generation

    async def count_tokens(self, request: GenerationRequest) -> int:
        """Count the prompt's tokens in the worker."""
        while True:
            worker = await self._ready()
            channel = worker.open()
            worker.send(Count(key=channel.key, request=request))
            try:
                return _counted(await channel.receive())
            except WorkerDied as death:
                self.blame(request, death)
            finally:
                channel.close()

    async def aclose(self) -> None:
        """End the worker. Its requests fail."""
        self._closed = True
        self.status = attrs.evolve(self.status, phase=EnginePhase.CLOSED)
        tasks = [task for task in (self._spawning, self._watcher) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self._worker is not None:
            await self._worker.aclose()

    async def channel(self, request: GenerationRequest) -> Channel:
        """Send `request` to a living worker.

        Raises:
            QuarantinedError: it has killed too many.
            ModelBrokenError: there is no living worker, and will be none.
        """
        deaths = self._deaths.count(request)
        if deaths >= _DEATHS_TO_QUARANTINE:
            raise QuarantinedError(deaths)
        worker = await self._ready()
        channel = worker.open()
        worker.send(Generate(key=channel.key, request=request))
        return channel

    def blame(self, request: GenerationRequest, death: WorkerDied) -> None:
        """Note that `request` was there when the worker died.

        Raises:
            EngineFailedError: the engine is closing: nothing is replayed.
            QuarantinedError: it has killed too many by now.
        """
        if self._closed:
            raise EngineFailedError(f"the engine is closing ({death.words})")
        deaths = self._deaths.blame(request)
        if deaths >= _DEATHS_TO_QUARANTINE:
            raise QuarantinedError(deaths)

    def praise(self) -> None:
        """Note that the engine has served something since it last died."""
        self._deaths.in_a_row = 0

    @property
    def closed(self) -> bool:
        """Whether `aclose` was called."""
        return self._closed

    async def _ready(self) -> WorkerProcess:
        if self._closed:
            msg = "the engine is closing"
            raise OverloadedError(msg)
        if self.status.phase is EnginePhase.BROKEN:
            raise ModelBrokenError(self._model.id, self.status.detail)
        if self._worker is not None and not self._worker.died.is_set():
            return self._worker
        if self._spawning is None or self._spawning.done():
            self._spawning = asyncio.create_task(self._spawn(), name=f"spawn-{self._model.id}")
        # Shielded: a client that leaves must not take the engine from the others.
        return await asyncio.shield(self._spawning)

    async def _spawn(self) -> WorkerProcess:
        self.status = EngineStatus(model=self._model.id, phase=EnginePhase.LOADING)
        words = ""
        while self._deaths.in_a_row < _DEATHS_TO_GIVE_UP:
            await self._back_off()
            began = self._clock.monotonic()
            worker = await WorkerProcess.spawn(self._clock)
            try:
                await self._load(worker)
            except WorkerDied as death:
                self._deaths.in_a_row += 1
                words = death.words
                continue
            except (LoadRefused, TimeoutError) as error:
                words = str(error) or f"it did not load within {self._settings.spawn_timeout_s:.0f} s"
                await worker.aclose()
                break
            except BaseException:
                await worker.aclose()
                raise
            self._adopt(worker, self._clock.monotonic() - began)
            return worker
        self.status = EngineStatus(model=self._model.id, phase=EnginePhase.BROKEN, detail=words)
        _log.error("engine_given_up", model=self._model.id, reason=words)
        raise ModelBrokenError(self._model.id, words)

    async def _back_off(self) -> None:
        if self._deaths.in_a_row:
            await self._clock.sleep(_FIRST_BACK_OFF_S * 2**self._deaths.in_a_row)

    async def _load(self, worker: WorkerProcess) -> None:
        def progressed(done: float) -> None:
            self.status = attrs.evolve(self.status, progress=done)

        async with asyncio.timeout(self._settings.spawn_timeout_s):
            self._description = await worker.load(self._model, self._settings, progressed)

    def _adopt(self, worker: WorkerProcess, load_s: float) -> None:
        self._worker = worker
        self.status = EngineStatus(model=self._model.id, phase=EnginePhase.READY, progress=1.0)
        self._watcher = asyncio.create_task(self._watch(worker), name=f"watch-{worker.pid}")
        _log.info("engine_loaded", model=self._model.id, worker_pid=worker.pid, load_s=round(load_s, 3))

    async def _watch(self, worker: WorkerProcess) -> None:
        """Kill a worker that hangs; replace one that died, so that the next request finds a new one."""
        while not worker.died.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_WATCH_S):
                    await worker.died.wait()
            if worker.silent_for_s() > self._settings.stall_timeout_s:
                _log.error("worker_hung", model=self._model.id, silent_s=round(worker.silent_for_s(), 1))
                worker.kill()
        if not self._closed:
            self._deaths.in_a_row += 1
            _log.error("worker_died", model=self._model.id, worker_pid=worker.pid, last_words=worker.last_words())
            with contextlib.suppress(ModelBrokenError):
                await self._ready()


class SupervisedGeneration:
    """`Generation` that outlives a worker, as long as nobody has seen a token of it."""

    def __init__(self, engine: SupervisedEngine, request: GenerationRequest) -> None:
        self._engine = engine
        self._request = request
        self._channel: Channel | None = None
        self._answered = False
        self._done = False
        self.prompt = PromptUsage(prompt_tokens=0)

    async def admit(self) -> None:
        """Wait until a worker has admitted the request; replay it if the worker dies first."""
        while True:
            channel = await self._engine.channel(self._request)
            try:
                message = await channel.receive()
            except WorkerDied as death:
                self._engine.blame(self._request, death)
                continue
            except BaseException:
                channel.close()
                raise
            break
        if isinstance(message, Failed):
            channel.close()
            raise message.exception()
        if isinstance(message, Admitted):
            self.prompt = message.prompt
        self._channel = channel

    def __aiter__(self) -> SupervisedGeneration:
        return self

    async def __anext__(self) -> GenerationEvent:
        while not self._done and self._channel is not None:
            try:
                message = await self._channel.receive()
            except WorkerDied as death:
                await self._survive(death)
                continue
            match message:
                case Event(event=event):
                    self._note(event)
                    return event
                case Failed():
                    self._finish()
                    raise message.exception()
                case _:
                    break
        self._finish()
        raise StopAsyncIteration

    def cancel(self) -> None:
        """Drop the request in the worker, and end the iteration."""
        if self._channel is not None:
            self._channel.close()

    async def aclose(self) -> None:
        """Cancel unless finished."""
        self._finish()

    def _note(self, event: GenerationEvent) -> None:
        if isinstance(event, GenerationFinished):
            self._engine.praise()
            self._finish()
        elif not isinstance(event, PrefillProgressed):
            self._answered = True

    async def _survive(self, death: WorkerDied) -> None:
        """Replay the request if nobody has seen a token of it, else fail."""
        if self._answered:
            self._finish()
            raise EngineFailedError(f"the engine died in the middle of the answer ({death.words})")
        try:
            self._engine.blame(self._request, death)
            await self.admit()
        except PensieveError:
            self._finish()
            raise

    def _finish(self) -> None:
        self._done = True
        self.cancel()


def _counted(answer: FromWorker | None) -> int:
    match answer:
        case Counted(tokens=tokens):
            return tokens
        case Failed():
            raise answer.exception()
        case _:
            raise EngineFailedError(f"the worker answered {answer} when asked to count")


def _fingerprint(request: GenerationRequest) -> str:
    """Return what equal requests have in common: everything but their id."""
    anonymous = attrs.evolve(request, id=RequestId(""))
    return hashlib.sha256(encode(Generate(key=0, request=anonymous))).hexdigest()
