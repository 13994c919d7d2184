"""Ours: design 2, "The loop". One rule: computed tokens catch up with known tokens."""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Mapping

import attrs
import numpy as np
import pytest

from pensieve_core import ImagePart, Priority
from pensieve_gguf.engine.checkpoints import Checkpoint, Checkpoints
from pensieve_gguf.engine.drafter import Drafter
from pensieve_gguf.engine.drafts import DraftPolicy
from pensieve_gguf.engine.moves import Cut, Evict, Rewind, Save, Share
from pensieve_gguf.engine.residents import Residents
from pensieve_gguf.engine.scheduler import Scheduler
from pensieve_gguf.engine.sequence import ImageSpan, Sequence
from pensieve_gguf.engine.shelf import Shelf, Shelved
from pensieve_gguf.engine.step_costs import GivenCosts, LearnedCosts, StepCosts
from pensieve_gguf.engine.steps import Evicted, Exhausted, Preempted, Restore, Step, Undrafted

_keys = itertools.count(1)


def sequence(prompt: int, *, begins: int = 0, priority: Priority = Priority.MAIN, arrived: float = 0.0) -> Sequence:
    """Return a sequence of `prompt` tokens; those of another `begins` share nothing."""
    return Sequence(
        key=next(_keys),
        tokens=array("i", range(begins, begins + prompt)),
        prompt_tokens=prompt,
        max_tokens=1_000,
        priority=priority,
        arrived=arrived,
    )


def scheduler(*, slots: int = 8, batch_tokens: int = 64, max_running: int = 8, shelf: Shelf | None = None) -> Scheduler:
    residents = Residents(slots)
    return Scheduler(residents, batch_tokens=batch_tokens, max_running=max_running, stretch=3.0, shelf=shelf)


def must(step: Step | None) -> Step:
    assert step is not None
    return step


def computed(machine: Scheduler, *, now: float = 0.0, elapsed_s: float = 0.01) -> Step:
    """Run one step: each row that samples draws token 7."""
    step = must(machine.schedule(now))
    machine.commit(step, {row.sequence.key: [7] for row in step.rows if row.samples}, elapsed_s, now)
    return step


def answering(machine: Scheduler, *, begins: int, prompt: int = 4) -> Sequence:
    """Add a sequence and compute until it streams."""
    streamed = sequence(prompt, begins=begins)
    machine.add(streamed)
    while not streamed.answering:
        computed(machine)
    return streamed


def spans(step: Step) -> Mapping[int, tuple[int, int, bool]]:
    return {row.sequence.key: (row.start, row.stop, row.samples) for row in step.rows}


# -- catching up ---------------------------------------------------------------------------------------------------


def test_without_sequences_there_is_nothing_to_do() -> None:
    machine = scheduler()
    assert machine.idle
    assert machine.schedule(0.0) is None


def test_a_short_prompt_is_computed_in_one_step_and_sampled() -> None:
    machine = scheduler()
    one = sequence(10)
    machine.add(one)
    step = must(machine.schedule(0.0))
    assert spans(step) == {one.key: (0, 10, True)}
    assert step.tokens == 10
    assert not machine.idle


def test_a_long_prompt_is_computed_in_chunks_of_a_batch_and_sampled_at_its_end_alone() -> None:
    machine = scheduler(batch_tokens=64)
    one = sequence(100)
    machine.add(one)
    assert spans(computed(machine)) == {one.key: (0, 64, False)}
    assert spans(computed(machine)) == {one.key: (64, 100, True)}
    assert list(one.tokens[100:]) == [7]


def test_after_its_prompt_a_sequence_computes_one_token_a_step() -> None:
    machine = scheduler()
    one = sequence(10)
    machine.add(one)
    assert [computed(machine).tokens for _ in range(4)] == [10, 1, 1, 1]
    assert (one.computed, one.generated, one.steps, one.prefilled) == (13, 4, 3, 10)


def test_one_step_serves_all_that_run() -> None:
    machine = scheduler()
    streamed = answering(machine, begins=0)
    newcomer = sequence(10, begins=100)
    machine.add(newcomer)
    assert spans(must(machine.schedule(0.0))) == {streamed.key: (4, 5, True), newcomer.key: (0, 10, True)}


def test_rows_of_the_answering_come_before_chunks_of_prompts() -> None:
    machine = scheduler()
    waiting_longer = sequence(100, begins=500)
    machine.add(waiting_longer)
    computed(machine)  # placed and begun before the other one
    streamed = answering(machine, begins=0)
    long = sequence(200, begins=900)
    machine.add(long)
    step = must(machine.schedule(0.0))
    prefilled = [row.sequence.answering for row in step.rows]
    assert prefilled == sorted(prefilled, reverse=True)
    assert streamed in [row.sequence for row in step.rows]


