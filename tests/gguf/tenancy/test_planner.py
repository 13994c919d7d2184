"""Ours: who is in memory, who waits, who makes room. Times are seconds from 0."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import pytest

from pensieve_core import EngineFailedError, ModelBrokenError, ModelId, OverloadedError
from pensieve_gguf.footprint import Footprint
from pensieve_gguf.tenancy import (
    Grant,
    IllegalPhaseError,
    Leave,
    Load,
    Phase,
    Planner,
    Refuse,
    Step,
    Tenant,
    Terms,
    Ticket,
)

A, B, C, D = (ModelId(name) for name in "abcd")
TERMS = Terms(residence_s=10.0, drain_s=30.0)


def ram(size: int) -> Footprint:
    return Footprint(ram=size)


def load_step(model: ModelId, room: int, reachable: int | None = None) -> Load:
    """Return the step, in a world without a GPU where nobody is pinned: all of the room could be had."""
    return Load(model=model, room=ram(room), reachable=ram(reachable or room))


@attrs.define(kw_only=True)
class Story:
    """A planner, and the time in which it lives. Every model takes 4 of 6 bytes, unless told otherwise."""

    planner: Planner
    now: float = 0.0
    takes: int = 4

    def plan(self) -> list[Step]:
        return self.planner.plan(self.now)

    def ask(self, model: ModelId) -> Ticket:
        return self.planner.ask(model, least=ram(self.takes))

    def asked(self, model: ModelId) -> tuple[Ticket, Sequence[Step]]:
        return self.ask(model), self.plan()

    def load(self, model: ModelId, takes: int | None = None) -> Sequence[Step]:
        """Let it be there."""
        self.planner.loaded(model, ram(takes or self.takes), self.now)
        return self.plan()

    def serve(self, model: ModelId) -> Ticket:
        """Ask for it, load it, and be at work."""
        ticket = self.ask(model)
        self.plan()
        self.load(model)
        return ticket

    def settle(self, model: ModelId, takes: int | None = None) -> None:
        """Ask for it, load it, and be done at once."""
        ticket = self.ask(model)
        self.plan()
        self.load(model, takes)
        self.planner.leave(ticket, self.now)
        self.plan()

    def tenant(self, model: ModelId) -> Tenant:
        return next(tenant for tenant in self.planner.tenants if tenant.model == model)

    def phase(self, model: ModelId) -> Phase:
        return self.tenant(model).phase


def story(budget: int = 6, takes: int = 4, terms: Terms = TERMS) -> Story:
    return Story(planner=Planner(ram(budget), terms), takes=takes)


def test_who_asks_for_what_is_not_there_waits_until_it_is() -> None:
    tale = story()
    ticket, steps = tale.asked(A)
    assert steps == [load_step(A, 6)]
    assert tale.plan() == []
    assert tale.load(A) == [Grant(ticket=ticket, model=A)]
    assert tale.planner.used.ram == 4


def test_who_asks_for_what_is_there_is_let_in_at_once() -> None:
    tale = story()
    tale.settle(A)
    ticket, steps = tale.asked(A)
    assert steps == [Grant(ticket=ticket, model=A)]


def test_models_live_side_by_side_when_the_budget_holds_them() -> None:
    tale = story(budget=8)
    tale.settle(A)
    tale.ask(B)
    assert tale.plan() == [load_step(B, 4, 8)]


def test_what_a_model_does_not_take_is_there_for_the_next() -> None:
    """A model that loads is allowed all there is; the next one waits to see what is left."""
    tale = story(budget=8)
    tale.ask(A)
    tale.ask(B)
    assert tale.plan() == [load_step(A, 8)]
    assert load_step(B, 4, 8) in tale.load(A)


def test_an_idle_model_makes_room_once_it_has_stayed() -> None:
    tale = story()
    tale.settle(A)
    tale.now = 9.0
    ticket, steps = tale.asked(B)
    assert steps == []
    assert tale.planner.due_at(tale.now) == 10.0
    tale.now = 10.0
    assert tale.plan() == [Leave(model=A)]
    tale.planner.gone(A)
    assert tale.plan() == [load_step(B, 6)]
    assert tale.load(B) == [Grant(ticket=ticket, model=B)]


def test_the_longest_unused_goes_first_and_nobody_goes_in_vain() -> None:
    tale = story(budget=12)
    for model in (A, B, C):
        tale.settle(model)
        tale.now += 1.0
    tale.now = 20.0
    ticket = tale.ask(A)
    tale.plan()
    tale.planner.leave(ticket, tale.now)  # now B is the longest unused
    tale.now = 40.0
    tale.ask(ModelId("d"))
    assert tale.plan() == [Leave(model=B)]


def test_a_small_one_is_spared_when_the_large_one_alone_is_enough() -> None:
    tale = story(budget=6, takes=1)
    tale.settle(A, 1)
    tale.now = 1.0
    tale.settle(B, 5)
    tale.now = 30.0
    tale.planner.ask(C, least=ram(5))
    assert tale.plan() == [Leave(model=B)]


def test_nobody_leaves_while_all_who_may_are_not_enough() -> None:
    tale = story(budget=6, takes=2)
    tale.settle(A, 2)
    tale.now = 8.0
    tale.settle(B, 2)
    tale.now = 12.0
    tale.planner.ask(C, least=ram(6))
    assert tale.plan() == []
    assert tale.planner.due_at(tale.now) == 18.0
    tale.now = 18.0
    assert tale.plan() == [Leave(model=A), Leave(model=B)]


def test_a_model_at_work_lets_nobody_in_but_ends_what_it_began() -> None:
    tale = story()
    running = tale.serve(A)
    tale.now = 10.0
    tale.ask(B)
    assert tale.plan() == []
    assert tale.phase(A) is Phase.DRAINING
    _, steps = tale.asked(A)
    assert steps == []
    tale.planner.leave(running, tale.now)
    assert tale.plan() == [Leave(model=A)]


def test_a_request_that_does_not_end_is_cut_short() -> None:
    tale = story()
    running = tale.serve(A)
    tale.now = 10.0
    tale.ask(B)
    tale.plan()
    assert tale.planner.due_at(tale.now) == 40.0
    tale.now = 40.0
    assert tale.plan() == [Leave(model=A)]
    assert not tale.tenant(A).running
    tale.planner.leave(running, tale.now)  # it hears of it later
    tale.planner.gone(A)
    assert tale.plan() == [load_step(B, 6)]


def test_the_idle_go_before_the_busy() -> None:
    tale = story(budget=8)
    tale.serve(A)
    tale.now = 5.0
    tale.settle(B)
    tale.now = 20.0
    tale.ask(C)
    assert tale.plan() == [Leave(model=B)]


def test_who_was_to_make_room_stays_when_nobody_needs_it_any_more() -> None:
    tale = story()
    tale.serve(A)
    tale.now = 10.0
    wanted = tale.ask(B)
    tale.plan()
    again = tale.ask(A)
    assert tale.plan() == []
    tale.planner.leave(wanted, tale.now)
    assert tale.plan() == [Grant(ticket=again, model=A)]
    assert tale.phase(A) is Phase.READY


def test_a_small_model_does_not_overtake_a_large_one() -> None:
    tale = story(budget=6, takes=4)
    tale.settle(A)
    tale.ask(B)
    tale.planner.ask(C, least=ram(1))
    assert tale.plan() == []


def test_a_pin_exempts_and_what_cannot_be_held_beside_it_is_refused() -> None:
    tale = story()
    tale.settle(A)
    tale.planner.pin(A, pinned=True)
    tale.now = 100.0
    ticket, steps = tale.asked(B)
    (refusal,) = steps
    assert isinstance(refusal, Refuse)
    assert refusal.ticket == ticket
    assert isinstance(refusal.error, OverloadedError)
    assert "(a)" in refusal.error.message
    assert "take a pin off" in refusal.error.message
    tale.planner.pin(A, pinned=False)
    tale.ask(B)
    assert tale.plan() == [Leave(model=A)]


def test_a_pin_that_comes_while_it_drains_keeps_it() -> None:
    tale = story()
    tale.serve(A)
    tale.now = 10.0
    tale.ask(B)
    tale.plan()
    tale.planner.pin(A, pinned=True)
    assert tale.phase(A) is Phase.READY
    assert [type(step) for step in tale.plan()] == [Refuse]


def test_a_pinned_model_that_still_loads_refuses_nobody() -> None:
    tale = story(budget=8)
    tale.ask(A)
    tale.planner.pin(A, pinned=True)
    tale.plan()
    tale.ask(B)
    assert tale.plan() == []
    assert load_step(B, 4) in tale.load(A)


def test_what_exceeds_the_budget_is_refused_with_the_figures() -> None:
    tale = story(budget=3 << 30)
    ticket = tale.planner.ask(A, least=ram(4 << 30))
    (refusal,) = tale.plan()
    assert isinstance(refusal, Refuse)
    assert refusal.ticket == ticket
    assert "4.00 GiB at least, and the memory budget is 3.00 GiB" in refusal.error.message


def test_an_engine_that_needs_more_gets_it_from_others() -> None:
    """The file's size is all that is known before; with its cells a model may need more than was free."""
    tale = story(budget=6, takes=2)
    tale.settle(A, 3)
    tale.now = 20.0
    ticket, steps = tale.asked(B)
    assert steps == [load_step(B, 3, 6)]
    tale.planner.too_small(B, ram(5))
    assert tale.plan() == [Leave(model=A)]
    tale.planner.gone(A)
    assert tale.plan() == [load_step(B, 6)]
    assert tale.load(B, 5) == [Grant(ticket=ticket, model=B)]


