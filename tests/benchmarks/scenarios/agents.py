"""Four agents at once on one head: is the head computed once, or four times?

Two kinds of prompts. *Short*: a head of 2,400 tokens, and behind it each agent's task and nothing else. *Recorded*:
this release of Claude Code writes its environment behind the task, where nobody can share it: 249 tokens each, so that
four agents cost more than the bound at the least. So the sum is judged by the short ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import attrs
import recordings
from client import Timeline, send
from heads import cut, settled
from scenario import Bench, Claim, Part, Scenario, Table
from servers import Server

__all__ = ["SCENARIO", "Crew", "judge", "table"]

_AGENTS = 4
_CONTEXT = 16_384
_ANSWER_TOKENS = 24
_PARAGRAPH = 160
_SHORT, _RECORDED = "short", "recorded"
_MOST_TOKENS = 3_000
_MOST_SECONDS = 45.0
_TASKS = (
    "You are one of four agents. Find out which functions are defined in inventory.py.",
    "You are one of four agents. Say what is wrong in orders.py.",
    "You are one of four agents. Count the lines of README.md.",
    "You are one of four agents. List what notes.txt says of Tuesday.",
)


@attrs.frozen(kw_only=True)
class Crew:
    """Four agents that asked one server at once."""

    server: str
    kind: str
    asked: tuple[Timeline, ...]

    @property
    def computed(self) -> int:
        """Tokens of their prompts that were computed, of all together."""
        return sum(timeline.computed_tokens for timeline in self.asked)

    @property
    def last_s(self) -> float:
        """When the last of them had its first token."""
        return max(timeline.first_token_s for timeline in self.asked)


def judge(ours: Sequence[Crew]) -> tuple[Claim, ...]:
    """Hold Pensieve's agents against what they may cost together."""
    sums = tuple(_computed(crew) for crew in ours if crew.kind == _SHORT)
    return (*sums, *(_soon(crew) for crew in ours))


def _computed(crew: Crew) -> Claim:
    return Claim(
        text=f"{crew.kind}: all agents together compute at most {_MOST_TOKENS:,} tokens of their prompts",
        measured=f"{crew.computed:,}",
        holds=crew.computed <= _MOST_TOKENS,
    )


def _soon(crew: Crew) -> Claim:
    return Claim(
        text=f"{crew.kind}: the last of them has its first token within {_MOST_SECONDS:.0f} s",
        measured=f"{crew.last_s:.1f} s",
        holds=crew.last_s <= _MOST_SECONDS,
    )


def table(crews: Sequence[Crew]) -> Table:
    """Return the agents of each server, and their sum."""
    columns = (
        "server",
        "prompts",
        "prompt of each",
        "computed by each",
        "computed together",
        "first token, first",
        "…, last",
    )
    return Table(title=f"{_AGENTS} agents at once", columns=columns, rows=tuple(map(_row, crews)))


def _row(crew: Crew) -> tuple[str, ...]:
    return (
        crew.server,
        crew.kind,
        "/".join(str(timeline.prompt_tokens) for timeline in crew.asked),
        "/".join(str(timeline.computed_tokens) for timeline in crew.asked),
        f"{crew.computed:,}",
        f"{min(timeline.first_token_s for timeline in crew.asked):.1f} s",
        f"{crew.last_s:.1f} s",
    )


def run(bench: Bench) -> Part:
    """Let four agents ask at the same moment, of one server and then of the other; a fresh one for each kind."""
    kinds = (_SHORT, _RECORDED)
    ours = [_at_once(bench, bench.ours(context=_CONTEXT, home=kind), kind) for kind in kinds]
    theirs = [_at_once(bench, bench.theirs("-np", str(_AGENTS), context=_CONTEXT), kind) for kind in kinds]
    return Part(tables=(table([*ours, *theirs]),), claims=judge(ours))


def _at_once(bench: Bench, server: Server, kind: str) -> Crew:
    def ask(number: int) -> Timeline:
        identity = {"x-claude-code-session-id": "bench", "x-claude-code-agent-id": f"agent-{number}"}
        parent = {"x-claude-code-parent-agent-id": "main"}
        return send(server.port, _body(kind, number), headers={**identity, **parent})

    with bench.up(server), ThreadPoolExecutor(_AGENTS) as threads:
        return Crew(server=server.name, kind=kind, asked=tuple(threads.map(ask, range(_AGENTS))))


def _body(kind: str, agent: int) -> dict[str, Any]:
    head = recordings.load("heads")["flags-shop"][0]
    body = cut(head, question=_TASKS[agent], max_tokens=_ANSWER_TOKENS, paragraph=_PARAGRAPH)
    return settled(body) if kind == _SHORT else body


SCENARIO = Scenario(
    name="agents",
    shows="four agents at once on one head: tokens computed, time to the last first token",
    run=run,
    coder_only=True,
)
