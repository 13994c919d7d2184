"""Builders for the tests of the benchmark's pure parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from client import Block, Timeline


@pytest.fixture
def timeline() -> Callable[..., Timeline]:
    """Make timelines of which only what matters is said."""

    def make(
        *,
        sent_at: float = 0.0,
        stamps: Sequence[float] = (1.0,),
        computed: int = 0,
        cached: int = 0,
        output: int = 1,
        content: Sequence[Block] = (),
        stop_reason: str | None = "end_turn",
    ) -> Timeline:
        return Timeline(
            sent_at=sent_at,
            first_byte_s=0.0,
            stamps=tuple(stamps),
            input_tokens=computed,
            cached_tokens=cached,
            created_tokens=0,
            output_tokens=output,
            content=tuple(content),
            stop_reason=stop_reason,
        )

    return make


@pytest.fixture
def stream() -> Callable[..., list[dict[str, Any]]]:
    """Make the events of an answer, as the Messages API streams them."""

    def make(*blocks: tuple[dict[str, Any], list[dict[str, Any]]], **usage: int) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = [{"type": "message_start", "message": {"usage": {"input_tokens": 9}}}]
        for index, (block, deltas) in enumerate(blocks):
            events.append({"type": "content_block_start", "index": index, "content_block": block})
            events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
            events.append({"type": "content_block_stop", "index": index})
        end = {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": usage}
        return [*events, end, {"type": "message_stop"}]

    return make
