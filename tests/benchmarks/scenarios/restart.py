"""Stop the server, start it again, begin a conversation with a known head: what of the head has to be computed?

Two kinds of first turns. *Short*: behind the head stands the user's text and nothing else, so that its own part is tens
of tokens. *Recorded*: this release of Claude Code writes some 400 tokens about the environment behind the user's text;
wherever they stand behind what is new they are new as well, and computing them is most of what is waited for. So
the time to the first token is judged by the short one, and the head by both.

And a conversation: the recorded one with tools, stopped right after an answer, and its next turn after the start.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import recordings
from client import Timeline, send
from heads import cut, settled
from prompts import first_difference, prompt_tokens
from scenario import Bench, Claim, Part, Scenario, Table
from servers import Server

from scenarios.conversation import TurnCost, costs, replayed

__all__ = ["SCENARIO", "Lives", "judge", "judge_resumed", "table"]

_CONTEXT = 8192
_ANSWER_TOKENS = 24
_PARAGRAPH = 280
_MOST_OF_THE_HEAD = 0.03
_GAIN = 20
_QUESTIONS = ("What is in this folder?", "Which program is this?", "Who wrote it?")
_SHORT, _RECORDED = "short", "recorded"
_TURNS = 4
_CONVERSATION_CONTEXT = 12_288
_ALLOWED = 8


@attrs.frozen(kw_only=True)
class Lives:
    """Three first turns with one head: cold, warm, and after a restart."""

    server: str
    kind: str
    head: int
    """Tokens that all three begin with."""
    cold: Timeline
    warm: Timeline
    restarted: Timeline

    @property
    def of_the_head(self) -> float:
        """Which part of the head was computed after the restart."""
        return max(0, self.head - self.restarted.cached_tokens) / self.head

    @property
    def gain(self) -> float:
        """How many times sooner the first token came than cold."""
        return self.cold.first_token_s / self.restarted.first_token_s


def judge(ours: Sequence[Lives]) -> tuple[Claim, ...]:
    """Hold Pensieve's restarts against what they may cost."""
    heads = tuple(_of_the_head(lives) for lives in ours)
    return (*heads, *(_soon(lives) for lives in ours if lives.kind == _SHORT))


def _of_the_head(lives: Lives) -> Claim:
    most = f"less than {_MOST_OF_THE_HEAD:.0%} of the {lives.head} tokens of the head are computed"
    return Claim(
        text=f"{lives.kind}: after a restart {most}",
        measured=f"{lives.of_the_head:.1%}",
        holds=lives.of_the_head < _MOST_OF_THE_HEAD,
    )


def _soon(lives: Lives) -> Claim:
    return Claim(
        text=f"{lives.kind}: its first token comes at least {_GAIN} times sooner than cold",
        measured=f"{lives.gain:.1f} times",
        holds=lives.gain >= _GAIN,
    )


def table(lives: Sequence[Lives]) -> Table:
    """Return the three turns of each server."""
    columns = ("server", "first turn", "", "prompt", "cached", "computed", "TTFT s")
    rows = (
        _row(life, name, asked)
        for life in lives
        for name, asked in (("cold", life.cold), ("warm", life.warm), ("restarted", life.restarted))
    )
    return Table(title="First turns with the same head", columns=columns, rows=tuple(rows))


def judge_resumed(turns: Sequence[TurnCost]) -> Claim:
    """Hold the last of `turns`, which came after a restart, against what it may cost."""
    return Claim(
        text=f"a conversation goes on after a restart with its new tokens and at most {_ALLOWED} more",
        measured=f"{turns[-1].new} new, {turns[-1].again} more",
        holds=turns[-1].again <= _ALLOWED,
    )


def _resumed_table(turns: Sequence[Timeline]) -> Table:
    rows = (
        (str(number), str(cost.prompt), str(cost.cached), str(cost.new), str(cost.again), f"{turn.first_token_s:.2f}")
        for number, (cost, turn) in enumerate(zip(costs(turns), turns, strict=True), start=1)
    )
    return Table(
        title=f"A conversation, restarted before turn {_TURNS + 1}",
        columns=("turn", "prompt", "cached", "new", "again", "TTFT s"),
        rows=tuple(rows),
    )


def _row(lives: Lives, name: str, asked: Timeline) -> tuple[str, ...]:
    figures = (asked.prompt_tokens, asked.cached_tokens, asked.computed_tokens)
    return (lives.server, lives.kind, name, *(str(figure) for figure in figures), f"{asked.first_token_s:.2f}")


def run(bench: Bench) -> Part:
    """Ask cold and warm, stop, start, ask again: each kind of one server, and then of the other."""
    tokens = prompt_tokens(bench.model)
    ours: list[Lives] = []
    theirs: list[Lives] = []
    for kind in (_SHORT, _RECORDED):
        bodies = _bodies(kind)
        head = first_difference(tokens(bodies[0]), tokens(bodies[2])) or 1
        ours.append(_lives(bench, bench.ours(context=_CONTEXT, home=kind), kind, head))
        theirs.append(_lives(bench, bench.theirs(context=_CONTEXT), kind, head))
    turns = _resumed(bench)
    return Part(
        tables=(table([*ours, *theirs]), _resumed_table(turns)), claims=(*judge(ours), judge_resumed(costs(turns)))
    )


def _resumed(bench: Bench) -> list[Timeline]:
    """Have a conversation, stop the server, and go on."""
    requests = recordings.load("conversation")["conversation"]
    server = bench.ours(context=_CONVERSATION_CONTEXT, home="conversation")
    turns: list[Timeline] = []

    def go_on(request: recordings.Request) -> None:
        body = replayed(request, [turn.content for turn in turns])
        turns.append(send(server.port, body, headers={"x-claude-code-session-id": "bench"}))

    with bench.up(server):
        for request in requests[:_TURNS]:
            go_on(request)
    with bench.up(server):
        go_on(requests[_TURNS])
    return turns


def _bodies(kind: str) -> list[dict[str, Any]]:
    request = recordings.load("heads")["flags-shop"][0]
    bodies = [cut(request, question=q, max_tokens=_ANSWER_TOKENS, paragraph=_PARAGRAPH) for q in _QUESTIONS]
    return [settled(body) for body in bodies] if kind == _SHORT else bodies


def _lives(bench: Bench, server: Server, kind: str, head: int) -> Lives:
    bodies = _bodies(kind)
    with bench.up(server):
        cold, warm = (send(server.port, body) for body in bodies[:2])
    with bench.up(server):
        restarted = send(server.port, bodies[2])
    return Lives(server=server.name, kind=kind, head=head, cold=cold, warm=warm, restarted=restarted)


SCENARIO = Scenario(name="restart", shows="a known head after a restart: tokens computed, time to the first", run=run)