def test_a_batch_never_exceeds_its_capacity() -> None:
    machine = scheduler(batch_tokens=32)
    for begins in range(0, 4_000, 1_000):
        machine.add(sequence(50, begins=begins))
    for _ in range(30):
        assert computed(machine).tokens <= 32


def test_answers_that_fill_the_batch_leave_prompts_no_rows() -> None:
    machine = scheduler(batch_tokens=2)
    for begins in (0, 100):
        answering(machine, begins=begins)
    machine.add(sequence(5, begins=300))
    step = must(machine.schedule(0.0))
    assert [row.sequence.answering for row in step.rows] == [True, True]


# -- the budget ----------------------------------------------------------------------------------------------------


def taught(machine: Scheduler, *, decode_s: float, prefill_s: float) -> Scheduler:
    """Let `machine` know what a step of one row costs, and a prompt token."""
    machine.pace.note(streaming=1, prefilled=0, elapsed_s=decode_s)
    machine.pace.note(streaming=0, prefilled=1, elapsed_s=prefill_s)
    return machine


def test_while_someone_streams_a_prompt_gets_what_the_stretch_affords() -> None:
    machine = scheduler()
    answering(machine, begins=0)
    for _ in range(40):  # until the estimates forget where they began
        taught(machine, decode_s=0.1, prefill_s=0.01)
    machine.add(long := sequence(500, begins=10_000))
    start, stop, _ = spans(must(machine.schedule(0.0)))[long.key]
    assert stop - start == pytest.approx(20, abs=1)


def test_when_nobody_streams_the_whole_batch_is_used() -> None:
    machine = scheduler(batch_tokens=64)
    machine.add(sequence(1_000))
    assert [computed(machine, elapsed_s=5.0).tokens for _ in range(5)] == [64] * 5


def test_on_a_very_slow_machine_a_step_ends_in_time_for_the_watchdog() -> None:
    """A second a token: after some steps they are of 10 tokens."""
    machine = scheduler(batch_tokens=64)
    machine.add(sequence(100_000))
    elapsed = 64.0
    for _ in range(20):
        elapsed = float(computed(machine, elapsed_s=elapsed).tokens)
    assert elapsed == pytest.approx(10, abs=1)


def test_however_slow_the_machine_is_a_prompt_advances_beside_a_stream() -> None:
    machine = taught(scheduler(), decode_s=0.01, prefill_s=60.0)
    answering(machine, begins=0)
    machine.add(sequence(500, begins=1_000))
    assert computed(machine, elapsed_s=20.0).tokens == 1 + 1


def test_one_slow_step_does_not_slow_prompts_beside_a_stream_for_ever() -> None:
    """A laptop that slept: the estimate is corrected by the small chunks that it led to."""
    machine = scheduler(batch_tokens=512)
    answering(machine, begins=0)
    taught(machine, decode_s=0.02, prefill_s=0.001)
    machine.add(long := sequence(50_000, begins=10_000))
    computed(machine, elapsed_s=3_600.0)
    assert computed(machine, elapsed_s=0.03).tokens == 2
    for _ in range(60):
        computed(machine, elapsed_s=0.03)
    assert must(machine.schedule(0.0)).tokens > 3
    assert long.pending > 0


def test_a_clock_too_coarse_to_see_a_step_does_no_harm() -> None:
    machine = scheduler(batch_tokens=64)
    answering(machine, begins=0)
    machine.add(sequence(64 * 300, begins=10_000))
    for _ in range(250):
        assert 2 <= computed(machine, elapsed_s=0.0).tokens <= 64


# -- who goes first ------------------------------------------------------------------------------------------------


def test_a_short_prompt_overtakes_a_long_one() -> None:
    machine = scheduler(batch_tokens=64)
    long, short = sequence(1_000, begins=5_000), sequence(10, begins=100)
    machine.add(long)
    computed(machine)
    machine.add(short)
    step = must(machine.schedule(0.0))
    assert [row.sequence for row in step.rows] == [short, long]
    assert step.tokens == 64


def test_a_long_prompt_that_is_cached_overtakes_a_short_one_that_is_not() -> None:
    """A turn of a long conversation is less work than a new prompt."""
    machine = scheduler(batch_tokens=256, max_running=1)
    before = answering(machine, begins=5_000, prompt=200)
    machine.remove(before, 0.0)
    cold, warm = sequence(100, begins=100), sequence(210, begins=5_000)
    machine.add(cold)
    machine.add(warm)
    assert spans(must(machine.schedule(0.0))) == {warm.key: (200, 210, True)}


def test_a_long_prompt_that_waited_is_not_starved_by_short_ones() -> None:
    machine = scheduler(batch_tokens=64)
    long = sequence(1_000, begins=5_000, arrived=0.0)
    machine.add(long)
    later = 30.0
    machine.add(sequence(100, begins=100, arrived=later))
    assert must(machine.schedule(later)).rows[0].sequence is long


