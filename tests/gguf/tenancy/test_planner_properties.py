"""Ours: whatever is asked when, and however long it takes, the budget is kept, and everybody is served in turn."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

import attrs
from hypothesis import event, given, settings
from hypothesis import strategies as st

from pensieve_core import ModelBrokenError, ModelId
from pensieve_gguf.footprint import Footprint
from pensieve_gguf.tenancy import Grant, Leave, Load, Phase, Planner, Refuse, Step, Terms, Ticket

MODELS = [ModelId(name) for name in "abcd"]


@attrs.frozen(kw_only=True)
class Kind:
    """A model: bytes and seconds."""

    known: int
    """What is known before it is ever loaded."""
    least: int
    takes: int
    content: int = 0
    """With less it is not loaded either, unless it is alone."""
    layers: int = 0
    """Bytes that lie on the GPU, as far as it can have them there, and else in RAM."""
    load_s: float
    leave_s: float
    breaks: bool = False


@attrs.frozen(kw_only=True)
class Visit:
    """A request."""

    model: ModelId
    at: float
    works_s: float
    patience_s: float | None
    """After which it leaves, served or not. None: it stays to the end."""


@st.composite
def kinds(draw: st.DrawFn) -> Kind:
    least = draw(st.integers(1, 12))
    seconds = st.sampled_from([0.0, 1.0, 7.0, 25.0])
    return Kind(
        known=draw(st.integers(1, least)),
        least=least,
        takes=draw(st.integers(least, 16)),
        content=draw(st.integers(0, 30)),
        layers=draw(st.integers(0, 6)),
        load_s=draw(seconds),
        leave_s=draw(seconds),
        breaks=draw(st.integers(0, 9)) == 0,
    )


VISITS = st.lists(
    st.builds(
        Visit,
        model=st.sampled_from(MODELS),
        at=st.floats(0, 120, allow_nan=False),
        works_s=st.sampled_from([0.0, 0.5, 5.0, 30.0, 1_000.0]),
        patience_s=st.sampled_from([None, None, None, 3.0, 20.0]),
    ),
    max_size=25,
)
TERMS = st.builds(
    Terms,
    residence_s=st.sampled_from([0.0, 10.0]),
    drain_s=st.sampled_from([0.0, 15.0]),
    idle_unload_s=st.sampled_from([None, 0.0, 8.0]),
)


class World:
    """Plays processes and requests by a planner's steps, in the order of time; checks each moment.

    `hidden_gpu`: bytes that nobody finds there, whatever the planner thinks: a game has them.
    """

    def __init__(self, planner: Planner, models: dict[ModelId, Kind], hidden_gpu: int = 0) -> None:
        self.planner = planner
        self.models = models
        self.hidden_gpu = hidden_gpu
        self.now = 0.0
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self.order = itertools.count()
        self.waiting: dict[Ticket, Visit] = {}
        self.granted: dict[Ticket, float] = {}
        self.refused: set[Ticket] = set()
        self.arrived: dict[Ticket, float] = {}
        self.came: dict[ModelId, float] = {}
        self.loads = 0

    def at(self, when: float, do: Callable[[], None]) -> None:
        heapq.heappush(self.events, (when, next(self.order), do))

    def visit(self, visit: Visit) -> None:
        ticket = self.planner.ask(visit.model, least=Footprint(ram=self.models[visit.model].known))
        self.waiting[ticket] = visit
        self.arrived[ticket] = self.now
        if visit.patience_s is not None:
            self.at(self.now + visit.patience_s, lambda: self.give_up(ticket))

    def give_up(self, ticket: Ticket) -> None:
        self.waiting.pop(ticket, None)
        self.planner.leave(ticket, self.now)

    def run(self) -> None:
        for _ in range(5_000):
            for step in self.planner.plan(self.now):
                self.do(step)
            self.check()
            due = self.planner.due_at(self.now)
            if not self.events and (due is None or not self.waiting):
                return
            if self.events and (due is None or self.events[0][0] <= due):
                self.now, _, do = heapq.heappop(self.events)
                do()
            elif due is not None:
                self.now = due
        msg = "it never comes to rest"
        raise AssertionError(msg)

    def do(self, step: Step) -> None:
        match step:
            case Load(model=model):
                self.loads += 1
                self.at(self.now + self.models[model].load_s, lambda: self.arrive(model, step))
            case Grant(ticket=ticket, model=model):
                visit = self.waiting.pop(ticket)
                assert visit.model == model
                self.granted[ticket] = self.now
                self.at(self.now + visit.works_s, lambda: self.planner.leave(ticket, self.now))
            case Refuse(ticket=ticket):
                del self.waiting[ticket]
                self.refused.add(ticket)
            case Leave(model=model):
                self.at(self.now + self.models[model].leave_s, lambda: self.planner.gone(model))

    def arrive(self, model: ModelId, step: Load) -> None:
        kind, alone = self.models[model], self.planner.budget.fits(step.room)
        found = attrs.evolve(step.room, gpu=max(0, step.room.gpu - self.hidden_gpu))
        on_gpu = min(kind.layers, found.gpu if alone else max(found.gpu, step.reachable.gpu))
        least = Footprint(ram=max(kind.least + kind.layers - on_gpu, 0 if alone else kind.content), gpu=on_gpu)
        if kind.breaks:
            self.planner.failed(model, ModelBrokenError(model, "broken"))
        elif not least.fits(found):
            self.planner.too_small(model, least)
        else:
            self.came[model] = self.now
            takes = Footprint(ram=max(least.ram, min(kind.takes, step.room.ram)), gpu=on_gpu)
            self.planner.loaded(model, takes, self.now)

    def check(self) -> None:
        assert self.planner.used.fits(self.planner.budget)
        for tenant in self.planner.tenants:
            assert tenant.holds_memory == bool(tenant.footprint)
            assert tenant.phase in (Phase.READY, Phase.DRAINING) or not tenant.running
            assert tenant.phase is not Phase.READY or not tenant.waiting


@settings(max_examples=400)
@given(
    st.lists(kinds(), min_size=4, max_size=4),
    VISITS,
    TERMS,
    st.builds(Footprint, ram=st.integers(1, 20), gpu=st.integers(0, 10)),
    st.sampled_from([0, 0, 1, 3]),
)
def test_the_budget_is_kept_and_everybody_is_served_or_told_why(
    models: list[Kind], visits: list[Visit], terms: Terms, budget: Footprint, hidden_gpu: int
) -> None:
    world = World(Planner(budget, terms), dict(zip(MODELS, models, strict=True)), hidden_gpu)
    for visit in visits:
        world.at(visit.at, lambda visit=visit: world.visit(visit))  # type: ignore[misc]
    world.run()
    assert not world.waiting, "nobody waits for ever"
    for ticket in world.refused:
        gpu = max(0, budget.gpu - hidden_gpu)
        beside_gpu = (kind.least + max(0, kind.layers - gpu) for kind in models)
        assert any(kind.breaks for kind in models) or max(beside_gpu) > budget.ram, ticket
    event(f"{len(world.granted)} served, {world.loads} loads")


@settings(max_examples=300)
@given(st.lists(kinds(), min_size=4, max_size=4), VISITS, TERMS, st.integers(0, 10))
def test_nobody_waits_longer_than_a_turn_of_each_of_the_others(
    models: list[Kind], visits: list[Visit], terms: Terms, gpu: int
) -> None:
    """The bound of the planner's own docstring; a model that asks for more than was free is loaded twice."""
    sound = [attrs.evolve(kind, breaks=False) for kind in models]
    world = World(Planner(Footprint(ram=22, gpu=gpu), terms), dict(zip(MODELS, sound, strict=True)))
    for visit in visits:
        world.at(visit.at, lambda visit=visit: world.visit(visit))  # type: ignore[misc]
    world.run()
    turn_s = max(2 * kind.load_s + kind.leave_s for kind in sound) + terms.residence_s + terms.drain_s
    for ticket, at in world.granted.items():
        assert at - world.arrived[ticket] <= turn_s * (len(sound) + 1)


