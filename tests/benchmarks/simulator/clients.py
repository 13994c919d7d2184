"""Clients that wait: each agent asks, reads the answer, pauses as it was recorded, and asks again."""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol, TypeAlias

from pensieve_core import Priority
from simulator.traces import Agent, Ask, Trace

__all__ = ["Agenda", "Asked", "Lane"]

_Then: TypeAlias = Callable[[float], None]


class Agenda:
    """What happens when."""

    def __init__(self) -> None:
        self._events: list[tuple[float, int, _Then]] = []
        self._order = itertools.count()

    def at(self, time: float, then: _Then) -> None:
        """Call `then(time)` when the time has come."""
        heapq.heappush(self._events, (time, next(self._order), then))

    @property
    def next_at(self) -> float | None:
        """When the next event is due; None when there is none."""
        return self._events[0][0] if self._events else None

    def run(self, now: float) -> None:
        """Let happen what is due."""
        while self._events and self._events[0][0] <= now:
            time, _, then = heapq.heappop(self._events)
            then(time)


class Asked(Protocol):
    """Takes a request; calls `then` with the time of its end."""

    def __call__(self, ask: Ask, conversation: str, priority: Priority, now: float, then: _Then) -> None: ...


class Lane:
    """A user: one session after another."""

    def __init__(self, traces: deque[Trace], agenda: Agenda, asked: Asked) -> None:
        self._traces = traces
        self._agenda = agenda
        self._asked = asked

    def begin(self, now: float) -> None:
        """Take the next session that nobody has taken."""
        if self._traces:
            trace = self._traces.popleft()
            _Conversation(trace.main, trace.name, Priority.MAIN, self, self.begin).go_on(now)

    def ask(self, ask: Ask, conversation: str, priority: Priority, then: _Then) -> _Then:
        """Return what asks, when its time has come."""
        return lambda now: self._asked(ask, conversation, priority, now, then)

    def later(self, time: float, then: _Then) -> None:
        """Call `then` at `time`."""
        self._agenda.at(time, then)


class _Conversation:
    """Where one agent is."""

    def __init__(self, agent: Agent, session: str, priority: Priority, lane: Lane, ended: _Then) -> None:
        self._session = session
        self._name = f"{session}/{agent.name}"
        self._left = deque(agent.asks)
        self._priority = priority
        self._lane = lane
        self._ended = ended
        self._awaited = 0

    def go_on(self, now: float) -> None:
        if not self._left:
            self._lane.later(now, self._ended)
        elif self._left[0].waits_for:
            self._start(self._left[0].waits_for, now)
        else:
            self._pause(now)

    def _start(self, agents: Iterable[Agent], now: float) -> None:
        children = [_Conversation(one, self._session, Priority.AGENT, self._lane, self._child_ended) for one in agents]
        self._awaited = len(children)
        for child in children:
            child.go_on(now)

    def _child_ended(self, now: float) -> None:
        self._awaited -= 1
        if self._awaited == 0:
            self._pause(now)

    def _pause(self, now: float) -> None:
        ask = self._left.popleft()
        self._lane.later(now + ask.pause_s, self._lane.ask(ask, self._name, self._priority, self.go_on))
