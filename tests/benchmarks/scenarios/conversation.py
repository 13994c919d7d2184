"""A ten-turn tool conversation of the real Claude Code, replayed: what is computed anew each turn?

What a server answers differs from what was recorded, so each turn's request is the recorded one with the server's own
answers in the place of the recorded ones, as they came, and the recorded tool results handed to the calls that it made.
Thus a server meets exactly its own words again, and its counters say whether it knows them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs
import recordings
from client import Block, Timeline, send
from recordings import Request
from scenario import Bench, Claim, Part, Scenario, Table

__all__ = ["SCENARIO", "TurnCost", "costs", "judge", "replayed"]

_CONTEXT = 12_288
_ANSWER_TOKENS = 200
_ALLOWED = 8
_NO_RESULT = "(no output)"


@attrs.frozen(kw_only=True)
class TurnCost:
    """What one turn cost, in tokens."""

    prompt: int
    cached: int
    new: int
    """Appended after the server's own last answer; for the first turn, all."""

    @property
    def computed(self) -> int:
        """What was not in the cache."""
        return self.prompt - self.cached

    @property
    def again(self) -> int:
        """Computed although the server had seen or said it; 1 is usual: the last token said was never computed."""
        return self.computed - self.new


def replayed(request: Request, answers: Sequence[Sequence[Block]]) -> dict[str, Any]:
    """Return the recorded `request` with `answers` in the place of the model's turns; greedy, and short.

    A result goes to the call in the same place of its turn. An answer without calls gets results as text; calls without
    a recorded result get an empty one.
    """
    own = iter(answers)
    messages: list[dict[str, Any]] = []
    calls: list[Block] = []
    for message in request["messages"]:
        if message["role"] == "assistant":
            answer = list(next(own)) or [{"type": "text", "text": "Done."}]
            calls = [block for block in answer if block["type"] == "tool_use"]
            messages.append({"role": "assistant", "content": answer})
        elif message["role"] == "user":
            messages.append({"role": "user", "content": _answering(message["content"], calls)})
            calls = []
        else:
            messages.append(dict(message))
    limits = {"temperature": 0, "max_tokens": _ANSWER_TOKENS, "stream": True}
    kept = {name: request[name] for name in ("model", "system", "tools")}
    return {**kept, **limits, "messages": messages}


def _answering(content: str | Sequence[Block], calls: Sequence[Block]) -> list[Block]:
    blocks: Sequence[Block] = [{"type": "text", "text": content}] if isinstance(content, str) else content
    results = [block for block in blocks if block["type"] == "tool_result"]
    others = [block for block in blocks if block["type"] != "tool_result"]
    paired = [_result(call, result) for call, result in itertools.zip_longest(calls, results[: len(calls)])]
    unasked = [] if calls else [_as_text(result) for result in results]
    return [*paired, *unasked, *others]


def _result(call: Block, result: Block | None) -> Block:
    recorded = result or {"type": "tool_result", "content": _NO_RESULT}
    return {**recorded, "tool_use_id": call["id"]}


def _as_text(result: Block) -> Block:
    mark = {name: result[name] for name in ("cache_control",) if name in result}
    return {"type": "text", "text": str(result["content"]), **mark}


def costs(timelines: Sequence[Timeline]) -> tuple[TurnCost, ...]:
    """Return the cost of each turn. What is new is the prompt less the last prompt and the answer to it."""
    known = [0, *(timeline.prompt_tokens + timeline.output_tokens for timeline in timelines)]
    return tuple(
        TurnCost(prompt=timeline.prompt_tokens, cached=timeline.cached_tokens, new=timeline.prompt_tokens - before)
        for timeline, before in zip(timelines, known, strict=False)
    )


def judge(turns: Sequence[TurnCost]) -> tuple[Claim, ...]:
    """Hold the warm turns against what they may cost."""
    again = [turn.again for turn in turns[1:]]
    drift = again[-1] - again[0]
    return (
        Claim(
            text=f"each warm turn computes its new tokens and at most {_ALLOWED} more",
            measured=f"{min(again)} to {max(again)} more",
            holds=max(again) <= _ALLOWED,
        ),
        Claim(
            text="the last turn computes no more again than the second",
            measured=f"{again[0]} then, {again[-1]} at last",
            holds=drift <= 0,
        ),
    )


def _table(names: Sequence[str], replays: Sequence[Sequence[Timeline]]) -> Table:
    columns = [
        f"{name}: {what}" for name in names for what in ("prompt", "cached", "computed", "new", "again", "TTFT s")
    ]
    rows = zip(*(_rows(timelines) for timelines in replays), strict=True)
    return Table(
        title="Tokens, turn by turn",
        columns=("turn", *columns),
        rows=tuple((str(number), *itertools.chain(*cells)) for number, cells in enumerate(rows, start=1)),
    )


def _rows(timelines: Sequence[Timeline]) -> Iterator[tuple[str, ...]]:
    for cost, timeline in zip(costs(timelines), timelines, strict=True):
        figures = (cost.prompt, cost.cached, cost.computed, cost.new, cost.again)
        yield (*(str(figure) for figure in figures), f"{timeline.first_token_s:.2f}")


def _calls(timelines: Sequence[Timeline]) -> int:
    return sum(any(block["type"] == "tool_use" for block in timeline.content) for timeline in timelines)


def run(bench: Bench) -> Part:
    """Replay the conversation on both servers, turn by turn, the one first that was second before."""
    requests = recordings.load("conversation")["conversation"]
    ours, theirs = bench.ours(context=_CONTEXT), bench.theirs(context=_CONTEXT)
    replays: Mapping[str, list[Timeline]] = {ours.name: [], theirs.name: []}
    order = [ours, theirs]
    with bench.up(ours, theirs):
        for request in requests:
            for server in order:
                answers = [timeline.content for timeline in replays[server.name]]
                replays[server.name].append(send(server.port, replayed(request, answers)))
            order.reverse()
    called = ", ".join(f"{name} {_calls(timelines)}" for name, timelines in replays.items())
    return Part(
        tables=(_table(list(replays), list(replays.values())),),
        claims=judge(costs(replays[ours.name])),
        notes=(
            f"Turns of {len(requests)} that called a tool: {called}. Replayed greedily, each with its own answers.",
        ),
    )


SCENARIO = Scenario(name="conversation", shows="ten turns with tools: what each warm turn computes again", run=run)
