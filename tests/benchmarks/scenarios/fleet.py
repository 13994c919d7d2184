"""Whole requests of the real Claude Code, one agent alone and eight at once: for machines that can, which is a GPU."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import attrs
import recordings
from client import Timeline, send
from heads import cut
from scenario import Bench, Claim, Part, Scenario, Table
from servers import Server

__all__ = ["SCENARIO", "Asked", "judge", "table"]

_AGENTS = 8
_CONTEXT = 131_072
_ANSWER_TOKENS = 256
_WARM = 5
_UNCUT = 1_000_000
_LEAST_RATIO = 0.95
_LONGEST_FIRST_BYTE_S = 0.1
_SLACK = 1.05
"""Seconds of a few dozen milliseconds: two runs of one server differ by as much."""


@attrs.frozen
class Asked:
    """What one server was asked, and when it answered."""

    cold: list[Timeline] = attrs.field(factory=list)
    warm: list[Timeline] = attrs.field(factory=list)
    """The same head again, another question."""
    fleets: list[list[Timeline]] = attrs.field(factory=list)
    """All agents of a fleet ask at the same moment."""

    @property
    def alone(self) -> float:
        """Tokens a second of one agent alone."""
        return statistics.median(timeline.decode_tokens_per_s for timeline in self.warm)

    @property
    def together(self) -> float:
        """Tokens a second of a fleet, from its first token to its last."""
        return statistics.median(_rate(fleet) for fleet in self.fleets)

    @property
    def first_byte_s(self) -> float:
        """The slowest."""
        everyone = [*self.cold, *self.warm, *(timeline for fleet in self.fleets for timeline in fleet)]
        return max(timeline.first_byte_s for timeline in everyone)

    @property
    def warm_first_token_s(self) -> float:
        """The typical one."""
        return statistics.median(timeline.first_token_s for timeline in self.warm)


def _rate(fleet: Sequence[Timeline]) -> float:
    first = min(timeline.stamps[0] for timeline in fleet)
    last = max(timeline.stamps[-1] for timeline in fleet)
    return sum(timeline.output_tokens for timeline in fleet) / (last - first)


def judge(ours: Asked, theirs: Asked) -> tuple[Claim, ...]:
    """Hold Pensieve against llama-server."""
    alone, together = ours.alone / theirs.alone, ours.together / theirs.together
    return (
        Claim(
            text="one agent decodes at 0.95 of llama-server's speed",
            measured=f"{alone:.2f}",
            holds=alone >= _LEAST_RATIO,
        ),
        Claim(text="eight decode as fast as llama-server's", measured=f"{together:.2f}", holds=together >= 1.0),
        Claim(
            text="the first byte comes within 100 ms",
            measured=f"{ours.first_byte_s * 1e3:.0f} ms at worst",
            holds=ours.first_byte_s <= _LONGEST_FIRST_BYTE_S,
        ),
        Claim(
            text="a warm first token comes no later than llama-server's",
            measured=f"{ours.warm_first_token_s * 1e3:.0f} ms, {theirs.warm_first_token_s * 1e3:.0f} ms",
            holds=ours.warm_first_token_s <= _SLACK * theirs.warm_first_token_s,
        ),
    )


_FIGURES: Mapping[str, Callable[[Asked], str]] = {
    "prompt, tokens": lambda asked: f"{asked.cold[0].prompt_tokens:,}",
    "cold first token, s": lambda asked: f"{asked.cold[0].first_token_s:.2f}",
    "warm first token, ms": lambda asked: f"{asked.warm_first_token_s * 1e3:.0f}",
    "warm turn computes, tokens": lambda asked: "/".join(str(t.computed_tokens) for t in asked.warm),
    "first byte at worst, ms": lambda asked: f"{asked.first_byte_s * 1e3:.0f}",
    "one agent, tok/s": lambda asked: f"{asked.alone:.1f}",
    f"{_AGENTS} agents together, tok/s": lambda asked: f"{asked.together:.0f}",
    f"{_AGENTS} agents: last first token, s": lambda asked: f"{max(t.first_token_s for t in asked.fleets[-1]):.2f}",
    f"{_AGENTS} agents compute, tokens": lambda asked: f"{sum(t.computed_tokens for t in asked.fleets[-1]):,}",
}


def table(ours: Asked, theirs: Asked) -> Table:
    """Return all figures side by side."""
    rows = tuple((name, read(ours), read(theirs)) for name, read in _FIGURES.items())
    return Table(title="A head of the real Claude Code", columns=("", "pensieve", "llama-server"), rows=rows)


def run(bench: Bench) -> Part:
    """Ask both servers in turn; both are up."""
    servers = (bench.ours(context=_CONTEXT), bench.theirs("-np", str(_AGENTS), context=_CONTEXT))
    asked = [Asked() for _ in servers]
    with bench.up(*servers):
        for number in range(bench.rounds):
            for server, notes in zip(servers, asked, strict=True):
                _round(server, number, notes)
    return Part(tables=(table(*asked),), claims=judge(*asked))


def _round(server: Server, number: int, notes: Asked) -> None:
    notes.cold.append(_ask(server, f"{number}: cold"))
    for again in range(_WARM):
        notes.warm.append(_ask(server, f"{number}: warm {again}"))
    with ThreadPoolExecutor(_AGENTS) as threads:
        questions = [f"{number}: agent {agent}" for agent in range(_AGENTS)]
        notes.fleets.append(list(threads.map(lambda question: _ask(server, question), questions)))


def _ask(server: Server, question: str) -> Timeline:
    head = recordings.load("heads")["flags-shop"][0]
    tools = [tool["name"] for tool in head["tools"]]
    return send(server.port, cut(head, question=question, max_tokens=_ANSWER_TOKENS, paragraph=_UNCUT, tools=tools))


SCENARIO = Scenario(
    name="fleet",
    shows="whole requests of Claude Code, one agent and eight at once; for a GPU",
    run=run,
    coder_only=True,
    by_name_only=True,
)
