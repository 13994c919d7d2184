from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import recordings
from client import Timeline
from scenarios.conversation import TurnCost, costs, judge, replayed

from pensieve_protocol import parse_messages_request

MakeTimeline = Callable[..., Timeline]

CALL = {"type": "tool_use", "id": "toolu_own", "name": "Bash", "input": {"command": "ls"}}
OTHER_CALL = {"type": "tool_use", "id": "toolu_own2", "name": "Bash", "input": {"command": "pwd"}}


def recorded(*results: dict[str, Any]) -> dict[str, Any]:
    call = {"type": "tool_use", "id": "toolu_recorded", "name": "Read", "input": {"file_path": "a"}}
    return {
        "model": "claude-opus",
        "system": [{"type": "text", "text": "Be brief."}],
        "tools": [{"name": "Bash"}],
        "max_tokens": 128_000,
        "thinking": {"type": "adaptive"},
        "messages": [
            {"role": "user", "content": "List the files."},
            {"role": "system", "content": []},
            {"role": "assistant", "content": [call]},
            {"role": "user", "content": [*results, {"type": "text", "text": "Go on."}]},
        ],
    }


def result(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": "toolu_recorded", "content": text, **more}


def test_the_servers_own_call_takes_the_recorded_ones_place_and_gets_its_result() -> None:
    messages = replayed(recorded(result("a.txt")), [[CALL]])["messages"]
    assert messages[2] == {"role": "assistant", "content": [CALL]}
    assert messages[3]["content"] == [
        result("a.txt") | {"tool_use_id": "toolu_own"},
        {"type": "text", "text": "Go on."},
    ]


def test_turns_that_no_model_made_stay_as_recorded() -> None:
    messages = replayed(recorded(result("a.txt")), [[CALL]])["messages"]
    assert messages[0] == {"role": "user", "content": [{"type": "text", "text": "List the files."}]}
    assert messages[1] == {"role": "system", "content": []}


def test_an_answer_without_a_call_is_told_the_result_as_text() -> None:
    said = {"type": "text", "text": "There are files."}
    mark = {"type": "ephemeral"}
    messages = replayed(recorded(result("a.txt", cache_control=mark)), [[said]])["messages"]
    assert messages[2]["content"] == [said]
    assert messages[3]["content"][0] == {"type": "text", "text": "a.txt", "cache_control": mark}


def test_every_call_gets_a_result_and_no_result_comes_without_a_call() -> None:
    two_calls = replayed(recorded(result("a.txt")), [[CALL, OTHER_CALL]])["messages"][3]["content"]
    assert [block.get("tool_use_id") for block in two_calls] == ["toolu_own", "toolu_own2", None]
    two_results = replayed(recorded(result("a.txt"), result("b.txt")), [[CALL]])["messages"][3]["content"]
    assert [block.get("content") for block in two_results] == ["a.txt", None]


def test_every_recorded_turn_becomes_a_request_that_the_server_understands() -> None:
    requests = recordings.load("conversation")["conversation"]
    answers: list[list[dict[str, Any]]] = []
    for request in requests:
        body = replayed(request, answers)
        parsed = parse_messages_request(json.dumps(body).encode())
        assert len(parsed.messages) == len(request["messages"])
        answers.append([CALL | {"id": f"toolu_{len(answers)}"}])


def test_an_empty_answer_is_no_empty_message() -> None:
    assert replayed(recorded(), [[]])["messages"][2]["content"]


def test_replays_are_greedy_and_short() -> None:
    body = replayed(recorded(), [[CALL]])
    assert body["temperature"] == 0
    assert body["max_tokens"] < 1_000
    assert "thinking" not in body  # its temperature would have to be 1


def test_what_is_new_is_what_was_appended_to_the_servers_own_answer(timeline: MakeTimeline) -> None:
    turns = [timeline(computed=1_000, output=20), timeline(cached=1_019, computed=31, output=5)]
    assert costs(turns) == (
        TurnCost(prompt=1_000, cached=0, new=1_000),
        TurnCost(prompt=1_050, cached=1_019, new=30),
    )
    assert [turn.again for turn in costs(turns)] == [0, 1]


def test_one_dear_turn_breaks_the_first_claim_and_growth_the_second() -> None:
    def turn(again: int) -> TurnCost:
        return TurnCost(prompt=100, cached=90 - again, new=10)

    def holds(*again: int) -> list[bool]:
        return [claim.holds for claim in judge([turn(0), *map(turn, again)])]

    assert holds(1, 8, 1) == [True, True]
    assert holds(1, 9, 1) == [False, True]
    assert holds(1, 1, 2) == [True, False]
