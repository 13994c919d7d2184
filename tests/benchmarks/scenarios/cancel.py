"""A client leaves in the middle of a long prefill: how soon is the engine free, and is what it computed kept?"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
from client import Timeline, question, send, send_and_leave
from scenario import Bench, Claim, Part, Scenario, Table
from servers import Server
from texts import listing

__all__ = ["SCENARIO", "Leaving", "judge", "table"]

_CONTEXT = 8192
_ITEMS = 340
_ANSWER_TOKENS = 24
_SOONEST_S = 0.5
_KEPT = 0.5


@attrs.frozen(kw_only=True)
class Leaving:
    """What followed when a client left."""

    server: str
    whole: Timeline
    """Another prompt of the same length, served to its end."""
    left_after_s: float
    lone: Timeline
    """A short request, alone."""
    next: Timeline
    """A short request right after the client left."""
    again: Timeline
    """What the client that left had asked, again."""

    @property
    def late_s(self) -> float:
        """How much later than alone the next request had its first token."""
        return max(0.0, self.next.first_token_s - self.lone.first_token_s)

    @property
    def could_be_kept(self) -> int:
        """Tokens that were computed when the client left, at the rate of the whole."""
        return int(self.whole.prefill_tokens_per_s * self.left_after_s)


def judge(ours: Leaving) -> tuple[Claim, ...]:
    """Hold Pensieve against what a client that leaves may cost others."""
    return (
        Claim(
            text=f"the next request starts within {_SOONEST_S} s of what it takes alone",
            measured=f"{ours.late_s:.2f} s later",
            holds=ours.late_s <= _SOONEST_S,
        ),
        Claim(
            text=f"asked again, at least {_KEPT:.0%} of what was computed is reused",
            measured=f"{ours.again.cached_tokens} of some {ours.could_be_kept} tokens",
            holds=ours.again.cached_tokens >= _KEPT * ours.could_be_kept,
        ),
    )


def table(found: Sequence[Leaving]) -> Table:
    """Return what followed, server by server."""
    columns = (
        "server",
        "prompt",
        "whole: TTFT",
        "left after",
        "next: TTFT",
        "alone",
        "asked again: cached",
        "computed",
    )
    return Table(title="A client leaves during its prefill", columns=columns, rows=tuple(map(_row, found)))


def _row(one: Leaving) -> tuple[str, ...]:
    times = (one.whole.first_token_s, one.left_after_s, one.next.first_token_s, one.lone.first_token_s)
    return (
        one.server,
        str(one.again.prompt_tokens),
        *(f"{seconds:.2f} s" for seconds in times),
        str(one.again.cached_tokens),
        str(one.again.computed_tokens),
    )


def run(bench: Bench) -> Part:
    """Leave one server, then the other."""
    ours, theirs = bench.ours(context=_CONTEXT), bench.theirs(context=_CONTEXT)
    with bench.up(ours, theirs):
        found = [_leaving(server) for server in (ours, theirs)]
    return Part(tables=(table(found),), claims=judge(found[0]))


def _leaving(server: Server) -> Leaving:
    def ask(prompt: str) -> Timeline:
        return send(server.port, question(prompt, max_tokens=_ANSWER_TOKENS))

    ask("Hello.")
    whole = ask(listing("whole", _ITEMS))
    lone = ask("(first) Name a colour.")
    prompt = listing("left", _ITEMS)
    after_s = whole.first_token_s * 0.6
    send_and_leave(server.port, question(prompt, max_tokens=_ANSWER_TOKENS), after_s=after_s)
    return Leaving(
        server=server.name,
        whole=whole,
        left_after_s=after_s,
        lone=lone,
        next=ask("(second) Name a colour."),
        again=ask(prompt),
    )


SCENARIO = Scenario(name="cancel", shows="a client leaves during its prefill: who pays, and what is kept", run=run)
