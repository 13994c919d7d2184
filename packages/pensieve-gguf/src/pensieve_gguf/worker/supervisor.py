"""Keeps one engine alive: restarts its worker, replays what nobody saw die, quarantines what kills.

Policy (design 5): a request whose engine died before its first token is replayed once, silently. After its first
token it fails. A request that has killed two engines is refused. An engine that keeps dying without having served
anything in between is given up. A draft model is left out from the first death on before which nothing was served.

Above: the provider. Below: `Deaths`, which keeps count, and `WorkerProcess`, which only knows that a process lives or
is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TypeAlias

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
    PromptUsage,
)
from pensieve_gguf.settings import GgufSettings
from pensieve_gguf.told import Told
from pensieve_gguf.too_little_memory import TooLittleMemoryError
from pensieve_gguf.worker.deaths import Deaths
from pensieve_gguf.worker.messages import Admitted, Count, Event, Failed, Generate, Loaded, counted
from pensieve_gguf.worker.process import Channel, LoadRefused, WorkerDied, WorkerProcess

__all__ = ["SupervisedEngine", "SupervisedGeneration"]

_log = structlog.get_logger(__name__)

Spawn: TypeAlias = Callable[[Clock], Awaitable[WorkerProcess]]

_WATCH_S = 1.0


class SupervisedEngine:
    """`InferenceEngine` whose native code may die at any time."""

    def __init__(
        self, model: ModelDescriptor, settings: GgufSettings, clock: Clock, spawn: Spawn = WorkerProcess.spawn
    ) -> None:
        self._model = model
        self._settings = settings
        self._clock = clock
        self._spawn_worker = spawn
        self._worker: WorkerProcess | None = None
        self._loaded: Loaded | None = None
        self._spawning: asyncio.Task[WorkerProcess] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._deaths = Deaths()
        self.parole = asyncio.Lock()
        """Held by the one suspect that is being served."""
        self._closed = False
        self.status = EngineStatus(model=model.id, phase=EnginePhase.COLD)

    @property
    def description(self) -> EngineDescription:
        """What was loaded; known once `start` has returned."""
        return self.loaded.description

    @property
    def loaded(self) -> Loaded:
        """What the worker said of the model; known once `start` has returned."""
        if self._loaded is None:
            msg = "the engine has not been started"
            raise RuntimeError(msg)
        return self._loaded

    @property
    def busy(self) -> bool:
        """Whether any request is open, or waits for the model to load."""
        loading = self._spawning is not None and not self._spawning.done()
        return loading or (self._worker is not None and self._worker.requests > 0)

    @property
    def given_up(self) -> ModelBrokenError | None:
        """Why it will never serve again, if so."""
        broken = self.status.phase is EnginePhase.BROKEN
        return ModelBrokenError(self._model.id, self.status.detail) if broken else None

    @property
    def worker_pid(self) -> int | None:
        """The process that holds the model now."""
        return None if self._worker is None else self._worker.pid

    async def start(self) -> None:
        """Load the model, unless it is.

        Raises:
            TooLittleMemoryError: it may not take what it would have to.
            ModelBrokenError: it cannot be loaded.
            OverloadedError: the machine has no room for a process now, or the engine is closing.
        """
        await self._ready()

    async def generate(self, request: GenerationRequest) -> SupervisedGeneration:
        """Admit `request`; see `InferenceEngine.generate`."""
        generation = SupervisedGeneration(self, request)
        try:
            await generation.admit()
        except BaseException:
            await generation.aclose()
            raise
        return generation

    async def count_tokens(self, request: GenerationRequest) -> int:
        """Count the prompt's tokens in the worker."""
        while True:
            worker = await self._worker_for(request)
            channel = worker.open()
            worker.send(Count(key=channel.key, request=request))
            try:
                return counted(await channel.receive())
            except WorkerDied as death:
                self.blame(request, death)
            finally:
                channel.close()

    async def aclose(self, *, save_s: float | None = None) -> None:
        """End the worker, which saves first, as in `WorkerProcess`. Its requests end with `OverloadedError`."""
        self._closed = True
        self.status = attrs.evolve(self.status, phase=EnginePhase.CLOSED)
        tasks = [task for task in (self._spawning, self._watcher) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self._worker is not None:
            await self._worker.aclose(save_s=save_s)

    async def channel(self, request: GenerationRequest) -> Channel:
        """Send `request` to a living worker.

        Raises:
            QuarantinedError: it has killed too many.
            ModelBrokenError: there is no living worker, and will be none.
        """
        worker = await self._worker_for(request)
        channel = worker.open()
        worker.send(Generate(key=channel.key, request=request))
        return channel

    def blame(self, request: GenerationRequest, death: WorkerDied) -> None:
        """Note that `request` was there when the worker died.

        Raises:
            OverloadedError: nobody is to blame: the engine is closing.
        """
        self._check_open()
        self._deaths.blame(request, death.pid)

    def suspects(self, request: GenerationRequest) -> bool:
        """Whether `request` is to be served under `parole`.

        Raises:
            QuarantinedError: it is not to be served at all.
        """
        self._deaths.check(request)
        return self._deaths.suspects(request)

    def praise(self, request: GenerationRequest) -> None:
        """Note that `request` was served."""
        self._deaths.praise(request)

    async def _worker_for(self, request: GenerationRequest) -> WorkerProcess:
        self._deaths.check(request)
        return await self._ready()

    def _check_open(self) -> None:
        if self._closed:
            msg = "the engine is closing"
            raise OverloadedError(msg)

    async def _ready(self) -> WorkerProcess:
        self._check_open()
        if self.given_up is not None:
            raise self.given_up
        if self._worker is not None and not self._worker.died.is_set():
            return self._worker
        if self._spawning is None or self._spawning.done():
            self._spawning = asyncio.create_task(self._spawn(), name=f"spawn-{self._model.id}")
        try:
            # Shielded: a client that leaves must not take the engine from the others.
            return await asyncio.shield(self._spawning)
        except asyncio.CancelledError:
            if self._spawning.cancelled():  # by `aclose`: whoever waits here was not
                self._check_open()
            raise

    async def _spawn(self) -> WorkerProcess:
        self.status = EngineStatus(model=self._model.id, phase=EnginePhase.LOADING)
        while not self._deaths.too_many:
            await self._clock.sleep(self._deaths.back_off_s)
            began = self._clock.monotonic()
            worker = await self._started()
            try:
                await self._load(worker)
            except WorkerDied as death:
                self._note_death(death.words)
                continue
            except (LoadRefused, TimeoutError) as error:
                await worker.aclose()
                if isinstance(error, LoadRefused) and error.needs is not None:
                    raise TooLittleMemoryError(error.needs) from None
                raise self._given_up(
                    str(error) or f"it did not load within {self._settings.spawn_timeout_s:.0f} s"
                ) from None
            except BaseException:
                await worker.aclose()
                raise
            self._adopt(worker, self._clock.monotonic() - began)
            return worker
        raise self._given_up(self._deaths.last_words)

    def _note_death(self, words: str) -> None:
        """Count it; a draft model that may have killed a worker is given up, and the model serves alone."""
        self._deaths.note(words)
        if not self._deaths.served_nothing:
            return
        draft, self._model = self._model.draft, attrs.evolve(self._model, draft=None)
        if draft is not None:
            paths = {"model": str(self._model.path), "draft_model": str(draft.path)}
            _log.warning("draft_model_unusable", **paths, reason=f"the worker that loaded both {words}")

    async def _started(self) -> WorkerProcess:
        try:
            return await self._spawn_worker(self._clock)
        except OSError as error:
            # Of the machine, not of the model: no process, no file or no memory is to be had just now.
            reason = f"the engine's process cannot be started: {error}"
            self.status = EngineStatus(model=self._model.id, phase=EnginePhase.COLD, detail=reason)
            _log.warning("worker_not_started", model=self._model.id, reason=reason)
            raise OverloadedError(reason) from error

    def _given_up(self, reason: str) -> ModelBrokenError:
        self.status = EngineStatus(model=self._model.id, phase=EnginePhase.BROKEN, detail=reason)
        _log.error("engine_given_up", model=self._model.id, reason=reason)
        return ModelBrokenError(self._model.id, reason)

    async def _load(self, worker: WorkerProcess) -> None:
        def progressed(done: float) -> None:
            self.status = attrs.evolve(self.status, progress=done)

        settings = self._settings
        if self._loaded is not None:  # it serves already, with a shorter context if need be: no other is asked for room
            settings = attrs.evolve(settings, least_context=None)
        async with asyncio.timeout(settings.spawn_timeout_s):
            self._loaded = await worker.load(self._model, settings, progressed)

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
            self._note_death(worker.last_words())
            _log.error("worker_died", model=self._model.id, worker_pid=worker.pid, last_words=worker.last_words())
            with contextlib.suppress(ModelBrokenError, OverloadedError):
                await self._ready()


class SupervisedGeneration:
    """`Generation` that outlives a worker, as long as nobody has seen a token of it."""

    def __init__(self, engine: SupervisedEngine, request: GenerationRequest) -> None:
        self._engine = engine
        self._request = request
        self._channel: Channel | None = None
        self._replaying: asyncio.Task[None] | None = None
        self._on_parole = False
        self._told = Told()
        self._cancelled = False
        self._done = False
        self.prompt = PromptUsage(prompt_tokens=0)

    async def admit(self) -> None:
        """Wait until a worker has admitted the request; replay it if the worker dies first."""
        while True:
            await self._await_parole()
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

    async def _await_parole(self) -> None:
        if self._engine.suspects(self._request) and not self._on_parole:
            await self._engine.parole.acquire()
            self._on_parole = True

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
                case Event(event=event) if self._told.repeats(event):
                    continue
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
        self._cancelled = True
        if self._channel is not None:
            self._channel.close()
        if self._replaying is not None:
            self._replaying.cancel()

    async def aclose(self) -> None:
        """Cancel unless finished."""
        self._finish()

    def _note(self, event: GenerationEvent) -> None:
        self._told.note(event)
        if isinstance(event, GenerationFinished):
            self._engine.praise(self._request)
            self._finish()

    async def _survive(self, death: WorkerDied) -> None:
        """Replay the request if nobody has seen a token of it, else fail; a cancelled one just ends."""
        if self._cancelled:
            self._finish()
            return
        try:
            self._engine.blame(self._request, death)
            if self._told.answered:
                raise EngineFailedError(f"the engine died in the middle of the answer ({death.words})")
            await self._replay()
        except PensieveError:
            self._finish()
            raise

    async def _replay(self) -> None:
        self._replaying = asyncio.ensure_future(self.admit())
        try:
            await self._replaying
        except asyncio.CancelledError:
            if not self._cancelled:
                raise
            self._finish()

    def _finish(self) -> None:
        self._done = True
        self.cancel()
        if self._on_parole:
            self._on_parole = False
            self._engine.parole.release()
