"""The client's socket, against a server of a few lines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from client import Refused, question, send, send_and_leave

BOUND_S = 10.0


Upstream = Any
"""What `conftest.py` gives: a port, what it plays, and what it met."""


def test_a_request_is_posted_as_claude_code_would_and_read_to_its_end(
    upstream: Upstream, stream: Callable[..., list[dict[str, Any]]]
) -> None:
    upstream.events = stream(({"type": "text", "text": ""}, [{"type": "text_delta", "text": "Hi"}]), output_tokens=1)
    timeline = send(upstream.port, question("Hello", max_tokens=4), headers={"x-claude-code-agent-id": "a1"})
    assert timeline.text == "Hi"
    assert 0 < timeline.first_byte_s <= timeline.first_token_s
    ((path, headers, body),) = upstream.met
    assert path == "/v1/messages"
    assert headers["x-claude-code-agent-id"] == "a1"
    assert headers["anthropic-version"] == "2023-06-01"
    assert body == question("Hello", max_tokens=4)


def test_a_status_other_than_200_is_a_refusal(upstream: Upstream) -> None:
    upstream.status = 529
    with pytest.raises(Refused, match="529"):
        send(upstream.port, question("Hello", max_tokens=4))


def test_one_who_has_seen_enough_leaves_and_the_server_notices(upstream: Upstream) -> None:
    upstream.endless = True
    timeline = send(upstream.port, question("Hello", max_tokens=4), watch=lambda _: True)
    assert timeline.stop_reason is None
    assert upstream.left.wait(BOUND_S)


def test_one_who_leaves_during_the_wait_is_noticed_too(upstream: Upstream) -> None:
    upstream.endless = True
    send_and_leave(upstream.port, question("Hello", max_tokens=4), after_s=0.0)
    assert upstream.left.wait(BOUND_S)
