from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import recordings
from client import Timeline
from record_session import PLAYS, PROMPTS, as_recorded
from scenarios.conversation import TurnCost
from scenarios.session import Asked, Replay, judge, table, waves

from pensieve_protocol import parse_messages_request

MakeTimeline = Callable[..., Timeline]

HEAD = {"model": "m", "system": [], "tools": [{"name": "Bash"}]}
SAID = {"type": "text", "text": "Hm."}


def request(asker: str, *words: str, **more: Any) -> dict[str, Any]:
    """A request whose turns alternate, the user's first."""
    turns = [{"role": ("user", "assistant")[at % 2], "content": word} for at, word in enumerate(words)]
    return {"asker": asker, "parent": None, "body": {**HEAD, "messages": turns, **more}}


def by_letter(body: Mapping[str, Any]) -> Sequence[int]:
    return [ord(letter) for message in body["messages"] for letter in str(message["content"])]


def test_the_title_is_asked_for_beside_the_next_request_and_all_else_alone() -> None:
    asked = [request(asker) for asker in ("title", "main", "main", "agent-1", "main", "title", "main")]
    names = [[one["asker"] for one in wave] for wave in waves(asked)]
    assert names == [["title", "main"], ["main"], ["agent-1"], ["main"], ["title", "main"]]


def test_each_asker_hears_its_own_answers(timeline: MakeTimeline) -> None:
    replay = Replay()
    for asker, word in (("main", "one"), ("agent-1", "two")):
        first = request(asker, "begin")
        replay.note(first, replay.body(first), timeline(content=[{"type": "text", "text": word}]))
    for asker, word in (("main", "one"), ("agent-1", "two")):
        messages = replay.body(request(asker, "begin", "recorded", "go on"))["messages"]
        assert messages[1] == {"role": "assistant", "content": [{"type": "text", "text": word}]}


def test_only_a_title_keeps_its_form() -> None:
    form = {"output_config": {"format": {"type": "json_schema"}}}
    assert Replay().body(request("title", "name it", **form))["output_config"] == form["output_config"]
    assert "output_config" not in Replay().body(request("main", "begin", **form))


def test_of_a_first_prompt_that_is_new_which_no_other_one_began_with(timeline: MakeTimeline) -> None:
    replay = Replay(by_letter)
    for asker, words, computed in (("main", "abcdef", 40), ("agent-1", "abcxyz", 40), ("agent-2", "q", 40)):
        first = request(asker, words)
        replay.note(first, first["body"], timeline(computed=computed))
    assert [asked.cost.new for asked in replay.asked] == [40, 37, 40]


def test_of_a_later_prompt_that_is_new_which_came_after_the_answer(timeline: MakeTimeline) -> None:
    replay = Replay(by_letter)
    turns = (timeline(computed=100, output=20), timeline(cached=100, computed=45, output=5))
    for answer in turns:
        replay.note(request("main", "abc"), request("main", "abc")["body"], answer)
    assert [asked.cost.new for asked in replay.asked] == [100, 25]
    assert [asked.cost.again for asked in replay.asked] == [0, 20]


def asked(timeline: Timeline, again: int) -> Asked:
    return Asked(asker="main", timeline=timeline, cost=TurnCost(prompt=100, cached=90 - again, new=10))


def test_one_dear_request_breaks_the_first_claim_and_more_than_llama_servers_the_second(timeline: MakeTimeline) -> None:
    def holds(ours: int, theirs: int) -> list[bool]:
        return [claim.holds for claim in judge([asked(timeline(), ours)], [asked(timeline(), theirs)])]

    assert holds(8, 20) == [True, True]
    assert holds(9, 20) == [False, True]
    assert holds(8, 7) == [True, False]
    assert holds(0, -20) == [True, True]  # a prompt of which more was shared than our rendering tells


def test_the_table_ends_with_the_sums(timeline: MakeTimeline) -> None:
    answered = [asked(timeline(stamps=(1.5,)), 3)] * 2
    rows = table(answered, answered).rows
    assert rows[0] == ("1", "main", *("100", "10", "13", "3", "1.50") * 2)
    assert rows[-1] == ("all", "", *("200", "20", "26", "6", "3.0") * 2)


def test_who_asks_is_told_by_headers_and_a_title_by_its_lack_of_tools() -> None:
    agent = {"x-claude-code-agent-id": "a1"}
    nested = {"x-claude-code-agent-id": "a2", "x-claude-code-parent-agent-id": "a1"}
    found = as_recorded([{"tools": []}, HEAD, HEAD, HEAD, HEAD], [{}, {}, agent, nested, agent])
    assert [one["asker"] for one in found] == ["title", "main", "agent-1", "agent-2", "agent-1"]
    assert [one["parent"] for one in found] == [None, None, None, "a1", None]


def test_what_is_typed_has_a_play_that_ends_with_what_is_waited_for() -> None:
    for prompt, answered in PROMPTS:
        (play,) = (steps for cue, steps in PLAYS.items() if cue in prompt)
        assert answered in play[-1]["say"]


def test_the_recorded_session_has_twenty_turns_two_agents_and_a_title_that_the_server_understands() -> None:
    requests = recordings.load("session")["session"]
    askers = [one["asker"] for one in requests]
    assert askers.count("main") >= 20
    assert {"title", "agent-1", "agent-2"} < set(askers)
    replay = Replay()
    for one in requests:
        parsed = parse_messages_request(json.dumps(replay.body(one)).encode())
        assert len(parsed.messages) == len(one["body"]["messages"])
        replay._answers.setdefault(one["asker"], []).append([SAID])