def test_a_main_conversation_goes_before_a_background_call() -> None:
    machine = scheduler(batch_tokens=64)
    title = sequence(5, begins=100, priority=Priority.BACKGROUND)
    main = sequence(500, begins=5_000)
    machine.add(title)
    machine.add(main)
    assert spans(must(machine.schedule(0.0))) == {main.key: (0, 64, False)}


def test_no_more_run_than_may_and_the_next_follows_when_one_leaves() -> None:
    machine = scheduler(max_running=2)
    several = [sequence(5, begins=begins) for begins in (0, 100, 200)]
    for one in several:
        machine.add(one)
    assert len(computed(machine).rows) == 2
    gone = machine.running[0]
    machine.remove(gone, 0.0)
    computed(machine)
    assert set(machine.running) == {one for one in several if one is not gone}
    assert machine.waiting == []


def test_without_a_free_slot_a_sequence_waits() -> None:
    machine = scheduler(slots=1)
    first, second = sequence(5, begins=0), sequence(6, begins=100)
    machine.add(first)
    machine.add(second)
    assert list(spans(computed(machine))) == [first.key]
    assert machine.waiting == [second]


# -- reuse ---------------------------------------------------------------------------------------------------------


def test_the_next_turn_computes_its_new_tokens_alone() -> None:
    machine = scheduler()
    first = sequence(50)
    machine.add(first)
    computed(machine)
    machine.remove(first, 1.0)
    second = sequence(60)
    machine.add(second)
    step = must(machine.schedule(2.0))
    assert spans(step) == {second.key: (50, 60, True)}
    assert step.moves == ()
    assert second.cached == 50
    assert second.placed_at == 2.0


def test_a_step_carries_the_moves_that_its_rows_rely_on() -> None:
    machine = scheduler()
    streamed = answering(machine, begins=0, prompt=20)
    fork = sequence(40)
    machine.add(fork)
    step = must(machine.schedule(0.0))
    assert streamed.slot is not None
    assert fork.slot is not None
    assert step.moves == (Share(streamed.slot, fork.slot, 20),)
    assert spans(step)[fork.key] == (20, 40, True)
    assert must(machine.schedule(0.0)).moves == ()


# -- commit --------------------------------------------------------------------------------------------------------


def test_a_step_that_was_not_committed_is_scheduled_again() -> None:
    """A decode that found no room, or was aborted, computed nothing that counts."""
    machine = scheduler()
    machine.add(sequence(10))
    assert must(machine.schedule(0.0)).rows == must(machine.schedule(0.0)).rows


def test_commit_appends_what_was_sampled_and_notes_when_the_answer_began() -> None:
    machine = scheduler()
    one = sequence(10)
    machine.add(one)
    machine.commit(must(machine.schedule(0.0)), {one.key: [42]}, 0.01, now=5.0)
    assert one.tokens[-1] == 42
    assert one.answered_at == 5.0
    machine.commit(must(machine.schedule(0.0)), {one.key: [43]}, 0.01, now=6.0)
    assert one.answered_at == 5.0


def test_a_row_that_samples_nothing_leaves_a_sequence_whole() -> None:
    """`max_tokens: 0` computes the prompt into the cache."""
    machine = scheduler()
    one = sequence(10)
    machine.add(one)
    machine.commit(must(machine.schedule(0.0)), {}, 0.01, now=5.0)
    assert one.pending == 0
    machine.remove(one, 6.0)
    again = sequence(11)
    machine.add(again)
    assert spans(must(machine.schedule(7.0))) == {again.key: (10, 11, True)}


# -- leaving -------------------------------------------------------------------------------------------------------


def test_a_sequence_may_leave_before_it_ran() -> None:
    machine = scheduler()
    one = sequence(10)
    machine.add(one)
    machine.remove(one, 0.0)
    assert machine.idle


def test_what_a_cancelled_sequence_computed_stays_for_the_next() -> None:
    machine = scheduler(batch_tokens=64)
    one = sequence(100)
    machine.add(one)
    computed(machine)
    machine.remove(one, 1.0)
    assert one.slot is None
    again = sequence(100)
    machine.add(again)
    assert spans(must(machine.schedule(2.0))) == {again.key: (64, 100, True)}


def test_a_prompt_that_would_find_no_room_waits_for_one_that_runs() -> None:
    """Placed, it would be preempted, and computed again: sessions that push each other out in turn."""
    machine = Scheduler(Residents(8, cells=1_000), batch_tokens=64, max_running=8, stretch=3.0)
    machine.add(first := sequence(300))
    computed(machine)
    machine.add(second := sequence(300, begins=5_000))
    assert [row.sequence for row in computed(machine).rows] == [first]
    machine.remove(first, 1.0)
    assert [row.sequence for row in computed(machine).rows] == [second]


