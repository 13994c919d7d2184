"""Ours: design 4, "Agent-aware scheduling": main before agents before background, and sessions share the machine."""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Sequence as Several

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pensieve_core import Priority
from pensieve_gguf.engine.precedence import Precedence, gives_way, taking_part, youngest
from pensieve_gguf.engine.residents import Residents
from pensieve_gguf.engine.scheduler import Scheduler
from pensieve_gguf.engine.sequence import Sequence
from pensieve_gguf.engine.steps import Step

_keys = itertools.count(1)


def asked(
    work: int, session: str | None = None, *, priority: Priority = Priority.MAIN, arrived: float = 0.0, answer: int = 8
) -> Sequence:
    """Return a sequence of `work` tokens that share nothing with others."""
    key = next(_keys)
    return Sequence(
        key=key,
        tokens=array("i", [key] * work),
        prompt_tokens=work,
        max_tokens=answer,
        priority=priority,
        session=session,
        arrived=arrived,
    )


def ordered(
    *sequences: Sequence, now: float = 0.0, precedence: Precedence | None = None, busy: Several[Sequence] = ()
) -> list[Sequence]:
    """A token takes 10 ms."""
    rules = precedence or Precedence()
    return list(rules.in_order(sequences, now, work=lambda one: one.pending, token_s=0.01, busy=busy))


# -- class ---------------------------------------------------------------------------------------------------------


def test_main_turns_go_before_agents_these_before_titles_and_batches_come_last() -> None:
    several = [asked(10 - rank, priority=rank) for rank in reversed(Priority)]
    assert [one.priority for one in ordered(*several)] == list(Priority)


def test_who_has_waited_ten_minutes_moves_up_a_class() -> None:
    title, main = asked(10, priority=Priority.BACKGROUND), asked(9, arrived=599.0)
    assert ordered(main, title, now=599.0) == [main, title]
    agent = asked(9, priority=Priority.AGENT, arrived=601.0)
    assert ordered(agent, title, now=601.0) == [title, agent]


# -- session -------------------------------------------------------------------------------------------------------


def test_eight_agents_of_one_session_do_not_go_before_the_only_one_of_another() -> None:
    """Each of them has less to compute."""
    eight = [asked(100, "many", priority=Priority.AGENT) for _ in range(8)]
    only = asked(250, "few", priority=Priority.AGENT)
    assert ordered(*eight, only).index(only) == 2


def test_what_a_session_was_given_counts_when_its_next_request_comes() -> None:
    """Otherwise short prompts that follow each other would keep a longer one of another session out."""
    precedence = Precedence()
    first, only = asked(100, "many"), asked(250, "few")
    precedence.join(first, ())
    precedence.join(only, (first,))
    precedence.note(first, 100)
    following = asked(100, "many")
    precedence.join(following, (only,))
    assert ordered(following, only, precedence=precedence) == [following, only]
    precedence.note(following, 100)
    assert ordered(asked(100, "many"), only, precedence=precedence)[0] is only


def test_what_runs_already_counts_for_its_session() -> None:
    running = [asked(100, "many") for _ in range(3)]
    newcomer, only = asked(100, "many"), asked(250, "few")
    assert ordered(newcomer, only) == [newcomer, only]
    assert ordered(newcomer, only, busy=running) == [only, newcomer]


def test_a_session_that_was_away_is_not_owed_what_others_were_given_meanwhile() -> None:
    precedence = Precedence()
    busy = asked(10, "busy")
    precedence.join(busy, ())
    precedence.note(busy, 100_000)
    back = asked(500, "back")
    precedence.join(back, (busy,))
    assert ordered(back, asked(499, "busy"), precedence=precedence)[1] is back


def test_within_a_session_the_shorter_goes_first() -> None:
    long, short = asked(300, "one"), asked(20, "one")
    assert ordered(long, short) == [short, long]


def test_sessions_that_nobody_named_share_nothing() -> None:
    several = [asked(work) for work in (300, 20, 100)]
    precedence = Precedence()
    for one in several:
        precedence.join(one, ())
        precedence.note(one, 1_000)
    assert [one.pending for one in ordered(*several, precedence=precedence)] == [20, 100, 300]


def test_the_sessions_that_are_remembered_are_bounded() -> None:
    precedence = Precedence()
    for number in range(1_000):
        precedence.join(asked(1, f"s{number}"), ())
    assert len(precedence._served) == 256