def test_an_engine_that_does_not_say_how_much_more_is_not_asked_for_ever() -> None:
    tale = story()
    tale.ask(A)
    tale.plan()
    tale.planner.too_small(A, ram(0))
    (refusal,) = tale.plan()
    assert isinstance(refusal, Refuse)


def test_an_engine_that_would_have_more_than_the_budget_is_loaded_alone_with_what_there_is() -> None:
    """It had all of the budget while it was alone; what it needs is searched to a hundredth, and may be more."""
    tale = story(budget=100, takes=40)
    tale.settle(A, 20)
    tale.now = 20.0
    ticket, steps = tale.asked(B)
    assert steps == [load_step(B, 80, 100)]
    tale.planner.too_small(B, ram(101))
    assert tale.plan() == [Leave(model=A)]
    tale.planner.gone(A)
    assert tale.plan() == [load_step(B, 100)]
    assert tale.load(B, 100) == [Grant(ticket=ticket, model=B)]


def test_a_model_that_cannot_be_loaded_is_told_each_time_until_it_is_mended() -> None:
    tale, error = story(), ModelBrokenError(A, "bad magic")
    first = tale.ask(A)
    tale.plan()
    tale.planner.failed(A, error)
    assert tale.plan() == [Refuse(ticket=first, error=error)]
    assert tale.planner.used.ram == 0
    again, steps = tale.asked(A)
    assert steps == [Refuse(ticket=again, error=error)]
    tale.planner.mend(A)
    tale.ask(A)
    assert tale.plan() == [load_step(A, 6)]