def test_room_is_made_before_the_decode_and_not_after_it_failed() -> None:
    machine = Scheduler(Residents(8, cells=100), batch_tokens=64, max_running=8, stretch=3.0)
    machine.add(first := sequence(60))
    computed(machine)
    slot = first.slot
    machine.remove(first, 0.0)
    machine.add(sequence(64, begins=5_000))
    step = must(machine.schedule(1.0))
    assert step.moves == (Evict(slot or 0, 36, array("i", range(60))),)
    assert must(machine.schedule(1.0)).moves == ()


def test_a_conversation_is_known_to_have_gone_on_and_its_marks_to_stand() -> None:
    machine = Scheduler(Residents(8, cells=100), batch_tokens=64, max_running=8, stretch=3.0)
    for number, tail in enumerate((500, 900)):
        one = sequence(30)
        one.tokens.extend(range(tail, tail + 10))
        one.prompt_tokens, one.conversation, one.marks = 40, "ours", (30,)
        machine.add(one)
        computed(machine, now=number)
        machine.remove(one, number)
    machine.add(sequence(64, begins=5_000))
    evicted = [(move.slot, move.length) for move in must(machine.schedule(2.0)).moves if isinstance(move, Evict)]
    assert evicted == [(0, 0), (1, 36)], "what was left behind went first, and then the tail"


# -- no room -------------------------------------------------------------------------------------------------------


def test_idle_prefixes_make_room_first() -> None:
    machine = scheduler()
    old = sequence(10)
    machine.add(old)
    computed(machine)
    slot = old.slot
    assert slot is not None
    machine.remove(old, 0.0)
    machine.add(sequence(10, begins=100))
    computed(machine)
    assert machine.relieve() == Evicted(Evict(slot, 0, array("i", range(10))))


def test_with_no_idle_prefix_the_youngest_sequence_gives_its_cells_up() -> None:
    machine = scheduler()
    elder, youngest = sequence(10, arrived=1.0), sequence(10, begins=100, arrived=2.0)
    machine.add(elder)
    machine.add(youngest)
    computed(machine, now=2.0)
    slot = youngest.slot
    assert slot is not None
    assert machine.relieve() == Preempted(youngest, Evict(slot, 0, array("i", range(100, 110))))
    assert (youngest.slot, youngest.computed) == (None, 0)
    assert (machine.running, machine.waiting) == ([elder], [youngest])


def test_background_work_gives_way_before_a_younger_conversation() -> None:
    """Design 2: background calls never evict a main conversation."""
    machine = scheduler()
    title = sequence(10, arrived=1.0, priority=Priority.BACKGROUND)
    machine.add(title)
    machine.add(sequence(10, begins=100, arrived=2.0))
    computed(machine, now=2.0)
    relief = machine.relieve()
    assert isinstance(relief, Preempted)
    assert relief.sequence is title


def test_a_preempted_sequence_waits_until_another_one_has_left() -> None:
    """Placed at once, the two would push each other out for ever."""
    machine = scheduler()
    elder, youngest = sequence(10, arrived=1.0), sequence(10, begins=100, arrived=2.0)
    machine.add(elder)
    machine.add(youngest)
    computed(machine, now=2.0)
    machine.relieve()
    assert [row.sequence for row in computed(machine).rows] == [elder]
    machine.remove(elder, 3.0)
    assert [row.sequence for row in computed(machine).rows] == [youngest]


def test_a_preempted_answer_is_computed_again_without_being_sampled_again() -> None:
    machine = scheduler(batch_tokens=64)
    elder = answering(machine, begins=0)
    elder.arrived = -1.0
    youngest = answering(machine, begins=1_000, prompt=70)
    for _ in range(5):
        computed(machine)
    known = list(youngest.tokens)
    assert isinstance(machine.relieve(), Preempted)
    machine.remove(elder, 0.0)
    assert spans(computed(machine)) == {youngest.key: (0, 64, False)}
    assert spans(computed(machine)) == {youngest.key: (64, len(known), True)}
    assert list(youngest.tokens) == [*known, 7]
    assert youngest.prefilled == 70 + len(known)


def test_the_cache_hits_of_the_first_placement_are_the_ones_that_count() -> None:
    """Usage is told once: a preemption must not change what a client is charged."""
    machine = scheduler()
    elder, youngest = sequence(10, arrived=1.0), sequence(10, begins=100, arrived=2.0)
    machine.add(elder)
    machine.add(youngest)
    computed(machine, now=2.0)
    machine.relieve()
    machine.remove(elder, 3.0)
    computed(machine, now=4.0)
    assert (youngest.cached, youngest.placed_at) == (0, 2.0)


