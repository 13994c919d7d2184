"""Recorded sessions, built by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from simulator.traces import Trace, read_traces

Raw = dict[str, Any]


def request(blocks: list[list[int]], *, prompt: int, answer: int = 10, pause_s: float = 0.0) -> Raw:
    """One request as it is recorded."""
    return {"type": "n", "in": prompt, "out": answer, "think_time": pause_s, "hash_ids": blocks}


def subagent(name: str, requests: list[Raw], *, lasted_s: float = 0.0) -> Raw:
    """An agent as it is recorded, between the requests of its parent."""
    head = {"tool_tokens": 64, "system_tokens": 0}
    return {"type": "subagent", "agent_id": name, "duration_ms": lasted_s * 1000, "requests": requests, **head}


def session(name: str, requests: list[Raw], *, tools: int = 64) -> Raw:
    """A trace as it is recorded."""
    return {"id": name, "tool_tokens": tools, "system_tokens": 64, "requests": requests}


class Recording:
    """What the tests build traces with."""

    request = staticmethod(request)
    subagent = staticmethod(subagent)
    session = staticmethod(session)

    def __init__(self, folder: Path) -> None:
        self._path = folder / "traces.jsonl"

    def read(self, *sessions: Raw) -> list[Trace]:
        """Write the sessions to a file, and read them as traces."""
        self._path.write_text("".join(json.dumps(one) + "\n" for one in sessions), encoding="utf-8")
        return read_traces(self._path)

    def conversation(self, name: str, turns: int, *, begins: int = 1, pause_s: float = 1.0) -> Raw:
        """Return a session whose prompts grow by two blocks a turn."""
        requests = [
            request([[begins, begins + 3 + 2 * turn]], prompt=(4 + 2 * turn) * 64 + 5, answer=20, pause_s=pause_s)
            for turn in range(turns)
        ]
        return session(name, requests, tools=begins * 64)


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    """Recorded sessions."""
    return Recording(tmp_path)


@pytest.fixture
def synthetic() -> Path:
    """The traces that are shipped."""
    return Path(__file__).parents[1] / "benchmarks" / "simulator" / "synthetic.jsonl"
