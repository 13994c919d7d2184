"""Which models are in memory, and who has to wait: decided from what is known, without clock, task or process.

The rules:

- Never more than the budget is set aside, of RAM and of the GPUs. A model that loads is allowed all that is free, and
  gives back what it does not take.
- Who asks for a model that is there is let in at once. Who asks for one that is not waits, and the model that is
  wanted longest comes first: nobody overtakes it, so that a small one cannot keep a large one out for ever.
- Room is made by the idle, the longest unused first; then by those at work. A pin exempts from it.
- Whoever has come stays for `residence_s` at least, so that two models that want each other's place take turns instead
  of being loaded for every request. After that it lets nobody in, and its running requests have `drain_s` to end.
- What can never be served as things stand is refused at once, with the figures. But more than the budget is not waited
  for, whatever an engine asks for: who is alone is loaded with what there is.
- For want of a GPU nobody is refused: what the pinned leave of it is all that is waited for. Should there be less than
  that, for others use it, too, a model is loaded with what it finds.

So everybody is served: the first in line waits for each of the others at most once, for a residence and a drain.

Above: the provider, which does what `plan` returns and tells what has become of it. Below: `Tenant`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

import attrs

from pensieve_core import ModelBrokenError, ModelId, OverloadedError, PensieveError
from pensieve_gguf.footprint import Footprint, total
from pensieve_gguf.tenancy.tenant import Phase, Tenant, Ticket

__all__ = ["Grant", "Leave", "Load", "Planner", "Refuse", "Step", "Terms"]

_GIB = 1 << 30


@attrs.frozen(kw_only=True)
class Terms:
    """What all models live by. Seconds."""

    residence_s: float
    """So long a model stays at least, once it is there, whoever wants its room."""
    drain_s: float
    """So long its running requests may go on, once it has to go."""
    idle_unload_s: float | None = None
    """It goes when nobody has asked for it for so long. None: only when another needs the room."""


@attrs.frozen(kw_only=True)
class Load:
    """Load the model with so much memory at most.

    `reachable`: what it could have if all made room who may; nothing of the GPU, if it is to take what it finds there.
    """

    model: ModelId
    room: Footprint
    reachable: Footprint


@attrs.frozen(kw_only=True)
class Grant:
    """Let the request in: its model is there, and stays until the request `leave`s or is cut short."""

    ticket: Ticket
    model: ModelId


@attrs.frozen(kw_only=True)
class Refuse:
    """Tell the request that it is not served."""

    ticket: Ticket
    error: PensieveError


@attrs.frozen(kw_only=True)
class Leave:
    """End the model's process, whatever runs in it; then say `gone`."""

    model: ModelId


Step: TypeAlias = Load | Grant | Refuse | Leave