def test_a_sequence_that_leaves_while_parked_is_forgotten() -> None:
    machine = scheduler()
    elder, youngest = sequence(10, arrived=1.0), sequence(10, begins=100, arrived=2.0)
    machine.add(elder)
    machine.add(youngest)
    computed(machine)
    machine.relieve()
    machine.remove(youngest, 3.0)
    machine.remove(elder, 3.0)
    assert machine.idle


def test_a_sequence_that_fills_the_cache_alone_cannot_go_on() -> None:
    machine = scheduler()
    one = sequence(10)
    machine.add(one)
    computed(machine)
    assert machine.relieve() == Exhausted(one)


def test_a_sequence_whose_cells_are_not_to_be_trusted_starts_again() -> None:
    machine = scheduler()
    one = sequence(10)
    machine.add(one)
    computed(machine)
    slot = one.slot
    assert slot is not None
    assert machine.rewind(one) == Cut(slot, 0)
    step = must(machine.schedule(0.0))
    assert spans(step) == {one.key: (0, 11, True)}


def test_an_answer_that_is_taken_back_is_sampled_anew_from_its_prompt() -> None:
    machine = scheduler()
    one = answering(machine, begins=0, prompt=10)
    for _ in range(3):
        computed(machine)
    slot = one.slot
    assert slot is not None
    assert machine.take_back(one) == Cut(slot, 9)
    assert (one.generated, one.computed) == (0, 9)
    assert spans(must(machine.schedule(0.0))) == {one.key: (9, 10, True)}


def test_only_a_running_sequence_can_be_rewound() -> None:
    machine = scheduler()
    one = sequence(10)
    machine.add(one)
    with pytest.raises(AssertionError, match="running"):
        machine.rewind(one)


# -- siblings ------------------------------------------------------------------------------------------------------


def sibling(head: int, own: int, *, priority: Priority = Priority.MAIN) -> Sequence:
    """Return a sequence that shares `head` tokens with its siblings, and ends in 20 of its `own`."""
    one = sequence(head, priority=priority)
    one.tokens.extend([own] * 20)
    one.prompt_tokens = len(one.tokens)
    return one


def test_siblings_wait_for_the_prefix_that_one_of_them_is_computing() -> None:
    """Design 2: four agents at once on one head: the head is computed once."""
    machine = scheduler(batch_tokens=64)
    agents = [sibling(400, 1_000 + number) for number in range(4)]
    for agent in agents:
        machine.add(agent)
    while not all(agent.generated for agent in agents):
        computed(machine)
    twice = sum(agent.prefilled for agent in agents) - (400 + 4 * 20)
    assert 0 <= twice <= 3 * 16


def test_for_a_short_prefix_nobody_waits() -> None:
    machine = scheduler(batch_tokens=512)
    first, second = sibling(16, 1_000), sibling(16, 2_000)
    machine.add(first)
    machine.add(second)
    assert spans(computed(machine)).keys() == {first.key, second.key}


def test_nobody_waits_for_less_urgent_work() -> None:
    """It may be slow: a main turn would wait for whoever goes before a background call."""
    machine = scheduler(batch_tokens=16)
    background = sibling(400, 1_000, priority=Priority.BACKGROUND)
    machine.add(background)
    computed(machine)
    main = sibling(400, 2_000)
    machine.add(main)
    assert main.key in spans(computed(machine))
    assert main.cached == 16


def test_the_same_prompt_again_joins_the_one_that_is_being_computed() -> None:
    """Claude Code retries what takes too long; the first attempt may still be there."""
    machine = scheduler(batch_tokens=64)
    first, again = sequence(400), sequence(400)
    machine.add(first)
    computed(machine)
    machine.add(again)
    while not again.generated:
        computed(machine)
    assert again.prefilled <= 16


# -- checkpoints ---------------------------------------------------------------------------------------------------


def hybrid(*, batch_tokens: int = 64) -> tuple[Scheduler, Checkpoints]:
    """Return a scheduler of a model that cannot go back, save to checkpoints; they are made by `saved`."""
    checkpoints = Checkpoints()
    residents = Residents(8, forgets_partially=False, checkpoints=checkpoints)
    shelf = Shelf(1_000, forgets_partially=False, checkpoints=checkpoints)
    return Scheduler(residents, batch_tokens=batch_tokens, max_running=8, stretch=3.0, shelf=shelf), checkpoints


def saved(machine: Scheduler, checkpoints: Checkpoints) -> list[int]:
    """Run one step, make the checkpoints that it asks for, and return how many tokens each of them has."""
    step = must(machine.schedule(0.0))
    sampled = {row.sequence.key: [7] for row in step.rows if row.samples}
    saves = [move for move in machine.commit(step, sampled, 0.01, 0.0) if isinstance(move, Save)]
    for save in saves:
        checkpoints.put(Checkpoint(tokens=save.tokens, state=np.zeros(4, np.uint8), used_at=0.0))
    return [len(save.tokens) for save in saves]