def test_a_machine_that_has_no_process_to_spare_may_have_one_later() -> None:
    tale, error = story(), OverloadedError("no process")
    ticket = tale.ask(A)
    tale.plan()
    tale.planner.failed(A, error)
    assert tale.plan() == [Refuse(ticket=ticket, error=error)]
    tale.ask(A)
    assert tale.plan() == [load_step(A, 6)]


def test_an_engine_that_died_for_good_holds_nothing() -> None:
    tale = story()
    running = tale.serve(A)
    tale.planner.failed(A, EngineFailedError("it died"))
    assert tale.plan() == []
    assert tale.planner.used.ram == 0
    tale.planner.leave(running, tale.now)
    tale.ask(A)
    assert tale.plan() == [load_step(A, 6)]


def test_an_idle_model_goes_when_its_time_is_over() -> None:
    tale = story(terms=attrs.evolve(TERMS, idle_unload_s=60.0))
    tale.now = 5.0
    tale.settle(A)
    assert tale.planner.unloads_at(tale.tenant(A)) == 65.0
    assert tale.planner.due_at(tale.now) == 65.0
    tale.now = 64.0
    running = tale.ask(A)
    tale.plan()
    assert tale.planner.unloads_at(tale.tenant(A)) is None
    tale.now = 70.0
    tale.planner.leave(running, tale.now)
    tale.now = 129.0
    assert tale.plan() == []
    tale.now = 130.0
    assert tale.plan() == [Leave(model=A)]


def test_a_pinned_model_stays_however_idle() -> None:
    tale = story(terms=attrs.evolve(TERMS, idle_unload_s=60.0))
    tale.settle(A)
    tale.planner.pin(A, pinned=True)
    assert tale.planner.due_at(tale.now) is None
    tale.now = 1_000.0
    assert tale.plan() == []