@given(
    st.lists(st.tuples(st.integers(1, 500), st.sampled_from(["a", "b", None]), st.sampled_from(Priority)), max_size=12),
    st.floats(0, 2_000),
)
def test_nobody_is_lost_and_classes_hold_unless_somebody_waited(
    wanted: list[tuple[int, str | None, Priority]], now: float
) -> None:
    several = [asked(work, session, priority=priority) for work, session, priority in wanted]
    order = ordered(*several, now=now)
    assert sorted(one.key for one in order) == sorted(one.key for one in several)
    if now < 600:
        assert [one.priority for one in order] == sorted(one.priority for one in several)


# -- who stands back -----------------------------------------------------------------------------------------------


def test_what_nobody_watches_takes_part_in_one_step_of_four() -> None:
    main, title, batch = asked(1), asked(1, priority=Priority.BACKGROUND), asked(1, priority=Priority.BATCH)
    parts = [taking_part([title, main, batch], beat) for beat in range(8)]
    assert [len(part) for part in parts] == [3, 1, 1, 1, 3, 1, 1, 1]
    assert parts[1] == [main]


def test_among_themselves_nobody_stands_back() -> None:
    titles = [asked(1, priority=Priority.BACKGROUND), asked(1, priority=Priority.BATCH)]
    assert taking_part(titles, 1) == titles
    assert taking_part(titles[:1], 1) == titles[:1]


# -- who gives way -------------------------------------------------------------------------------------------------


def test_the_youngest_of_the_lowest_class_gives_way() -> None:
    batches = [asked(1, priority=Priority.BATCH, arrived=at) for at in (1.0, 2.0)]
    running = [asked(1, priority=Priority.AGENT, arrived=9.0), *batches]
    assert gives_way(running, asked(1)) is batches[1]


def test_nobody_gives_way_to_his_like_or_to_less_urgent_work() -> None:
    running = [asked(1, "a"), asked(1, "b", priority=Priority.AGENT)]
    assert gives_way(running, asked(1, "b", priority=Priority.AGENT)) is None
    assert gives_way(running, asked(1, "c", priority=Priority.AGENT)) is None
    assert gives_way(running, asked(1, "c", priority=Priority.BATCH)) is None


def test_of_a_session_that_has_two_more_running_one_gives_way() -> None:
    several = [asked(1, "many", arrived=at) for at in (1.0, 3.0, 2.0)]
    assert gives_way(several, asked(1, "few")) is several[1]
    assert gives_way(several, asked(1, "many")) is None
    assert gives_way(several, asked(1)) is None, "whose it is nobody knows"
    assert gives_way([*several, asked(1, "few"), asked(1, "few")], asked(1, "few")) is None


def test_nobody_gives_way_twice() -> None:
    agent = attrs.evolve(asked(1, priority=Priority.AGENT), gave_way=True)
    assert gives_way([agent], asked(1)) is None


def test_for_want_of_cells_the_busiest_session_goes_first() -> None:
    running = [asked(1, "few", arrived=9.0), asked(1, "many", arrived=1.0), asked(1, "many", arrived=2.0)]
    assert youngest(running) is running[2]


# -- the scheduler under these rules -------------------------------------------------------------------------------


@attrs.define
class Machine:
    """A scheduler whose steps take a tenth of a second."""

    scheduler: Scheduler
    now: float = 0.0
    finished: list[Sequence] = attrs.field(factory=list)

    def step(self) -> Step:
        step = self.scheduler.schedule(self.now)
        assert step is not None, "work conserving: there is work, so there is a step"
        self.now += 0.1
        sampled = {row.sequence.key: [7] for row in step.rows if row.samples}
        self.scheduler.commit(step, sampled, 0.1, self.now)
        for row in step.rows:
            if row.samples and row.sequence.generated >= row.sequence.max_tokens:
                self.finished.append(row.sequence)
                self.scheduler.remove(row.sequence, self.now)
        return step

    def until(self, sequence: Sequence, *, steps: int) -> int:
        """Return how many steps it took until it had answered; `steps` at most."""
        for count in range(steps):
            if sequence in self.finished:
                return count
            self.step()
        pytest.fail(f"{sequence.priority.name} starved for {steps} steps")


