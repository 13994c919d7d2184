"""Sessions as they were recorded: sizes, block hashes and pauses; and prompts of synthetic tokens made of them.

Equal blocks get equal tokens, so that prefixes are shared as they were. Block ids are local to a trace. What is not
recorded is decided here:

- Two traces whose tools take equally many tokens have the same tools: they share this head, and nothing else.
- A prompt's last tokens, which fill no block, and the answer to it are those of the agent's next prompt, where that one
  goes on from it and is long enough; else they are never seen again.
"""

from __future__ import annotations

import itertools
import json
import lzma
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import attrs
import numpy as np
import numpy.typing as npt

__all__ = ["BLOCK", "Agent", "Ask", "Trace", "read_traces"]

BLOCK = 64
"""Tokens of a block."""

_Ids: TypeAlias = npt.NDArray[np.int32]


@attrs.frozen(kw_only=True, eq=False)
class Ask:
    """One request, and the answer that it will get."""

    pause_s: float
    """Seconds between what it waits for and the request: tools run, somebody reads."""
    waits_for: tuple[Agent, ...] = ()
    """Agents that start with the pause's beginning; it follows their end."""
    head_tokens: int
    """Tools and system text: the first cache mark stands there."""
    blocks: _Ids
    """Ids of the prompt's whole blocks, unique among all traces."""
    rest: _Ids
    """Tokens after the last whole block, and those of the answer."""
    prompt_tokens: int
    answer_tokens: int

    def prompt(self) -> array[int]:
        """Return its token ids."""
        return array("i", self.tokens(0, self.prompt_tokens).tobytes())

    def answer(self) -> list[int]:
        """Return the token ids that will be sampled."""
        ids: list[int] = self.tokens(self.prompt_tokens, self.prompt_tokens + self.answer_tokens).tolist()
        return ids

    def tokens(self, start: int, stop: int) -> _Ids:
        """Return a part of prompt and answer."""
        whole = len(self.blocks) * BLOCK
        first = start // BLOCK
        blocks = self.blocks[first : -(-min(stop, whole) // BLOCK)]
        expanded = (blocks[:, np.newaxis] * BLOCK + np.arange(BLOCK, dtype=np.int32)).reshape(-1)
        both = np.concatenate([expanded, self.rest])
        offset = min(first * BLOCK, whole)
        return both[start - offset : stop - offset].astype(np.int32)


@attrs.frozen(kw_only=True, eq=False)
class Agent:
    """A conversation: requests that follow each other."""

    name: str
    asks: tuple[Ask, ...]


@attrs.frozen(kw_only=True, eq=False)
class Trace:
    """One session: the main conversation, which starts the other agents."""

    name: str
    main: Agent


class _Reader:
    """Gives out ids that no other trace has."""

    def __init__(self) -> None:
        self._free_block = 1
        self._free_token = 2**31 - 1
        self._heads: dict[int, int] = {}
        """Tokens of the tools → the first of their blocks."""

    def trace(self, raw: dict[str, Any]) -> Trace:
        first = self._take_blocks(1 + max(last for ask in _all_asks(raw) for _, last in ask["hash_ids"]))
        return Trace(name=raw["id"], main=self._agent(raw, "main", first))

    def _agent(self, raw: dict[str, Any], name: str, first: int) -> Agent:
        head_tokens = raw["tool_tokens"] + raw["system_tokens"]
        pending: list[tuple[dict[str, Any], tuple[Agent, ...], float]] = []
        started: list[dict[str, Any]] = []
        for request in raw["requests"]:
            if request["type"] == "subagent":
                started.append(request)
                continue
            agents = tuple(self._agent(one, f"{name}/{one['agent_id']}", first) for one in started)
            longest_s = max((one["duration_ms"] / 1000 for one in started), default=0.0)
            pending.append((request, agents, max(0.0, request.get("think_time", 0.0) - longest_s)))
            started = []
        return Agent(name=name, asks=self._asks(pending, first, raw["tool_tokens"], head_tokens))

    def _asks(
        self, pending: list[tuple[dict[str, Any], tuple[Agent, ...], float]], first: int, tools: int, head: int
    ) -> tuple[Ask, ...]:
        """Build the requests, the last one first: what one ends with stands in the next."""
        if not pending:
            return ()
        tool_blocks = _blocks(pending[0][0])[: tools // BLOCK] + first
        asks: list[Ask] = []
        for request, agents, pause_s in reversed(pending):
            blocks = self._share_tools(_blocks(request) + first, tool_blocks, tools)
            ask = Ask(
                pause_s=pause_s,
                waits_for=agents,
                head_tokens=head,
                blocks=blocks,
                rest=self._rest(blocks, request, asks[-1] if asks else None),
                prompt_tokens=max(request["in"], len(blocks) * BLOCK),
                answer_tokens=max(1, request["out"]),
            )
            asks.append(ask)
        return tuple(reversed(asks))

    def _share_tools(self, blocks: _Ids, tool_blocks: _Ids, tools: int) -> _Ids:
        if tools not in self._heads:
            self._heads[tools] = self._take_blocks(len(tool_blocks))
        count = min(len(blocks), len(tool_blocks))
        if np.array_equal(blocks[:count], tool_blocks[:count]):
            blocks[:count] = self._heads[tools] + np.arange(count, dtype=np.int32)
        return blocks

    def _rest(self, blocks: _Ids, request: dict[str, Any], following: Ask | None) -> _Ids:
        start, prompt = len(blocks) * BLOCK, max(request["in"], len(blocks) * BLOCK)
        stop = prompt + max(1, request["out"])
        if following is not None and np.array_equal(following.blocks[: len(blocks)], blocks):
            if following.prompt_tokens >= stop:
                return following.tokens(start, stop)
            if following.prompt_tokens >= prompt:
                return np.concatenate([following.tokens(start, prompt), self._take_tokens(stop - prompt)])
        return self._take_tokens(stop - start)

    def _take_blocks(self, count: int) -> int:
        first, self._free_block = self._free_block, self._free_block + count
        return first

    def _take_tokens(self, count: int) -> _Ids:
        self._free_token -= count
        return np.arange(self._free_token, self._free_token + count, dtype=np.int32)


def read_traces(path: Path) -> list[Trace]:
    """Read one trace a line, of a JSONL file, plain or `.xz`.

    Raises:
        OSError: there is no such file.
        ValueError: it holds something else.
    """
    open_text = lzma.open if path.suffix == ".xz" else open
    reader = _Reader()
    with open_text(path, "rt", encoding="utf-8") as lines:
        return [reader.trace(json.loads(line)) for line in lines]


def _blocks(request: dict[str, Any]) -> _Ids:
    ranges = [np.arange(first, last + 1, dtype=np.int32) for first, last in request["hash_ids"]]
    return np.concatenate(ranges) if ranges else np.empty(0, np.int32)


def _all_asks(raw: dict[str, Any]) -> Iterator[dict[str, Any]]:
    nested = (_all_asks(one) if one["type"] == "subagent" else iter((one,)) for one in raw["requests"])
    return itertools.chain.from_iterable(nested)
