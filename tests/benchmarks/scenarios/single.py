"""One client at a time: prefill and decode speed, time to the first token cold and warm.

Ratios count, not seconds: machines are noisy (this clock moves by a fifth between two minutes), so both servers are up
on the same cores, and every single request is asked of one and then of the other, A/B, B/A, A/B…; the one that is not
asked computes nothing.
"""

from __future__ import annotations

import statistics
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence

import attrs
from client import Timeline, question, send
from scenario import Bench, Part, Scenario, Table
from servers import Server

__all__ = ["SCENARIO", "Figures", "table"]

_CONTEXT = 8192
_DECODE_TOKENS = 160
_ANSWERS = 4
_PREFILL_WORDS = 1500


@attrs.define
class Figures:
    """What one server did, request by request: metric → its readings."""

    name: str
    readings: dict[str, list[float]] = attrs.field(factory=lambda: defaultdict(list))

    def median(self, metric: str) -> float:
        """Return the typical reading."""
        return statistics.median(self.readings[metric])


_PREFILL, _DECODE, _BESIDE = "prefill tok/s", "decode tok/s", "decode tok/s, 3k prefix kept idle"
_COLD, _WARM = "cold TTFT s", "warm TTFT s"
_METRICS = {_PREFILL: True, _DECODE: True, _BESIDE: True, _COLD: False, _WARM: False}
"""Metric → whether more is better."""


class Duel:
    """Asks the same of two servers, in turn, the one first that was second before."""

    def __init__(self, servers: Sequence[Server]) -> None:
        self._order = [(server, Figures(server.name)) for server in servers]
        self.figures = [figures for _, figures in self._order]

    def ask(self, prompt: str, max_tokens: int, **metrics: Callable[[Timeline], float]) -> None:
        """Send one request to each server; note what `metrics` read from its timeline."""
        for server, figures in self._order:
            timeline = send(server.port, question(prompt, max_tokens=max_tokens))
            for name, read in metrics.items():
                figures.readings[name].append(read(timeline))
        self._order.reverse()


def measure(duel: Duel, salt: str) -> None:
    """Ask for long answers; a cold long prompt; the same again with a few words more; and long answers beside it."""
    for number in range(_ANSWERS):
        duel.ask(_story(salt, number), _DECODE_TOKENS, **{_DECODE: _decode_rate})
    long = _long_prompt(salt)
    duel.ask(long, 4, **{_PREFILL: lambda t: t.prefill_tokens_per_s, _COLD: lambda t: t.first_token_s})
    for word in ("why", "how", "when"):
        duel.ask(f"{long} Also say {word}.", 4, **{_WARM: lambda t: t.first_token_s})
    for number in range(_ANSWERS):
        duel.ask(_story(f"{salt}, again", number), _DECODE_TOKENS, **{_BESIDE: _decode_rate})


def table(figures: Sequence[Figures]) -> Table:
    """Return the medians side by side; the ratio is how much better the first server is."""
    ours, theirs = figures
    rows = tuple(_row(name, ours.median(name), theirs.median(name)) for name in _METRICS)
    return Table(title="Medians", columns=("", ours.name, theirs.name, "ratio"), rows=rows)


def _row(name: str, mine: float, other: float) -> tuple[str, ...]:
    ratio = mine / other if _METRICS[name] else other / mine
    return (name, f"{mine:.3g}", f"{other:.3g}", f"{ratio:.2f}")


def run(bench: Bench) -> Part:
    """Run both servers at once, and the rounds of `measure` over them."""
    servers = (bench.ours(context=_CONTEXT), bench.theirs(context=_CONTEXT))
    with bench.up(*servers):
        duel = Duel(servers)
        for number in range(bench.rounds):
            duel.ask("Hello", 4)
            measure(duel, f"run {number}")
            print(f"  round {number + 1} of {bench.rounds}", file=sys.stderr, flush=True)
    return Part(tables=(table(duel.figures),))


def _decode_rate(timeline: Timeline) -> float:
    return timeline.decode_tokens_per_s


def _story(salt: str, number: int) -> str:
    return f"({salt}, {number}) Write a long story about a lighthouse keeper, his dog, and the sea."


def _long_prompt(salt: str) -> str:
    words = " ".join(f"item{i % 97} is {'red' if i % 3 else 'blue'}," for i in range(_PREFILL_WORDS // 3))
    return f"{salt}. Here is a list: {words} Which items are blue?"


SCENARIO = Scenario(name="single", shows="one client: prefill, decode, time to the first token, cold and warm", run=run)
