"""Plays the engine loop: `schedule → a step of the cost model → commit`, until all sessions have ended."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable

import attrs

from pensieve_core import Priority
from pensieve_gguf.engine.moves import Evict
from pensieve_gguf.engine.residents import Residents
from pensieve_gguf.engine.scheduler import Scheduler
from pensieve_gguf.engine.sequence import Sequence
from pensieve_gguf.engine.steps import Move, Preempted, Row, Step
from simulator.clients import Agenda, Lane
from simulator.machine import Machine
from simulator.oracle import Oracle
from simulator.policies import Impatient, LruSlots
from simulator.traces import Ask, Trace

__all__ = ["Outcome", "Setting", "simulate"]


@attrs.frozen(kw_only=True)
class Setting:
    """What is the same for all policies."""

    cells: int
    """Of the pool."""
    longest: int
    """Prompts with their answers that are longer are refused, as the server does: never asked, and not counted."""
    sessions: int = 1
    """At once; each lane plays one trace after another, over the same pool."""
    slots: int = 48
    max_running: int = 8
    batch_tokens: int = 512
    stretch: float = 3.0
    machine: Machine = attrs.field(factory=Machine)

    def takes(self, ask: Ask) -> bool:
        """Tell whether the server takes this request."""
        return ask.prompt_tokens + ask.answer_tokens <= min(self.longest, self.cells)


@attrs.define(kw_only=True)
class Outcome:
    """What came of it. Tokens, unless the name says otherwise."""

    requests: int = 0
    prompt: int = 0
    reused: int = 0
    reusable: int = 0
    """What the oracle reuses of the same prompts in the same order: everything it has ever seen."""
    evictions: int = 0
    evicted: int = 0
    preemptions: int = 0
    no_room: int = 0
    """Decodes that were tried in vain."""
    steps: int = 0
    decode_steps: int = 0
    """Rows that computed a sampled token."""
    prefilled: int = 0
    simulated_s: float = 0.0
    ttft_s: list[float] = attrs.field(factory=list, repr=False)

    @property
    def effort(self) -> float:
        """Tokens prefilled, against the fewest possible; what was preempted is computed again and counts again."""
        return self.prefilled / (self.prompt - self.reusable)

    @property
    def oracle_ratio(self) -> float:
        """The hit ratio of an endless pool in which nothing is computed twice."""
        return self.reusable / self.prompt

    @property
    def hit_ratio(self) -> float:
        """Of all prompt tokens, those that were not computed; one that is computed twice counts twice."""
        return 1 - self.prefilled / self.prompt

    @property
    def of_oracle(self) -> float:
        """Of what could be reused, what was."""
        return self.hit_ratio / self.oracle_ratio

    def ttft_quantile(self, part: float) -> float:
        """Return the time to first token that `part` of the requests did not exceed, in seconds."""
        ordered = sorted(self.ttft_s)
        return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


@attrs.define(kw_only=True, eq=False)
class _Running:
    sequence: Sequence
    answer: list[int]
    then: Callable[[float], None]


class _World:
    def __init__(self, residents: Residents, setting: Setting) -> None:
        self.now = 0.0
        self.agenda = Agenda()
        self.outcome = Outcome()
        self._residents = residents
        self._setting = setting
        self._oracle = Oracle()
        self._keys = itertools.count(1)
        self._running: dict[int, _Running] = {}
        scheduler = Impatient if isinstance(residents, LruSlots) else Scheduler
        self._scheduler = scheduler(
            residents,
            batch_tokens=setting.batch_tokens,
            max_running=setting.max_running,
            stretch=setting.stretch,
        )

    def asked(self, ask: Ask, conversation: str, priority: Priority, now: float, then: Callable[[float], None]) -> None:
        """Take a request, as the engine does; or refuse it."""
        if not self._setting.takes(ask):
            self.agenda.at(now, then)
            return
        prompt = ask.prompt()
        answer = ask.answer()
        sequence = Sequence(
            key=next(self._keys),
            tokens=prompt,
            prompt_tokens=len(prompt),
            max_tokens=len(answer),
            priority=priority,
            conversation=conversation,
            marks=(ask.head_tokens,),
            arrived=now,
        )
        self.outcome.requests += 1
        self.outcome.prompt += len(prompt)
        self.outcome.reusable += self._oracle.reusable(prompt, answer[:-1])  # the last one is never computed
        self._running[sequence.key] = _Running(sequence=sequence, answer=answer, then=then)
        self._scheduler.add(sequence)

    def run(self) -> None:
        """Play until nobody asks any more."""
        while not self._scheduler.idle or self.agenda.next_at is not None:
            self.agenda.run(self.now)
            step = self._scheduler.schedule(self.now)
            if step is None:
                self.now = max(self.now, self.agenda.next_at or self.now)
                continue
            self._make(step.moves)
            if self._residents.cells_in_use + step.tokens > self._setting.cells:
                self._make_room()
            else:
                self._decode(step)
        self.outcome.simulated_s = self.now

    def _decode(self, step: Step) -> None:
        elapsed_s = self._setting.machine.seconds(step)
        self.now += elapsed_s
        self.outcome.steps += 1
        sampled = {row.sequence.key: [self._sample(row)] for row in step.rows if row.samples}
        self._scheduler.commit(step, sampled, elapsed_s, self.now)
        for key in sampled:
            if self._running[key].sequence.generated == len(self._running[key].answer):
                self._end(self._running.pop(key))

    def _sample(self, row: Row) -> int:
        return self._running[row.sequence.key].answer[row.sequence.generated]

    def _end(self, running: _Running) -> None:
        sequence, outcome = running.sequence, self.outcome
        self._scheduler.remove(sequence, self.now)
        outcome.reused += sequence.cached
        outcome.decode_steps += sequence.steps
        outcome.prefilled += sequence.prefilled
        outcome.ttft_s.append((sequence.answered_at or self.now) - sequence.arrived)
        self.agenda.at(self.now, running.then)

    def _make(self, moves: Iterable[Move]) -> None:
        for move in moves:
            if isinstance(move, Evict):
                self.outcome.evictions += 1
                self.outcome.evicted += len(move.tokens) - move.length

    def _make_room(self) -> None:
        self.outcome.no_room += 1
        relief = self._scheduler.relieve()
        assert isinstance(relief, Preempted), f"{relief}: idle prefixes went before, and each sequence fits alone"
        self.outcome.preemptions += 1
        self._make((relief.cut,))


def simulate(traces: Iterable[Trace], residents: Residents, setting: Setting) -> Outcome:
    """Play `traces` over `residents`, from an empty cache to the last answer."""
    world = _World(residents, setting)
    left = deque(traces)
    for _ in range(setting.sessions):
        Lane(left, world.agenda, world.asked).begin(0.0)
    world.run()
    return world.outcome
