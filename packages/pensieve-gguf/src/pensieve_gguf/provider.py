"""Hands out engines: one supervised worker per model, several of them within one memory budget.

A shell: who is loaded, who waits and who makes room the planner decides (`tenancy`); here models are loaded and closed
accordingly, time is told, and memory is looked at. Above: `pensieve_http`, through `pensieve_inference`'s Protocols.
Below: `worker.SupervisedEngine`.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias, assert_never

import attrs
import psutil
import structlog

from pensieve_core import (
    Clock,
    EngineDescription,
    EnginePhase,
    EngineStatus,
    MemoryUse,
    ModelDescriptor,
    ModelId,
    OverloadedError,
    PensieveError,
    Residency,
)
from pensieve_gguf.footprint import Footprint
from pensieve_gguf.leases import Lease, LeasedEngine
from pensieve_gguf.lodging import LodgedEngine, Lodging, OpenEngine
from pensieve_gguf.settings import GgufSettings
from pensieve_gguf.tenancy import Grant, Leave, Load, Phase, Planner, Refuse, Step, Terms, Ticket
from pensieve_gguf.too_little_memory import TooLittleMemoryError
from pensieve_gguf.worker import SupervisedEngine

__all__ = ["GgufProvider", "create_provider"]

_log = structlog.get_logger(__name__)
_SAVE_S = 30.0
"""For what a model that makes room has not saved yet: some 8 GB. A server that goes down is in more of a hurry."""
_Turn: TypeAlias = "asyncio.Future[LodgedEngine]"


class GgufProvider:
    """`EngineProvider` and `EngineLoader` for GGUF files. Belongs to one event loop.

    Args:
        settings: Of all engines, and of the memory that they share.
        clock: For residences, drains and idle times.
        open_engine: Makes an engine that is not started yet.
        free_bytes: Says how much memory could be had now; asked where no budget was set.
    """

    def __init__(
        self,
        settings: GgufSettings,
        clock: Clock,
        *,
        open_engine: OpenEngine = SupervisedEngine,
        free_bytes: Callable[[], int] = lambda: psutil.virtual_memory().available,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._open_engine = open_engine
        self._free_bytes = free_bytes
        terms = Terms(
            residence_s=settings.residence_s,
            drain_s=settings.swap_drain_s,
            idle_unload_s=settings.idle_unload_s,
        )
        budget = Footprint(ram=settings.memory_budget_bytes or 0, gpu=settings.gpu_memory_budget_bytes or 0)
        self._planner = Planner(budget, terms)
        self._gpu_is_known = settings.gpu_memory_budget_bytes is not None
        self._lodgings: dict[ModelId, Lodging] = {}
        self._turns: dict[Ticket, _Turn] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._alarm: asyncio.Task[None] | None = None
        self._closed = False

    # -- what others ask -----------------------------------------------------------------------------------------------

    async def engine(self, model: ModelDescriptor) -> LeasedEngine:
        """Return the engine of `model`, waiting until it is in memory. It may leave, and comes back when asked."""
        lease = await self.lease(model)
        lease.release()
        lodging = self._lodgings[model.id]
        return LeasedEngine(functools.partial(self.lease, model), lodging.describe)

    async def lease(self, model: ModelDescriptor) -> Lease:
        """Wait until `model` is in memory, and keep it there until the lease is released.

        Raises:
            ModelBrokenError: it cannot be loaded.
            OverloadedError: there will be no room for it as things stand, or the provider is closing.
        """
        self._check_open()
        lodging = self._lodging(model)
        ticket = self._planner.ask(model.id, least=lodging.least(gpu=self._gpu_for(model)))
        turn = self._turns[ticket] = asyncio.get_running_loop().create_future()
        self._go_on()
        try:
            engine = await turn
        except BaseException:
            self._release(ticket)
            raise
        return Lease(engine=engine, release=functools.partial(self._release, ticket))

    def loaded(self, model: ModelId) -> EngineDescription | None:
        """Return what is known of a loaded engine."""
        lodging = self._lodgings.get(model)
        return None if lodging is None else lodging.loaded

    def statuses(self) -> tuple[EngineStatus, ...]:
        """Return the state of every engine that was ever asked for."""
        return tuple(lodging.status for lodging in self._lodgings.values())

    def residency(self) -> Residency:
        """Return which models are in memory, and what each takes."""
        used, gpu_budget = self._planner.used, self._planner.budget.gpu
        ago = self._clock.time() - self._clock.monotonic()
        return Residency(
            memory=MemoryUse(
                budget_bytes=self._settings.memory_budget_bytes or max(used.ram, self._all_there_is()),
                used_bytes=used.ram,
                gpu_budget_bytes=max(used.gpu, gpu_budget) or None,
                gpu_used_bytes=used.gpu,
            ),
            engines=tuple(
                self._lodgings[tenant.model].residency(tenant, unloads_at=self._planner.unloads_at(tenant), ago=ago)
                for tenant in self._planner.tenants
            ),
        )

    async def load(self, model: ModelDescriptor, *, pin: bool | None = None) -> None:
        """Load `model`, also one that was broken; see `EngineLoader.load`."""
        self._note_the_dead()
        self._planner.mend(model.id)
        lease = await self.lease(model)
        if pin is not None:
            self._planner.pin(model.id, pinned=pin)
        lease.release()

    async def unload(self, model: ModelId) -> None:
        """Let running answers end, and end the worker; see `EngineLoader.unload`."""
        lodging = self._lodgings.get(model)
        self._note_the_dead()
        if lodging is not None and lodging.status.phase is EnginePhase.BROKEN:
            await lodging.close()  # it may be tried again
        self._planner.dismiss(model)
        self._go_on()
        if lodging is not None:
            await lodging.vacant.wait()

    async def aclose(self) -> None:
        """Close all engines."""
        self._closed = True
        for turn in self._turns.values():
            if not turn.done():
                turn.set_exception(_closing())
        if self._alarm is not None:
            self._alarm.cancel()
        await asyncio.gather(*(lodging.close() for lodging in self._lodgings.values()))
        await asyncio.gather(*self._tasks)

    # -- what the planner says -----------------------------------------------------------------------------------------

    def _go_on(self) -> None:
        """Do what is to be done now, and see to it that it is looked at again in time."""
        if self._closed:
            return
        now = self._clock.monotonic()
        self._note_the_dead()
        self._note_the_budget()
        for step in self._planner.plan(now):
            self._do(step)
        self._set_alarm(self._planner.due_at(now), now)

    def _do(self, step: Step) -> None:
        match step:
            case Load(model=model):
                self._begin(self._load(self._lodgings[model], step))
            case Leave(model=model):
                self._begin(self._leave(self._lodgings[model]))
            case Grant(ticket=ticket, model=model):
                self._settle(ticket, lambda turn: turn.set_result(self._lodgings[model].running))
            case Refuse(ticket=ticket, error=error):
                self._settle(ticket, lambda turn: turn.set_exception(error))
            case _:
                assert_never(step)

    def _settle(self, ticket: Ticket, settle: Callable[[_Turn], None]) -> None:
        turn = self._turns.pop(ticket)
        if not turn.done():  # else whoever waited has left, and says so next
            settle(turn)

    async def _load(self, lodging: Lodging, step: Load) -> None:
        model, alone = lodging.model.id, self._planner.budget.fits(step.room)
        settings = lodging.allowed(self._settings, step, alone=alone)
        try:
            await lodging.open(settings, self._clock, self._open_engine)
        except TooLittleMemoryError as error:
            _log.info("engine_needs_more_memory", model=model, **_said(needed=error.needs, had=step.room))
            self._planner.too_small(model, error.needs)
        except PensieveError as error:
            self._planner.failed(model, error)
        else:
            self._note_the_gpu(lodging)
            self._planner.loaded(model, lodging.footprint or step.room, self._clock.monotonic())
        self._go_on()

    async def _leave(self, lodging: Lodging) -> None:
        began = self._clock.monotonic()
        await lodging.close(save_s=_SAVE_S)
        _log.info("engine_unloaded", model=lodging.model.id, unload_s=round(self._clock.monotonic() - began, 3))
        self._planner.gone(lodging.model.id)
        self._go_on()

    def _note_the_dead(self) -> None:
        """Tell the planner of engines that have given up by themselves."""
        for tenant in self._planner.tenants:
            engine = self._lodgings[tenant.model].engine
            if tenant.phase in (Phase.READY, Phase.DRAINING) and engine is not None:
                error = engine.given_up
                if error is not None:
                    self._planner.failed(tenant.model, error)

    def _note_the_budget(self) -> None:
        """Where none was set, the budget is what could be had now; and whatever is alone is tried."""
        wanting = [tenant.least.ram for tenant in self._planner.tenants if tenant.waiting]
        if self._settings.memory_budget_bytes is None and wanting:
            self._planner.budget = attrs.evolve(self._planner.budget, ram=max(self._all_there_is(), *wanting))

    def _gpu_for(self, model: ModelDescriptor) -> int:
        """Return what of a model may lie on a GPU: all of it, until an engine has looked whether there is one."""
        if self._settings.gpu_layers == 0:
            return 0
        return self._planner.budget.gpu if self._gpu_is_known else model.size_bytes

    def _note_the_gpu(self, lodging: Lodging) -> None:
        """Where no budget was set, it is what an engine found free there while it had the GPU for itself."""
        others = (tenant.footprint.gpu for tenant in self._planner.tenants if tenant.model != lodging.model.id)
        if self._settings.gpu_memory_budget_bytes is None and not any(others):
            self._planner.budget = attrs.evolve(self._planner.budget, gpu=lodging.running.loaded.gpu_bytes)
        self._gpu_is_known = True

    def _all_there_is(self) -> int:
        return self._free_bytes() + sum(lodging.resident_bytes or 0 for lodging in self._lodgings.values())

    # -- bookkeeping ---------------------------------------------------------------------------------------------------

    def _lodging(self, model: ModelDescriptor) -> Lodging:
        lodging = self._lodgings.setdefault(model.id, Lodging(model))
        lodging.model = model
        return lodging

    def _release(self, ticket: Ticket) -> None:
        self._turns.pop(ticket, None)
        self._planner.leave(ticket, self._clock.monotonic())
        self._go_on()

    def _set_alarm(self, due_at: float | None, now: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = None if due_at is None else asyncio.ensure_future(self._ring(due_at - now))

    async def _ring(self, after_s: float) -> None:
        await self._clock.sleep(after_s)
        self._alarm = None
        self._go_on()

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _check_open(self) -> None:
        if self._closed:
            raise _closing()


def _said(**footprints: Footprint) -> dict[str, int]:
    """Return them as the log has numbers."""
    of_ram = {f"{name}_bytes": footprint.ram for name, footprint in footprints.items()}
    return of_ram | {f"{name}_gpu_bytes": footprint.gpu for name, footprint in footprints.items() if footprint.gpu}


def _closing() -> OverloadedError:
    return OverloadedError("the server is closing")


def create_provider(settings: GgufSettings, clock: Clock) -> GgufProvider:
    """Return the provider that `pensieve.engines` registers as `gguf`."""
    return GgufProvider(settings, clock)
