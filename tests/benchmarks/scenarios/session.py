"""A whole session of the real Claude Code, replayed: twenty turns, two subagents, a title. What is computed anew?

As in `conversation`, each turn is the recorded one with the server's own answers in it; everybody who asks (the main
conversation, a subagent, the call for a title) has answers of their own. What is new of a first request is what no
prompt before it began with. The title is asked for beside the first turn, as it was recorded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import attrs
import recordings
from client import Block, Timeline, send
from prompts import Tokenizer, first_difference, prompt_tokens
from recordings import Request
from scenario import Bench, Claim, Part, Scenario, Table
from servers import Server

from scenarios.conversation import TurnCost, replayed

__all__ = ["SCENARIO", "Asked", "Replay", "judge", "table", "waves"]

_CONTEXT = 24_576
_ALLOWED = 8
_SESSION = "00000000-0000-4000-8000-000000000000"
_BESIDE = "title"


@attrs.frozen(kw_only=True)
class Asked:
    """One request, answered."""

    asker: str
    timeline: Timeline
    cost: TurnCost


def waves(requests: Sequence[Request]) -> list[list[Request]]:
    """Return which requests are sent at once: the title with the request after it, everything else alone."""
    found: list[list[Request]] = []
    beside = False
    for request in requests:
        if beside:
            found[-1].append(request)
        else:
            found.append([request])
        beside = request["asker"] == _BESIDE
    return found


class Replay:
    """The session on one server.

    Args:
        tokens: From a body to its prompt, in Pensieve's rendering; None: what is new of first requests is all of them.
    """

    def __init__(self, tokens: Tokenizer | None = None) -> None:
        self.asked: list[Asked] = []
        self._tokens = tokens
        self._answers: dict[str, list[Sequence[Block]]] = {}
        self._reached: dict[str, int] = {}
        self._prompts: list[Sequence[int]] = []

    def body(self, request: Request) -> dict[str, Any]:
        """Return what is sent: with the answers that this server gave before."""
        recorded: Request = request["body"]
        form = {name: recorded[name] for name in ("output_config",) if request["asker"] == _BESIDE and name in recorded}
        return {**replayed(recorded, self._answers.get(request["asker"], [])), **form, "model": "claude-bench"}

    def note(self, request: Request, body: Mapping[str, Any], timeline: Timeline) -> None:
        """Take the answer to `request`."""
        asker = str(request["asker"])
        known = self._reached.get(asker)
        shared = self._shared(body) if known is None else known
        cost = TurnCost(
            prompt=timeline.prompt_tokens, cached=timeline.cached_tokens, new=timeline.prompt_tokens - shared
        )
        self.asked.append(Asked(asker=asker, timeline=timeline, cost=cost))
        self._answers.setdefault(asker, []).append(timeline.content)
        self._reached[asker] = timeline.prompt_tokens + timeline.output_tokens

    def _shared(self, body: Mapping[str, Any]) -> int:
        """Return how many tokens of a first prompt stood at the beginning of another one."""
        if self._tokens is None:
            return 0
        tokens = self._tokens(body)
        differences = (first_difference(tokens, other) for other in self._prompts)
        shared = max((len(tokens) if at is None else at for at in differences), default=0)
        self._prompts.append(tokens)
        return shared


def judge(ours: Sequence[Asked], theirs: Sequence[Asked]) -> tuple[Claim, ...]:
    """Hold Pensieve against the new tokens, and against llama-server."""
    again = [asked.cost.again for asked in ours]
    own, other = _again(ours), _again(theirs)
    return (
        Claim(
            text=f"each request computes its new tokens and at most {_ALLOWED} more",
            measured=f"{min(again)} to {max(again)} more",
            holds=max(again) <= _ALLOWED,
        ),
        Claim(
            text="beyond the new tokens the session computes no more than on llama-server",
            measured=f"{own:,}, {other:,}",
            holds=own <= other,
        ),
    )


def _again(asked: Sequence[Asked]) -> int:
    """Return what was computed again; less than nothing, where a rendering that is not ours shared more, is nothing."""
    return sum(max(one.cost.again, 0) for one in asked)


def _computed(asked: Sequence[Asked]) -> int:
    return sum(one.cost.computed for one in asked)


def table(ours: Sequence[Asked], theirs: Sequence[Asked]) -> Table:
    """Return both replays, request by request, and their sums."""
    what = ("prompt", "new", "computed", "again", "TTFT s")
    columns = ("request", "asker", *(f"{name}: {figure}" for name in ("pensieve", "llama-server") for figure in what))
    rows = [
        (str(number), own.asker, *_row(own), *_row(other))
        for number, (own, other) in enumerate(zip(ours, theirs, strict=True), start=1)
    ]
    return Table(
        title="Tokens, request by request", columns=columns, rows=(*rows, ("all", "", *_sums(ours), *_sums(theirs)))
    )


def _row(asked: Asked) -> tuple[str, ...]:
    cost = asked.cost
    figures = (cost.prompt, cost.new, cost.computed, cost.again)
    return (*map(str, figures), f"{asked.timeline.first_token_s:.2f}")


def _sums(asked: Sequence[Asked]) -> tuple[str, ...]:
    costs = [one.cost for one in asked]
    figures = (sum(cost.prompt for cost in costs), sum(cost.new for cost in costs), _computed(asked))
    again, waited = _again(asked), sum(one.timeline.first_token_s for one in asked)
    return (*(f"{figure:,}" for figure in (*figures, again)), f"{waited:.1f}")


def run(bench: Bench) -> Part:
    """Replay the session on both servers, wave by wave, the one first that was second before."""
    ours, theirs = bench.ours(context=_CONTEXT), bench.theirs(context=_CONTEXT)
    replays = {ours.name: Replay(prompt_tokens(bench.model)), theirs.name: Replay()}
    order = [ours, theirs]
    with bench.up(ours, theirs):
        for wave in waves(recordings.load("session")["session"]):
            for server in order:
                _send(server, replays[server.name], wave)
            order.reverse()
    own, other = (replays[server.name].asked for server in (ours, theirs))
    return Part(tables=(table(own, other),), claims=judge(own, other), notes=(_NOTE,))


_NOTE = (
    "Replayed greedily, each server with its own answers. llama-server's new tokens of first requests are all of them, "
    "for its rendering is its own."
)


def _send(server: Server, replay: Replay, wave: Sequence[Request]) -> None:
    bodies = [replay.body(request) for request in wave]
    with ThreadPoolExecutor(len(wave)) as threads:
        answers = [
            threads.submit(send, server.port, body, headers=_headers(request))
            for body, request in zip(bodies, wave, strict=True)
        ]
        timelines = [answer.result() for answer in answers]
    for request, body, timeline in zip(wave, bodies, timelines, strict=True):
        replay.note(request, body, timeline)


def _headers(request: Request) -> dict[str, str]:
    agent = {"x-claude-code-agent-id": request["asker"]} if str(request["asker"]).startswith("agent") else {}
    parent = {"x-claude-code-parent-agent-id": request["parent"]} if request.get("parent") else {}
    return {"x-claude-code-session-id": _SESSION, **agent, **parent}


SCENARIO = Scenario(
    name="session",
    shows="twenty turns, two subagents and a title of the real Claude Code: what each request computes again",
    run=run,
)