def test_prefill_stops_where_a_checkpoint_is_to_be_made() -> None:
    machine, checkpoints = hybrid(batch_tokens=400)
    one = attrs.evolve(sequence(300), marks=(100,))
    machine.add(one)
    assert [saved(machine, checkpoints) for _ in range(4)] == [[100], [284], [], []]
    assert (one.prefilled, one.generated) == (300, 2)


def test_models_that_can_be_cut_back_make_none() -> None:
    machine = scheduler(batch_tokens=400)
    one = attrs.evolve(sequence(300), marks=(100,))
    machine.add(one)
    assert spans(computed(machine)) == {one.key: (0, 300, True)}


def test_a_sibling_waits_for_a_checkpoint_and_no_longer() -> None:
    machine, checkpoints = hybrid()
    first, second = sequence(400), sequence(200)
    second.tokens.extend(range(1_000, 1_200))
    second.prompt_tokens = 400
    machine.add(first)
    saved(machine, checkpoints)
    machine.add(second)
    while second.slot is None:
        saved(machine, checkpoints)
    assert not first.answering
    assert second.cached == 200 - 16


def test_a_sibling_that_comes_too_late_does_not_wait() -> None:
    machine, checkpoints = hybrid()
    machine.add(sequence(400))
    for _ in range(4):
        saved(machine, checkpoints)
    second = sequence(200)
    second.tokens.extend(range(1_000, 1_200))
    machine.add(second)
    machine.schedule(0.0)
    assert (second.slot, second.computed) == (1, 0)


def test_who_is_placed_upon_a_checkpoint_is_the_last_one_in_a_step() -> None:
    """It may be refused: nobody may be placed upon what is not there yet."""
    machine, checkpoints = hybrid(batch_tokens=400)
    first = sequence(300)
    machine.add(first)
    while not first.answering:
        saved(machine, checkpoints)
    for _ in range(2):
        again = sequence(290)
        machine.add(again)
    step = must(machine.schedule(0.0))
    assert isinstance(step.moves[-1], Rewind)
    assert len(machine.waiting) == 1


def test_what_cannot_be_cut_back_falls_back_to_its_last_checkpoint() -> None:
    machine, checkpoints = hybrid(batch_tokens=400)
    one = sequence(300)
    machine.add(one)
    while not one.answering:
        saved(machine, checkpoints)
    back = machine.fall_back(one, 299)
    assert isinstance(back, Rewind)
    assert (back.checkpoint.length, one.computed, one.pending) == (284, 284, 17)
    assert machine.fall_back(one, 100) == Cut(0, 0)
    assert machine.waiting == [one]


def test_a_state_from_the_shelf_goes_back_to_a_checkpoint() -> None:
    shelf = Shelf(1_000, forgets_partially=False, checkpoints=(checkpoints := Checkpoints()))
    residents = Residents(8, forgets_partially=False, checkpoints=checkpoints)
    machine = Scheduler(residents, batch_tokens=400, max_running=8, stretch=3.0, shelf=shelf)
    prompt = sequence(300)
    fitting = Checkpoint(tokens=prompt.tokens[:200], state=np.zeros(4, np.uint8), used_at=0.0)
    checkpoints.put(fitting)
    shelved = Shelved(tokens=array("i", [*range(250), 9]), state=np.zeros(9, np.uint8), used_at=0.0)
    shelf.put(shelved)
    machine.add(prompt)
    step = must(machine.schedule(5.0))
    assert step.moves == (Restore(0, shelved, 200, fitting),)
    assert fitting.used_at == 5.0


# -- the shelf -----------------------------------------------------------------------------------------------------


def shelf_with(*tokens: int) -> tuple[Shelf, Shelved]:
    shelf, shelved = Shelf(1_000), Shelved(tokens=array("i", tokens), state=np.zeros(9, np.uint8), used_at=0.0)
    shelf.put(shelved)
    return shelf, shelved


def test_a_prefix_on_the_shelf_is_restored_and_only_the_rest_computed() -> None:
    shelf, shelved = shelf_with(0, 1, 2, 3, 4, 99)
    machine = scheduler(shelf=shelf)
    one = sequence(10)
    machine.add(one)
    step = must(machine.schedule(3.0))
    assert step.moves == (Restore(0, shelved, 5),)
    assert spans(step) == {one.key: (5, 10, True)}
    assert (one.cached, shelved.used_at) == (5, 3.0)