@settings(max_examples=200)
@given(
    st.lists(st.tuples(st.sampled_from(MODELS[:2]), st.floats(0.01, 3.0)), min_size=2, max_size=60),
    st.sampled_from([5.0, 10.0]),
)
def test_two_models_that_want_one_place_take_turns_and_do_not_thrash(
    asked: list[tuple[ModelId, float]], residence_s: float
) -> None:
    kind = Kind(known=4, least=4, takes=4, load_s=1.0, leave_s=0.5)
    world = World(Planner(Footprint(ram=6), Terms(residence_s=residence_s, drain_s=5.0)), dict.fromkeys(MODELS, kind))
    at = 0.0
    for model, pause_s in asked:
        at += pause_s
        world.at(at, lambda model=model: world.visit(Visit(model=model, at=0, works_s=0.3, patience_s=None)))  # type: ignore[misc]
    world.run()
    assert len(world.granted) == len(asked)
    assert world.loads <= 2 + world.now / residence_s


@settings(max_examples=200)
@given(st.lists(st.sampled_from(MODELS), min_size=1, max_size=30), st.integers(0, 3), TERMS)
def test_what_is_pinned_stays(asked: list[ModelId], pinned: int, terms: Terms) -> None:
    kind = Kind(known=4, least=4, takes=4, load_s=1.0, leave_s=0.5)
    world = World(Planner(Footprint(ram=10), terms), dict.fromkeys(MODELS, kind))
    world.visit(Visit(model=MODELS[pinned], at=0, works_s=0.0, patience_s=None))
    world.planner.pin(MODELS[pinned], pinned=True)
    for number, model in enumerate(asked):
        world.at(5.0 * number, lambda model=model: world.visit(Visit(model=model, at=0, works_s=1.0, patience_s=None)))  # type: ignore[misc]
    world.run()
    (tenant,) = (tenant for tenant in world.planner.tenants if tenant.model == MODELS[pinned])
    assert tenant.phase is Phase.READY
    assert len(world.granted) == 1 + len(asked)
