"""Two conversations of the real Claude Code in different folders: how much of the first does the second reuse?

As Claude Code comes, its system text names the folder, and in the prompt of most models that stands before the tools.
With the flags that a launcher sets (`--exclude-dynamic-system-prompt-sections`, no attribution header) it does not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import recordings
from client import Timeline, send
from heads import cut
from prompts import first_difference, prompt_tokens
from scenario import Bench, Claim, Part, Scenario, Table
from servers import Server

__all__ = ["SCENARIO", "Second", "judge"]

_CONTEXT = 8192
_ANSWER_TOKENS = 24
_PARAGRAPH = 280
_ALLOWED = 16
_KINDS = {"plain": "as Claude Code comes", "flags": "with the launch flags"}
_QUESTIONS = {"shop": "What is in this folder?", "library": "Which program is this?"}


@attrs.frozen(kw_only=True)
class Second:
    """The first request of the second conversation."""

    kind: str
    server: str
    asked: Timeline

    def again(self, shared: int) -> int:
        """Return how many of the `shared` tokens that both prompts begin with were computed a second time."""
        return self.asked.computed_tokens - (self.asked.prompt_tokens - shared)


def judge(seconds: Sequence[Second], shared: Mapping[str, int]) -> tuple[Claim, ...]:
    """Hold Pensieve's second conversations against what they may cost; `shared`: tokens, by kind."""
    return tuple(
        Claim(
            text=f"{_KINDS[one.kind]}: the second computes at most {_ALLOWED} of the {shared[one.kind]} shared tokens",
            measured=f"{one.again(shared[one.kind])}",
            holds=one.again(shared[one.kind]) <= _ALLOWED,
        )
        for one in seconds
    )


def table(seconds: Sequence[Second]) -> Table:
    """Return the second conversations side by side."""
    columns = ("Claude Code", "server", "prompt", "cached", "computed", "TTFT s")
    return Table(title="First request of the second conversation", columns=columns, rows=tuple(map(_row, seconds)))


def _row(second: Second) -> tuple[str, ...]:
    asked = second.asked
    figures = (asked.prompt_tokens, asked.cached_tokens, asked.computed_tokens)
    return (_KINDS[second.kind], second.server, *(str(figure) for figure in figures), f"{asked.first_token_s:.2f}")


def run(bench: Bench) -> Part:
    """Ask in one folder, then in the other; fresh servers for each kind."""
    tokens = prompt_tokens(bench.model)
    shared: dict[str, int] = {}
    ours: list[Second] = []
    theirs: list[Second] = []
    for kind in _KINDS:
        first, second = _requests(kind)
        shared[kind] = first_difference(tokens(first), tokens(second)) or 0
        ours.append(_second(bench, kind, bench.ours(context=_CONTEXT, home=kind)))
        theirs.append(_second(bench, kind, bench.theirs(context=_CONTEXT)))
    return Part(
        tables=(table([second for pair in zip(ours, theirs, strict=True) for second in pair]),),
        claims=judge(ours, shared),
        notes=("Where a model's template knows no tools, llama-server's prompt holds none.",),
    )


def _requests(kind: str) -> list[dict[str, Any]]:
    heads = recordings.load("heads")
    return [
        cut(heads[f"{kind}-{folder}"][0], question=asks, max_tokens=_ANSWER_TOKENS, paragraph=_PARAGRAPH)
        for folder, asks in _QUESTIONS.items()
    ]


def _second(bench: Bench, kind: str, server: Server) -> Second:
    first, second = _requests(kind)
    with bench.up(server):
        send(server.port, first)
        return Second(kind=kind, server=server.name, asked=send(server.port, second))


SCENARIO = Scenario(name="folders", shows="two conversations in different folders: how much the second reuses", run=run)