def test_a_prefix_in_the_cache_is_taken_rather_than_an_equally_long_one_on_the_shelf() -> None:
    shelf, _ = shelf_with(0, 1, 2, 3, 4)
    machine = scheduler(shelf=shelf)
    first = sequence(5)
    machine.add(first)
    computed(machine)
    machine.remove(first, 0.0)
    machine.add(sequence(10))
    assert must(machine.schedule(1.0)).moves == ()


def test_what_could_not_be_restored_is_computed() -> None:
    shelf, shelved = shelf_with(0, 1, 2, 3, 4)
    machine = scheduler(shelf=shelf)
    one = sequence(10)
    machine.add(one)
    machine.schedule(0.0)
    shelf.discard(shelved)
    assert (slot := one.slot) is not None
    assert machine.lose(slot) == Cut(slot, 0)
    assert spans(computed(machine)) == {one.key: (0, 10, True)}


def test_an_idle_prefix_goes_stale_beside_a_long_prompt() -> None:
    """Each of its tokens looks at all cells: measured, 3,000 beside 3,000 that are idle take a tenth longer."""
    machine = scheduler()
    idle = sequence(10)
    machine.add(idle)
    computed(machine)
    machine.remove(idle, 0.0)
    machine.add(sequence(120, begins=500))
    looks = []
    for _ in range(40):
        computed(machine)
        looks.append(machine.stale())
    assert [list(one.tokens) for one in looks if one is not None][:1] == [list(range(10))]


def test_an_idle_prefix_beside_which_others_decode_for_long_goes_stale() -> None:
    machine = scheduler()
    idle = sequence(10)
    machine.add(idle)
    computed(machine)
    machine.remove(idle, 0.0)
    answering(machine, begins=500)
    looks = []
    for _ in range(60):
        computed(machine)
        looks.append(machine.stale())
    assert not any(looks[:40])
    stale = next(filter(None, looks))
    assert list(stale.tokens) == list(range(10))
    machine.keep(stale, 1.0)
    assert machine.stale() is None
    assert machine.drop(stale) == Cut(stale.slot, 0)


# -- drafts --------------------------------------------------------------------------------------------------------

FREE = GivenCosts({1: 1.0, 64: 1.0})


def drafting(costs: StepCosts = FREE, *, batch_tokens: int = 64, max_running: int = 4) -> Scheduler:
    return Scheduler(
        Residents(8),
        batch_tokens=batch_tokens,
        max_running=max_running,
        stretch=3.0,
        drafts=DraftPolicy(costs, longest=1_000),
    )


def echo(machine: Scheduler, *, begins: int = 0) -> Sequence:
    """Add a sequence whose prompt is so many tokens, and which has begun to repeat them; three of them are said."""
    one = sequence(20, begins=begins)
    one.drafter = Drafter(one.tokens, one.prompt_tokens)
    machine.add(one)
    while one.generated < 3:
        step = must(machine.schedule(0.0))
        sampled = {row.sequence.key: said(row.sequence) for row in step.rows if row.samples}
        machine.commit(step, sampled, 0.01, 0.0)
    return one


def said(one: Sequence, count: int = 1) -> list[int]:
    """Return what comes next in the prompt."""
    return list(one.tokens[one.generated : one.generated + count])


def test_an_answer_that_repeats_its_prompt_is_drafted_on_the_rows_after_its_own() -> None:
    machine = drafting()
    one = echo(machine)
    (row,) = (step := must(machine.schedule(0.0))).rows
    assert (row.start, row.stop, row.samples) == (22, 23, True)
    assert list(row.draft[:3]) == said(one, 3)
    assert step.tokens == 1 + len(row.draft) == 1 + step.drafted


def test_accepted_tokens_are_known_and_computed_and_the_rest_of_the_draft_is_cut_out() -> None:
    machine = drafting()
    one = echo(machine)
    step = must(machine.schedule(0.0))
    assert one.slot is not None
    steps = one.steps
    assert machine.commit(step, {one.key: [*said(one, 2), 999]}, 0.01, 0.0) == (Cut(one.slot, 25),)
    assert list(one.tokens[-3:]) == [3, 4, 999]
    assert (one.computed, one.pending, one.steps) == (25, 1, steps + 1)


def test_a_draft_that_is_right_leaves_nothing_to_cut() -> None:
    machine = drafting()
    one = echo(machine)
    step = must(machine.schedule(0.0))
    (row,) = step.rows
    assert machine.commit(step, {one.key: [*row.draft, 7]}, 0.01, 0.0) == ()
    assert (one.computed, one.pending) == (23 + len(row.draft), 1)


def test_a_draft_after_which_nothing_was_sampled_is_cut_out_whole() -> None:
    """The sampler of its job failed."""
    machine = drafting()
    one = echo(machine)
    step = must(machine.schedule(0.0))
    assert one.slot is not None
    assert machine.commit(step, {}, 0.01, 0.0) == (Cut(one.slot, 23),)