def test_who_is_told_to_go_goes_pinned_or_not_and_comes_back_when_asked() -> None:
    tale = story()
    running = tale.serve(A)
    tale.planner.pin(A, pinned=True)
    tale.planner.dismiss(A)
    assert tale.plan() == []
    assert tale.phase(A) is Phase.DRAINING
    waiting, steps = tale.asked(A)
    assert steps == []
    tale.planner.leave(running, tale.now)
    assert tale.plan() == [Leave(model=A)]
    tale.planner.dismiss(A)  # told twice
    tale.planner.gone(A)
    assert tale.plan() == [load_step(A, 6)]
    assert tale.load(A) == [Grant(ticket=waiting, model=A)]
    assert not tale.tenant(A).pinned


def test_who_is_told_to_go_while_it_loads_goes_once_it_is_there() -> None:
    tale = story()
    ticket = tale.ask(A)
    tale.plan()
    tale.planner.dismiss(A)
    tale.planner.leave(ticket, tale.now)
    assert tale.load(A) == [Leave(model=A)]


def test_telling_what_is_not_there_to_go_does_nothing() -> None:
    tale = story()
    tale.planner.dismiss(A)
    tale.planner.mend(A)
    tale.settle(B)
    tale.planner.dismiss(B)
    tale.plan()
    tale.planner.gone(B)
    tale.planner.dismiss(B)
    assert tale.plan() == []
    assert tale.phase(B) is Phase.ABSENT


def test_a_budget_that_shrinks_drives_nobody_out() -> None:
    tale = story(budget=8)
    tale.settle(A)
    tale.planner.budget = ram(2)
    assert tale.plan() == []
    assert tale.phase(A) is Phase.READY


def test_a_move_that_cannot_be_is_a_bug() -> None:
    tale = story()
    tale.ask(A)
    with pytest.raises(IllegalPhaseError, match="a cannot go from ABSENT to READY"):
        tale.planner.loaded(A, ram(1), 0.0)


def test_a_request_that_leaves_while_it_waits_is_forgotten() -> None:
    tale = story()
    ticket = tale.ask(A)
    tale.plan()
    tale.planner.leave(ticket, tale.now)
    tale.planner.leave(ticket, tale.now)
    assert tale.load(A) == []
    assert tale.phase(A) is Phase.READY


def test_what_is_learned_of_a_model_meanwhile_counts_when_it_is_asked_for_again() -> None:
    tale = story()
    tale.settle(A)
    tale.now = 20.0
    tale.planner.ask(B, least=ram(1))
    tale.planner.ask(B, least=ram(4))
    assert tale.plan() == [Leave(model=A)]


# -- with a GPU ----------------------------------------------------------------------------------------------------


def both(ram_bytes: int, gpu_bytes: int) -> Footprint:
    return Footprint(ram=ram_bytes, gpu=gpu_bytes)


def gpu_story(*models: ModelId, gpu: int = 10) -> Story:
    """20 bytes of RAM, and a GPU of which each of `models` takes 4; they came one second after the other."""
    tale = Story(planner=Planner(both(20, gpu), TERMS), takes=1)
    for model in models:
        settle_on(tale, model, both(1, 4))
    return tale


def settle_on(tale: Story, model: ModelId, footprint: Footprint) -> None:
    ticket = tale.ask(model)
    tale.plan()
    tale.planner.loaded(model, footprint, tale.now)
    tale.plan()
    tale.planner.leave(ticket, tale.now)
    tale.now += 1.0


def test_a_model_that_loads_is_allowed_what_is_free_of_the_gpu_too_and_told_what_there_could_be() -> None:
    tale = gpu_story(A)
    tale.ask(B)
    assert tale.plan() == [Load(model=B, room=both(19, 6), reachable=both(20, 10))]
    assert tale.planner.used == both(20, 10)


def test_who_finds_the_gpu_full_has_the_longest_unused_make_room_though_ram_has_plenty() -> None:
    tale = gpu_story(A, B)
    tale.now = 30.0
    tale.ask(A)
    tale.plan()
    tale.now = 40.0
    ticket, steps = tale.asked(C)
    assert steps == [Load(model=C, room=both(18, 2), reachable=both(20, 10))]
    tale.planner.too_small(C, both(1, 4))
    assert tale.plan() == [Leave(model=B)]
    tale.planner.gone(B)
    assert tale.plan() == [Load(model=C, room=both(19, 6), reachable=both(20, 10))]
    tale.planner.loaded(C, both(1, 4), tale.now)
    assert tale.plan() == [Grant(ticket=ticket, model=C)]
    assert tale.planner.used == both(2, 8)