def machine(*, max_running: int = 4, cells: int | None = None) -> Machine:
    residents = Residents(max_running + 4, cells=cells)
    return Machine(Scheduler(residents, batch_tokens=32, max_running=max_running, stretch=3.0))


def test_a_main_turn_gets_a_place_at_once_beside_eight_agents_of_another_session() -> None:
    one = machine(max_running=4)
    agents = [asked(20, "many", priority=Priority.AGENT, answer=500) for _ in range(8)]
    for agent in agents:
        one.scheduler.add(agent)
    for _ in range(10):
        one.step()
    one.scheduler.add(main := asked(40, "few", arrived=one.now))
    assert any(row.sequence is main for row in one.step().rows)
    assert len(one.scheduler.running) == 4


def test_who_gave_way_goes_on_where_it_was() -> None:
    one = machine(max_running=1)
    one.scheduler.add(agent := asked(20, "s", priority=Priority.AGENT, answer=40))
    for _ in range(10):
        one.step()
    said = list(agent.tokens)
    one.scheduler.add(main := asked(20, "s", arrived=one.now))
    assert one.until(main, steps=20) < 20
    row = one.step().rows[0]
    assert row.sequence is agent
    assert (row.start, row.samples) == (len(said) - 1, True), "one token is computed again, and none twice sampled"
    assert list(agent.tokens)[: len(said)] == said


def test_a_main_turn_for_which_agents_leave_no_cells_gets_theirs() -> None:
    one = machine(cells=400)
    agents = [asked(90, "many", priority=Priority.AGENT, answer=20) for _ in range(4)]
    for agent in agents:
        one.scheduler.add(agent)
        one.step()
    one.scheduler.add(main := asked(150, "few", arrived=one.now))
    assert any(row.sequence is main for row in one.step().rows)
    for sequence in (main, *agents):
        one.until(sequence, steps=300)


def test_an_answer_that_is_watched_hardly_slows_beside_a_batch() -> None:
    one = machine()
    one.scheduler.add(main := asked(20, "s", answer=60))
    for _ in range(3):
        one.scheduler.add(asked(400, "batch", priority=Priority.BATCH, answer=200))
    alone = 0
    while main not in one.finished:
        alone += len(one.step().rows) == 1
    assert alone >= 40


@pytest.mark.parametrize("priority", Priority)
def test_none_starves_whatever_comes_all_the_time(priority: Priority) -> None:
    """A new main turn of another session every other step, more than the machine can do."""
    one = machine(max_running=2)
    one.scheduler.add(asked(60, "first"))
    one.step()
    one.scheduler.add(waiting := asked(100, "patient", priority=priority, arrived=one.now))
    for number in itertools.count():
        if waiting in one.finished:
            break
        assert one.now < 4 * 600, f"{priority.name} starved"
        if number % 2 == 0:
            one.scheduler.add(asked(40, f"s{number % 5}", arrived=one.now, answer=2))
            while len(one.scheduler.waiting) > 20:  # the gate refuses more
                late = one.scheduler.waiting[-1]
                one.scheduler.remove(late if late is not waiting else one.scheduler.waiting[-2], one.now)
        one.step()


arrivals = st.lists(
    st.tuples(
        st.integers(0, 6),  # steps until it comes
        st.integers(1, 90),
        st.sampled_from(["a", "b", "c", None]),
        st.sampled_from(Priority),
        st.integers(1, 12),
    ),
    max_size=14,
)


@given(arrivals, st.integers(1, 3), st.sampled_from([None, 260]))
def test_all_that_come_are_answered_and_no_step_is_wasted(
    wanted: list[tuple[int, int, str | None, Priority, int]], max_running: int, cells: int | None
) -> None:
    one = machine(max_running=max_running, cells=cells)
    several: list[Sequence] = []
    for pause, work, session, priority, answer in wanted:
        for _ in range(pause):
            if not one.scheduler.idle:
                one.step()
        several.append(asked(work, session, priority=priority, arrived=one.now, answer=answer))
        one.scheduler.add(several[-1])
    for _ in range(2_000):
        if one.scheduler.idle:
            break
        one.step()
    assert sorted(each.key for each in one.finished) == sorted(each.key for each in several)
    assert all(each.prefilled >= each.prompt_tokens - each.cached for each in several)
