from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from client import Refused, question, send
from record import harmless, main_requests, recording
from recordings import blanked

BOUND_S = 10.0


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


def test_what_passes_through_is_kept_and_answered(upstream: Any, stream: Callable[..., list[dict[str, Any]]]) -> None:
    upstream.events = stream(({"type": "text", "text": ""}, [{"type": "text_delta", "text": "Hi"}]), output_tokens=1)
    body = question("Hello", max_tokens=4)
    with recording(f"http://127.0.0.1:{upstream.port}") as (url, bodies):
        timeline = send(port_of(url), body, headers={"x-app": "cli"})
    assert timeline.text == "Hi"
    assert bodies == [body]
    assert upstream.met[0][1]["x-app"] == "cli"


def test_the_knock_on_the_door_is_passed_on_and_not_kept(upstream: Any) -> None:
    with recording(f"http://127.0.0.1:{upstream.port}") as (url, bodies):
        for method in ("HEAD", "GET"):
            with urlopen(Request(f"{url}/hello", method=method), timeout=BOUND_S) as answer:
                assert answer.status == 200
    assert bodies == []
    assert upstream.asked == ["/hello", "/hello"]


def test_a_refusal_is_passed_on_as_it_came(upstream: Any) -> None:
    upstream.status = 529
    with recording(f"http://127.0.0.1:{upstream.port}") as (url, _):
        with pytest.raises(Refused, match="529"):
            send(port_of(url), question("Hello", max_tokens=4))
        with pytest.raises(HTTPError, match="529"):
            urlopen(url, timeout=BOUND_S)


def test_title_calls_and_their_kin_are_no_turns() -> None:
    turn = {"tools": [{"name": "Bash"}], "stream": True}
    assert main_requests([turn, {"tools": [], "stream": True}, {"stream": True}, {**turn, "stream": False}]) == [turn]


def test_folders_are_harmless_with_slashes_and_with_dashes() -> None:
    recorded = {"a": [{"system": "CWD /tmp/tmp_1/shop; memory in /home/.claude/projects/-tmp-tmp-1-shop/memory"}]}
    said = blanked(recorded, paths=harmless(Path("/tmp/tmp_1")))["a"][0]["system"]
    assert said == "CWD /home/user/shop; memory in /home/.claude/projects/-home-user-shop/memory"
