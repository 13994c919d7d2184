"""Four agents at once on one head: is the head computed once, or four times?"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import recordings
from client import Timeline, send
from heads import cut
from scenario import Bench, Claim, Part, Scenario, Table
from servers import Server

__all__ = ["SCENARIO", "judge", "table"]

_AGENTS = 4
_CONTEXT = 16_384
_ANSWER_TOKENS = 24
_PARAGRAPH = 160
_MOST_TOKENS = 3_000
_MOST_SECONDS = 45.0
_TASKS = (
    "You are one of four agents. Find out which functions are defined in inventory.py.",
    "You are one of four agents. Say what is wrong in orders.py.",
    "You are one of four agents. Count the lines of README.md.",
    "You are one of four agents. List what notes.txt says of Tuesday.",
)


def judge(ours: Sequence[Timeline]) -> tuple[Claim, ...]:
    """Hold Pensieve's agents against what they may cost together."""
    computed = sum(timeline.computed_tokens for timeline in ours)
    last = max(timeline.first_token_s for timeline in ours)
    return (
        Claim(
            text=f"all agents together compute at most {_MOST_TOKENS:,} tokens of their prompts",
            measured=f"{computed:,}",
            holds=computed <= _MOST_TOKENS,
        ),
        Claim(
            text=f"the last of them has its first token within {_MOST_SECONDS:.0f} s",
            measured=f"{last:.1f} s",
            holds=last <= _MOST_SECONDS,
        ),
    )


def table(servers: Sequence[tuple[str, Sequence[Timeline]]]) -> Table:
    """Return the agents of each server, and their sum."""
    columns = ("server", "prompt of each", "computed by each", "computed together", "first token, first", "…, last")
    return Table(title=f"{_AGENTS} agents at once", columns=columns, rows=tuple(_row(*server) for server in servers))


def _row(name: str, asked: Sequence[Timeline]) -> tuple[str, ...]:
    computed = [timeline.computed_tokens for timeline in asked]
    first = sorted(timeline.first_token_s for timeline in asked)
    prompts = "/".join(str(timeline.prompt_tokens) for timeline in asked)
    return (
        name,
        prompts,
        "/".join(map(str, computed)),
        f"{sum(computed):,}",
        f"{first[0]:.1f} s",
        f"{first[-1]:.1f} s",
    )


def run(bench: Bench) -> Part:
    """Let four agents ask at the same moment, of one server and then of the other."""
    ours, theirs = bench.ours(context=_CONTEXT), bench.theirs("-np", str(_AGENTS), context=_CONTEXT)
    asked = [(server.name, _at_once(bench, server)) for server in (ours, theirs)]
    return Part(tables=(table(asked),), claims=judge(asked[0][1]))


def _at_once(bench: Bench, server: Server) -> list[Timeline]:
    head = recordings.load("heads")["flags-shop"][0]

    def ask(number: int) -> Timeline:
        body = cut(head, question=_TASKS[number], max_tokens=_ANSWER_TOKENS, paragraph=_PARAGRAPH)
        identity = {"x-claude-code-session-id": "bench", "x-claude-code-agent-id": f"agent-{number}"}
        return send(server.port, body, headers={**identity, "x-claude-code-parent-agent-id": "main"})

    with bench.up(server), ThreadPoolExecutor(_AGENTS) as threads:
        return list(threads.map(ask, range(_AGENTS)))


SCENARIO = Scenario(
    name="agents",
    shows="four agents at once on one head: tokens computed, time to the last first token",
    run=run,
    coder_only=True,
)
