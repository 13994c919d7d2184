from __future__ import annotations

import re

import pytest
import recordings
from heads import TOOLS, cut, settled
from recordings import blanked

PLAIN = recordings.load("heads")["plain-shop"][0]


@pytest.mark.parametrize("name", ["conversation", "heads"])
def test_recordings_tell_nothing_of_the_machine_they_come_from(name: str) -> None:
    text = str(recordings.load(name))
    assert not re.findall(r"/root|/tmp/\w|/work/", text)
    assert set(re.findall(r"/home/(\w+)", text)) <= {"user"}


def test_ids_and_folders_are_blanked_wherever_they_stand() -> None:
    user = '{"device_id":"' + "ab" * 32 + '","session_id":"0f0e0d0c-1111-4222-8333-444455556666"}'
    recorded = {"a": [{"metadata": {"user_id": user}, "system": "CWD: /tmp/x1/shop"}]}
    harmless = blanked(recorded, paths={"/tmp/x1": "/home/user"})
    assert harmless["a"][0]["system"] == "CWD: /home/user/shop"
    assert "0f0e0d0c" not in str(harmless)
    assert "abab" not in str(harmless)


def test_a_cut_head_keeps_its_order_and_what_differs_between_folders() -> None:
    other = recordings.load("heads")["plain-library"][0]
    one, two = (cut(request, question="Why?", max_tokens=4) for request in (PLAIN, other))
    assert [tool["name"] for tool in one["tools"]] == list(TOOLS)
    assert len(one["system"]) == len(PLAIN["system"])
    assert one["tools"] == two["tools"]
    assert "/home/user/plain-shop" in str(one["system"])
    assert one["system"] != two["system"]


def test_a_cut_head_asks_what_it_is_told_to() -> None:
    body = cut(PLAIN, question="Why?", max_tokens=4)
    assert body["messages"][0]["content"][-1]["text"] == "Why?"
    assert PLAIN["messages"][0]["content"][-1]["text"] != "Why?"


def test_cutting_paragraphs_makes_a_head_shorter() -> None:
    lengths = [len(str(cut(PLAIN, question="Why?", max_tokens=4, paragraph=size))) for size in (40, 160, 640)]
    assert lengths == sorted(set(lengths))


def test_a_settled_head_says_the_same_and_ends_with_the_question() -> None:
    body = cut(PLAIN, question="Why?", max_tokens=4)
    moved = settled(body)
    assert [message["role"] for message in moved["messages"]] == ["user"]
    assert moved["messages"][-1]["content"][-1]["text"] == "Why?"
    late = [block for message in body["messages"] if message["role"] == "system" for block in message["content"]]
    assert late
    assert moved["system"] == [*body["system"], *late]


def test_the_recorded_conversation_has_ten_turns_that_grow() -> None:
    turns = recordings.load("conversation")["conversation"]
    lengths = [len(turn["messages"]) for turn in turns]
    assert len(turns) == 10
    assert lengths == sorted(set(lengths))