def test_for_want_of_the_gpu_nobody_leaves_who_is_not_on_it() -> None:
    tale = gpu_story()
    settle_on(tale, A, both(5, 0))
    settle_on(tale, B, both(1, 8))
    tale.now = 40.0
    tale.planner.ask(C, least=both(1, 4))
    assert tale.plan() == [Leave(model=B)]


def test_a_pin_on_the_gpu_refuses_nobody_who_can_do_with_the_rest_of_it() -> None:
    tale = gpu_story(A)
    tale.planner.pin(A, pinned=True)
    tale.now = 40.0
    tale.planner.ask(B, least=both(1, 8))
    assert tale.plan() == [Load(model=B, room=both(19, 6), reachable=both(19, 6))]


def test_who_finds_less_of_the_gpu_than_it_was_allowed_has_those_make_room_who_lie_there() -> None:
    tale = gpu_story(A, B)
    tale.planner.pin(A, pinned=True)
    settle_on(tale, D, both(5, 0))
    tale.now = 40.0
    tale.ask(C)
    assert tale.plan() == [Load(model=C, room=both(13, 2), reachable=both(19, 6))]
    tale.planner.too_small(C, both(1, 2))  # what it was given
    assert tale.plan() == [Leave(model=B)]


def test_who_finds_less_of_the_gpu_than_anybody_could_make_room_for_does_with_what_it_finds() -> None:
    """What is pinned there takes more than it said, or a game does: nobody leaves for that, and nobody is refused."""
    tale = gpu_story(A)
    tale.planner.pin(A, pinned=True)
    settle_on(tale, D, both(5, 0))
    tale.now = 40.0
    ticket, steps = tale.asked(B)
    assert steps == [Load(model=B, room=both(14, 6), reachable=both(19, 6))]
    tale.planner.too_small(B, both(1, 6))
    assert tale.plan() == [Load(model=B, room=both(14, 6), reachable=both(19, 0))]
    tale.planner.loaded(B, both(4, 5), tale.now)
    assert tale.plan() == [Grant(ticket=ticket, model=B)]


def test_who_makes_do_with_the_gpu_it_finds_may_still_have_more_ram() -> None:
    tale = gpu_story(A)
    tale.planner.pin(A, pinned=True)
    settle_on(tale, D, both(5, 0))
    tale.now = 40.0
    tale.ask(B)
    tale.plan()
    tale.planner.too_small(B, both(1, 6))
    tale.plan()
    tale.planner.too_small(B, both(16, 5))
    assert tale.plan() == [Leave(model=D)]
    tale.planner.gone(D)
    assert tale.plan() == [Load(model=B, room=both(19, 6), reachable=both(19, 0))]
    tale.planner.too_small(B, both(1, 5))  # it is told so, and yet not content: it is not asked for ever
    assert [type(step) for step in tale.plan()] == [Refuse]


def test_what_a_file_takes_of_the_ram_is_forgotten_once_the_gpu_holds_more_of_it() -> None:
    """The GPU was full once, and there was not enough RAM for what it did not hold."""
    tale = gpu_story(gpu=0)
    tale.planner.ask(A, least=both(30, 0))
    assert [type(step) for step in tale.plan()] == [Refuse]
    tale.planner.budget = both(20, 40)
    tale.planner.ask(A, least=both(1, 0))
    assert tale.plan() == [Load(model=A, room=both(20, 40), reachable=both(20, 40))]


def test_what_an_engine_asked_for_is_forgotten_once_there_is_more_of_the_gpu() -> None:
    tale = gpu_story(A, gpu=8)
    tale.planner.pin(A, pinned=True)
    tale.now = 40.0
    tale.ask(B)
    tale.plan()
    tale.planner.too_small(B, both(20, 4))
    assert [type(step) for step in tale.plan()] == [Refuse]
    tale.ask(B)
    assert [type(step) for step in tale.plan()] == [Refuse]
    tale.planner.budget = both(20, 12)
    tale.ask(B)
    assert tale.plan() == [Load(model=B, room=both(19, 8), reachable=both(19, 8))]


def test_what_the_gpu_alone_would_have_to_hold_is_never_refused() -> None:
    tale = gpu_story(gpu=2)
    tale.planner.ask(A, least=both(1, 99))
    assert tale.plan() == [Load(model=A, room=both(20, 2), reachable=both(20, 2))]