class Planner:
    """Who is in memory.

    Args:
        budget: Of all models together.
        terms: What they live by.
    """

    def __init__(self, budget: Footprint, terms: Terms) -> None:
        self.budget = budget
        """May be changed at any time; it counts from the next plan on."""
        self._terms = terms
        self._tenants: dict[ModelId, Tenant] = {}
        self._numbers = itertools.count(1)
        self._wants: dict[Ticket, Tenant] = {}

    @property
    def used(self) -> Footprint:
        """What is set aside for all."""
        return _footprint(self._tenants.values())

    @property
    def tenants(self) -> tuple[Tenant, ...]:
        """Everyone who was ever asked for; to be looked at only."""
        return tuple(self._tenants.values())

    # -- what happens --------------------------------------------------------------------------------------------------

    def ask(self, model: ModelId, *, least: Footprint) -> Ticket:
        """A request wants `model`, whose file says now that it takes `least` at least."""
        tenant = self._tenants.setdefault(model, Tenant(model=model, known=least))
        tenant.known = least
        if tenant.told_beside < self._reachable().gpu:  # with more of the GPU it may do with less RAM
            tenant.told, tenant.makes_do = Footprint(), False
        ticket = Ticket(next(self._numbers))
        self._wants[ticket] = tenant
        tenant.waiting.append(ticket)
        return ticket

    def leave(self, ticket: Ticket, now: float) -> None:
        """A request is done, or wants nothing any more. Of those that were refused or cut short nothing is left."""
        tenant = self._wants.pop(ticket, None)
        if tenant is None:
            return
        if ticket in tenant.running:
            tenant.running.remove(ticket)
            tenant.last_used_at = now
        else:
            tenant.waiting.remove(ticket)

    def loaded(self, model: ModelId, footprint: Footprint, now: float) -> None:
        """A model is there, and takes so much."""
        tenant = self._tenants[model]
        tenant.move(Phase.READY)
        tenant.footprint = footprint
        tenant.ready_at = now
        tenant.makes_do = False

    def too_small(self, model: ModelId, least: Footprint) -> None:
        """A model was not loaded, for it takes `least` at least: more than it was allowed.

        More RAM than the budget is not waited for: alone, it is loaded with a shorter context.
        """
        tenant = self._tenants[model]
        tenant.told = attrs.evolve(least, ram=min(least.ram, self.budget.ram))
        tenant.told_beside = self._reachable().gpu
        if self._waited_for(tenant).fits(tenant.footprint):
            self._not_content(tenant)
        tenant.move(Phase.ABSENT)

    def _not_content(self, tenant: Tenant) -> None:
        """It was allowed what it asks for, so it found less than that, and must not be asked the same again."""
        allowed = tenant.footprint
        if not tenant.told.gpu or tenant.makes_do:
            tenant.told = attrs.evolve(tenant.told, ram=allowed.ram + 1)
        elif allowed.gpu < tenant.told_beside:
            tenant.told = attrs.evolve(tenant.told, gpu=allowed.gpu + 1)
        else:
            tenant.makes_do = True

    def failed(self, model: ModelId, error: PensieveError) -> None:
        """A model was not loaded, or has died once too often: whoever waits for it is told why.

        Where trying again will not help (`ModelBrokenError`), whoever asks later is told the same.
        """
        tenant = self._tenants[model]
        tenant.error = error
        tenant.move(Phase.BROKEN)
        self._cut_short(tenant)

    def gone(self, model: ModelId) -> None:
        """A model's process has ended."""
        self._tenants[model].move(Phase.ABSENT)

    def pin(self, model: ModelId, *, pinned: bool) -> None:
        """Let it stay, whoever needs the room; or not any more."""
        tenant = self._tenants[model]
        tenant.pinned = pinned
        if pinned and tenant.phase is Phase.DRAINING and not tenant.dismissed:
            tenant.move(Phase.READY)

    def mend(self, model: ModelId) -> None:
        """Let a broken model be tried once more."""
        tenant = self._tenants.get(model)
        if tenant is not None and tenant.phase is Phase.BROKEN:
            tenant.move(Phase.ABSENT)
            tenant.error = None

    def dismiss(self, model: ModelId) -> None:
        """A model is to go, pinned or not."""
        self.mend(model)
        tenant = self._tenants.get(model)
        if tenant is not None:
            tenant.pinned = False
            tenant.dismissed = tenant.holds_memory and tenant.phase is not Phase.LEAVING

    # -- what is to be done --------------------------------------------------------------------------------------------

    def plan(self, now: float) -> list[Step]:
        """Return what is to be done now, each step once; to be asked after all that happens, and when it is due."""
        steps: list[Step] = list(self._refusals())
        steps += self._grants(now)
        steps += self._make_room(now)
        steps += self._grants(now)  # to those who need not make room after all
        steps += self._departures(now)
        return steps

    def due_at(self, now: float) -> float | None:
        """Return when `plan` is to be asked though nothing has happened. None: not before something has."""
        return min((at for at in self._dates() if at > now), default=None)

    def unloads_at(self, tenant: Tenant) -> float | None:
        """Return when it will go for being idle, if nobody asks for it. None: it will not."""
        idle_s = self._terms.idle_unload_s
        if idle_s is None or tenant.phase is not Phase.READY or tenant.pinned or tenant.running or tenant.waiting:
            return None
        return tenant.used_at + idle_s

    def _refusals(self) -> Iterator[Refuse]:
        for tenant in self._tenants.values():
            error = tenant.error if tenant.phase is Phase.BROKEN else self._hopeless(tenant)
            if error is not None:
                yield from (Refuse(ticket=ticket, error=error) for ticket in self._drop_waiting(tenant))
            if tenant.phase is Phase.BROKEN and not isinstance(tenant.error, ModelBrokenError):
                self.mend(tenant.model)

    def _drop_waiting(self, tenant: Tenant) -> list[Ticket]:
        dropped, tenant.waiting = tenant.waiting, []
        for ticket in dropped:
            del self._wants[ticket]
        return dropped

    def _hopeless(self, tenant: Tenant) -> PensieveError | None:
        if tenant.phase is not Phase.ABSENT or not tenant.waiting:
            return None
        least = tenant.least.ram
        if least > self.budget.ram:
            needs = f"it takes {_gib(least)} at least, and the memory budget is {_gib(self.budget.ram)}"
            return ModelBrokenError(tenant.model, needs)
        room = self._reachable().ram
        if least > room:
            names = ", ".join(other.model for other in self._pinned())
            return OverloadedError(
                f"model {tenant.model} takes {_gib(least)} at least, and beside what is pinned ({names})"
                f" the memory budget leaves {_gib(room)}; take a pin off",
            )
        return None

    def _pinned(self) -> list[Tenant]:
        """Return those that stay; not one that still loads, for it gives back what it does not take."""
        return [tenant for tenant in self._tenants.values() if tenant.pinned and tenant.phase is Phase.READY]

    def _reachable(self) -> Footprint:
        """Return what one model could have, if all made room who may."""
        return self.budget - _footprint(self._pinned())

    def _within_reach_of(self, tenant: Tenant) -> Footprint:
        reachable = self._reachable()
        return attrs.evolve(reachable, gpu=0) if tenant.makes_do else reachable

    def _waited_for(self, tenant: Tenant) -> Footprint:
        """Return what must be free for it to be loaded: of a GPU no more than there may ever be."""
        return attrs.evolve(tenant.least, gpu=min(tenant.least.gpu, self._reachable().gpu))

    def _make_room(self, now: float) -> Iterator[Load]:
        """Load who is wanted longest, as long as there is room; else see to it that there will be."""
        in_line = sorted(
            (tenant for tenant in self._tenants.values() if tenant.phase is Phase.ABSENT and tenant.waiting),
            key=lambda tenant: tenant.waiting[0],
        )
        for tenant in in_line:
            free, least = self.budget - self.used, self._waited_for(tenant)
            if not least.fits(free):
                self._clear(least - free, now)
                return
            tenant.move(Phase.LOADING)
            tenant.footprint = free
            yield Load(model=tenant.model, room=free, reachable=self._within_reach_of(tenant))
        self._reprieve()

    def _reprieve(self) -> None:
        """Nobody waits for room: who was to make some may stay, unless told to go."""
        for tenant in self._tenants.values():
            if tenant.phase is Phase.DRAINING and not tenant.dismissed:
                tenant.move(Phase.READY)

    def _clear(self, missing: Footprint, now: float) -> None:
        """Let models make way for what is `missing`; none, while all that may go would not be enough."""
        missing -= _footprint(tenant for tenant in self._tenants.values() if tenant.makes_way)
        # A model that loads gives back what it does not take: that may be enough.
        if not missing or any(tenant.phase is Phase.LOADING for tenant in self._tenants.values()):
            return
        for tenant in self._victims(missing, now):
            self._drain(tenant, now)

    def _victims(self, missing: Footprint, now: float) -> Sequence[Tenant]:
        """Return who makes way: the idle before the busy, the longest unused first, and nobody in vain."""
        chosen: list[Tenant] = []
        for tenant in sorted(self._evictable(now), key=lambda tenant: (bool(tenant.running), tenant.used_at)):
            if tenant.footprint.common(missing - _footprint(chosen)):
                chosen.append(tenant)
        if not missing.fits(_footprint(chosen)):
            return ()
        for tenant in tuple(chosen):
            others = [other for other in chosen if other is not tenant]
            chosen = others if missing.fits(_footprint(others)) else chosen
        return chosen

    def _evictable(self, now: float) -> Iterator[Tenant]:
        for tenant in self._tenants.values():
            if tenant.phase is Phase.READY and not tenant.pinned and now >= self._stays_until(tenant):
                yield tenant

    def _stays_until(self, tenant: Tenant) -> float:
        return (tenant.ready_at or 0.0) + self._terms.residence_s

    def _drain(self, tenant: Tenant, now: float) -> None:
        tenant.move(Phase.DRAINING)
        tenant.leaves_by = now + self._terms.drain_s

    def _grants(self, now: float) -> Iterator[Grant]:
        for tenant in self._tenants.values():
            if tenant.phase is not Phase.READY or tenant.dismissed:
                continue
            for ticket in tenant.waiting:
                tenant.running.add(ticket)
                tenant.last_used_at = now
                yield Grant(ticket=ticket, model=tenant.model)
            tenant.waiting = []

    def _departures(self, now: float) -> Iterator[Leave]:
        for tenant in self._tenants.values():
            idle_since = self.unloads_at(tenant)
            if tenant.phase is Phase.READY and (tenant.dismissed or (idle_since is not None and now >= idle_since)):
                tenant.dismissed = True
                self._drain(tenant, now)
            if tenant.phase is Phase.DRAINING and (not tenant.running or now >= tenant.leaves_by):
                tenant.move(Phase.LEAVING)
                self._cut_short(tenant)
                yield Leave(model=tenant.model)

    def _cut_short(self, tenant: Tenant) -> None:
        for ticket in tenant.running:
            del self._wants[ticket]
        tenant.running = set()

    def _dates(self) -> Iterator[float]:
        """Yield when time alone changes what is to be done."""
        someone_waits = any(tenant.phase is Phase.ABSENT and tenant.waiting for tenant in self._tenants.values())
        for tenant in self._tenants.values():
            unloads_at = self.unloads_at(tenant)
            if unloads_at is not None:
                yield unloads_at
            if tenant.phase is Phase.DRAINING:
                yield tenant.leaves_by
            if tenant.phase is Phase.READY and someone_waits and not tenant.pinned:
                yield self._stays_until(tenant)


def _footprint(tenants: Iterable[Tenant]) -> Footprint:
    return total(tenant.footprint for tenant in tenants)


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / _GIB:.2f} GiB"