def test_beside_prompts_nothing_is_drafted() -> None:
    machine = drafting()
    echo(machine)
    machine.add(sequence(200, begins=1_000))
    assert [row.draft for row in must(machine.schedule(0.0)).rows] == [(), ()]


def test_while_others_wait_nothing_is_drafted() -> None:
    machine = drafting(max_running=1)
    echo(machine)
    machine.add(sequence(200, begins=1_000))
    assert must(machine.schedule(0.0)).drafted == 0


def test_several_answers_are_drafted_together_within_the_batch() -> None:
    machine = drafting(batch_tokens=16)
    one, other = echo(machine), echo(machine, begins=500)
    for _ in range(2):
        step = must(machine.schedule(0.0))
        machine.commit(step, {row.sequence.key: said(row.sequence) for row in step.rows}, 0.01, 0.0)
    step = must(machine.schedule(0.0))
    assert {row.sequence for row in step.rows} == {one, other}
    assert all(row.draft for row in step.rows)
    assert step.tokens <= 16


def test_a_sequence_without_a_drafter_is_answered_as_ever() -> None:
    machine = drafting()
    one = echo(machine)
    one.drafter = None
    assert must(machine.schedule(0.0)).tokens == 1


def test_drafts_that_find_no_room_are_left_out_before_anyone_is_pushed_out() -> None:
    machine = drafting()
    one, other = echo(machine), echo(machine, begins=500)
    other.arrived = 5.0
    assert must(machine.schedule(0.0)).drafted > 0
    assert machine.relieve() == Undrafted()
    step = must(machine.schedule(0.0))
    assert step.drafted == 0
    machine.commit(step, {row.sequence.key: said(row.sequence) for row in step.rows}, 0.01, 0.0)
    assert must(machine.schedule(0.0)).drafted > 0, "it may fit by now"
    assert machine.relieve() == Undrafted()
    assert must(machine.schedule(0.0)).drafted == 0
    assert isinstance(machine.relieve(), Preempted)
    assert one in machine.running


def test_what_drafts_cost_is_learned_from_the_steps_of_a_lonely_answer() -> None:
    costs = LearnedCosts()
    machine = drafting(costs)
    one = echo(machine)
    step = must(machine.schedule(0.0))
    machine.commit(step, {one.key: said(one)}, 0.05, 0.0)
    assert costs.of(step.tokens) == pytest.approx(5.0)


def test_wide_drafts_do_not_pass_for_prefill() -> None:
    machine = drafting(batch_tokens=512)
    one = echo(machine)
    before = machine.pace.prefill_s
    step = must(machine.schedule(0.0))
    assert step.tokens > 16
    machine.commit(step, {one.key: said(one)}, 60.0, 0.0)
    assert machine.pace.prefill_s == before


def test_an_answer_that_is_taken_back_is_no_longer_looked_up() -> None:
    machine = drafting()
    one = echo(machine)
    machine.take_back(one)
    step = must(machine.schedule(0.0))
    machine.commit(step, {one.key: [777]}, 0.01, 0.0)
    assert must(machine.schedule(0.0)).drafted == 0


# -- images ----------------------------------------------------------------------------------------------------------


def seeing(prompt: int, *spans: tuple[int, int], begins: int = 0) -> Sequence:
    image = ImagePart(media_type="image/png", data=b"png")
    images = tuple(ImageSpan(start=a, stop=b, image=image, digest=b"", piece=0) for a, b in spans)
    return attrs.evolve(sequence(prompt, begins=begins), images=images)


def test_a_step_says_whether_it_has_images() -> None:
    machine = scheduler()
    machine.add(seeing(10, (4, 7)))
    steps = [computed(machine) for _ in range(3)]
    assert [(row.start, row.stop) for step in steps for row in step.rows] == [(0, 4), (4, 7), (7, 10)]
    assert [step.has_images for step in steps] == [False, True, False]


def test_images_and_the_texts_of_others_share_a_step() -> None:
    machine = scheduler()
    streamed = answering(machine, begins=1_000)
    machine.add(seeing(10, (0, 7)))
    machine.add(sequence(5, begins=2_000))
    step = computed(machine)
    assert step.has_images
    assert [row.sequence is streamed for row in step.rows] == [True, False, False]
    assert sorted(row.stop - row.start for row in step.rows) == [1, 5, 7]


def test_an_image_longer_than_the_budget_is_cut() -> None:
    machine = scheduler(batch_tokens=16)
    machine.add(seeing(50, (4, 44)))
    stops: list[int] = []
    while not stops or stops[-1] < 50:
        step = computed(machine)
        stops.append(step.rows[0].stop)
        assert step.tokens <= 16
    assert stops == [4, 20, 36, 44, 50]
