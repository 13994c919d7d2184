"""Stop the server, start it again, begin a conversation with a known head: what of the head has to be computed?"""

from __future__ import annotations

import time
from collections.abc import Sequence

import attrs
import recordings
from client import Timeline, send
from heads import cut
from prompts import first_difference, prompt_tokens
from scenario import Bench, Claim, Part, Scenario, Table
from servers import Server

__all__ = ["SCENARIO", "Lives", "judge", "table"]

_CONTEXT = 8192
_ANSWER_TOKENS = 24
_PARAGRAPH = 280
_MOST_OF_THE_HEAD = 0.03
_GAIN = 20
_QUESTIONS = ("What is in this folder?", "Which program is this?", "Who wrote it?")


@attrs.frozen(kw_only=True)
class Lives:
    """Three first turns with one head: cold, warm, and after a restart."""

    server: str
    cold: Timeline
    warm: Timeline
    restarted: Timeline

    def of_the_head(self, head: int) -> float:
        """Return which part of the `head` tokens was computed after the restart."""
        return max(0, head - self.restarted.cached_tokens) / head

    @property
    def gain(self) -> float:
        """How many times sooner the first token came than cold."""
        return self.cold.first_token_s / self.restarted.first_token_s


def judge(ours: Lives, head: int) -> tuple[Claim, ...]:
    """Hold Pensieve's restart against what it may cost."""
    computed = ours.of_the_head(head)
    return (
        Claim(
            text=f"after a restart less than {_MOST_OF_THE_HEAD:.0%} of the {head} tokens of the head are computed",
            measured=f"{computed:.1%}",
            holds=computed < _MOST_OF_THE_HEAD,
        ),
        Claim(
            text=f"its first token comes at least {_GAIN} times sooner than cold",
            measured=f"{ours.gain:.1f} times",
            holds=ours.gain >= _GAIN,
        ),
    )


def table(lives: Sequence[Lives]) -> Table:
    """Return the three turns of each server."""
    columns = ("server", "turn", "prompt", "cached", "computed", "TTFT s")
    rows = (
        _row(life.server, name, asked)
        for life in lives
        for name, asked in (("cold", life.cold), ("warm", life.warm), ("restarted", life.restarted))
    )
    return Table(title="First turns with the same head", columns=columns, rows=tuple(rows))


def _row(server: str, name: str, asked: Timeline) -> tuple[str, ...]:
    figures = (asked.prompt_tokens, asked.cached_tokens, asked.computed_tokens)
    return (server, name, *(str(figure) for figure in figures), f"{asked.first_token_s:.2f}")


_QUIET_S = 3.0
"""What is to be kept is written once the engine has nothing else to do; nobody stops a server in that very second."""


def run(bench: Bench) -> Part:
    """Ask cold and warm, stop, start, ask again; one server and then the other."""
    request = recordings.load("heads")["flags-shop"][0]
    bodies = [cut(request, question=q, max_tokens=_ANSWER_TOKENS, paragraph=_PARAGRAPH) for q in _QUESTIONS]
    tokens = prompt_tokens(bench.model)
    head = first_difference(tokens(bodies[0]), tokens(bodies[2])) or 1
    lives = [_lives(bench, server, bodies) for server in (bench.ours(context=_CONTEXT), bench.theirs(context=_CONTEXT))]
    return Part(tables=(table(lives),), claims=judge(lives[0], head))


def _lives(bench: Bench, server: Server, bodies: Sequence[dict[str, object]]) -> Lives:
    with bench.up(server):
        cold, warm = (send(server.port, body) for body in bodies[:2])
        time.sleep(_QUIET_S)
    with bench.up(server):
        restarted = send(server.port, bodies[2])
    return Lives(server=server.name, cold=cold, warm=warm, restarted=restarted)


SCENARIO = Scenario(name="restart", shows="a known head after a restart: tokens computed, time to the first", run=run)
